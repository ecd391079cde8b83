"""CLIP's ModifiedResNets as open_clip builds them."""

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from timm.layers import resample_abs_pos_embed

from variant import Foreign, Variant

CLIP_STATISTICS = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def tower(name, image_size=None):
    config = open_clip.get_model_config(name)
    vision = config["vision_cfg"]
    model = ModifiedResNet(
        layers=vision["layers"],
        output_dim=config["embed_dim"],
        heads=vision["width"] * 32 // 64,
        image_size=image_size or vision["image_size"],
        width=vision["width"],
    )
    # As own_image_size() and the test of shapes look for it in open_clip's ViT.
    model.image_size = (model.image_size,) * 2
    return model


def features(model, images):
    x = model.layer4(model.layer3(model.layer2(model.layer1(model.stem(images)))))
    return model.attnpool(x), x.flatten(2).transpose(1, 2)


def features_at_another_size(model, images):
    positions = model.attnpool.positional_embedding
    model.attnpool.positional_embedding = torch.nn.Parameter(
        resample_abs_pos_embed(positions[None], [images.shape[2] // 32, images.shape[3] // 32])[0]
    )
    return features(model, images)


def variant(name, image_size, **options):
    return Variant(
        name,
        image_size=image_size,
        build=lambda size: tower(name, size),
        features=features,
        statistics=CLIP_STATISTICS,
        **options,
    )


class WholeModel(torch.nn.Module):
    """An image tower as it lies in a file of open_clip, with what stands beside it there."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual
        self.token_embedding = torch.nn.Embedding(10, 64)
        self.positional_embedding = torch.nn.Parameter(torch.randn(77, 64))
        self.transformer = open_clip.transformer.Transformer(64, 1, 1)
        self.ln_final = torch.nn.LayerNorm(64)
        self.text_projection = torch.nn.Parameter(torch.randn(64, 1024))
        self.logit_scale = torch.nn.Parameter(torch.ones([]))


VARIANTS = [
    variant("RN50", 96, trains=True, published=(38.3, 0)),
    variant("RN101", 64, large=True, published=(56.3, 0)),
    variant("RN50x4", 64, large=True, published=(87.1, 0)),
    variant("RN50x16", 64, large=True, published=(167.3, 0)),
    variant("RN50x64", 64, large=True, published=(420.4, 0)),
]
FOREIGN = [
    Foreign(
        "RN50",
        "open_clip",
        lambda: WholeModel(tower("RN50")),
        lambda model, images: features_at_another_size(model.visual, images),
        image_size=160,
        left_out=("text tower",),
    )
]
