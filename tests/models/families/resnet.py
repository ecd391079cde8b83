from variant import Variant

VARIANTS = [Variant("resnet18", trains=True), Variant("resnet50", trains=True, published=(25.6, 2048 * 1000 + 1000))]
