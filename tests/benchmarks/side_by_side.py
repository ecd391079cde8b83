"""cskd's training step and all-reduce beside PyTorch DDP's over Gloo: two ranks, one thread each, float32, channels last, the same model and
batch, in turns within one run. Prints a table of medians and ratios (above 1: cskd is faster). "Returning" is cskd's step when freed memory
goes back to the system (runtime/freed_memory.h), as it does in PyTorch.

  cmake --build build/release --target cskd
  .venv/bin/python tests/benchmarks/side_by_side.py [--rounds 5] [--only vit]
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
RANKS = 2
CASES = [("step", "mobilenetv3_small_100", "128", "16", "20"), ("step", "vit_tiny_patch16_224", "224", "4", "8"),
         ("all-reduce", "25000", "200"), ("all-reduce", "1000000", "100"), ("all-reduce", "6500000", "30")]


def our_words(case):
    """The options of `cskd bench` for a case."""
    if case[0] == "step":
        names = ("--encoder", "--image-size", "--batch", "--steps")
    else:
        names = ("--numbers", "--repeats")
    return [case[0], *(word for pair in zip(names, case[1:]) for word in pair), "--json"]


def seconds_of(command, **variables):
    """The median of what one process group measured."""
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1", "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{process.stderr}")
    found = json.loads(process.stdout[process.stdout.index("{"):])
    return statistics.median(found["seconds"] if "seconds" in found else found["cases"][0]["seconds"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose words contain this")
    arguments = parser.parse_args()
    ours = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(RANKS), ROOT / "build/release/cskd", "bench"]
    theirs = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}", ROOT / "tests/benchmarks/ddp_steps.py"]
    print(f"{'case':<44} {'cskd ms':>9} {'DDP ms':>9} {'ratio':>6} {'returning ms':>13}   ratio of each round")
    for case in (case for case in CASES if arguments.only in " ".join(case)):
        rounds = [(seconds_of(ours + our_words(case)), seconds_of(theirs + list(case)),
                   seconds_of([*ours, *our_words(case), "--return-memory"]) if case[0] == "step" else math.nan)
                  for _ in range(arguments.rounds)]
        cskd, ddp, returning = (1000 * statistics.median(column) for column in zip(*rounds))
        each = " ".join(f"{theirs_once / ours_once:.2f}" for ours_once, theirs_once, _ in rounds)
        without = "" if math.isnan(returning) else f"{returning:.2f}"
        print(f"{' '.join(case):<44} {cskd:>9.2f} {ddp:>9.2f} {ddp / cskd:>6.2f} {without:>13}   {each}", flush=True)


if __name__ == "__main__":
    main()
