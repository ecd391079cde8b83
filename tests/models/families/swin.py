"""Swin v1 and v2 of timm, torchvision and their authors."""

import timm
import torchvision
from timm.models import swin_transformer, swin_transformer_v2

from variant import Foreign, Variant, timm_features

CLASSES = 1000


def published(millions, width):
    return (millions, width * CLASSES + CLASSES)


VARIANTS = [
    # 24 tokens a side and 12 are no multiples of the window, 6 and 3 are less than one.
    Variant("swin_tiny_patch4_window7_224", image_size=96, trains=True, published=published(28.29, 768)),
    Variant("swin_small_patch4_window7_224", large=True, published=published(49.61, 768)),
    Variant("swin_base_patch4_window7_224", image_size=64, large=True, published=published(87.77, 1024)),
    Variant("swin_base_patch4_window12_384", image_size=192, large=True, published=published(87.90, 1024)),
    Variant("swin_large_patch4_window7_224", image_size=64, large=True, published=published(196.53, 1536)),
    Variant("swin_large_patch4_window12_384", image_size=128, large=True, published=published(196.74, 1536)),
    Variant("swinv2_tiny_window8_256", image_size=96, trains=True, published=published(28.35, 768)),
    Variant("swinv2_tiny_window16_256", large=True, published=published(28.35, 768)),
    Variant("swinv2_small_window8_256", image_size=64, large=True, published=published(49.73, 768)),
    Variant("swinv2_small_window16_256", image_size=64, large=True, published=published(49.73, 768)),
    Variant("swinv2_base_window8_256", image_size=64, large=True, published=published(87.92, 1024)),
    Variant("swinv2_base_window16_256", image_size=64, large=True, published=published(87.92, 1024)),
    Variant("swinv2_base_window12_192", image_size=64, large=True),
    Variant("swinv2_base_window12to16_192to256", image_size=128, large=True, published=published(87.92, 1024)),
    Variant("swinv2_base_window12to24_192to384", image_size=64, large=True, published=published(87.92, 1024)),
    Variant("swinv2_large_window12_192", image_size=64, large=True),
    Variant("swinv2_large_window12to16_192to256", image_size=64, large=True, published=published(196.74, 1536)),
    Variant("swinv2_large_window12to24_192to384", image_size=64, large=True, published=published(196.74, 1536)),
]


def filtered(name, image_size, filter_fn):
    """What timm itself makes of a file with such names, or for another image size."""

    def features(model, images):
        own = timm.create_model(name, num_classes=5, img_size=image_size).eval()
        own.load_state_dict(filter_fn(model.state_dict(), own))
        return timm_features(own, images)

    return features


def microsoft(name):
    """A model whose state dict has the names of its authors' files: mergings at the end of stages, and all buffers."""
    model = timm.create_model(name, num_classes=5)
    state_dict = model.state_dict

    def renamed():
        tensors = {key: buffer for key, buffer in model.named_buffers() if not key.endswith("k_bias")}
        for key, tensor in state_dict().items():
            for stage in (1, 2, 3):
                if key.startswith(f"layers.{stage}.downsample."):
                    key = key.replace(f"layers.{stage}.", f"layers.{stage - 1}.")
                    break
            tensors[key.replace("head.fc.", "head.")] = tensor
        return tensors

    model.state_dict = renamed
    return model


def from_microsoft(name, image_size, filter_fn):
    return Foreign(
        name,
        "Swin (Microsoft)",
        lambda: microsoft(name),
        filtered(name, image_size, filter_fn),
        image_size,
        left_out=("classifier", "index tables"),
    )


def torchvision_features(model, images):
    tokens = model.norm(model.features(images)).flatten(1, 2)
    return tokens.mean(1), tokens


def from_torchvision(encoder, name, image_size):
    return Foreign(
        encoder,
        "torchvision",
        getattr(torchvision.models, name),
        torchvision_features,
        image_size,
        left_out=("classifier", "index tables"),
    )


def of_another_size(name, stored_size, image_size):
    """A file of timm's for another image size, and with it tables for other windows."""
    return Foreign(
        name,
        "timm",
        lambda: timm.create_model(name, num_classes=5, img_size=stored_size),
        filtered(name, image_size, swin_transformer.checkpoint_filter_fn),
        image_size,
    )


FOREIGN = [
    # 8, 4, 2 and 1 tokens a side: with tables to be resampled for smaller windows, too.
    from_microsoft("swin_tiny_patch4_window7_224", 32, swin_transformer.checkpoint_filter_fn),
    from_microsoft("swinv2_tiny_window8_256", 32, swin_transformer_v2.checkpoint_filter_fn),
    # Tables for windows of 4 and 2 become those for 7 and 5.
    of_another_size("swin_tiny_patch4_window7_224", 64, 160),
    from_torchvision("swin_tiny_patch4_window7_224", "swin_t", 224),
    from_torchvision("swinv2_tiny_window8_256", "swin_v2_t", 256),
]
