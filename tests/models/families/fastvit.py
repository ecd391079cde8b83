"""timm's FastViT and MobileCLIP towers, and files in Apple's names."""

import re

import timm
import torch
from timm.models.fastvit import checkpoint_filter_fn

from variant import Foreign, Variant, maps_of, timm_features


def attention(model, images):
    """By hand, from what timm feeds to attention."""
    mixers = [m for m in model.modules() if isinstance(m, timm.models.fastvit.Attention)]
    maps, hooks = {}, []
    for layer in {0, len(mixers) - 1}:

        def keep(module, inputs, _, layer=layer):
            tokens = inputs[0].flatten(2).transpose(1, 2)
            queries, keys, _ = (
                part.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for part in module.qkv(tokens).chunk(3, dim=2)
            )
            maps[layer] = maps_of(queries, keys)

        hooks.append(mixers[layer].register_forward_hook(keep))
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    return maps


def apple_names(model):
    """timm's tensors as ml-fastvit and ml-mobileclip call them."""
    network = {}
    for number, stage in enumerate(model.stages):
        own = f"stages.{number}."
        if number > 0:
            network[own + "downsample.proj."] = f"network.{len(network)}.proj."
        if not isinstance(stage.pos_emb, torch.nn.Identity):
            network[own + "pos_emb.pos_enc."] = f"network.{len(network)}.pe."
        network[own + "blocks."] = f"network.{len(network)}."
    parts = [
        (r"^stem\.", "patch_embed."),
        (r"^final_conv\.", "conv_exp."),
        ("conv_kxk", "rbr_conv"),
        ("conv_scale", "rbr_scale"),
        ("identity", "rbr_skip"),
        ("large_conv", "lkb_origin"),
        (r"\.mlp\.", ".convffn."),
        (r"se\.fc1", "se.reduce"),
        (r"se\.fc2", "se.expand"),
        (r"\.gamma$", ""),
    ]
    renamed = {}
    for key, tensor in model.state_dict().items():
        own = next((place for place in network if key.startswith(place)), None)
        if own:
            key = network[own] + key.removeprefix(own)
        for pattern, name in parts:
            key = re.sub(pattern, name, key)
        renamed[key] = tensor
    # timm's own reader of such files undoes it.
    again = checkpoint_filter_fn(renamed, model)
    assert {key: id(tensor) for key, tensor in again.items()} == {
        key: id(renamed_tensor) for key, renamed_tensor in zip(model.state_dict(), renamed.values(), strict=True)
    }
    return renamed


class Apple(torch.nn.Module):
    """A model of timm's under Apple's names; `clip`: as MobileCLIP's image tower beside a text tower."""

    def __init__(self, name, clip=False):
        super().__init__()
        self.model = timm.create_model(name, num_classes=0)
        self.clip = clip

    def state_dict(self):
        state = apple_names(self.model)
        if not self.clip:
            return {**state, "head.weight": torch.zeros(1000, 768), "head.bias": torch.zeros(1000)}
        state["head.proj"] = torch.zeros(self.model.num_features, 512)
        return {
            **{f"image_encoder.model.{key}": tensor for key, tensor in state.items()},
            "text_encoder.projection_layer": torch.zeros(512, 512),
            "logit_scale": torch.ones([]),
        }


class OpenClip(torch.nn.Module):
    """A tower as open_clip's files have it."""

    def __init__(self, name):
        super().__init__()
        self.visual = torch.nn.Module()
        self.visual.trunk = timm.create_model(name, num_classes=512)
        self.text = torch.nn.Module()
        self.text.token_embedding = torch.nn.Embedding(10, 64)


VARIANTS = [
    Variant("fastvit_t8", image_size=96, trains=True),
    Variant("fastvit_t12", image_size=64, large=True),
    Variant("fastvit_s12", image_size=64, large=True),
    Variant("fastvit_sa12", image_size=96, trains=True, double_training=True, drops=True, attention=attention),
    Variant("fastvit_sa24", image_size=64, large=True, attention=attention),
    Variant("fastvit_sa36", image_size=64, large=True, attention=attention),
    Variant("fastvit_ma36", image_size=64, large=True, attention=attention),
    Variant("fastvit_mci0", image_size=96, attention=attention),
    Variant("fastvit_mci1", image_size=64, large=True, attention=attention),
    Variant("fastvit_mci2", image_size=64, large=True, attention=attention),
    Variant("fastvit_mci3", image_size=128, large=True, attention=attention),
    Variant("fastvit_mci4", image_size=128, large=True, attention=attention),
]
FOREIGN = [
    Foreign(
        "fastvit_t8",
        "Apple FastViT",
        lambda: Apple("fastvit_t8"),
        lambda model, images: timm_features(model.model, images),
        image_size=64,
        left_out=("classifier",),
    ),
    Foreign(
        "fastvit_mci0",
        "Apple FastViT",
        lambda: Apple("fastvit_mci0", clip=True),
        lambda model, images: timm_features(model.model, images),
        image_size=64,
        left_out=("projection", "text tower"),
    ),
    Foreign(
        "fastvit_mci0",
        "timm",
        lambda: OpenClip("fastvit_mci0"),
        lambda model, images: timm_features(model.visual.trunk, images),
        image_size=64,
        left_out=("projection", "text tower"),
    ),
]
