"""timm's vision transformers, CLIP's image towers as open_clip builds them, and both under other libraries' names."""

import tempfile

import open_clip
import safetensors.torch
import timm
import torch
import torchvision
import transformers
from open_clip.transformer import QuickGELU, VisionTransformer
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import checkpoint_filter_fn

from variant import Foreign, Variant, maps_of, timm_features

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


def large(name, image_size=None, **options):
    return Variant(name, image_size=image_size, large=True, attention=attention, **options)


def known(name, **options):
    """A structure that another variant has, at another image size, or one too large for a test."""
    return Variant(name, shapes_only=True, **options)


def torchvision_twin(name, twin, **options):
    """torchvision's structure under timm's names: the layout itself is tested below."""

    def build(image_size):
        return timm.create_model(twin, num_classes=0, img_size=image_size or 224)

    return Variant(
        name,
        build=build,
        features=timm_features,
        attention=attention,
        statistics=(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
        **options,
    )


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
    clip("ViT-H-14-quickgelu", shapes_only=True),
    clip("ViT-H-14-378", shapes_only=True),
    clip("ViT-H-14-378-quickgelu", shapes_only=True),
    clip("ViT-bigG-14", shapes_only=True),
    clip("ViT-bigG-14-quickgelu", shapes_only=True),
    Variant(
        "vit_tiny_patch16_224", image_size=96, trains=True, attention=attention, published=(5.7, 192 * 1000 + 1000)
    ),
    Variant("vit_small_patch16_224", attention=attention, published=(22, 384 * 1000 + 1000)),
    Variant("vit_base_patch16_224", attention=attention),
    large("vit_base_patch32_224"),
    large("vit_large_patch32_224", image_size=64),
    large("vit_large_patch16_224", image_size=32),
    known("vit_huge_patch14_224"),
    torchvision_twin("vit_b_16", "vit_base_patch16_224", large=True),
    torchvision_twin("vit_b_32", "vit_base_patch32_224", shapes_only=True),
    torchvision_twin("vit_l_16", "vit_large_patch16_224", shapes_only=True),
    torchvision_twin("vit_l_32", "vit_large_patch32_224", shapes_only=True),
    torchvision_twin("vit_h_14", "vit_huge_patch14_224", shapes_only=True),
    Variant("deit_tiny_patch16_224", image_size=64, attention=attention),
    large("deit_small_patch16_224"),
    large("deit_base_patch16_224"),
    Variant("deit3_small_patch16_224", image_size=64, trains=True, attention=attention),
    large("deit3_base_patch16_224"),
    large("deit3_large_patch16_224", image_size=32),
    large("vit_base_patch32_siglip_256"),
    Variant("vit_base_patch16_siglip_224", image_size=32, trains=True, attention=attention),
    known("vit_base_patch16_siglip_256"),
    known("vit_base_patch16_siglip_384"),
    known("vit_base_patch16_siglip_512"),
    large("vit_large_patch16_siglip_256", image_size=32),
    known("vit_large_patch16_siglip_384"),
    large("vit_large_patch16_siglip_512", image_size=32),
    large("vit_so400m_patch14_siglip_224", image_size=42),
    known("vit_so400m_patch14_siglip_378"),
    large("vit_so400m_patch16_siglip_256", image_size=32),
    known("vit_so400m_patch16_siglip_384"),
    known("vit_so400m_patch16_siglip_512"),
    known("vit_giantopt_patch16_siglip_256"),
    known("vit_giantopt_patch16_siglip_384"),
    Variant("vit_small_patch14_dinov2", image_size=56, attention=attention),
    Variant("vit_small_patch14_reg4_dinov2", image_size=56, trains=True, attention=attention, published=(22, 0)),
    large("vit_base_patch14_dinov2", image_size=56),
    large("vit_base_patch14_reg4_dinov2", image_size=56),
    large("vit_large_patch14_dinov2", image_size=42),
    large("vit_large_patch14_reg4_dinov2", image_size=42),
]


def as_saved(model):
    """What transformers writes, under names that its own modules have not all had since version 5."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return safetensors.torch.load_file(f"{folder}/model.safetensors")


def configuration(kind, width, layers, heads, image_size, patch=16, **options):
    return kind(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=image_size,
        patch_size=patch,
        **options,
    )


def clip_vision_features(tower, images):
    found = tower(images)
    return found.pooler_output, tower.post_layernorm(found.last_hidden_state)[:, 1:]


def hugging_face_clip():
    vision = configuration(transformers.CLIPVisionConfig, 192, 6, 3, 64, hidden_act="gelu")
    text = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=100)
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision.to_dict()))


def hugging_face_clip_tower():
    # ViT-B-32's structure: the smallest with QuickGELU.
    return transformers.CLIPVisionModel(
        configuration(transformers.CLIPVisionConfig, 768, 12, 12, 64, patch=32, hidden_act="quick_gelu")
    )


def hugging_face_siglip():
    vision = configuration(transformers.SiglipVisionConfig, 768, 12, 12, 32, hidden_act="gelu")
    text = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=100)
    config = transformers.SiglipConfig(text_config=text, vision_config=vision.to_dict())
    return transformers.SiglipModel(config)


def siglip_features(model, images):
    tower = model.vision_model
    found = tower(images)
    return found.pooler_output, found.last_hidden_state


def hugging_face_vit(kind=transformers.ViTModel):
    # timm's epsilon: transformers has 1e-12, which changes features by less than rounding unless tokens are tiny.
    return kind(configuration(transformers.ViTConfig, 192, 12, 3, 64, layer_norm_eps=1e-6))


def vit_features(model, images):
    tokens = getattr(model, "vit", model)(images).last_hidden_state
    return tokens[:, 0], tokens[:, 1:]


def hugging_face_dinov2(kind, config, image_size=56):
    return kind(configuration(config, 384, 12, 6, image_size, patch=14))


def dinov2_features(registers):
    def features(model, images):
        tokens = model(images).last_hidden_state
        return tokens[:, 0], tokens[:, 1 + registers :]

    return features


def torchvision_tiny():
    return torchvision.models.VisionTransformer(64, 16, 12, 3, 192, 768)


def torchvision_features(model, images):
    tokens = model._process_input(images)
    tokens = model.encoder(torch.cat([model.class_token.expand(len(images), -1, -1), tokens], dim=1))
    return tokens[:, 0], tokens[:, 1:]


def timm_clip_demo():
    return timm.models.VisionTransformer(
        img_size=64,
        patch_size=16,
        embed_dim=192,
        depth=6,
        num_heads=3,
        num_classes=10,
        pre_norm=True,
        norm_layer=clip_norm,
    )


def clip_norm(width, **options):
    return torch.nn.LayerNorm(width, eps=1e-5, **options)


def open_clip_siglip():
    model = open_clip.timm_model.TimmModel("vit_base_patch16_siglip_224", embed_dim=768, pool="map", proj="none")
    model.trunk.set_input_size(img_size=(32, 32))
    return model


def open_clip_siglip_file(model):
    file = {f"visual.{key}": tensor for key, tensor in model.state_dict().items()}
    return {**file, "logit_scale": torch.zeros(()), "text.ln_final.weight": torch.zeros(8)}


def openai_file(model):
    """OpenAI's archives hold float16 matrices, the text tower, and three sizes."""
    file = {f"visual.{key}": tensor for key, tensor in model.state_dict().items()}
    file |= {key: torch.tensor(77) for key in ("input_resolution", "context_length", "vocab_size")}
    return {**file, "visual.proj": torch.zeros(192, 64), "token_embedding.weight": torch.zeros(10, 64)}


def facebook_dinov2_file(model):
    """Facebook's names and shapes: the class token has an embedding of its position."""
    state = model.state_dict()
    class_position = torch.full_like(state["cls_token"], 0.01)
    file = {
        **state,
        "register_tokens": state["reg_token"],
        "cls_token": state["cls_token"] - class_position,
        "pos_embed": torch.cat([class_position, state["pos_embed"]], dim=1),
        "mask_token": torch.zeros(1, 384),
    }
    del file["reg_token"]
    return file


def facebook_deit3_file(model):
    return {
        key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): tensor
        for key, tensor in model.state_dict().items()
    }


def at_size(name, image_size):
    """Features by timm's own loading of another image size's weights."""

    def features(model, images):
        target = timm.create_model(name, num_classes=0, img_size=image_size).eval()
        target.load_state_dict(checkpoint_filter_fn(model.state_dict(), target))
        return timm_features(target, images)

    return features


def resampled(name, trained, image_size):
    return Foreign(
        name,
        "timm",
        lambda: timm.create_model(name, num_classes=0, img_size=trained),
        at_size(name, image_size),
        image_size=image_size,
        title=f"from_{trained}_to_{image_size}",
    )


def resampled_tower(model, images):
    target = demo_tower(64).eval()
    state = model.state_dict()
    open_clip.model.resize_pos_embed(
        prefixed := {f"visual.{key}": tensor for key, tensor in state.items()}, Holder(target)
    )
    target.load_state_dict({key.removeprefix("visual."): tensor for key, tensor in prefixed.items()})
    return target(images)


class Holder(torch.nn.Module):
    """open_clip's functions look for a model with a `visual`."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual


def timm_model(name, image_size):
    return lambda: timm.create_model(name, num_classes=0, img_size=image_size)


FOREIGN = [
    Foreign(
        "ViT-demo-16",
        "Hugging Face CLIP",
        hugging_face_clip,
        lambda model, images: clip_vision_features(model.vision_model, images),
        image_size=64,
        left_out=("text tower", "projection"),
        state=as_saved,
    ),
    Foreign(
        "ViT-B-32-quickgelu",
        "Hugging Face CLIP",
        hugging_face_clip_tower,
        clip_vision_features,
        image_size=64,
        state=as_saved,
        title="image_tower_alone",
    ),
    Foreign(
        "vit_base_patch16_siglip_224",
        "Hugging Face SigLIP",
        hugging_face_siglip,
        siglip_features,
        image_size=32,
        left_out=("text tower",),
        state=as_saved,
    ),
    Foreign(
        "vit_base_patch16_siglip_224",
        "timm",
        open_clip_siglip,
        lambda model, images: timm_features(model.trunk, images),
        image_size=32,
        left_out=("text tower",),
        state=open_clip_siglip_file,
        title="of_open_clip",
    ),
    Foreign(
        "vit_tiny_patch16_224",
        "Hugging Face ViT",
        hugging_face_vit,
        vit_features,
        image_size=64,
        left_out=("pooler",),
        state=as_saved,
    ),
    Foreign(
        "deit_tiny_patch16_224",
        "Hugging Face ViT",
        lambda: hugging_face_vit(transformers.ViTForImageClassification),
        vit_features,
        image_size=64,
        title="names_of_version_5",
    ),
    Foreign(
        "deit_tiny_patch16_224",
        "torchvision",
        torchvision_tiny,
        torchvision_features,
        image_size=64,
        left_out=("classifier",),
    ),
    Foreign(
        "deit3_small_patch16_224",
        "DeiT III",
        timm_model("deit3_small_patch16_224", 32),
        timm_features,
        image_size=32,
        state=facebook_deit3_file,
    ),
    Foreign(
        "vit_small_patch14_dinov2",
        "Hugging Face DINOv2",
        lambda: hugging_face_dinov2(transformers.Dinov2Model, transformers.Dinov2Config),
        dinov2_features(0),
        image_size=56,
        left_out=("mask token",),
        state=as_saved,
    ),
    Foreign(
        "vit_small_patch14_reg4_dinov2",
        "Hugging Face DINOv2",
        lambda: hugging_face_dinov2(transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig),
        dinov2_features(4),
        image_size=56,
        left_out=("mask token",),
        state=as_saved,
    ),
    Foreign(
        "vit_small_patch14_reg4_dinov2",
        "DINOv2",
        timm_model("vit_small_patch14_reg4_dinov2", 56),
        timm_features,
        image_size=56,
        left_out=("mask token",),
        state=facebook_dinov2_file,
    ),
    Foreign(
        "vit_small_patch14_reg4_dinov2",
        "DINOv2",
        timm_model("vit_small_patch14_reg4_dinov2", 70),
        at_size("vit_small_patch14_reg4_dinov2", 42),
        image_size=42,
        state=facebook_dinov2_file,
        title="from_70_to_42",
    ),
    Foreign("ViT-demo-16", "timm CLIP", timm_clip_demo, timm_features, image_size=64, left_out=("classifier",)),
    Foreign(
        "ViT-demo-16",
        "open_clip",
        lambda: demo_tower(64),
        lambda model, images: model(images),
        image_size=64,
        left_out=("text tower", "projection"),
        state=openai_file,
        title="as_OpenAI_saved",
    ),
    Foreign(
        "ViT-demo-16", "open_clip", lambda: demo_tower(112), resampled_tower, image_size=64, title="from_112_to_64"
    ),
    resampled("vit_tiny_patch16_224", 64, 112),
    resampled("vit_tiny_patch16_224", 112, 48),
    resampled("vit_small_patch14_dinov2", 70, 42),
    resampled("vit_small_patch14_reg4_dinov2", 42, 70),
    resampled("vit_base_patch16_siglip_224", 48, 32),
]
