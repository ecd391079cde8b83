"""What a training costs beside forward, backward and optimiser: the loop's share of short steps, the time from start to first step, and what a resume
adds. One and two ranks, one thread and a micro-batch of 8 pictures each, on a small corpus of the demo; medians over rounds.

  .venv/bin/python tests/benchmarks/loop.py [--rounds 5]
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
os.environ.setdefault("CSKD_BINARY", str(ROOT / "build/release/cskd"))
sys.path.insert(0, str(ROOT / "tests/support"))

import small_run  # noqa: E402  the tests' configuration

MICRO_BATCH = 8
TRACED = 200
WORK = {"data and forward", "backward", "waiting for buckets", "optimiser"}
EXCHANGE = "statistics and figures"


def cskd(*words, ranks=2, fails_at="", code=0):
    environment = {
        **os.environ,
        "CSKD_FAIL_AT": fails_at,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    command = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        str(ranks),
        os.environ["CSKD_BINARY"],
        *map(str, words),
    ]
    process = subprocess.run(
        command,
        env={name: value for name, value in environment.items() if value},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if process.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{process.stderr}")


def overhead(trace):
    """Of rank 0: the median step in ms, and the shares in percent of the exchange, and of what is neither that nor WORK."""
    names = {
        event["tid"]: event["args"]["name"]
        for event in trace
        if event["ph"] == "M" and event["name"] == "thread_name" and event["pid"] == 0
    }
    own = [event for event in trace if event["ph"] == "X" and event["pid"] == 0 and names[event["tid"]] == "computing"]
    steps = sorted((event for event in own if event["name"].startswith("step ")), key=lambda event: event["ts"])
    begin, end = steps[0]["ts"], steps[-1]["ts"] + steps[-1]["dur"]
    inside = [event for event in own if begin <= event["ts"] < end]
    work = sum(event["dur"] for event in inside if event["name"] in WORK)
    exchange = sum(event["dur"] for event in inside if event["name"] == EXCHANGE)
    starts = [step["ts"] for step in steps]
    period = statistics.median(later - one for one, later in zip(starts, starts[1:])) / 1000
    return period, 100 * exchange / (end - begin), 100 * (1 - (work + exchange) / (end - begin))


def first_step(arguments, folder, stops=False):
    """Seconds from the start of mpirun until the first new step was done; `stops` at a checkpoint after the fourth."""
    start = time.time()
    cskd(*arguments, fails_at="trainer.step:5:term" if stops else "", code=75 if stops else 0)
    steps = [json.loads(line) for line in (folder / "align/student/metrics.jsonl").read_text().splitlines()]
    return min(step["time"] for step in steps if step["time"] > start) - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        cskd("demo", work / "corpus", "--images", 200, ranks=1)
        small_run.random_tower(work / "tower.safetensors", seed=1)
        path, folder = work / "config.toml", work / "run"
        path.write_text(small_run.configuration(work / "corpus", work / "tower.safetensors", folder))
        for stage in ("shard", "cache"):
            cskd(stage, path)
        common = [
            "align",
            path,
            "--set",
            "compute.threads=1",
            "--set",
            "align.student.training.log_every=1",
            "--set",
            "align.student.training.checkpoint_every=100000",
        ]
        traced = [
            "--set",
            "align.student.training.log_every=10",
            "--set",
            f"align.student.training.steps={TRACED + 60}",
            "--set",
            f"logging.trace_steps={TRACED}",
            "--set",
            "logging.trace_after=50",
        ]
        found, fresh, resumed = {1: [], 2: []}, [], []
        for _ in range(rounds):
            for ranks in found:
                batches = [
                    "--set",
                    f"align.student.training.global_batch={MICRO_BATCH * ranks}",
                    "--set",
                    f"align.student.training.micro_batches={ranks}",
                ]
                shutil.rmtree(folder / "align/student", ignore_errors=True)
                cskd(*common, *traced, *batches, ranks=ranks)
                found[ranks].append(
                    overhead(json.loads((folder / "align/student/trace.json").read_text())["traceEvents"])
                )
            shutil.rmtree(folder / "align/student")
            fresh.append(first_step([*common, *batches], folder, stops=True))
            resumed.append(first_step([*common, *batches], folder))
    print("| | median | of each round |\n|---|---|---|")
    for ranks, rounds_of in found.items():
        steps, exchanges, rests = zip(*rounds_of)
        print(
            f"| step on {ranks} rank{'s' if ranks > 1 else ''} | {statistics.median(steps):.1f} ms | {' '.join(f'{each:.1f}' for each in steps)} |"
        )
        for what, shares in [(EXCHANGE, exchanges), ("the rest of the loop", rests)]:
            print(f"| {what} | {statistics.median(shares):.2f} % | {' '.join(f'{each:.2f}' for each in shares)} |")
    print(
        f"| start of mpirun on 2 ranks to the end of the first step | {statistics.median(fresh):.2f} s | {' '.join(f'{each:.2f}' for each in fresh)} |"
    )
    print(
        f"| the same after a resume | {statistics.median(resumed):.2f} s | {' '.join(f'{each:.2f}' for each in resumed)} |"
    )


if __name__ == "__main__":
    main()
