"""What a training step takes with each way of OpenMP's threads to wait for work, on idle cores and beside as many busy processes as there are cores.
Ways, in turns within a round: 300,000 turns as libgomp by itself, fewer, none at all (OMP_WAIT_POLICY=passive). Prints a Markdown table: median and
range of the rounds, and the median over rounds of the ratio to libgomp's own.

  .venv/bin/python tests/benchmarks/thread_waiting.py [--rounds 5]     # some 12 minutes on 2 cores; nothing else should run
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys

CSKD = pathlib.Path(os.environ.get("CSKD_BINARY", pathlib.Path(__file__).parents[2] / "build/release/cskd"))
OWN = "300,000 turns"
WAYS = {
    OWN: {"GOMP_SPINCOUNT": "300000"},
    **{f"{turns:,} turns": {"GOMP_SPINCOUNT": str(turns)} for turns in (100_000, 30_000, 10_000)},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
SIZES = [(32, 4, 60), (128, 16, 40)]  # pixels a side, images, steps that count
CORES = len(os.sched_getaffinity(0))


@contextlib.contextmanager
def busy(processes):
    started = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def milliseconds(size, way):
    pixels, images, steps = size
    words = ["bench", "step", "--threads", CORES, "--image-size", pixels, "--batch", images, "--steps", steps, "--json"]
    output = subprocess.run(
        [CSKD, *map(str, words)], env={**os.environ, **way}, stdout=subprocess.PIPE, timeout=600, check=True
    ).stdout
    return 1000 * statistics.mean(json.loads(output)["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"| images of a step | beside | {' | '.join(WAYS)} |\n|{'---|' * (2 + len(WAYS))}")
    for size in SIZES:
        for others in (0, CORES):
            seconds = {name: [] for name in WAYS}
            with busy(others):
                for _ in range(rounds):
                    for name, way in WAYS.items():
                        seconds[name].append(milliseconds(size, way))
                        print(f"{size} {others} {name}: {seconds[name][-1]:.1f} ms", file=sys.stderr, flush=True)
            cells = []
            for each in seconds.values():
                ratio = statistics.median(value / own for value, own in zip(each, seconds[OWN]))
                cells.append(f"{statistics.median(each):.0f} ms ({min(each):.0f} to {max(each):.0f}), x {ratio:.2f}")
            print(
                f"| {size[1]} of {size[0]} pixels | {f'{others} busy processes' if others else 'nothing'} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
