"""Prints tables of every encoder beside its home, and of every foreign layout.

The greatest difference is that of pooled features or tokens, as a part of the greatest value, with random weights saved
by the home; milliseconds are for one image on all cores, float32, norms folded. Parameters and GMAC are counted in the
home's model, without classifier.

  cmake --build build/release --target encoder_features encoder_benchmark
  CSKD_BUILD_DIR=build/release .venv/bin/python tests/models/encoder_table.py --write docs/encoders.md
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
    model = variant.model().eval().requires_grad_(False)
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
                type(variant.model()).__module__.split(".")[0],
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


MARK = "<!-- tests/models/encoder_table.py --write docs/encoders.md writes what follows. -->"


class Page:
    """Prints line by line, since the whole takes a quarter of an hour, and keeps what was printed."""

    def __init__(self):
        self.lines = []

    def line(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, heads, rows):
        for row in (heads, ["--"] * len(heads)):
            self.line("| " + " | ".join(row) + " |")
        for row in rows:
            self.line("| " + " | ".join(map(str, row)) + " |")

    def write(self, file):
        """Behind the line that says so, to the end of the page."""
        before, _ = file.read_text().split(MARK + "\n")
        file.write_text(before + MARK + "\n\n" + "\n".join(self.lines) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=float, default=700, help="millions of parameters of the largest that is timed")
    parser.add_argument("--first", help="name to begin with, to go on with a table")
    parser.add_argument("--write", type=pathlib.Path, help="page to write the tables into: docs/encoders.md")
    options = parser.parse_args()
    page = Page()
    processor = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    page.line(
        "Measured by `CSKD_BUILD_DIR=build/release .venv/bin/python tests/models/encoder_table.py`, "
        f"{datetime.date.today():%d %B %Y}, {processor}, {os.cpu_count()} cores; ms are for one image."
    )
    page.line()
    heads = ("encoder", "home", "pixels", "parameters, M", "GMAC", "pooled width", "ms", "greatest difference")
    page.table(heads, rows(options.most, options.first))
    for text in ("", "Files of other libraries for the same structures:", ""):
        page.line(text)
    page.table(("layout", "encoder", "left out", "greatest difference"), foreign_rows())
    if options.write:
        page.write(options.write)


if __name__ == "__main__":
    main()
