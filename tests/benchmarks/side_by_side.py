"""cskd's training step and all-reduce beside PyTorch DDP's over Gloo: two ranks, one thread each, the same weights and batches, in turns within
one run. Prints tables of medians and ratios; above 1: cskd is faster.

A step is timed in three ways: both in fp32 and channels last (equal settings); cskd with what its start-up probe picks; and DDP as it is without
further settings, fp32 and contiguous. From the equal settings the losses of the first 20 steps are compared as well. "Bare" is cskd's step on one
rank without the gradient reducer, beside the same with it.

  cmake --build build/release --target cskd
  .venv/bin/python tests/benchmarks/side_by_side.py [--rounds 3] [--only vit]
  .venv/bin/python tests/benchmarks/side_by_side.py --plugins [--rounds 3]

With --plugins: the steps of plug-ins beside DDP with the same models of timm, in the faster of two memory formats; and the losses of 20 steps.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import programs
import torch
from programs import RANKS, ROOT

sys.path.insert(0, str(ROOT / "launch"))

import export_encoder  # noqa: E402

DDP = ROOT / "tests/benchmarks/ddp_steps.py"
# Encoder, pixels, images of a rank, steps that count.
STEPS = [
    ("mobilenetv3_small_100", 128, 16, 17),
    ("mobilenetv3_large_100", 224, 16, 6),
    ("resnet50", 224, 8, 4),
    ("vit_small_patch16_224", 224, 8, 4),
]
# Steps whose losses are compared, on smaller pictures.
LOSSES = {"mobilenetv3_small_100": 128, "mobilenetv3_large_100": 128, "resnet50": 64, "vit_small_patch16_224": 64}
# As STEPS; encoders that are not native, but the last.
PLUGINS = [
    ("regnety_002", 224, 16, 12),
    ("tiny_vit_5m_224", 224, 8, 6),
    ("mobilevit_xxs", 256, 8, 8),
    ("vit_small_patch16_224", 224, 8, 4),
]
ALL_REDUCES = [(1, 500), (25_000, 200), (250_000, 200), (1_000_000, 100), (6_500_000, 30), (25_000_000, 15)]


def cskd(*words, ranks=RANKS):
    printed = programs.cskd("bench", *words, "--json", ranks=ranks)
    return json.loads(printed[printed.index("{") :])


def ddp(*words):
    printed = programs.torchrun(DDP, *words)
    return json.loads(printed[printed.index("{") :])


def median(runs, key="seconds"):
    return statistics.median(value for run in runs for value in run[key])


def compare_steps(case, rounds):
    encoder, pixels, batch, steps = case
    ours = ["step", "--encoder", encoder, "--image-size", pixels, "--batch", batch, "--steps", steps]
    runs = {name: [] for name in ("cskd", "ddp", "probed", "ddp default", "reduced", "bare")}
    for _ in range(rounds):
        runs["cskd"].append(cskd(*ours))
        runs["ddp"].append(ddp("step", encoder, pixels, batch, steps, "channels_last"))
        runs["probed"].append(cskd(*ours, "--precision", "auto", "--memory-format", "auto"))
        runs["ddp default"].append(ddp("step", encoder, pixels, batch, steps, "contiguous"))
        runs["reduced"].append(cskd(*ours, ranks=1))
        runs["bare"].append(cskd(*ours, "--bare", ranks=1))
    ms = {name: 1000 * median(each) for name, each in runs.items()}
    ratios = " ".join(
        f"{statistics.median(theirs['seconds']) / our['median']:.2f}"
        for our, theirs in zip(runs["cskd"], runs["ddp"], strict=True)
    )
    picked = statistics.mode(f"{run['precision']}, {run['memory_format']}" for run in runs["probed"])
    exposed = 100 * median(runs["cskd"], "exposed_seconds") / median(runs["cskd"])
    print(
        f"| {encoder}, {pixels} pixels, {batch} a rank | {ms['cskd']:.1f} | {ms['ddp']:.1f} | {ms['ddp'] / ms['cskd']:.2f} | {ratios} | {picked} | "
        f"{ms['probed']:.1f} | {ms['ddp default']:.1f} | {ms['ddp default'] / ms['probed']:.2f} | {exposed:.1f} % | "
        f"{100 * (ms['reduced'] / ms['bare'] - 1):+.1f} % |",
        flush=True,
    )


def compare_losses(encoder, pixels, folder, given=None):
    """The greatest relative difference of the losses of 20 steps. `given`: the plug-in of this encoder."""
    batch, steps = 8, 17
    weights = pathlib.Path(folder) / "weights.safetensors"
    subprocess.run([sys.executable, DDP, "weights", encoder, str(pixels), str(weights)], check=True, timeout=300)
    words = ["step", "--encoder", given or encoder, "--image-size", pixels, "--batch", batch, "--steps", steps]
    ours = cskd(*words, "--weights", weights)["losses"]
    theirs = ddp("step", encoder, pixels, batch, steps, "channels_last")["losses"]
    return max(abs(one - other) / other for one, other in zip(ours, theirs, strict=True))


def compare_plugin(case, rounds, folder):
    encoder, pixels, batch, steps = case
    plugin = pathlib.Path(folder) / f"{encoder}.pt2"
    torch.manual_seed(1)
    model, size, facts = export_encoder.timm_encoder(encoder, None, False, None)
    assert size == pixels, f"{encoder} takes {size} pixels"
    export_encoder.export(model, plugin, image_size=size, name=encoder, **facts)
    runs = {name: [] for name in ("cskd", "channels_last", "contiguous")}
    for _ in range(rounds):
        runs["cskd"].append(cskd("step", "--encoder", plugin, "--batch", batch, "--steps", steps))
        for layout in ("channels_last", "contiguous"):
            runs[layout].append(ddp("step", encoder, pixels, batch, steps, layout))
    ms = {name: 1000 * median(each) for name, each in runs.items()}
    faster = min(("channels_last", "contiguous"), key=ms.get)
    ratios = " ".join(
        f"{statistics.median(theirs['seconds']) / our['median']:.2f}"
        for our, theirs in zip(runs["cskd"], runs[faster], strict=True)
    )
    difference = compare_losses(encoder, pixels, folder, plugin)
    print(
        f"| {encoder}, {pixels} pixels, {batch} a rank | {ms['cskd']:.1f} | {ms[faster]:.1f} ({faster.replace('_', ' ')}) | "
        f"{ms[faster] / ms['cskd']:.2f} | {ratios} | {difference:.1e} |",
        flush=True,
    )


def compare_plugins(rounds, only):
    print(
        "| step of a plug-in | cskd ms | DDP ms | ratio | of each round | losses of 20 steps |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for case in (case for case in PLUGINS if only in case[0]):
            compare_plugin(case, rounds, folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--plugins", action="store_true", help="steps of plug-ins alone")
    arguments = parser.parse_args()
    if arguments.plugins:
        compare_plugins(arguments.rounds, arguments.only)
        return
    print(
        "| step | cskd ms | DDP ms | ratio | of each round | probe picks | cskd probed ms | DDP default ms | ratio | exposed | reducer at 1 rank |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in (case for case in STEPS if arguments.only in case[0]):
        compare_steps(case, arguments.rounds)
    print("\n| losses of 20 steps | greatest relative difference |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for encoder in (encoder for encoder in LOSSES if arguments.only in encoder):
            print(
                f"| {encoder}, {LOSSES[encoder]} pixels | {compare_losses(encoder, LOSSES[encoder], folder):.1e} |",
                flush=True,
            )
    print("\n| all-reduce of numbers | cskd ms | Gloo ms | ratio | of each round |\n|---|---|---|---|---|")
    for numbers, repeats in (case for case in ALL_REDUCES if arguments.only in "all-reduce"):
        rounds = [
            (
                cskd("all-reduce", "--numbers", numbers, "--repeats", repeats)["cases"][0]["median"],
                statistics.median(ddp("all-reduce", numbers, repeats)["seconds"]),
            )
            for _ in range(arguments.rounds)
        ]
        ours, theirs = (1000 * statistics.median(column) for column in zip(*rounds, strict=True))
        each = " ".join(f"{theirs_once / ours_once:.1f}" for ours_once, theirs_once in rounds)
        print(f"| {numbers:,} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.1f} | {each} |", flush=True)


if __name__ == "__main__":
    main()
