"""timm's Vision Transformers with relative positions."""

from timm.layers import RelPosMlp

from variant import Variant

CLASSES = 1000


def published(millions, width):
    return (millions, width * CLASSES + CLASSES)


class WithoutDropout(Variant):
    """As ours, which leaves out no hidden units of the function of positions."""

    def model(self, image_size=None, **options):
        model = super().model(image_size, **options)
        for module in model.modules():
            if isinstance(module, RelPosMlp):
                module.mlp.drop1.p = 0.0
        return model


VARIANTS = [
    WithoutDropout(
        "vit_srelpos_small_patch16_224", image_size=64, trains=True, drops=True, published=published(21.97, 384)
    ),
    Variant("vit_srelpos_medium_patch16_224", large=True, published=published(38.74, 512)),
    WithoutDropout("vit_relpos_small_patch16_224", image_size=64, trains=True, published=published(21.98, 384)),
    Variant("vit_relpos_medium_patch16_224", image_size=64, large=True, published=published(38.75, 512)),
    Variant("vit_relpos_base_patch16_224", image_size=64, large=True, published=published(86.43, 768)),
]
