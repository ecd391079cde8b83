"""Encoders against their homes, timm and open_clip: names, shapes, initial weights, features, gradients."""

import os
import subprocess

import open_clip
import pytest
import safetensors
import safetensors.torch
import timm
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "encoder_features")
FULL = os.environ.get("CSKD_TEST_FULL") == "1"

TIMM = [
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "vit_base_patch16_224",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "resnet18",
    "resnet50",
]
CLIP = ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16", "ViT-B-16-quickgelu"]
LARGE_CLIP = ["ViT-L-14", "ViT-L-14-quickgelu", "ViT-L-14-336", "ViT-L-14-336-quickgelu", "ViT-H-14"]
EVERY = TIMM + CLIP + ["ViT-demo-16"] + LARGE_CLIP

# Millions of parameters as published, and the number of those in the classifier (timm) or in proj (CLIP), which our
# encoders do without.
PUBLISHED = {
    "vit_tiny_patch16_224": (5.7, 192 * 1000 + 1000),
    "vit_small_patch16_224": (22, 384 * 1000 + 1000),
    "mobilenetv3_small_100": (2.5, 1024 * 1000 + 1000),
    "mobilenetv3_large_100": (5.5, 1280 * 1000 + 1000),
    "resnet50": (25.6, 2048 * 1000 + 1000),
    "ViT-B-32": (87.85, 768 * 512),
    "ViT-B-16": (86.19, 768 * 512),
    "ViT-L-14": (304, 1024 * 768),
    "ViT-H-14": (632, 1280 * 1024),
}


def large(name):
    return pytest.mark.skipif(not FULL, reason="large; tests/run.sh --full") if name in LARGE_CLIP else ()


def with_marks(names):
    return [pytest.param(name, marks=large(name)) for name in names]


def home_model(name, image_size=None):
    """The model of `name` as its home builds it, without classifier or proj; image_size None takes the home's own."""
    size = {} if image_size is None else {"image_size": image_size}
    if name in TIMM:
        size = {"img_size": image_size} if image_size and name.startswith("vit") else {}
        return timm.create_model(name, num_classes=0, **size)
    if name == "ViT-demo-16":
        model = VisionTransformer(
            **{"image_size": 128, **size}, patch_size=16, width=192, layers=6, heads=3, mlp_ratio=4, output_tokens=True
        )
    else:
        config = open_clip.get_model_config(name)
        vision = {**config["vision_cfg"], **size}
        model = VisionTransformer(
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            width=vision["width"],
            layers=vision["layers"],
            heads=vision["width"] // vision.get("head_width", 64),
            mlp_ratio=4,
            act_layer=QuickGELU if config.get("quick_gelu") else torch.nn.GELU,
            output_tokens=True,
        )
    model.proj = None
    return model


def home_features(name, model, images):
    if name not in TIMM:
        return model(images)
    if name.startswith("vit"):
        features = model.forward_features(images)
        return features[:, 0], features[:, 1:]
    feature_map = model.forward_features(images)
    return model.forward_head(feature_map), feature_map.flatten(2).transpose(1, 2)


def home_attention(name, model, images):
    """{layer: maps} of the first and the last block, by hand from what its home feeds to attention; none for CNNs."""
    blocks = list(getattr(model, "blocks", [])) if name in TIMM and name.startswith("vit") else []
    if name not in TIMM:
        blocks = list(model.transformer.resblocks)
    maps, hooks = {}, []
    for layer in {0, len(blocks) - 1} if blocks else ():
        attention = blocks[layer].attn
        inside = attention.num_heads

        def keep(_, inputs, __, layer=layer, attention=attention, heads=inside):
            x = inputs[0]
            weight, bias = (
                (attention.qkv.weight, attention.qkv.bias)
                if name in TIMM
                else (attention.in_proj_weight, attention.in_proj_bias)
            )
            queries, keys, _ = (
                part.unflatten(2, (heads, -1)).transpose(1, 2)
                for part in torch.nn.functional.linear(x, weight, bias).chunk(3, dim=2)
            )
            maps[layer] = (queries @ keys.transpose(2, 3) * keys.shape[3] ** -0.5).softmax(3)

        hooks.append(attention.register_forward_hook(keep))
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    return maps


def randomise(model, generator):
    """Changes every tensor that starts as a constant, so that none can be left out unseen."""
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif name == "patch_embed.proj.weight":
                tensor.mul_(0.01)
            elif name in ("cls_token", "pos_embed", "patch_embed.proj.bias"):
                # So small that the first LayerNorm's epsilon is seen.
                tensor.normal_(0, 0.005, generator=generator)
            elif name.endswith("running_mean") or name.endswith("bias"):
                tensor.normal_(0, 0.2, generator=generator)
            elif tensor.dim() == 1 and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.startswith(("blocks", "transformer")) and tensor.dim() == 2:
                # Sharper attention than a fresh model's, in which every token is much alike.
                tensor.normal_(0, 2 * tensor.shape[1] ** -0.5, generator=generator)


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


def compare(name, ours, theirs, least_scale=0.0):
    """The greatest difference as a part of the greatest value; at most 1e-4."""
    assert ours.shape == theirs.shape, name
    scale = max(theirs.abs().max().item(), least_scale)
    assert scale > 0, name
    difference = (ours - theirs).abs().max().item()
    assert difference <= 1e-4 * scale, f"{name}: difference {difference:.3g}, scale {scale:.3g}"
    return difference / scale


@pytest.fixture
def files(tmp_path):
    """A folder for large files: pytest would keep them for three sessions."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


# The QuickGELU form of a tower has the same weights.
@pytest.mark.parametrize("name", with_marks(name for name in EVERY if "quickgelu" not in name))
def test_names_shapes_and_initial_weights(name, files):
    torch.manual_seed(0)
    ours, shape = run(name, 0, "initial", files / "ours.safetensors")
    model = home_model(name)
    theirs = model.state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}
    assert {key: tensor.dtype for key, tensor in ours.items()} == {key: tensor.dtype for key, tensor in theirs.items()}

    if name in PUBLISHED:
        millions, outside = PUBLISHED[name]
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

    if name in TIMM:
        mean, stddev = model.default_cfg["mean"], model.default_cfg["std"]
        assert int(shape["image_size"]) == model.default_cfg["input_size"][1]
    else:
        mean, stddev = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        assert int(shape["image_size"]) == model.image_size[0]
    assert [float(x) for x in shape["mean"].split()] == pytest.approx(mean, abs=1e-7)
    assert [float(x) for x in shape["stddev"].split()] == pytest.approx(stddev, abs=1e-7)


# Small images keep the large towers affordable: their blocks are the same.
FEATURES = [(name, None) for name in TIMM + ["ViT-B-32", "ViT-B-32-quickgelu", "ViT-demo-16"]]
FEATURES += [
    ("ViT-B-16", 64),
    ("ViT-B-16-quickgelu", 64),
    ("ViT-demo-16", 64),
    ("vit_tiny_patch16_224", 96),
    ("mobilenetv3_small_100", 96),
    ("mobilenetv3_large_100", 160),
    ("resnet50", 64),
]
FEATURES += [(name, 42) for name in LARGE_CLIP]


@pytest.mark.parametrize("name,image_size", [pytest.param(*case, marks=large(case[0])) for case in FEATURES])
def test_features(name, image_size, files):
    generator = torch.Generator().manual_seed(1)
    model = home_model(name, image_size).eval()
    randomise(model, generator)
    side = image_size or (128 if name == "ViT-demo-16" else 224)
    images = torch.randn(2, 3, side, side, generator=generator)
    calibrate(model, images, generator)
    if name in LARGE_CLIP:
        # Stored with half the bytes; the home computes with the same rounded weights.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half())
        weights = {f"visual.{key}": tensor.half() for key, tensor in model.state_dict().items()}
    else:
        weights = model.state_dict()
    safetensors.torch.save_file(weights, files / "weights.safetensors")
    safetensors.torch.save_file({"images": images}, files / "input.safetensors")
    with torch.no_grad():
        pooled, tokens = home_features(name, model, images)
        attention = home_attention(name, model, images)
    # What differs from image to image and from place to place must be seen, not a constant that all share.
    assert pooled.std(dim=0).mean() > 0.01 * pooled.std()
    assert tokens.shape[1] == 1 or tokens.std(dim=1).mean() > 0.01 * tokens.std()

    ours, shape = run(
        name,
        image_size or 0,
        "eval",
        files / "weights.safetensors",
        files / "input.safetensors",
        files / "output.safetensors",
    )
    errors = [compare("pooled", ours["pooled"], pooled), compare("tokens", ours["tokens"], tokens)]
    assert {f"attention.{layer}" for layer in attention} == {key for key in ours if key.startswith("attention")}
    errors += [compare(f"attention.{layer}", ours[f"attention.{layer}"], maps) for layer, maps in attention.items()]
    print(f"{name}: {max(errors):.2g}")
    assert ours["pooled"].shape == (2, int(shape["pooled_width"]))
    assert ours["tokens"].shape == (2, int(shape["grid"]) ** 2, int(shape["token_width"]))


@pytest.mark.parametrize(
    "name,image_size",
    [
        ("ViT-demo-16", 64),
        ("vit_tiny_patch16_224", 64),
        ("mobilenetv3_small_100", 128),
        ("mobilenetv3_large_100", 128),
        ("resnet18", 128),
        ("resnet50", 128),
    ],
)
def test_training_mode_features_gradients_and_statistics(name, image_size, files):
    generator = torch.Generator().manual_seed(2)
    model = home_model(name, image_size).train()
    randomise(model, generator)
    safetensors.torch.save_file(model.state_dict(), files / "weights.safetensors")
    images = torch.randn(4, 3, image_size, image_size, generator=generator)
    pooled, tokens = home_features(name, model, images)
    loss_weights = {
        "pooled_weight": torch.randn(pooled.shape, generator=generator),
        "tokens_weight": torch.randn(tokens.shape, generator=generator),
    }
    safetensors.torch.save_file({"images": images, **loss_weights}, files / "input.safetensors")
    ((pooled * loss_weights["pooled_weight"]).sum() + (tokens * loss_weights["tokens_weight"]).sum()).backward()

    ours, _ = run(
        name,
        image_size,
        "train",
        files / "weights.safetensors",
        files / "input.safetensors",
        files / "output.safetensors",
    )
    errors = {}
    for key, expected in [("pooled", pooled.detach()), ("tokens", tokens.detach())] + list(model.named_buffers()):
        errors[key] = compare(key, ours[key], expected)
    gradients = {f"gradient.{key}": parameter.grad for key, parameter in model.named_parameters()}
    assert {key for key in ours if key.startswith("gradient.")} == set(gradients)
    # Some are zero but for rounding: those of biases that a later BatchNorm takes out again.
    typical = sorted(gradient.abs().max().item() for gradient in gradients.values())[len(gradients) // 2]
    for key, expected in gradients.items():
        errors[key] = compare(key, ours[key], expected, least_scale=typical)
    worst = max(errors, key=errors.get)
    print(f"{name}: {worst} {errors[worst]:.2g}")
