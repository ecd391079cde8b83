"""MobileNetV2, V3 and V4 as timm builds them, and torchvision's files of the first two."""

import torch
import torchvision.models

from variant import Foreign, Variant


def torchvision_features(model, images):
    x = model.features(images)
    pooled = x.mean((2, 3))
    if isinstance(model, torchvision.models.MobileNetV3):
        pooled = torch.nn.functional.hardswish(model.classifier[0](pooled))
    return pooled, x.flatten(2).transpose(1, 2)


def torchvision_file(encoder, build, image_size=64):
    return Foreign(encoder, "torchvision", build, torchvision_features, image_size=image_size, left_out=("classifier",))


VARIANTS = [
    Variant("mobilenetv2_050", image_size=96),
    Variant("mobilenetv2_100", image_size=64, trains=True, drops=True, published=(3.5, 1280 * 1000 + 1000)),
    Variant("mobilenetv2_110d", image_size=64, published=(4.5, 1280 * 1000 + 1000)),
    Variant("mobilenetv2_120d", image_size=64, published=(5.8, 1280 * 1000 + 1000)),
    Variant("mobilenetv2_140", image_size=64, published=(6.1, 1792 * 1000 + 1000)),
    Variant("mobilenetv3_small_050", image_size=96),
    Variant("mobilenetv3_small_075", image_size=64),
    Variant("mobilenetv3_small_100", trains=True, published=(2.5, 1024 * 1000 + 1000)),
    Variant("mobilenetv3_large_075", image_size=64),
    Variant("mobilenetv3_large_100", trains=True, published=(5.5, 1280 * 1000 + 1000)),
    Variant("tf_mobilenetv3_small_075", image_size=64),
    Variant("tf_mobilenetv3_small_100", image_size=96),
    Variant("tf_mobilenetv3_large_075", image_size=64),
    Variant("tf_mobilenetv3_large_100", image_size=96, trains=True),
    Variant("mobilenetv4_conv_small_050", image_size=96),
    Variant("mobilenetv4_conv_small", image_size=96, trains=True, drops=True, published=(3.8, 1280 * 1000 + 1000)),
    Variant("mobilenetv4_conv_medium", image_size=64, published=(9.7, 1280 * 1000 + 1000)),
    Variant("mobilenetv4_conv_large", image_size=64, published=(32.6, 1280 * 1000 + 1000)),
]

FOREIGN = [
    torchvision_file("mobilenetv2_100", lambda: torchvision.models.mobilenet_v2(weights=None)),
    torchvision_file("mobilenetv2_050", lambda: torchvision.models.mobilenet_v2(weights=None, width_mult=0.5)),
    torchvision_file("mobilenetv3_small_100", lambda: torchvision.models.mobilenet_v3_small(weights=None)),
    torchvision_file("mobilenetv3_large_100", lambda: torchvision.models.mobilenet_v3_large(weights=None)),
]
