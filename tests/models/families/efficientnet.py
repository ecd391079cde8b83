"""EfficientNet and EfficientNet-Lite as timm builds them, and files of torchvision and EfficientNet-PyTorch."""

import torchvision.models
from efficientnet_pytorch import EfficientNet

from variant import Foreign, Variant


def torchvision_features(model, images):
    x = model.features(images)
    return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


def efficientnet_pytorch_features(model, images):
    x = model.extract_features(images)
    return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


def torchvision_file(number, image_size):
    return Foreign(
        f"efficientnet_b{number}",
        "torchvision",
        lambda: getattr(torchvision.models, f"efficientnet_b{number}")(weights=None),
        torchvision_features,
        image_size=image_size,
        left_out=("classifier",),
    )


def efficientnet_pytorch_file(number, image_size):
    return Foreign(
        f"tf_efficientnet_b{number}",
        "EfficientNet-PyTorch",
        lambda: EfficientNet.from_name(f"efficientnet-b{number}", image_size=image_size),
        efficientnet_pytorch_features,
        image_size=image_size,
        left_out=("classifier",),
    )


# At sizes that the stride of 32 does not divide, one side is padded in some layers and both are in others.
VARIANTS = [
    Variant("efficientnet_b0", image_size=96, trains=True, drops=True, published=(5.3, 1280 * 1000 + 1000)),
    Variant("efficientnet_b1", image_size=80, published=(7.8, 1280 * 1000 + 1000), large=True),
    Variant("efficientnet_b2", image_size=64, published=(9.1, 1408 * 1000 + 1000)),
    Variant("efficientnet_b3", image_size=64, published=(12.2, 1536 * 1000 + 1000), large=True),
    Variant("efficientnet_b4", image_size=64, published=(19.3, 1792 * 1000 + 1000), large=True),
    Variant("efficientnet_lite0", image_size=96, published=(4.7, 1280 * 1000 + 1000)),
    Variant("tf_efficientnet_b0", image_size=75, trains=True),
    Variant("tf_efficientnet_b1", published=(7.8, 1280 * 1000 + 1000), large=True),
    Variant("tf_efficientnet_b2", image_size=65, large=True),
    Variant("tf_efficientnet_b3", image_size=76),
    Variant("tf_efficientnet_b4", image_size=95, large=True),
    Variant("tf_efficientnet_lite0", image_size=96, trains=True, published=(4.7, 1280 * 1000 + 1000)),
    Variant("tf_efficientnet_lite1", image_size=60, published=(5.4, 1280 * 1000 + 1000), large=True),
    Variant("tf_efficientnet_lite2", image_size=65, published=(6.1, 1280 * 1000 + 1000)),
    Variant("tf_efficientnet_lite3", image_size=75, published=(8.2, 1280 * 1000 + 1000), large=True),
    Variant("tf_efficientnet_lite4", image_size=76, published=(13.0, 1280 * 1000 + 1000)),
]

FOREIGN = [
    torchvision_file(0, 64),
    torchvision_file(2, 72),
    torchvision_file(4, 64),
    efficientnet_pytorch_file(0, 96),
    efficientnet_pytorch_file(3, 75),
]
