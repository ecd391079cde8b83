"""Encoders as their homes build them, for comparison with ours: what a family's file in families/ lists."""

from collections.abc import Callable
from dataclasses import dataclass, field

import timm
import torch


@dataclass(frozen=True)
class Variant:
    """An encoder of ours, and the model that it must equal."""

    name: str
    # Pixels of the images in the test of features; None takes the encoder's own. Small ones keep large encoders
    # affordable: their blocks are the same.
    image_size: int | None = None
    large: bool = False  # only in tests/run.sh --full
    half: bool = False  # the file holds float16
    # Too large to be built in a test (or a known structure at another size): only names and shapes are compared.
    shapes_only: bool = False
    # Both compute in float64, since with random weights rounding in float32 moves the home's own results by more than the
    # test allows: in training mode, or in both modes.
    double_training: bool = False
    double: bool = False
    trains: bool = False  # gradients are compared, too; one or two in a family
    drops: bool = False  # and once more with drop path
    # Millions of parameters as published, and how many of those are in the classifier that ours does without.
    published: tuple[float, int] | None = None
    build: Callable[..., torch.nn.Module] | None = None  # (image_size or None) -> model; None: timm's of this name
    # (model, images) -> pooled, tokens; None: timm's
    features: Callable | None = None
    # (model, images) -> {layer: maps [N, heads, L, L]} of the first and the last layer with attention
    attention: Callable = field(default=lambda model, images: {})
    statistics: tuple | None = None  # mean and standard deviation of the images; None: timm's

    def __str__(self):
        return self.name

    def model(self, image_size=None, **options):
        if self.build:
            return self.build(image_size, **options)
        if image_size and takes_image_size(self.name):
            options["img_size"] = image_size
        # Drop path, which some models of timm's have by default, is random.
        return timm.create_model(self.name, num_classes=0, **{"drop_path_rate": 0.0, **options})

    def own_image_size(self):
        if self.build:
            model = self.build(None)
            return int(model.image_size[0] if hasattr(model, "image_size") else model.patch_embed.img_size[0])
        return timm.models.get_pretrained_cfg(self.name).input_size[1]

    def outputs(self, model, images):
        return (self.features or timm_features)(model, images)


@dataclass(frozen=True)
class Foreign:
    """A model of another library whose weights our encoder reads under that library's names."""

    encoder: str  # ours
    layout: str  # as our report calls it
    build: Callable[[], torch.nn.Module]
    features: Callable  # (model, images) -> pooled, tokens; either may be None
    image_size: int | None = None
    left_out: tuple[str, ...] = ()  # what our report says was left out
    state: Callable = field(default=lambda model: model.state_dict())  # model -> what the file holds
    title: str = ""  # tells several of one layout apart

    def __str__(self):
        return "-".join(part.replace(" ", "_") for part in (self.encoder, self.layout, self.title) if part)


def takes_image_size(name):
    """Whether the structure of timm's model depends on the size of the image."""
    return name.startswith(("vit", "deit", "swin", "eva", "beit"))


def timm_features(model, images):
    features = model.forward_features(images)
    pooled = model.forward_head(features, pre_logits=True)
    if features.dim() == 3:
        tokens = features[:, getattr(model, "num_prefix_tokens", 0) :]
    elif getattr(model, "output_fmt", "NCHW") == "NHWC":
        tokens = features.flatten(1, 2)
    else:
        tokens = features.flatten(2).transpose(1, 2)
    return pooled.flatten(1), tokens


def maps_of(queries, keys):
    return (queries @ keys.transpose(2, 3) * keys.shape[3] ** -0.5).softmax(3)
