"""Layers of encoders, and rates and weight decay that follow from them, against timm's own groups."""

import os
import re
import subprocess

import open_clip
import pytest
import timm
import timm.optim
from timm.models._manipulate import group_with_matcher

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "layer_order_list")
DECAY = 0.75

# open_clip's parts of a tower as timm's ViT has them.
AS_TIMM = [
    ("transformer.resblocks.", "blocks."),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
    ("conv1.", "patch_embed.proj."),
    ("class_embedding", "cls_token"),
    ("positional_embedding", "pos_embed"),
    ("score_head.", "head."),
]


def ours(encoder):
    """name -> (layer, share of the rate, whether it is an embedding)"""
    result = subprocess.run([PROGRAM, encoder, str(DECAY)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    return {name: (int(layer), float(share), embedding == "1") for name, layer, share, embedding in lines}


def head_renamed(name):
    for head in ("head.fc.", "head.", "classifier.", "fc."):
        if name.startswith(head) and not name.startswith("head.norm."):
            return "score_head." + name.removeprefix(head)
    return name


@pytest.mark.parametrize(
    "name,layers",
    [
        ("vit_tiny_patch16_224", 14),
        ("vit_small_patch16_224", 14),
        ("vit_base_patch16_siglip_224", 14),
        ("vit_small_patch14_reg4_dinov2", 14),
        ("vit_small_patch16_dinov3", 14),
        ("vit_srelpos_small_patch16_224", 14),
        ("vit_relpos_small_patch16_224", 14),
        ("mobilenetv3_small_100", 14),
        ("mobilenetv3_large_100", 18),
        ("swin_tiny_patch4_window7_224", 14),
        ("swinv2_tiny_window8_256", 14),
        ("convnext_tiny", 20),
        ("convnextv2_atto", 14),
        ("mobilenetv2_100", 19),
        ("mobilenetv4_conv_small", 19),
        ("efficientnet_b0", 18),
        ("resnet18", 10),
        ("resnet50", 18),
        ("mobileone_s1", 44),
        ("fastvit_sa12", 14),
    ],
)
def test_timm(name, layers):
    model = timm.create_model(name, num_classes=5)
    kept = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    groups = timm.optim.param_groups_layer_decay(model, 0.05, kept, layer_decay=DECAY)
    theirs = {
        parameter: (group["lr_scale"], group["weight_decay"] > 0) for group in groups for parameter in group["params"]
    }
    expected = {head_renamed(key): theirs[parameter] for key, parameter in model.named_parameters()}
    dimensions = {head_renamed(key): parameter.ndim for key, parameter in model.named_parameters()}
    found = ours(name)
    assert {
        key: (share, dimensions[key] > 1 and not embedding) for key, (_, share, embedding) in found.items()
    } == expected
    assert {layer for layer, _, _ in found.values()} == set(range(layers))
    assert all(share == DECAY ** (layers - 1 - layer) for layer, share, _ in found.values())


@pytest.mark.parametrize("name,layers", [("ViT-B-32", 14), ("ViT-demo-16", 8)])
def test_open_clip_has_the_rule_of_timms_vit(name, layers):
    found = ours(name)
    renamed = {}
    for key in found:
        prefix, replacement = next((pair for pair in AS_TIMM if key.startswith(pair[0])))
        renamed[replacement + key.removeprefix(prefix)] = key
    matcher = timm.models.VisionTransformer.group_matcher(None)
    expected = group_with_matcher(((key, None) for key in renamed), matcher, reverse=True)
    assert {key: found[renamed[key]][0] for key in renamed} == expected
    assert {layer for layer, _, _ in found.values()} == set(range(layers))
    assert all(share == DECAY ** (layers - 1 - layer) for layer, share, _ in found.values())
    tower = open_clip.transformer.VisionTransformer(32, 16, 16, 1, 1, 2)
    assert {key for key, (_, _, embedding) in found.items() if embedding} == tower.no_weight_decay()


def test_open_clips_resnet_has_the_rule_of_timms():
    found = ours("RN50")
    # Three convolutions in the stem instead of one.
    renamed = {re.sub(r"^(conv|bn)[23]\.", r"\g<1>1.\g<0>", key): key for key in found}
    matcher = timm.models.ResNet.group_matcher(None)
    expected = group_with_matcher(((key, None) for key in renamed), matcher, reverse=True)
    assert {key: found[renamed[key]][0] for key in renamed} == expected
    assert {layer for layer, _, _ in found.values()} == set(range(18))
    assert found["attnpool.positional_embedding"] == (17, 1.0, False)
