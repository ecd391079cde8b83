"""Two learners that are trained together: the same bits on any ranks and after a kill, and what each learns alone otherwise."""

import json

import numpy
import pandas
import pytest
from cskd_program import mpirun, run
from safetensors import safe_open
from safetensors.torch import load_file
from small_run import TRAINING
from stage_runs import copied, digest, result, result_folder, settings

pytestmark = pytest.mark.rotating(2)

PAIR = """
[encoders.vit]
architecture = "ViT-demo-16"
image_size = 64

[align.vit]
encoder = "vit"
towers = ["clip"]

[distill.pair]
from = "align.student"
partner = "align.vit"
"""
PAIR += TRAINING.format(stage="align.vit", steps=2) + TRAINING.format(stage="distill.pair", steps=8)
ELASTIC = ["--set", "compute.threads=1"] + [
    word
    for stage in ("align.student", "align.vit", "finetune.teacher", "distill.student", "distill.pair")
    for word in settings(stage, determinism="elastic")
]
FILES = ("model.safetensors", "partner.safetensors")


@pytest.fixture
def pair(cached, config):
    """Runs with both alignments: pair(name) -> (configuration, run folder)."""

    def make(name, *words):
        path, folder = copied(cached, config, name)
        path.write_text(path.read_text() + PAIR)
        process = mpirun(2, "align", path, *ELASTIC, *words)
        assert process.returncode == 0, process.stderr
        return path, folder

    return make


def distilled(path, name, *words, ranks=2):
    process = mpirun(ranks, "distill", path, name, *ELASTIC, *words)
    assert process.returncode == 0, process.stderr


def files(folder, stage="distill.pair"):
    return [digest(result_folder(folder, stage) / name) for name in FILES]


def test_the_same_bits_on_any_ranks_and_after_a_kill(pair):
    results = []
    for ranks in (1, 2, 4):
        path, folder = pair(f"ranks{ranks}")
        words = settings("distill.pair", log_every=1, checkpoint_every=2)
        if ranks == 2:
            killed = mpirun(
                2, "distill", path, "pair", *ELASTIC, *words, env={"CSKD_FAIL_AT": "trainer.step@distill.pair:6:kill"}
            )
            assert killed.returncode == 137
        distilled(path, "pair", *words, ranks=ranks)
        results.append((result(folder, "distill.pair"), files(folder)))
    assert all(each == results[0] for each in results)
    metrics = pandas.read_json(result_folder(folder, "distill.pair") / "metrics.jsonl", lines=True)
    # The distance between two answers is that between the other two.
    assert (metrics["train/partner"] == metrics["train/partner_partner"]).all() and (metrics["train/partner"] > 0).all()
    ramp = numpy.minimum(1, (metrics["step"] - 1) / (0.35 * 8))
    terms = sum(
        metrics[f"train/{whose}supervised"]
        + metrics[f"train/{whose}partner"]
        + 0.5 * ramp * metrics[f"train/{whose}consistency"]
        for whose in ("", "partner_")
    )
    assert numpy.allclose(metrics["train/loss"], terms, rtol=1e-5)
    with safe_open(result_folder(folder, "distill.pair") / "partner.safetensors", "pt") as file:
        assert file.metadata()["encoder"] == "ViT-demo-16"
    with safe_open(result_folder(folder, "distill.pair") / "model.safetensors", "pt") as file:
        assert file.metadata()["encoder"] == "mobilenetv3_small_100"


def test_a_partner_that_says_nothing_changes_nothing(pair):
    """With a weight of next to nothing, and no common clipping, each learns what it learns alone."""
    path, folder = pair("silent")
    loud = settings("distill.pair", clip_norm=1e9)
    distilled(path, "pair", *loud, "--set", "distill.pair.partner_weight=1e-30")
    alone = path.read_text().replace('partner = "align.vit"\n', "")
    assert alone != path.read_text()
    process = mpirun(2, "finetune", path, "teacher", *ELASTIC)
    assert process.returncode == 0, process.stderr
    path.write_text(
        alone.replace("[distill.pair]", '[distill.pair]\nteachers = ["finetune.teacher"]\npseudo_label_weight = 0')
    )
    together = load_file(result_folder(folder, "distill.pair") / "model.safetensors")
    result_folder(folder, "distill.pair").rename(folder / "together")
    distilled(path, "pair", *loud)
    single = load_file(result_folder(folder, "distill.pair") / "model.safetensors")
    assert together.keys() == single.keys()
    for name, tensor in single.items():
        assert tensor.equal(together[name]), name


def test_either_is_the_product(pair):
    path, folder = pair("product")
    loud = settings("distill.pair", clip_norm=1e9)
    distilled(path, "pair", *loud)
    stage = result_folder(folder, "distill.pair")
    first = [load_file(stage / name) for name in FILES]
    stage.rename(folder / "first")
    distilled(path, "pair", *loud, "--set", "distill.pair.product=second")
    second = [load_file(stage / name) for name in reversed(FILES)]
    for before, after in zip(first, second, strict=True):
        assert before.keys() == after.keys()
        assert all(tensor.equal(after[name]) for name, tensor in before.items())
    process = run(
        "evaluate", path, "--set", "distill.pair.product=second", "--set", 'evaluate.models=["distill.pair"]', *loud
    )
    assert process.returncode == 0, process.stderr
    assert "distill.pair" in process.stdout
    # What a run wrote down of itself is read again.
    written = json.loads(run("plan", folder / "config.toml", "--json", "--quick").stdout)
    stages = {each["stage"]: each for each in written["stages"]}
    assert {"align.student", "align.vit"} <= set(stages["distill.pair"]["needs"])


def test_validation_judges_both(config):
    path, folder = config("validated")
    path.write_text(path.read_text().replace('kind = "ava"', 'kind = "ava"\nvalidation_share = 0.2') + PAIR)
    for words in (["shard"], ["cache"], ["align"], ["distill", "pair"]):
        more = ["--set", "distill.pair.labelled_batch=8", *settings("distill.pair", validate_every=4)]
        process = mpirun(2, words[0], path, *words[1:], *more)
        assert process.returncode == 0, process.stderr
    metrics = pandas.read_json(result_folder(folder, "distill.pair") / "metrics.jsonl", lines=True)
    found = metrics.dropna(subset=["validation/srcc", "validation/partner_srcc"])
    assert list(found["step"]) == [4, 8]
    # Two models, two figures.
    assert (found["validation/emd2"] != found["validation/partner_emd2"]).all()


@pytest.mark.parametrize(
    "words, text",
    [
        (["distill.pair.head=teacher"], 'distill.pair.head = "own"'),
        (["distill.pair.answers=same_view"], 'distill.pair.answers = "whole"'),
        (["encoders.vit.image_size=96"], "give their encoders the same image_size"),
        (["distill.pair.partner=align.vitt"], "align.vit"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_start(cached, config, words, text):
    path, folder = copied(cached, config, "refused")
    path.write_text(path.read_text() + PAIR)
    process = run("run", path, *(part for word in words for part in ("--set", word)))
    assert process.returncode == 2 and text in process.stderr, process.stderr
    assert not (folder / "align").exists()


def test_neither_teacher_nor_partner_is_refused(cached, config):
    path, _ = copied(cached, config, "nobody")
    path.write_text((path.read_text() + PAIR).replace('partner = "align.vit"\n', ""))
    process = run("plan", path)
    assert process.returncode == 2 and "distill.pair.teachers is missing" in process.stderr, process.stderr
    assert "or partner" in process.stderr
