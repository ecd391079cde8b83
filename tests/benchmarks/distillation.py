"""Stage II with a teacher's stored features, with the teacher in each step, and the same method in PyTorch DDP over Gloo (distillation_peer.py): two
ranks, one thread each; a ridge on ViT-B/16 teaches MobileNetV3-Large, 224 pixels, from labelled and unlabelled pictures, in turns within one run.
Prints medians and ratios. Then the losses of 20 steps beside PyTorch's from the same weights and pictures.

  cmake --build build/release --target cskd
  .venv/bin/python tests/benchmarks/distillation.py [--rounds 3] [--pictures 120]
"""

import argparse
import itertools
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

import distillation_peer
import numpy
import torch
from alignment import ROOT, print_row, random_tower, write_pictures
from PIL import Image
from programs import RANKS, cskd, torchrun
from safetensors.torch import load_file

os.environ.setdefault("CSKD_SOURCE_DIR", str(ROOT))
sys.path.insert(0, str(ROOT / "tests/support"))

from torch_tower import batch_of, transformer, whole_pictures

BATCH, LABELLED, STEPS = 16, 4, 8  # of a rank
STUDENT = "mobilenetv3_large_100"
# Without batch normalisation, by which a labelled picture changes what is computed of the others.
STUDENT_OF_LOSSES = "deit_tiny_patch16_224"

CONFIGURATION = """
[run]
folder = "{work}/run"

[[sources]]
name = "coast"
kind = "folder"
path = "{work}/corpus/coast"

[[sources]]
name = "rated"
kind = "ava"
path = "{work}/corpus/rated"

[towers.clip]
architecture = "{architecture}"
weights = "{weights}"
views.count = {views}
views.whole = {whole}

[encoders.large]
architecture = "{student}"
image_size = {side}

[ridge.teacher]
from = "towers.clip"

[distill.student]
from = "encoders.large"
teachers = ["ridge.teacher"]
answers = "same_view"
labelled_batch = {labelled}
consistency_weight = 0
supervised_weight = {supervised}

[distill.student.training]
steps = {steps}
global_batch = {batch}
micro_batches = {parts}
learning_rate = {rate}
warmup_steps = 0
schedule = "constant"
weight_decay = 0
clip_norm = 1e9
ema_decay = 0
checkpoint_every = 100000
log_every = 1

[compute]
precision = "fp32"
memory_format = "channels_last"
threads = {threads}
loader_threads = 1
"""


def configure(work, name="run", **changes):
    values = {
        "student": STUDENT, "architecture": "ViT-B-16", "weights": work / "tower.safetensors", "views": 4, "whole": 0.25, "side": 224,
        "labelled": RANKS * LABELLED, "supervised": 1, "steps": STEPS + 2, "batch": RANKS * BATCH, "parts": RANKS,
        "rate": 1e-3, "threads": 1, **changes,
    }  # fmt: skip
    path = work / f"{name}.toml"
    path.write_text(CONFIGURATION.format(work=work, **values))
    return path


def prepare(work, pictures):
    """Shards, features and ridge; and the pictures as files, for the peer."""
    cskd("demo", work / "corpus", "--images", pictures * 5, ranks=1)
    random_tower(work / "tower.safetensors")
    path = configure(work)
    for stage in ("shard", "cache", "ridge"):
        cskd(stage, path)
    for split in ("unlabelled", "train"):
        write_pictures((work / "run/shards").glob(f"*-{split}-*.h5"), work / split)


def distilled(work, path):
    """Seconds of the steps."""
    shutil.rmtree(work / "run/distill", ignore_errors=True)
    cskd("distill", path)
    lines = (work / "run/distill/student/metrics.jsonl").read_text().splitlines()
    times = [json.loads(line)["time"] for line in lines]
    return [later - earlier for earlier, later in itertools.pairwise(times)][1:]


def peer(work):
    words = [
        work / "unlabelled",
        work / "train",
        work / "tower.safetensors",
        work / "run/ridge/teacher/model.safetensors",
    ]
    return json.loads(torchrun(ROOT / "tests/benchmarks/distillation_peer.py", *words, STEPS + 2, BATCH, LABELLED))[
        "seconds"
    ]


def losses_beside_pytorch(work, steps=20, side=96):
    """The greatest relative difference of both programs' losses, and PyTorch's: a ridge on the demo's tower teaches by all unlabelled pictures of a small
    corpus in each step, each of them whole, mirrored at each second use."""
    work.mkdir()
    cskd("demo", work / "corpus", "--images", 200, ranks=1)
    demo = {"architecture": "ViT-demo-16", "weights": ROOT / "configs/demo/teacher.safetensors"}
    path = configure(work, **demo)
    for stage in ("shard", "ridge"):
        cskd(stage, path, ranks=1)
    folder = work / "run"
    pictures = [whole_pictures(folder, use, lambda file: "-unlabelled-" in file) for use in (0, 1)]
    shared = {
        **demo, "views": 0, "whole": 1, "side": side, "labelled": 1, "supervised": 0, "student": STUDENT_OF_LOSSES, "batch": len(pictures[0]), "parts": 1,
        "threads": 2,
    }  # fmt: skip
    states = {}
    for name, changes in {"start": {"steps": 1, "rate": 1e-30}, "run": {"steps": steps}}.items():
        shutil.rmtree(folder / "distill", ignore_errors=True)
        cskd("distill", configure(work, name, **shared, **changes), ranks=1)
        states[name] = load_file(folder / "distill/student/model.safetensors")
        lines = (folder / "distill/student/metrics.jsonl").read_text().splitlines()
        losses = [json.loads(line)["train/loss"] for line in lines]
    torch.set_num_threads(2)
    teacher = distillation_peer.Teacher(
        transformer(load_file(demo["weights"]), 128), folder / "ridge/teacher/model.safetensors"
    )
    student = distillation_peer.Student(STUDENT_OF_LOSSES, distillation_peer.BINS, img_size=side)
    student.load_state_dict(distillation_peer.own_names(states["start"]), strict=False)
    student.train()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in distillation_peer.IMAGENET)
    inputs, answers = [], []
    for images in pictures:
        pixels = numpy.stack([numpy.asarray(image.resize((side, side), Image.BICUBIC)) for image in images])
        inputs.append((torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std)
        with torch.no_grad():
            answers.append(teacher(batch_of(images, 128)))
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0)
    expected = []
    for step in range(steps):
        images = inputs[step % 2].contiguous(memory_format=torch.channels_last)
        loss = distillation_peer.squared_emd(torch.softmax(student(images), 1), answers[step % 2]).sum()
        loss = loss / (len(images) + 1)  # and a labelled picture that does not count
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        expected.append(loss.item())
    return max(abs(one - other) / other for one, other in zip(losses, expected, strict=True)), expected


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--losses", action="store_true", help="compare losses alone")
    parser.add_argument("--pictures", type=int, default=120, help="about as many, of the demo's coast")
    arguments = parser.parse_args()
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as name:
        work = pathlib.Path(name)
        difference, losses = losses_beside_pytorch(work / "losses")
        print(
            f"losses of 20 steps, {losses[0]:.4f} to {losses[-1]:.4f}: greatest relative difference {difference:.1e}\n"
        )
        if arguments.losses:
            return
        prepare(work, arguments.pictures)
        steps = {"stored": [], "online": [], "peer": []}
        for _ in range(arguments.rounds):
            steps["stored"].append(statistics.median(distilled(work, configure(work))))
            steps["online"].append(statistics.median(distilled(work, configure(work, views=0))))
            steps["peer"].append(statistics.median(peer(work)))
    print("| | median | of each round |\n|---|---|---|")
    pictures = f"step of {RANKS * BATCH} unlabelled and {RANKS * LABELLED} labelled pictures"
    print_row(f"{pictures}, stored features", steps["stored"], "s")
    print_row(f"{pictures}, teacher in each step", steps["online"], "s")
    print_row(f"{pictures}, PyTorch, teacher in each step", steps["peer"], "s")
    for name in ("stored", "online"):
        print_row(
            f"PyTorch beside {name}", [one / other for one, other in zip(steps["peer"], steps[name], strict=True)], ""
        )


if __name__ == "__main__":
    main()
