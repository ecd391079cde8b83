"""Encoders of cskd beside the same models in PyTorch, in turns within one run: forward (inference), and forward with
backward. Prints a table of medians and ratios; above 1: cskd is faster.

Both run with the same threads on the same cores. PyTorch's model is timm's or open_clip's in eager mode, under
torch.inference_mode(), in the memory format that is faster for it. With --compile also under torch.compile. --load
compares loading ViT-L-14 with reading its file.

  cmake --build build/release --target encoder_benchmark
  .venv/bin/python tests/benchmarks/encoders.py [--rounds 3] [--only swin] [--compile] [--load] [--plugins]
"""

import argparse
import copy
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import timm
import torch

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/models"))
from families import VARIANTS

PROGRAM = ROOT / "build/release/encoder_benchmark"
# One of each family, pixels (None: its own), images.
CASES = [
    ("ViT-B-16", None, 8),
    ("vit_small_patch16_224", None, 8),
    ("vit_base_patch16_siglip_224", None, 4),
    ("vit_small_patch14_dinov2", 224, 8),
    ("vit_small_patch16_dinov3", 256, 8),
    ("swin_tiny_patch4_window7_224", None, 8),
    ("swinv2_tiny_window8_256", None, 8),
    ("resnet50", None, 8),
    ("RN50", None, 8),
    ("convnext_tiny", None, 8),
    ("convnextv2_tiny", None, 8),
    ("mobilenetv2_100", None, 16),
    ("mobilenetv3_small_100", None, 16),
    ("mobilenetv4_conv_small", None, 16),
    ("efficientnet_b0", None, 16),
    ("tf_efficientnet_lite0", None, 16),
    ("mobileone_s0", None, 16),
    ("fastvit_t8", None, 8),
    ("fastvit_mci0", None, 8),
]

# Plug-ins, one of each kind.
PLUGINS = [
    ("vit_small_patch16_224", None, 8),
    ("swin_tiny_patch4_window7_224", None, 8),
    ("convnext_tiny", None, 8),
    ("resnet50", None, 8),
    ("mobilenetv4_conv_small", None, 16),
    ("mobilevit_xxs", None, 16),
    ("regnety_002", None, 16),
]

# LibTorch 2.11 on AVX-512 writes beyond a gradient there, channels last (src/models/convolution.cpp avoids it).
ONLY_CONTIGUOUS = ("mobileone", "fastvit")


def best_of_three(work):
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def merged(model):
    """For inference with the branches of training merged, as timm documents it for MobileOne, FastViT and RepViT."""
    return model if model.training else timm.utils.reparameterize_model(model)


def infer(model, images):
    with torch.inference_mode():
        model(images)


def train(model, images):
    model.zero_grad(set_to_none=True)
    out = model(images)
    (out[0] if isinstance(out, tuple) else out).sum().backward()


class Ours:
    def __init__(self, name, size, batch, threads):
        self.process = subprocess.Popen(
            [PROGRAM, "steps", name, str(size or 0), str(batch), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def compare(name, side, batch, options, make, subject, as_used=lambda model: model):
    """`make()` gives PyTorch's model, `subject` is what our program calls it; PyTorch runs `as_used(model)`."""
    torch.set_num_threads(options.threads)
    ours = Ours(subject, side, batch, options.threads)
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    cases = [
        (mode, label)
        for mode in ("inference", "train")
        for label in formats
        if (mode, label) != ("train", "channels_last") or not name.startswith(ONLY_CONTIGUOUS)
    ]
    models = {
        (mode, label): as_used(make().train(mode == "train")).to(memory_format=formats[label]) for mode, label in cases
    }
    images = {label: torch.randn(batch, 3, side, side).to(memory_format=layout) for label, layout in formats.items()}
    works = {}
    for mode, label in cases:
        work = infer if mode == "inference" else train
        works[mode, label] = lambda m=models[mode, label], i=images[label], w=work: w(m, i)
        if options.compile:
            compiled = torch.compile(models[mode, label])
            works[mode + " compiled", label] = lambda m=compiled, i=images[label], w=work: w(m, i)
    for work in works.values():
        work()
    for what in ("inference", "train"):
        ours.seconds(what)
    times = {}
    for _ in range(options.rounds):
        for key, work in works.items():
            times.setdefault(key, []).append(best_of_three(work))
        for what in ("inference", "inference_bf16", "train"):
            times.setdefault(what, []).append(ours.seconds(what))
    ours.close()
    median = {key: statistics.median(values) for key, values in times.items()}
    cells = [f"{name}, {side} pixels, {batch} images"]
    for mode in ("inference", "train"):
        theirs = min(median[case] for case in cases if case[0] == mode)
        cells += [f"{median[mode] * 1e3:.1f} ms", f"{theirs * 1e3:.1f} ms", f"{theirs / median[mode]:.2f}"]
        if options.compile:
            compiled = min(median[mode + " compiled", label] for case, label in cases if case == mode)
            cells.append(f"{compiled / median[mode]:.2f}")
        if mode == "inference":
            cells.append(f"{theirs / median['inference_bf16']:.2f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def compare_native(name, size, batch, options):
    variant = next(v for v in VARIANTS if v.name == name)
    compare(name, size or variant.own_image_size(), batch, options, lambda: variant.model(size), name, merged)


class Additions(torch.nn.Module):
    """As many nodes as `count` on next to no numbers."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, images):
        for number in range(self.count):
            images = images + (number + 1) / 1024
        return images.flatten(1)


def compare_plugins(options):
    os.environ.setdefault("CSKD_BUILD_DIR", str(PROGRAM.parent))
    os.environ.setdefault("CSKD_SOURCE_DIR", str(ROOT))
    from plugin_parity import EXPORTER, export_timm

    with tempfile.TemporaryDirectory() as folder:
        for name, size, batch in PLUGINS:
            if options.only in name:
                exported = export_timm(name, folder, size)
                compare(
                    f"plug-in {name}", exported.size, batch, options, lambda m=exported.model: copy.deepcopy(m),
                    exported.path,
                )  # fmt: skip
        nodes, path = 1000, pathlib.Path(folder) / "additions.pt2"
        EXPORTER.export(Additions(nodes), path, image_size=1, mean=(0, 0, 0), std=(1, 1, 1))
        ours = Ours(path, 1, 1, options.threads)
        seconds = min(ours.seconds("inference") for _ in range(10 * options.rounds))
        ours.close()
        print(
            f"\nA node that adds a number to three numbers takes {seconds / nodes * 1e6:.2f} us, the addition included."
        )


def load(options):
    """Reading a file that is in the page cache, and loading it into the encoder."""
    import safetensors.torch

    name = "ViT-L-14"
    model = next(v for v in VARIANTS if v.name == name).model()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.safetensors")
        safetensors.torch.save_file({f"visual.{key}": value for key, value in model.state_dict().items()}, path)
        size = os.path.getsize(path)
        reads, loads, grown = [], [], 0
        for _ in range(options.rounds + 1):
            begin = time.perf_counter()
            with open(path, "rb", buffering=0) as file:
                buffer = bytearray(size)
                file.readinto(buffer)
            reads.append(time.perf_counter() - begin)
            del buffer
            answer = subprocess.run([PROGRAM, "load", name, path], capture_output=True, text=True, check=True).stdout
            loads.append(float(answer.split()[0]))
            grown = int(answer.split()[1])
        read, loaded = min(reads[1:]), min(loads[1:])
        print(
            f"{name}, {size / 1e9:.2f} GB: read in {read:.2f} s, loaded in {loaded:.2f} s ({loaded / read:.2f} x), "
            f"peak memory {grown / size:.2f} x the file"
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--plugins", action="store_true")
    options = parser.parse_args()
    if options.load:
        load(options)
        return
    columns = ["encoder"]
    for mode in ("inference", "forward and backward"):
        columns += [f"cskd, {mode}", "PyTorch", "ratio"]
        if options.compile:
            columns.append("compiled")
        if mode == "inference":
            columns.append("with bf16")
    print("| " + " | ".join(columns) + " |\n|" + " -- |" * len(columns))
    if options.plugins:
        compare_plugins(options)
        return
    known = {variant.name for variant in VARIANTS}
    for name, size, batch in CASES:
        if options.only in name and name in known:
            compare_native(name, size, batch, options)


if __name__ == "__main__":
    main()
