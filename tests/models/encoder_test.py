"""Encoders against their homes, timm and open_clip: names, shapes, initial weights, features, gradients; and files of
other libraries for the same structures."""

import os
import subprocess

import pytest
import torch
from families import FOREIGN, VARIANTS
from parity import PROGRAM, difference, differences, foreign_differences, ours, randomise, run

FULL = os.environ.get("CSKD_TEST_FULL") == "1"


def with_marks(variants):
    mark = pytest.mark.skipif(not FULL, reason="large; tests/run.sh --full")
    variants = [variant for variant in variants if not variant.shapes_only]
    return [pytest.param(variant, marks=mark if variant.large else (), id=variant.name) for variant in variants]


@pytest.fixture
def files(tmp_path):
    """A folder for large files: pytest would keep them for three sessions."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


def test_every_encoder_is_compared():
    names = subprocess.run([PROGRAM, "names"], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert sorted(names) == sorted(variant.name for variant in VARIANTS)


# The QuickGELU form of a tower has the same weights.
@pytest.mark.rotating(6)
@pytest.mark.parametrize("variant", with_marks(v for v in VARIANTS if "quickgelu" not in v.name))
def test_names_shapes_and_initial_weights(variant, files):
    torch.manual_seed(0)
    found, shape = run(variant.name, 0, "initial", files / "found.safetensors")
    model = variant.model()
    theirs = model.state_dict()
    assert {key: tensor.shape for key, tensor in found.items()} == {key: tensor.shape for key, tensor in theirs.items()}
    assert {key: tensor.dtype for key, tensor in found.items()} == {key: tensor.dtype for key, tensor in theirs.items()}

    if variant.published:
        millions, outside = variant.published
        count = sum(tensor.numel() for key, tensor in found.items() if key in dict(model.named_parameters()))
        decimals = len(str(millions).partition(".")[2])
        assert round((count + outside) / 1e6, decimals) == millions or round(count / 1e6, decimals) == millions, count

    # Standard deviation and extremes tell one distribution from another; constants must be the same.
    for key, expected in theirs.items():
        drawn, expected = found[key].flatten()[:1_000_000].float(), expected.flatten()[:1_000_000]
        # timm's truncated normal puts one draw in 2^24 at its bound of -2, 100 standard deviations away; we do not.
        expected = expected[expected.abs() != 2].float() if expected.numel() > 1 else expected.float()
        if expected.min() == expected.max():
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


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.shapes_only], ids=str)
def test_names_and_shapes(variant):
    with torch.device("meta"):
        model = variant.model()
    expected = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    result = subprocess.run([PROGRAM, variant.name, "0", "shapes"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert {name: [int(size) for size in sizes] for name, *sizes in lines} == expected


@pytest.mark.rotating(6)
@pytest.mark.parametrize("variant", with_marks(VARIANTS))
def test_features(variant, files):
    errors, _ = differences(variant, files)
    for key, error in errors.items():
        assert error <= (1e-4 if key.startswith("attention") else 2e-5), key
    print(f"{variant.name}: {max(errors.values()):.2g}")


@pytest.mark.rotating(3)
@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_foreign_layouts(foreign, files):
    errors, report = foreign_differences(foreign, files)
    for key, error in errors.items():
        assert error <= 2e-5, key
    assert report["layout"] == foreign.layout
    for what in foreign.left_out:
        assert what in report["left_out"]


TRAINED = [pytest.param(variant, 0, id=variant.name) for variant in VARIANTS if variant.trains]
DROPPED = [pytest.param(variant, 0.25, id=f"{variant.name}-drop_path") for variant in VARIANTS if variant.drops]


@pytest.mark.rotating(6)
@pytest.mark.parametrize("variant,drop_path", TRAINED + DROPPED)
def test_training_mode_features_gradients_and_statistics(variant, drop_path, files):
    torch.manual_seed(2)
    generator = torch.Generator().manual_seed(2)
    side = variant.image_size or 128
    model = variant.model(side, **({"drop_path_rate": drop_path} if drop_path else {})).train()
    randomise(model, generator)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    images = torch.randn(4, 3, side, side, generator=generator)
    if variant.double or variant.double_training:
        model, images = model.double(), images.double()
    torch.manual_seed(7)  # both leave out the same branches
    pooled, tokens = variant.outputs(model, images)
    loss_weights = {
        "pooled_weight": torch.randn(pooled.shape, generator=generator).to(pooled),
        "tokens_weight": torch.randn(tokens.shape, generator=generator).to(tokens),
    }
    ((pooled * loss_weights["pooled_weight"]).sum() + (tokens * loss_weights["tokens_weight"]).sum()).backward()

    inputs = {"images": images, "drop_path": torch.tensor(float(drop_path)), **loss_weights}
    found, _ = ours(variant.name, side, "train", weights, inputs, files)
    errors = {}
    for key, expected in [("pooled", pooled.detach()), ("tokens", tokens.detach())] + list(model.named_buffers()):
        if key in found:
            errors[key] = difference(key, found[key], expected)
    assert {key for key in model.state_dict() if "running" in key} <= set(errors)
    gradients = {f"gradient.{key}": parameter.grad for key, parameter in model.named_parameters()}
    assert {key for key in found if key.startswith("gradient.")} == set(gradients)
    # Some are zero but for rounding: those of biases that a later BatchNorm takes out again.
    typical = sorted(gradient.abs().max().item() for gradient in gradients.values())[len(gradients) // 2]
    for key, expected in gradients.items():
        errors[key] = difference(key, found[key], expected, least_scale=typical)
    worst = max(errors, key=errors.get)
    assert errors[worst] <= 1e-4, worst
    print(f"{variant.name}: {worst} {errors[worst]:.2g}")
