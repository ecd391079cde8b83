"""Stage I with the tower's stored features, with the tower in each step, and Feature Distillation's online recipe in PyTorch
DDP over Gloo (alignment_peer.py): two ranks, one thread each, ViT-B/16 teaches MobileNetV3-Large, 224 pixels, in turns
within one run. And the rate at which `cskd cache` stores features beside the tower's bare forward pass, which the same
program makes of pictures that are in memory. Prints medians and ratios.

  cmake --build build/release --target cskd encoder_benchmark
  .venv/bin/python tests/benchmarks/alignment.py [--rounds 3] [--pictures 240]
"""

import argparse
import json
import pathlib
import shutil
import statistics
import tempfile

import h5py
import torch
from open_clip.transformer import VisionTransformer
from programs import RANKS, ROOT, cskd, output_of, torchrun
from safetensors.torch import save_file

BATCH, STEPS = 16, 8  # of a rank

CONFIGURATION = """
[run]
folder = "{work}/run"

[[sources]]
name = "coast"
kind = "folder"
path = "{work}/corpus/coast"

# Ranks share the work by shards.
[packing]
max_samples = 10

[towers.clip]
architecture = "ViT-B-16"
weights = "{work}/tower.safetensors"
views.count = 4
batch = {batch}

[encoders.large]
architecture = "mobilenetv3_large_100"
image_size = 224

[align.student]
encoder = "large"
towers = ["clip"]

[align.student.training]
steps = {steps}
global_batch = {global_batch}
micro_batches = {ranks}
learning_rate = 1e-3
warmup_steps = 2
checkpoint_every = 100000
log_every = 1

[compute]
precision = "fp32"
memory_format = "channels_last"
threads = 1
loader_threads = 1
"""


def random_tower(path):
    """Weights of ViT-B-16's image tower."""
    torch.manual_seed(0)
    tower = VisionTransformer(
        image_size=224, patch_size=16, width=768, layers=12, heads=12, mlp_ratio=4, output_dim=512
    )
    save_file({f"visual.{name}": value.contiguous() for name, value in tower.state_dict().items()}, path)


def write_pictures(shards, folder):
    """Each picture of image shards as a file of its own."""
    folder.mkdir()
    for path in sorted(shards):
        with h5py.File(path) as shard:
            blob, offsets = shard["bytes"][:].tobytes(), shard["offset"][:]
        for row in range(len(offsets) - 1):
            (folder / f"{path.stem}-{row}").write_bytes(blob[offsets[row] : offsets[row + 1]])


def prepare(work, pictures):
    cskd("demo", work / "corpus", "--images", pictures * 5, ranks=1)
    random_tower(work / "tower.safetensors")
    text = CONFIGURATION.format(work=work, batch=BATCH, steps=STEPS + 2, global_batch=RANKS * BATCH, ranks=RANKS)
    (work / "run.toml").write_text(text)
    cskd("shard", work / "run.toml", ranks=1)
    write_pictures((work / "run/shards").glob("*.h5"), work / "pictures")


def aligned(work, targets):
    """Seconds of the steps."""
    shutil.rmtree(work / "run/align", ignore_errors=True)
    cskd("align", work / "run.toml", "--set", f'align.student.targets="{targets}"')
    steps = [json.loads(line) for line in (work / "run/align/student/metrics.jsonl").read_text().splitlines()]
    return [RANKS * BATCH / step["perf/images_per_second"] for step in steps][2:]


def peer(work):
    words = [work / "pictures", work / "tower.safetensors", STEPS + 2, BATCH]
    return json.loads(torchrun(ROOT / "tests/benchmarks/alignment_peer.py", *words))["seconds"]


def cached(work, ranks):
    """Views a second."""
    shutil.rmtree(work / "run/cache", ignore_errors=True)
    cskd("cache", work / "run.toml", ranks=ranks)
    record = json.loads((work / "run/cache/clip/complete.json").read_text())
    return record["images"] / record["seconds"]


def bare():
    """Images a second of the tower's forward pass on one thread."""
    words = [ROOT / "build/release/encoder_benchmark", "steps", "ViT-B-16", 224, BATCH, 1]
    return BATCH / float(output_of(words, stdin="inference\n").split()[-1])


def print_row(name, values, unit):
    print(
        f"| {name} | {statistics.median(values):.3g} {unit} | {' '.join(f'{value:.3g}' for value in values)} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=240, help="about as many, of the demo's coast")
    arguments = parser.parse_args()
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        work = pathlib.Path(name)
        prepare(work, arguments.pictures)
        rates = {"one rank": [], "two ranks": [], "bare": []}
        steps = {"stored": [], "online": [], "peer": []}
        for _ in range(arguments.rounds):
            rates["bare"].append(bare())
            rates["one rank"].append(cached(work, 1))
            rates["two ranks"].append(cached(work, 2))
            steps["stored"].append(statistics.median(aligned(work, "cached")))
            steps["online"].append(statistics.median(aligned(work, "online")))
            steps["peer"].append(statistics.median(peer(work)))
    print("| | median | of each round |\n|---|---|---|")
    print_row("tower's bare forward pass, one thread", rates["bare"], "images/s")
    print_row("cskd cache, one rank", rates["one rank"], "views/s")
    print_row("cskd cache, two ranks", rates["two ranks"], "views/s")
    print_row("step of 32, stored features", steps["stored"], "s")
    print_row("step of 32, tower in each step", steps["online"], "s")
    print_row("step of 32, PyTorch, tower in each step", steps["peer"], "s")

    def ratio(name, above, below):
        print_row(name, [one / other for one, other in zip(above, below, strict=True)], "")

    ratio("caching beside the bare pass", rates["one rank"], rates["bare"])
    ratio("caching on two ranks beside one", rates["two ranks"], rates["one rank"])
    ratio("online beside stored", steps["online"], steps["stored"])
    ratio("PyTorch beside stored", steps["peer"], steps["stored"])
    ratio("PyTorch beside online", steps["peer"], steps["online"])


if __name__ == "__main__":
    main()
