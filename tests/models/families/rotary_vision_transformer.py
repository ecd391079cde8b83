"""DINOv3 as timm builds it."""

import tempfile

import safetensors.torch
import timm
import torch
import transformers
from timm.layers import apply_rot_embed_cat

from variant import Foreign, Variant, maps_of, timm_features


def attention(model, images):
    """By hand, from what timm feeds to attention."""
    maps, hooks = {}, []
    for layer in {0, len(model.blocks) - 1}:

        def keep(module, inputs, options, _, layer=layer):
            rows = module.qkv(inputs[0])
            if module.q_bias is not None:
                rows = rows + torch.cat([module.q_bias, torch.zeros_like(module.q_bias), module.v_bias])
            queries, keys, _ = (
                part.unflatten(2, (module.num_heads, -1)).transpose(1, 2) for part in rows.chunk(3, dim=2)
            )
            maps[layer] = maps_of(*(turned(part, module, options["rope"]) for part in (queries, keys)))

        hooks.append(model.blocks[layer].attn.register_forward_hook(keep, with_kwargs=True))
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    return maps


def turned(x, module, rope):
    prefix = module.num_prefix_tokens
    return torch.cat([x[:, :, :prefix], apply_rot_embed_cat(x[:, :, prefix:], rope, half=True)], dim=2)


def variant(name, **options):
    return Variant(name, attention=attention, **options)


VARIANTS = [
    variant("vit_small_patch16_dinov3", image_size=64, trains=True),
    variant("vit_small_patch16_dinov3_qkvb", image_size=80, trains=True),
    variant("vit_small_plus_patch16_dinov3", image_size=64),
    variant("vit_small_plus_patch16_dinov3_qkvb", shapes_only=True),
    variant("vit_base_patch16_dinov3", large=True),
    variant("vit_base_patch16_dinov3_qkvb", large=True),
    variant("vit_large_patch16_dinov3", image_size=32, large=True),
    variant("vit_large_patch16_dinov3_qkvb", image_size=32, large=True),
    variant("vit_huge_plus_patch16_dinov3", shapes_only=True),
    variant("vit_huge_plus_patch16_dinov3_qkvb", shapes_only=True),
]


def hugging_face(gated):
    return transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            intermediate_size=1536,
            num_register_tokens=4,
            use_gated_mlp=gated,
            hidden_act="silu" if gated else "gelu",
        )
    )


def hugging_face_features(model, images):
    tokens = model(images).last_hidden_state[:, 5:]
    return tokens.mean(dim=1), tokens


def as_saved(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return safetensors.torch.load_file(f"{folder}/model.safetensors")


def facebook_file(model):
    """Facebook's names; the keys' biases there are masked."""
    file = {"storage_tokens": model.reg_token, "mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    for key, tensor in model.state_dict().items():
        if key.endswith("attn.q_bias"):
            value = model.state_dict()[key.replace("q_bias", "v_bias")]
            stem = key.removesuffix("q_bias")
            file[f"{stem}qkv.bias"] = torch.cat([tensor, torch.ones_like(tensor), value])
            file[f"{stem}qkv.bias_mask"] = torch.full((3 * len(tensor),), float("nan"))
        elif key != "reg_token" and not key.endswith("v_bias"):
            file[key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")] = tensor
    return file


FOREIGN = [
    Foreign(
        "vit_small_patch16_dinov3_qkvb",
        "Hugging Face DINOv3",
        lambda: hugging_face(gated=False),
        hugging_face_features,
        image_size=64,
        left_out=("mask token",),
        state=as_saved,
    ),
    Foreign(
        "vit_small_plus_patch16_dinov3_qkvb",
        "Hugging Face DINOv3",
        lambda: hugging_face(gated=True),
        hugging_face_features,
        image_size=64,
        left_out=("mask token",),
        state=as_saved,
    ),
    Foreign(
        "vit_small_patch16_dinov3_qkvb",
        "DINOv3",
        lambda: timm.create_model("vit_small_patch16_dinov3_qkvb", num_classes=0, img_size=64),
        timm_features,
        image_size=64,
        left_out=("mask token", "periods", "masks of biases"),
        state=facebook_file,
    ),
]
