"""ConvNeXt v1 and v2 of timm, torchvision and their authors, and open_clip's towers with them."""

import open_clip
import timm
import torchvision
from timm.models.convnext import checkpoint_filter_fn

from variant import Foreign, Variant, timm_features

CLASSES = 1000


def published(millions, width):
    return (millions, width * CLASSES + CLASSES)


def tower(name):
    """timm's encoder in one of open_clip's models, with that model's size and normalisation."""
    config = open_clip.get_model_config(name)["vision_cfg"]

    def build(image_size):
        model = timm.create_model(config["timm_model_name"], num_classes=0)
        model.image_size = (config["image_size"],) * 2
        return model

    return Variant(
        name,
        image_size=64,
        large=True,
        build=build,
        statistics=(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
    )


VARIANTS = [
    Variant("convnext_atto", image_size=96, trains=True, published=published(3.7, 320)),
    Variant("convnext_femto", image_size=64, published=published(5.22, 384)),
    Variant("convnext_pico", image_size=64, large=True, published=published(9.05, 512)),
    Variant("convnext_nano", image_size=64, large=True, published=published(15.59, 640)),
    Variant("convnext_tiny", image_size=64, trains=True, published=published(28.59, 768)),
    Variant("convnext_small", image_size=64, large=True, published=published(50.22, 768)),
    Variant("convnext_base", image_size=64, large=True, published=published(88.59, 1024)),
    Variant("convnext_large", image_size=64, large=True, published=published(197.77, 1536)),
    Variant("convnextv2_atto", image_size=96, trains=True, published=published(3.71, 320)),
    Variant("convnextv2_femto", image_size=64, published=published(5.23, 384)),
    Variant("convnextv2_pico", image_size=64, large=True, published=published(9.07, 512)),
    Variant("convnextv2_nano", image_size=64, large=True, published=published(15.62, 640)),
    Variant("convnextv2_tiny", image_size=64, large=True, published=published(28.64, 768)),
    Variant("convnextv2_small", image_size=64, large=True),
    Variant("convnextv2_base", image_size=64, large=True, published=published(88.72, 1024)),
    Variant("convnextv2_large", image_size=64, large=True, published=published(197.96, 1536)),
    *[tower(name) for name in ("convnext_base_w", "convnext_base_w_320", "convnext_large_d", "convnext_large_d_320")],
]

AS_META = [
    ("stem.", "downsample_layers.0."),
    *[(f"stages.{stage}.downsample.", f"downsample_layers.{stage}.") for stage in (1, 2, 3)],
    (".blocks.", "."),
    (".conv_dw.", ".dwconv."),
    (".mlp.fc", ".pwconv"),
    (".mlp.grn.weight", ".grn.gamma"),
    (".mlp.grn.bias", ".grn.beta"),
    ("head.norm.", "norm."),
    ("head.fc.", "head."),
]


def meta(name):
    """A model whose state dict has the names and shapes of its authors' files."""
    model = timm.create_model(name, num_classes=5)
    state_dict = model.state_dict

    def renamed():
        tensors = {}
        for key, tensor in state_dict().items():
            for ours, theirs in AS_META:
                key = key.replace(ours, theirs)
            if ".grn." in key:
                tensor = tensor.view(1, 1, 1, -1)
            elif ".pwconv" in key and key.endswith("weight"):
                tensor = tensor.flatten(1)
            tensors[key] = tensor
        return tensors

    model.state_dict = renamed
    return model


def through_timm(name):
    """What timm itself makes of a file with such names."""

    def features(model, images):
        own = timm.create_model(name, num_classes=5).eval()
        own.load_state_dict(checkpoint_filter_fn(model.state_dict(), own))
        return timm_features(own, images)

    return features


def torchvision_features(model, images):
    tokens = model.features(images)
    return model.classifier[:2](model.avgpool(tokens)), tokens.flatten(2).transpose(1, 2)


def from_torchvision(name, image_size):
    return Foreign(
        name,
        "torchvision",
        getattr(torchvision.models, name),
        torchvision_features,
        image_size,
        left_out=("classifier",),
    )


def small_clip(proj):
    """open_clip's model of both towers, with the smallest of its kind."""

    def build():
        return open_clip.CLIP(
            embed_dim=16,
            vision_cfg={"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": proj, "image_size": 64},
            text_cfg={"context_length": 8, "vocab_size": 16, "width": 32, "heads": 2, "layers": 1},
        )

    return Foreign(
        "convnext_atto",
        "timm",
        build,
        lambda model, images: timm_features(model.visual.trunk, images),
        image_size=64,
        left_out=("projection", "text tower"),
    )


FOREIGN = [
    Foreign("convnext_atto", "ConvNeXt (Meta)", lambda: meta("convnext_atto"), through_timm("convnext_atto"), 64),
    Foreign("convnext_tiny", "ConvNeXt (Meta)", lambda: meta("convnext_tiny"), through_timm("convnext_tiny"), 64),
    Foreign("convnextv2_atto", "ConvNeXt (Meta)", lambda: meta("convnextv2_atto"), through_timm("convnextv2_atto"), 64),
    from_torchvision("convnext_tiny", 64),
    small_clip("linear"),
    small_clip("mlp"),
]
