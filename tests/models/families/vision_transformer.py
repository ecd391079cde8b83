"""timm's vision transformers, and CLIP's image towers as open_clip builds them."""

import open_clip
import torch
from open_clip.transformer import QuickGELU, VisionTransformer

from variant import Variant, maps_of

CLIP_STATISTICS = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def clip_tower(name):
    def build(image_size):
        config = open_clip.get_model_config(name)
        vision = {**config["vision_cfg"], **({"image_size": image_size} if image_size else {})}
        model = VisionTransformer(
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            width=vision["width"],
            layers=vision["layers"],
            heads=vision["width"] // vision.get("head_width", 64),
            mlp_ratio=vision.get("mlp_ratio", 4),
            act_layer=QuickGELU if config.get("quick_gelu") else torch.nn.GELU,
            output_tokens=True,
        )
        model.proj = None
        return model

    return build


def demo_tower(image_size):
    model = VisionTransformer(
        image_size=image_size or 128, patch_size=16, width=192, layers=6, heads=3, mlp_ratio=4, output_tokens=True
    )
    model.proj = None
    return model


def attention(model, images):
    """By hand, from what its home feeds to attention."""
    is_timm = hasattr(model, "blocks")
    blocks = model.blocks if is_timm else model.transformer.resblocks
    maps, hooks = {}, []
    for layer in {0, len(blocks) - 1}:

        def keep(module, inputs, _, layer=layer):
            weight, bias = (
                (module.qkv.weight, module.qkv.bias) if is_timm else (module.in_proj_weight, module.in_proj_bias)
            )
            rows = torch.nn.functional.linear(inputs[0], weight, bias)
            queries, keys, _ = (
                part.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for part in rows.chunk(3, dim=2)
            )
            maps[layer] = maps_of(queries, keys)

        hooks.append(blocks[layer].attn.register_forward_hook(keep))
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    return maps


def clip(name, **options):
    return Variant(
        name,
        build=clip_tower(name),
        features=lambda model, images: model(images),
        attention=attention,
        statistics=CLIP_STATISTICS,
        **options,
    )


def large_clip(name, **options):
    return clip(name, image_size=42, large=True, half=True, **options)


VARIANTS = [
    Variant(
        "ViT-demo-16",
        image_size=64,
        trains=True,
        build=demo_tower,
        features=lambda model, images: model(images),
        attention=attention,
        statistics=CLIP_STATISTICS,
    ),
    clip("ViT-B-32", published=(87.85, 768 * 512)),
    clip("ViT-B-32-quickgelu"),
    clip("ViT-B-16", image_size=64, published=(86.19, 768 * 512)),
    clip("ViT-B-16-quickgelu", image_size=64),
    large_clip("ViT-L-14", published=(304, 1024 * 768)),
    large_clip("ViT-L-14-quickgelu"),
    large_clip("ViT-L-14-336"),
    large_clip("ViT-L-14-336-quickgelu"),
    large_clip("ViT-H-14", published=(632, 1280 * 1024)),
    Variant(
        "vit_tiny_patch16_224", image_size=96, trains=True, attention=attention, published=(5.7, 192 * 1000 + 1000)
    ),
    Variant("vit_small_patch16_224", attention=attention, published=(22, 384 * 1000 + 1000)),
    Variant("vit_base_patch16_224", attention=attention),
]
