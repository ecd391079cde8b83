from variant import Variant

VARIANTS = [
    Variant("mobilenetv3_small_100", trains=True, published=(2.5, 1024 * 1000 + 1000)),
    Variant("mobilenetv3_large_100", trains=True, published=(5.5, 1280 * 1000 + 1000)),
]
