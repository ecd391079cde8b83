"""Hours of the recipes in configs/recipes on 1, 8 and 64 H100: images of each training over the speeds that docs/scaling.md derives from published
ones. Prints the table of docs/recipes.md; nothing is measured. Reading, decoding and packing are not counted.
"""

import math
import pathlib
import tomllib

import simulate

GPUS = (1, 8, 64)
EFFICIENCY = 0.95  # of data-parallel training and caching, docs/scaling.md
FORWARD = 3  # speed of looking alone over that of training: forward and twice as much backward
PHOTOS = {"all.toml": 10_000_000}
OTHER_PHOTOS = 1_000_000
# Rated pictures: published sizes of training lists, and of whole sets.
TRAINED = {"ava": 235_500, "tad66k": 52_200, "para": 28_220, "koniq10k": 7_058}
WHOLE = {"ava": 255_500, "tad66k": 66_300, "para": 31_220, "koniq10k": 10_073}
# Images/s in training on an RTX 3090, from the table that docs/scaling.md cites as timm's benchmark.
RTX_3090 = {
    "ViT-B-16": ("transformer", 392.99),
    "ViT-L-14": ("transformer", 85.06),
    "swin_tiny_patch4_window7_224": ("transformer", 648.69),
    "convnext_tiny": ("convolution", 819.24),
    "mobilenetv3_large_100": ("convolution", 2732.43),
    "mobilenetv2_100": ("convolution", 2313.1),
}


def rate(architecture):
    kind, speed = RTX_3090[architecture]
    return speed * simulate.A100_TO_3090[kind] * simulate.H100_TO_A100


def architecture_of(recipe, model):
    """Of the encoder or tower that a stage's model goes back to."""
    kind, name = model.split(".")
    table = recipe[kind][name]
    if kind in ("towers", "encoders"):
        return table["architecture"]
    return architecture_of(recipe, f"encoders.{table['encoder']}" if kind == "align" else table["from"])


def seconds_of(recipe, file):
    """Of each kind of stage on one GPU."""
    rated = [source["kind"] for source in recipe["sources"] if source["kind"] in TRAINED]
    pictures = sum(WHOLE[kind] for kind in rated) + PHOTOS.get(file, OTHER_PHOTOS)
    (tower,) = recipe["towers"].values()
    looks = FORWARD * rate(tower["architecture"])
    seconds = {"cache": pictures * tower["views"]["count"] / looks, "align": 0.0, "finetune": 0.0, "distill": 0.0}
    for kind in ("align", "finetune", "distill"):
        for name, stage in recipe[kind].items():
            training = stage["training"]
            images = training["steps"] * (training["global_batch"] + stage.get("labelled_batch", 0))
            seconds[kind] += images / rate(architecture_of(recipe, f"{kind}.{name}"))
            if kind == "distill":  # teachers that are fine-tuned look at what the student sees
                online = [each for each in stage["teachers"] if each.startswith("finetune.")]
                unlabelled = training["steps"] * training["global_batch"]
                seconds[kind] += sum(unlabelled / (FORWARD * rate(architecture_of(recipe, each))) for each in online)
    return pictures, sum(TRAINED[kind] for kind in rated), seconds


def hours(seconds, gpus):
    value = seconds / 3600 / gpus / (1 if gpus == 1 else EFFICIENCY)
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def main():
    folder = pathlib.Path(__file__).parents[2] / "configs/recipes"
    print(
        "| recipe | pictures | epochs of Stage I, of the teacher, of Stage II | hours of cache, Stage I, fine-tuning, Stage II on one GPU | all on 1 | 8 | 64 GPUs |"
    )
    print("| -- | -- | -- | -- | -- | -- | -- |")
    for path in sorted(folder.glob("*.toml")):
        recipe = tomllib.loads(path.read_text())
        pictures, labelled, seconds = seconds_of(recipe, path.name)
        passes = []
        for kind, name, of in (
            ("align", None, pictures),
            ("finetune", "teacher", labelled),
            ("distill", None, pictures),
        ):
            training = (recipe[kind][name] if name else next(iter(recipe[kind].values())))["training"]
            passes.append(math.floor(training["steps"] * training["global_batch"] / of + 0.5))
        parts = ", ".join(hours(value, 1) for value in seconds.values())
        total = " | ".join(hours(sum(seconds.values()), gpus) for gpus in GPUS)
        print(
            f"| [{path.name}](../configs/recipes/{path.name}) | {pictures:,} | {', '.join(map(str, passes))} | {parts} | {total} |"
        )


if __name__ == "__main__":
    main()
