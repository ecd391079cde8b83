"""timm's MobileOne, and files in Apple's names."""

import re

import timm
import torch

from variant import Foreign, Variant, timm_features


def apple_names(state):
    """Of timm's tensors, as ml-mobileone calls them."""
    names = [
        (r"^stem\.", "stage0."),
        (r"^stages\.(\d)\.", lambda match: f"stage{int(match[1]) + 1}."),
        ("conv_kxk", "rbr_conv"),
        ("conv_scale", "rbr_scale"),
        ("identity", "rbr_skip"),
        (r"attn\.fc1", "se.reduce"),
        (r"attn\.fc2", "se.expand"),
        (r"^head\.fc", "linear"),
    ]
    renamed = {}
    for key, tensor in state.items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        renamed[key] = tensor
    return renamed


class Apple(torch.nn.Module):
    """A model of timm's under Apple's names."""

    def __init__(self, name):
        super().__init__()
        self.model = timm.create_model(name)

    def state_dict(self):
        return apple_names(self.model.state_dict())


VARIANTS = [
    Variant("mobileone_s0", image_size=96, trains=True, drops=True, published=(5.29, 1024 * 1000 + 1000)),
    Variant("mobileone_s1", image_size=96, published=(4.83, 1280 * 1000 + 1000)),
    Variant("mobileone_s2", image_size=96, large=True, published=(7.88, 2048 * 1000 + 1000)),
    Variant("mobileone_s3", image_size=96, large=True, published=(10.17, 2048 * 1000 + 1000)),
    Variant("mobileone_s4", image_size=96, double=True, published=(14.95, 2048 * 1000 + 1000)),
]
FOREIGN = [
    Foreign(
        "mobileone_s4",
        "Apple MobileOne",
        lambda: Apple("mobileone_s4"),
        lambda model, images: timm_features(model.model, images),
        image_size=64,
        left_out=("classifier",),
    )
]
