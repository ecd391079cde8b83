"""Stage II with answers to the very pixels that the student sees: against PyTorch, on any ranks, after a kill."""

import json
import shutil

import numpy
import pandas
import pytest
import torch
from cskd_program import mpirun, run
from safetensors.torch import load_file
from small_run import HEIR, TRAINING, configuration
from stage_runs import copied, result, result_folder, settings
from torch_tower import batch_of, transformer, whole_pictures

pytestmark = pytest.mark.rotating(2)

CENTRES = numpy.arange(1, 11)
ELASTIC = ["--set", "compute.threads=1"] + [
    word
    for stage in ("align.student", "finetune.teacher", "finetune.supervised", "distill.heir")
    for word in settings(stage, determinism="elastic")
]


@pytest.fixture
def heir(cached, config):
    """Runs that are ready for the student: heir(name) -> (configuration, run folder)."""

    def make(name):
        path, folder = copied(cached, config, name)
        path.write_text(path.read_text() + HEIR)
        return path, folder

    return make


def head_of(folder, stage):
    state = load_file(result_folder(folder, stage) / "model.safetensors")
    return state, [state[f"score_head.{part}"].double() for part in ("weight", "bias")]


def test_the_terms_are_those_of_pytorch(cached, corpus, weights, tmp_path):
    """One step over all unlabelled pictures, each whole: the mean over them does not depend on their order."""
    folder, path = tmp_path / "run", tmp_path / "run.toml"
    text = configuration(corpus, weights, folder, fraction=1) + HEIR
    text = text.replace("views.count = 4", "views = {count = 0, whole = 1}")
    text = text.replace(
        "[encoders.mobile]", '[encoders.vit]\narchitecture = "ViT-demo-16"\nimage_size = 64\n\n[encoders.mobile]'
    )
    path.write_text(text.replace('encoder = "mobile"', 'encoder = "vit"'))
    shutil.copytree(cached / "shards", folder / "shards")
    images = whole_pictures(folder, wanted=lambda file: "-unlabelled-" in file)
    tiny = dict(steps=1, micro_batches=1, learning_rate=1e-9, warmup_steps=0, ema_decay=0, log_every=1)
    labelled = 4
    small = settings(**tiny) + settings("distill.heir", global_batch=len(images), **tiny)
    for words in (["align", path], ["ridge", path], ["distill", path, "heir"]):
        process = run(*words, *small)
        assert process.returncode == 0, process.stderr

    with torch.no_grad():
        state, head = head_of(folder, "distill.heir")
        student_features = transformer(state, 64)(batch_of(images, 64))[0].double()
        student = torch.softmax(torch.nn.functional.linear(student_features, *head), 1)
        _, head = head_of(folder, "ridge.tower")
        features = transformer(load_file(weights), 128)(batch_of(images, 128))[0].double()
        whitened = torch.nn.functional.layer_norm(features, features.shape[1:])
        teacher = torch.softmax(torch.nn.functional.linear(whitened, *head), 1)
    emd = ((student.cumsum(1) - teacher.cumsum(1)) ** 2).mean(1).sum() / (len(images) + labelled)
    found = pandas.read_json(result_folder(folder, "distill.heir") / "metrics.jsonl", lines=True).iloc[0]
    assert found["train/pseudo_label"] == pytest.approx(emd.item(), rel=2e-3)
    means, wanted = (part.numpy() @ CENTRES for part in (student, teacher))
    pairs = wanted[:, None] - wanted[None] >= 0.2
    expected = numpy.log1p(numpy.exp(means[None] - means[:, None]))[pairs].mean() if pairs.any() else 0
    assert found["train/rank"] == pytest.approx(expected, rel=2e-2)
    aligned = load_file(result_folder(folder, "align.student") / "model.safetensors")
    projector = [aligned[f"projector.{part}"].double() for part in ("weight", "bias")]
    projected = torch.nn.functional.linear(student_features, *projector)
    feature = torch.nn.functional.smooth_l1_loss(projected, whitened, beta=2.0)
    feature += (1 - torch.nn.functional.cosine_similarity(projected, whitened)).mean()
    assert found["train/feature"] == pytest.approx(feature.item(), rel=2e-3)
    terms = {"supervised": 0.25, "pseudo_label": 1, "rank": 0.5, "feature": 2}
    total = sum(weight * found[f"train/{term}"] for term, weight in terms.items())
    assert found["train/loss"] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    "teachers, ranks",
    [
        (["ridge.tower"], (1, 2, 4)),
        # One that takes other pixels than the student, and one that takes the same.
        (["ridge.tower", "finetune.teacher", "finetune.supervised"], (1, 2)),
    ],
    ids=["stored", "looking"],
)
def test_answers_give_the_same_bits_on_any_ranks_and_after_a_kill(heir, teachers, ranks):
    results = []
    for count in ranks:
        path, folder = heir(f"ranks{count}")
        words = [*ELASTIC, "--set", f"distill.heir.teachers={json.dumps(teachers)}"]
        for kind in ["align", "ridge"] + (["finetune"] if len(teachers) > 1 else []):
            process = mpirun(2, kind, path, *words)
            assert process.returncode == 0, process.stderr
        if count == 2:
            killed = mpirun(
                count, "distill", path, "heir", *words, env={"CSKD_FAIL_AT": "trainer.step@distill.heir:6:kill"}
            )
            assert killed.returncode == 137
        process = mpirun(count, "distill", path, "heir", *words)
        assert process.returncode == 0, process.stderr
        results.append(result(folder, "distill.heir"))
    assert all(each == results[0] for each in results)
    assert results[0].steps == [2, 4, 6, 8]


SECOND = """
[distill.second]
from = "align.student"
teachers = ["distill.heir"]
consistency_weight = 0
""" + TRAINING.format(stage="distill.second", steps=8)


def test_a_second_round_learns_from_the_first_student(heir):
    path, folder = heir("rounds")
    path.write_text(path.read_text() + SECOND)
    for words in (["align"], ["ridge"], ["distill", "heir", "second"]):
        process = mpirun(2, words[0], path, *words[1:])
        assert process.returncode == 0, process.stderr
    stages = {stage["stage"]: stage for stage in json.loads(run("plan", path, "--json", "--quick").stdout)["stages"]}
    assert "distill.heir" in stages["distill.second"]["needs"]
    inputs = json.loads((folder / "distill/second/complete.json").read_text())["inputs"]
    assert inputs["distill.heir.rank.weight"] == "0.5"
    process = run("evaluate", path, "--set", 'evaluate.models=["distill.second", "distill.heir"]')
    assert process.returncode == 0, process.stderr
    results = json.loads((folder / "evaluate/results.json").read_text())["results"]
    fidelity = {each["model"]: each.get("fidelity") for each in results}
    assert fidelity["distill.second"]["teachers"] == ["distill.heir"] and fidelity["distill.heir"] is None


def test_its_caches_are_made_and_planned_for(heir):
    path, _ = heir("plan")
    without = path.read_text().replace('towers = ["clip"]', 'towers = ["clip"]\ntargets = "online"')
    path.write_text(without)
    stages = {stage["stage"]: stage for stage in json.loads(run("plan", path, "--json", "--quick").stdout)["stages"]}
    # The alignment computes its features, the student of Stage II reads them.
    assert "cache.clip" not in stages["align.student"]["needs"]
    assert {"cache.clip", "align.student", "ridge.tower"} <= set(stages["distill.heir"]["needs"])
    path.write_text(without.replace("views.count = 4", "views.count = 0"))
    stages = {stage["stage"]: stage for stage in json.loads(run("plan", path, "--json", "--quick").stdout)["stages"]}
    assert "cache.clip" not in stages


@pytest.mark.parametrize(
    "words, text",
    [
        (["distill.heir.consistency_weight=0.5"], "set distill.heir.consistency_weight to 0"),
        (["distill.heir.answers=whole"], "distill.heir.feature_weight is 2: it takes distill.heir.answers"),
        (
            ['distill.heir.teachers=["finetune.teacher"]', "distill.heir.head=own"],
            "its first teacher, finetune.teacher, is no ridge.NAME on the whitened features",
        ),
        (
            ["ridge.tower.whiten=false", "distill.heir.head=own"],
            "ridge.tower, is no ridge.NAME on the whitened features",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(heir, words, text):
    path, folder = heir("refused")
    process = run("run", path, *(part for word in words for part in ("--set", word)))
    assert process.returncode == 2 and text in process.stderr, process.stderr
    assert not (folder / "align").exists()
