"""Prints tables of every encoder beside its home, and of every foreign layout.

The greatest difference is that of pooled features or tokens, as a part of the greatest value, with random weights saved
by the home; milliseconds are for one image on all cores, float32, norms folded. Parameters and GMAC are counted in the
home's model, without classifier.

  cmake --build build/release --target encoder_features encoder_benchmark
  CSKD_BUILD_DIR=build/release .venv/bin/python tests/models/encoder_table.py
"""

import argparse
import datetime
import os
import pathlib
import platform
import subprocess
import tempfile

import torch
from families import FAMILIES, FOREIGN
from parity import differences, foreign_differences
from torch.utils.flop_counter import FlopCounterMode

BENCHMARK = pathlib.Path(os.environ["CSKD_BUILD_DIR"]).resolve() / "encoder_benchmark"


def milliseconds(name):
    command = [BENCHMARK, "steps", name, "0", "1", str(os.cpu_count())]
    answer = subprocess.run(command, input="inference\n" * 3, capture_output=True, text=True, check=True).stdout
    return min(map(float, answer.split())) * 1e3


def cost(variant, image_size):
    model = variant.model().eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(torch.zeros(1, 3, image_size, image_size))
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6, counter.get_total_flops() / 2e9


def rows(most, first):
    names = [variant.name for family in FAMILIES for variant in family.VARIANTS]
    left_out = set(names[: names.index(first)]) if first else set()
    for family in FAMILIES:
        for variant in family.VARIANTS:
            if variant.shapes_only or variant.name in left_out:
                continue
            with tempfile.TemporaryDirectory() as folder:
                errors, shape = differences(variant, pathlib.Path(folder))
            own = variant.own_image_size()
            parameters, gmac = cost(variant, own)
            time = milliseconds(variant.name) if parameters < most else None
            yield (
                variant.name,
                "open_clip" if variant.build else "timm",
                own,
                f"{parameters:.1f}",
                f"{gmac:.2f}",
                int(shape["pooled_width"]),
                f"{time:.1f}" if time else "",
                f"{max(errors['pooled'], errors['tokens']):.1e}",
            )


def foreign_rows():
    for foreign in FOREIGN:
        with tempfile.TemporaryDirectory() as folder:
            errors, report = foreign_differences(foreign, pathlib.Path(folder))
        yield foreign.layout, foreign.encoder, report["left_out"], f"{max(errors.values()):.1e}"


def print_table(heads, lines):
    """Row by row: the whole takes a quarter of an hour."""
    for line in (heads, ["--"] * len(heads)):
        print("| " + " | ".join(line) + " |", flush=True)
    for line in lines:
        print("| " + " | ".join(map(str, line)) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=float, default=700, help="millions of parameters of the largest that is timed")
    parser.add_argument("--first", help="name to begin with, to go on with a table")
    options = parser.parse_args()
    processor = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    print(
        "Measured by `CSKD_BUILD_DIR=build/release .venv/bin/python tests/models/encoder_table.py`, "
        f"{datetime.date.today():%d %B %Y}, {processor}, {os.cpu_count()} cores; ms are for one image.\n",
        flush=True,
    )
    heads = ("encoder", "home", "pixels", "parameters, M", "GMAC", "pooled width", "ms", "greatest difference")
    print_table(heads, rows(options.most, options.first))
    print("\nFiles of other libraries for the same structures:\n", flush=True)
    print_table(("layout", "encoder", "left out", "greatest difference"), foreign_rows())


if __name__ == "__main__":
    main()
