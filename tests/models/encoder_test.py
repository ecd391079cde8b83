"""Encoders against their homes, timm and open_clip: names, shapes, initial weights, features, gradients; and files of
other libraries for the same structures."""

import os
import subprocess

import pytest
import safetensors
import safetensors.torch
import torch
from families import FOREIGN, VARIANTS

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "encoder_features")
FULL = os.environ.get("CSKD_TEST_FULL") == "1"


def with_marks(variants):
    mark = pytest.mark.skipif(not FULL, reason="large; tests/run.sh --full")
    return [pytest.param(variant, marks=mark if variant.large else (), id=variant.name) for variant in variants]


def randomise(model, generator):
    """Changes every tensor that starts as a constant, so that none can be left out unseen."""
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif not tensor.is_floating_point() or (name in dict(model.named_buffers()) and "running" not in name):
                continue
            elif name == "patch_embed.proj.weight":
                tensor.mul_(0.01)
            elif name in ("cls_token", "reg_token", "pos_embed", "patch_embed.proj.bias"):
                # So small that the first LayerNorm's epsilon is seen.
                tensor.normal_(0, 0.005, generator=generator)
            elif name.endswith("running_mean") or name.endswith("bias"):
                tensor.normal_(0, 0.2, generator=generator)
            elif tensor.dim() == 1 and (name.endswith(("weight", "gamma")) or tensor.std() == 0):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.startswith(("blocks", "transformer", "layers")) and tensor.dim() == 2:
                # Sharper attention than a fresh model's, in which every token is much alike.
                tensor.normal_(0, 2 * tensor.shape[1] ** -0.5, generator=generator)
            elif tensor.numel() > 1 and tensor.std() == 0:
                tensor.normal_(0, 0.2, generator=generator)


def run(*arguments):
    result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    with safetensors.safe_open(arguments[-1], "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def calibrate(model, images, generator):
    """Running statistics near, not at, those of the images: with others their differences fade layer by layer."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        model.train()(images)
        model.eval()
        for norm in norms:
            shift = torch.empty_like(norm.running_mean).normal_(0, 0.3, generator=generator)
            norm.running_mean += shift * norm.running_var.sqrt()
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2, generator=generator)


def compare(name, ours, theirs, least_scale=0.0, most=1e-4):
    """The greatest difference as a part of the greatest value."""
    assert ours.shape == theirs.shape, name
    scale = max(theirs.abs().max().item(), least_scale)
    assert scale > 0, name
    difference = (ours - theirs).abs().max().item()
    assert difference <= most * scale, f"{name}: difference {difference:.3g}, scale {scale:.3g}"
    return difference / scale


@pytest.fixture
def files(tmp_path):
    """A folder for large files: pytest would keep them for three sessions."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


# The QuickGELU form of a tower has the same weights.
@pytest.mark.parametrize("variant", with_marks(v for v in VARIANTS if "quickgelu" not in v.name))
def test_names_shapes_and_initial_weights(variant, files):
    torch.manual_seed(0)
    ours, shape = run(variant.name, 0, "initial", files / "ours.safetensors")
    model = variant.model()
    theirs = model.state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}
    assert {key: tensor.dtype for key, tensor in ours.items()} == {key: tensor.dtype for key, tensor in theirs.items()}

    if variant.published:
        millions, outside = variant.published
        count = sum(tensor.numel() for key, tensor in ours.items() if key in dict(model.named_parameters()))
        decimals = len(str(millions).partition(".")[2])
        assert round((count + outside) / 1e6, decimals) == millions or round(count / 1e6, decimals) == millions, count

    # Standard deviation and extremes tell one distribution from another; constants must be the same.
    for key, expected in theirs.items():
        drawn, expected = ours[key].flatten()[:1_000_000].float(), expected.flatten()[:1_000_000]
        # timm's truncated normal puts one draw in 2^24 at its bound of -2, 100 standard deviations away; we do not.
        expected = expected[expected.abs() != 2].float() if expected.numel() > 1 else expected.float()
        if expected.numel() == 1 or expected.std() == 0:
            assert torch.equal(drawn, expected), key
            continue
        error = 6 / (2 * expected.numel()) ** 0.5
        assert drawn.std() / expected.std() == pytest.approx(1, abs=2 * error), key
        if expected.numel() >= 1000:
            assert drawn.abs().max() / expected.abs().max() == pytest.approx(1, abs=0.5), key
            kurtosis = [((x - x.mean()) ** 4).mean() / x.var() ** 2 for x in (drawn, expected)]
            assert kurtosis[0] == pytest.approx(kurtosis[1].item(), abs=12 * (24 / expected.numel()) ** 0.5), key
        assert abs(drawn.mean()) <= 6 * expected.std() / expected.numel() ** 0.5, key

    if variant.statistics:
        mean, stddev = variant.statistics
        assert int(shape["image_size"]) == model.image_size[0]
    else:
        mean, stddev = model.default_cfg["mean"], model.default_cfg["std"]
        assert int(shape["image_size"]) == model.default_cfg["input_size"][1]
    assert [float(x) for x in shape["mean"].split()] == pytest.approx(mean, abs=1e-7)
    assert [float(x) for x in shape["stddev"].split()] == pytest.approx(stddev, abs=1e-7)


def own_image_size(model):
    size = model.image_size[0] if hasattr(model, "image_size") else model.default_cfg["input_size"][1]
    return int(size)


@pytest.mark.parametrize("variant", with_marks(VARIANTS))
def test_features(variant, files):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    model = variant.model(variant.image_size).eval()
    randomise(model, generator)
    side = variant.image_size or own_image_size(model)
    images = torch.randn(2, 3, side, side, generator=generator)
    calibrate(model, images, generator)
    weights = model.state_dict()
    if variant.half:
        # The home computes with the same rounded weights.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half())
        weights = {f"visual.{key}": tensor.half() for key, tensor in model.state_dict().items()}
    safetensors.torch.save_file(weights, files / "weights.safetensors")
    safetensors.torch.save_file({"images": images}, files / "input.safetensors")
    with torch.no_grad():
        pooled, tokens = variant.outputs(model, images)
        attention = variant.attention(model, images)
    # What differs from image to image and from place to place must be seen, not a constant that all share.
    assert pooled.std(dim=0).mean() > 0.01 * pooled.std()
    assert tokens.shape[1] == 1 or tokens.std(dim=1).mean() > 0.01 * tokens.std()

    ours, shape = run(
        variant.name,
        variant.image_size or 0,
        "eval",
        files / "weights.safetensors",
        files / "input.safetensors",
        files / "output.safetensors",
    )
    errors = [compare(key, ours[key], theirs, most=2e-5) for key, theirs in (("pooled", pooled), ("tokens", tokens))]
    # With its norms folded for inference.
    errors += [
        compare(f"folded.{key}", ours[f"folded.{key}"], theirs, most=2e-5)
        for key, theirs in (("pooled", pooled), ("tokens", tokens))
    ]
    assert {f"attention.{layer}" for layer in attention} == {key for key in ours if key.startswith("attention")}
    errors += [compare(f"attention.{layer}", ours[f"attention.{layer}"], maps) for layer, maps in attention.items()]
    print(f"{variant.name}: {max(errors):.2g}")
    assert ours["pooled"].shape == (2, int(shape["pooled_width"]))
    assert ours["tokens"].shape == (2, int(shape["grid"]) ** 2, int(shape["token_width"]))


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_foreign_layouts(foreign, files):
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(3)
    model = foreign.build().eval()
    randomise(model, generator)
    side = foreign.image_size or own_image_size(model)
    images = torch.randn(2, 3, side, side, generator=generator)
    safetensors.torch.save_file(
        {key: tensor.contiguous() for key, tensor in model.state_dict().items()}, files / "weights.safetensors"
    )
    safetensors.torch.save_file({"images": images}, files / "input.safetensors")
    with torch.no_grad():
        pooled, tokens = foreign.features(model, images)
    ours, report = run(
        foreign.encoder,
        foreign.image_size or 0,
        "eval",
        files / "weights.safetensors",
        files / "input.safetensors",
        files / "output.safetensors",
    )
    if pooled is not None:
        compare("pooled", ours["pooled"], pooled, most=2e-5)
    if tokens is not None:
        compare("tokens", ours["tokens"], tokens, most=2e-5)
    assert report["layout"] == foreign.layout
    for what in foreign.left_out:
        assert what in report["left_out"]


TRAINED = [variant for variant in VARIANTS if variant.trains]


@pytest.mark.parametrize("variant", TRAINED, ids=str)
def test_training_mode_features_gradients_and_statistics(variant, files):
    torch.manual_seed(2)
    generator = torch.Generator().manual_seed(2)
    side = variant.image_size or 128
    model = variant.model(side).train()
    randomise(model, generator)
    safetensors.torch.save_file(model.state_dict(), files / "weights.safetensors")
    images = torch.randn(4, 3, side, side, generator=generator)
    pooled, tokens = variant.outputs(model, images)
    loss_weights = {
        "pooled_weight": torch.randn(pooled.shape, generator=generator),
        "tokens_weight": torch.randn(tokens.shape, generator=generator),
    }
    safetensors.torch.save_file({"images": images, **loss_weights}, files / "input.safetensors")
    ((pooled * loss_weights["pooled_weight"]).sum() + (tokens * loss_weights["tokens_weight"]).sum()).backward()

    ours, _ = run(
        variant.name,
        side,
        "train",
        files / "weights.safetensors",
        files / "input.safetensors",
        files / "output.safetensors",
    )
    errors = {}
    for key, expected in [("pooled", pooled.detach()), ("tokens", tokens.detach())] + list(model.named_buffers()):
        if key in ours:
            errors[key] = compare(key, ours[key], expected)
    assert {key for key in model.state_dict() if "running" in key} <= set(errors)
    gradients = {f"gradient.{key}": parameter.grad for key, parameter in model.named_parameters()}
    assert {key for key in ours if key.startswith("gradient.")} == set(gradients)
    # Some are zero but for rounding: those of biases that a later BatchNorm takes out again.
    typical = sorted(gradient.abs().max().item() for gradient in gradients.values())[len(gradients) // 2]
    for key, expected in gradients.items():
        errors[key] = compare(key, ours[key], expected, least_scale=typical)
    worst = max(errors, key=errors.get)
    print(f"{variant.name}: {worst} {errors[worst]:.2g}")
