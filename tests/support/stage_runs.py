"""Run folders of the tests: settings of a training, and all of its result that has to be equal to the last bit."""

import collections
import hashlib
import shutil

import pandas

TRAININGS = ("align.student", "finetune.teacher", "finetune.supervised", "distill.student")


def command(stage, path):
    """The words of `cskd` that run one stage, "align.student", or what has no name: "run"."""
    kind, *name = stage.split(".")
    return kind, path, *name


def result_folder(folder, stage):
    return folder / stage.replace(".", "/")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copied(cached, config, name, **changes):
    path, folder = config(name, **changes)
    shutil.copytree(cached, folder)
    return path, folder


def settings(stage="align.student", **changes):
    return [word for key, value in changes.items() for word in ("--set", f"{stage}.training.{key}={value}")]


# Every training elastic, with a checkpoint after every step.
EVERY_STEP = [
    word
    for stage in TRAININGS
    for word in settings(stage, checkpoint_every=1, log_every=1, determinism="elastic", feature_dropout=0.1)
] + ["--set", "compute.threads=1"]

# Of a model that tells pictures apart after few steps.
OPINIONATED = settings("finetune.supervised", steps=60, learning_rate=0.003, ema_decay=0.9)


def checkpoints(folder, stage="align.student"):
    return sorted(
        int(commit.parent.name.removeprefix("step-"))
        for commit in (result_folder(folder, stage) / "checkpoints").glob("step-*/commit.json")
    )


Result = collections.namedtuple("Result", "state model steps losses")


def result(folder, stage="align.student", step=8):
    stage_folder = result_folder(folder, stage)
    last = stage_folder / "checkpoints" / f"step-{step:09}"
    metrics = pandas.read_json(stage_folder / "metrics.jsonl", lines=True)
    return Result(
        [digest(last / f"{name}.safetensors") for name in ("model", "ema", "optimizer")],
        digest(stage_folder / "model.safetensors"),
        list(metrics["step"]),
        list(metrics["train/loss"]),
    )


def whole_result(folder):
    """Of all stages of a run: shards, features, trainings, and the scores of every test picture."""
    files = {
        str(path.relative_to(folder)): digest(path)
        for pattern in ("shards/*.h5", "cache/*/*.h5")
        for path in folder.glob(pattern)
    }
    assert len(files) > 10
    return files, [result(folder, stage) for stage in TRAININGS], digest(folder / "evaluate" / "predictions.csv")
