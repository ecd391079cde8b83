"""Analyses of small runs, and what they found."""

import json

from cskd_program import mpirun, run

MODELS = [
    "towers.clip",
    "encoders.mobile",
    "align.student",
    "finetune.teacher",
    "finetune.supervised",
    "distill.student",
]
PROBED = ["--set", "analyze.probe_on_test=true", "--set", "analyze.folds=2"]
ONE_THREAD = ["--set", "compute.threads=1"]


def analysed(*arguments, ranks=1, env=None):
    process = mpirun(ranks, "analyze", *arguments, env=env) if ranks > 1 else run("analyze", *arguments, env=env)
    assert process.returncode == 0, process.stdout + process.stderr
    return process


def findings(folder):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / "analyze/analysis.json").read_text(), parse_constant=refuse)
