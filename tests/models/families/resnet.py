"""timm's ResNets, and torchvision's and Hugging Face's files of the same."""

import torchvision
import transformers

from variant import Foreign, Variant


def torchvision_features(model, images):
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    x = model.layer4(model.layer3(model.layer2(model.layer1(x))))
    return x.mean((2, 3)), x.flatten(2).transpose(1, 2)


def hugging_face(cls, layer_type, depths):
    widths = [256, 512, 1024, 2048] if layer_type == "bottleneck" else [64, 128, 256, 512]
    return cls(transformers.ResNetConfig(layer_type=layer_type, depths=depths, hidden_sizes=widths))


def hugging_face_features(model, images):
    output = getattr(model, "resnet", model)(images)
    return output.pooler_output.flatten(1), output.last_hidden_state.flatten(2).transpose(1, 2)


VARIANTS = [
    Variant("resnet18", trains=True, drops=True, image_size=96, published=(11.7, 512 * 1000 + 1000)),
    Variant("resnet34", image_size=64, published=(21.8, 512 * 1000 + 1000)),
    Variant("resnet50", image_size=64, trains=True, published=(25.6, 2048 * 1000 + 1000)),
    Variant("resnet101", image_size=64, large=True, published=(44.5, 2048 * 1000 + 1000)),
    Variant("resnet152", image_size=64, large=True, published=(60.2, 2048 * 1000 + 1000)),
]
FOREIGN = [
    Foreign(
        "resnet18",
        "timm",
        lambda: torchvision.models.resnet18(weights=None),
        torchvision_features,
        image_size=64,
        left_out=("classifier",),
    ),
    Foreign(
        "resnet18",
        "Hugging Face ResNet",
        lambda: hugging_face(transformers.ResNetModel, "basic", [2, 2, 2, 2]),
        hugging_face_features,
        image_size=64,
    ),
    Foreign(
        "resnet50",
        "Hugging Face ResNet",
        lambda: hugging_face(transformers.ResNetForImageClassification, "bottleneck", [3, 4, 6, 3]),
        hugging_face_features,
        image_size=64,
        left_out=("classifier",),
    ),
]
