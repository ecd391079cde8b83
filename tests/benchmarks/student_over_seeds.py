"""The distilled student against a supervised-only one of the same architecture, over several seeds of a whole run.

    .venv/bin/python tests/benchmarks/student_over_seeds.py configs/demo.toml --seeds 1 2 3

A seed draws the labels that may be seen, the first weights and every augmentation. Each run lies in <run.folder>-seed-<S> and goes on where
it was interrupted. Spearman correlations are computed here, by scipy, from the predictions that the runs wrote. The interval of a difference
comes from resampling the test pictures, the same ones for both models and all seeds (paired percentile bootstrap, 95 %); it tells what other
test pictures would change, not what other seeds would: for that, look at the rows.
"""

import argparse
import csv
import os
import pathlib
import subprocess
import tomllib

import numpy as np
from scipy.stats import rankdata, spearmanr

ROOT = pathlib.Path(__file__).parents[2]
MODELS = ("student", "supervised", "teacher")
RESAMPLES = 2000


def run(config, folder, seed, settings):
    """The folder of a finished run with this seed."""
    command = ["mpirun", "-n", "2", ROOT / "build/release/cskd", "run", config, "--set", f"run.seed={seed}", "--set", f"run.folder={folder}"]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=7200)
    return folder


def predictions(folder):
    """model -> {picture: (rated, predicted)}"""
    found = {}
    with open(folder / "evaluate/predictions.csv") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["model"], {})[row["picture"]] = (float(row["rated_mean"]), float(row["predicted_mean"]))
    return found


def interval(values):
    low, high = np.percentile(values, [2.5, 97.5])
    return f"[{low:.3f}, {high:.3f}]"


def rank_correlation(x, y):
    return np.corrcoef(rankdata(x), rankdata(y))[0, 1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of cskd, for every run")
    arguments = parser.parse_args()
    base = (arguments.config.parent / tomllib.loads(arguments.config.read_text())["run"]["folder"]).resolve()
    runs = []
    for seed in arguments.seeds:
        folder = run(arguments.config, base.with_name(f"{base.name}-seed-{seed}"), seed, arguments.set)
        runs.append(predictions(folder))

    pictures = sorted(runs[0]["student"])
    rated = np.array([runs[0]["student"][picture][0] for picture in pictures])
    predicted = {model: [np.array([run[model][picture][1] for picture in pictures]) for run in runs] for model in MODELS}
    print("| seed | student | supervised only | difference | teacher |\n|---|---|---|---|---|")
    scores = {model: [spearmanr(rated, values).statistic for values in predicted[model]] for model in MODELS}
    for i, seed in enumerate(arguments.seeds):
        student, supervised, teacher = (scores[model][i] for model in MODELS)
        print(f"| {seed} | {student:.3f} | {supervised:.3f} | {student - supervised:+.3f} | {teacher:.3f} |")

    random = np.random.default_rng(0)
    resampled = {model: [] for model in MODELS}
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(pictures), len(pictures))
        for model in MODELS:
            resampled[model].append(np.mean([rank_correlation(rated[chosen], values[chosen]) for values in predicted[model]]))
    difference = np.array(resampled["student"]) - np.array(resampled["supervised"])
    student, supervised, teacher = (f"{np.mean(scores[model]):.3f} {interval(resampled[model])}" for model in MODELS)
    gain = np.mean(scores["student"]) - np.mean(scores["supervised"])
    print(f"| mean | {student} | {supervised} | {gain:+.3f} {interval(difference)} | {teacher} |")
    print(f"\nSRCC on {len(pictures)} test pictures")


if __name__ == "__main__":
    main()
