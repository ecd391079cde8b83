"""Score heads in closed form: against scikit-learn on open_clip's features, on any ranks, handed on to a student."""

import json

import numpy
import pandas
import pytest
import torch
from cskd_program import mpirun, run
from PIL import Image
from safetensors.torch import load_file, safe_open
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stage_runs import copied, digest, result_folder
from torch_tower import batch_of, rows_of, transformer

pytestmark = pytest.mark.rotating(2)

CENTRES = numpy.arange(1, 11)
ALL_LABELS = ["--set", "labels.fraction=1"]
# So small that nothing changes.
ONE_STEP = """
[{stage}.training]
steps = 1
global_batch = 16
micro_batches = 4
learning_rate = 1e-12
warmup_steps = 0
ema_decay = 0
"""
TABLES = """
[ridge.tower]
from = "towers.clip"

[distill.heir]
from = "align.student"
teachers = ["ridge.tower"]
head = "teacher"
""" + ONE_STEP.format(stage="distill.heir")

MORE = """
[finetune.more]
from = "ridge.tower"
""" + ONE_STEP.format(stage="finetune.more")


@pytest.fixture
def ridge(cached, config):
    """A configuration with a ridge on the tower, and its run folder."""
    path, folder = copied(cached, config, "ridge")
    path.write_text(path.read_text() + TABLES)
    return path, folder


def facts(folder, stage="ridge.tower"):
    return json.loads((result_folder(folder, stage) / "complete.json").read_text())["facts"]


def seen_by_the_tower(folder, weights, split, mirrored):
    """Whitened features of a split, the mean over views, and mean scores."""
    rows = [
        (image, shard["label/histogram"][row]) for image, shard, row in rows_of(folder, lambda f: f"-{split}-" in f)
    ]
    images = [image for image, _ in rows]
    views = [images] + ([[image.transpose(Image.FLIP_LEFT_RIGHT) for image in images]] if mirrored else [])
    model = transformer(load_file(weights), 128)
    with torch.no_grad():
        pooled = [model(batch_of(view, 128))[0] for view in views]
    whitened = [torch.nn.functional.layer_norm(features, features.shape[1:]) for features in pooled]
    labels = numpy.array([label for _, label in rows], "f8")
    return torch.stack(whitened).mean(0).numpy().astype("f8"), labels / labels.sum(1, keepdims=True)


def test_the_head_is_that_of_scikit_learn(ridge, weights):
    path, folder = ridge
    process = run("ridge", path, *ALL_LABELS)
    assert process.returncode == 0, process.stderr
    found = facts(folder)
    features, labels = seen_by_the_tower(folder, weights, "train", mirrored=True)
    scores = labels @ CENTRES
    assert found["labels"] == len(scores) and found["unreadable"] == 0 and found["folds"] == 5
    width = numpy.sqrt((labels @ CENTRES**2 - scores**2).mean())
    assert found["width"] == pytest.approx(max(width, 0.75), rel=1e-6)

    # Of what scikit-learn predicts for the whole view, each bin by the normal density.
    reference = make_pipeline(StandardScaler(), Ridge(found["alpha"] * len(scores))).fit(features, scores)
    features, _ = seen_by_the_tower(folder, weights, "test", mirrored=False)
    mean = reference.predict(features)
    density = numpy.exp(-((CENTRES - mean[:, None]) ** 2) / (2 * found["width"] ** 2))
    expected = density / density.sum(1, keepdims=True)
    process = run("evaluate", path, *ALL_LABELS, "--set", 'evaluate.models=["ridge.tower"]')
    assert process.returncode == 0, process.stderr
    predictions = pandas.read_csv(folder / "evaluate/predictions.csv")
    assert len(predictions) == len(mean)
    numpy.testing.assert_allclose(predictions["predicted_mean"], expected @ CENTRES, atol=2e-3)
    assert numpy.ptp(expected @ CENTRES) > 0.02  # or it says nothing
    card = (result_folder(folder, "ridge.tower") / "model_card.md").read_text()
    assert "ridge regression on whitened features" in card and f"{len(scores)} labelled pictures" in card


def test_the_same_bytes_on_any_ranks_and_after_a_kill(ridge):
    path, folder = ridge
    model = result_folder(folder, "ridge.tower") / "model.safetensors"
    seen = set()
    for ranks in (1, 2, 3):
        if ranks == 2:
            process = run("ridge", path, *ALL_LABELS, env={"CSKD_FAIL_AT": "stage.model:kill"})
            assert process.returncode == -9, process.stderr
            assert not model.exists()
        process = mpirun(ranks, "ridge", path, *ALL_LABELS, "--set", "compute.threads=1")
        assert process.returncode == 0, process.stderr
        seen.add((digest(model), json.dumps(facts(folder))))
        assert "complete already" in run("ridge", path, *ALL_LABELS).stderr
        model.unlink()
    assert len(seen) == 1


def test_a_student_takes_over_the_head_through_its_projector(ridge):
    path, folder = ridge
    for stage in ("align", "ridge", "distill"):
        process = run(stage, path, *(["student"] if stage == "align" else ["heir"] if stage == "distill" else []))
        assert process.returncode == 0, process.stderr
    aligned, teacher, student = (
        load_file(result_folder(folder, stage) / "model.safetensors")
        for stage in ("align.student", "ridge.tower", "distill.heir")
    )
    projector = [aligned[f"projector.{part}"].double() for part in ("weight", "bias")]
    head = [teacher[f"score_head.{part}"].double() for part in ("weight", "bias")]
    torch.testing.assert_close(student["score_head.weight"].double(), head[0] @ projector[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        student["score_head.bias"].double(), head[0] @ projector[1] + head[1], rtol=1e-5, atol=1e-6
    )
    with safe_open(result_folder(folder, "ridge.tower") / "model.safetensors", "pt") as file:
        assert file.metadata()["head_input"] == "whitened"
    with safe_open(result_folder(folder, "distill.heir") / "model.safetensors", "pt") as file:
        assert "head_input" not in file.metadata()


def test_a_training_that_starts_from_the_head_keeps_it(ridge):
    path, folder = ridge
    path.write_text(path.read_text() + MORE)
    for kind in ("ridge", "finetune"):
        process = run(kind, path, *(["more"] if kind == "finetune" else []))
        assert process.returncode == 0, process.stderr
    process = run("evaluate", path, "--set", 'evaluate.models=["ridge.tower", "finetune.more"]')
    assert process.returncode == 0, process.stderr
    means = pandas.read_csv(folder / "evaluate/predictions.csv").set_index("model")["predicted_mean"]
    numpy.testing.assert_allclose(means["finetune.more"], means["ridge.tower"], atol=1e-4)


@pytest.mark.parametrize(
    "words, text",
    [
        (["--set", "labels.fraction=0.01"], "ridge.tower has 1 labelled pictures, but needs 4"),
        (["--set", 'ridge.tower.from="align.mobile"'], 'ridge.tower.from is "align.mobile", but there is no [align.mobile]'),
        (["--set", 'ridge.tower.from="ridge.tower"'], "circle"),
        (["--set", "ridge.tower.whiten=false"], 'distill.heir.head is "teacher"'),
        (["--set", 'ridge.tower.from="align.student"'], 'distill.heir.head is "teacher"'),
        (["--set", 'distill.heir.from="encoders.mobile"'], 'distill.heir.head is "teacher"'),
        (["--set", 'distill.heir.teachers=["finetune.teacher"]'], 'distill.heir.head is "teacher"'),
        (["--set", 'distill.heir.teachers=["ridge.tower", "ridge.tower"]'], "names ridge.tower twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_the_start(ridge, words, text):
    path, folder = ridge
    process = run("run", path, *words)
    assert process.returncode == 2, process.stderr
    assert text in process.stderr
    assert not (folder / "align").exists()


def require_figures_are_scipys(document, predictions):
    """Of every model, and of the differences to the first."""
    srcc = {}
    for model in document["results"]:
        rows = predictions.loc[model["model"]]
        mean, rated = rows["predicted_mean"], rows["rated_mean"]
        srcc[model["model"]] = spearmanr(mean, rated).statistic
        expected = {
            "srcc": srcc[model["model"]],
            "plcc": pearsonr(mean, rated).statistic,
            "krcc": kendalltau(mean, rated).statistic,
            "mse": ((mean - rated) ** 2).mean(),
            "accuracy": ((mean > 5) == (rated > 5)).mean(),
            "std_plcc": pearsonr(rows["predicted_std"], rows["rated_std"]).statistic,
        }
        assert {name: model[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert model["n"] == document["split"]["pictures"] == len(rows)
    (source,) = document["split"]["sources"]
    assert (source["name"], source["rule"]) == ("rated", "official") and len(document["split"]["hash"]) == 32
    first, *others = srcc
    assert [(each["first"], each["second"]) for each in document["differences"]] == [(first, other) for other in others]
    for each in document["differences"]:
        assert each["srcc"]["value"] == pytest.approx(srcc[first] - srcc[each["second"]], abs=1e-6)
        assert each["srcc"]["low"] < each["srcc"]["value"] < each["srcc"]["high"]


def test_a_graph_with_a_head_runs_and_is_planned(ridge):
    path, folder = ridge
    planned = json.loads(run("plan", path, "--json", "--quick").stdout)
    stages = {stage["stage"]: stage for stage in planned["stages"]}
    assert stages["ridge.tower"]["images"] > 0 and "ridge.tower" in stages["distill.heir"]["needs"]
    process = mpirun(2, "run", path)
    assert process.returncode == 0, process.stderr
    document = json.loads((folder / "evaluate/results.json").read_text())
    results = {model["model"]: model for model in document["results"]}
    require_figures_are_scipys(document, pandas.read_csv(folder / "evaluate/predictions.csv").set_index("model"))
    predictions = pandas.read_csv(folder / "evaluate/predictions.csv").set_index("model")["predicted_mean"]
    fidelity = results["distill.heir"]["fidelity"]
    assert fidelity["teachers"] == ["ridge.tower"]
    expected = spearmanr(predictions["distill.heir"], predictions["ridge.tower"])[0]
    assert fidelity["srcc"]["value"] == pytest.approx(expected, abs=1e-9)
    assert fidelity["teachers_srcc"] == results["ridge.tower"]["srcc"]
    assert "fidelity" not in results["ridge.tower"]
    assert "distill.heir repeats ridge.tower with SRCC" in process.stdout
    again = json.loads(run("plan", path, "--json", "--quick").stdout)
    assert {stage["verdict"] for stage in again["stages"]} == {"complete"}
    changed = json.loads(run("plan", path, "--json", "--quick", "--set", "ridge.tower.folds=4").stdout)
    verdicts = {stage["stage"]: stage["verdict"] for stage in changed["stages"]}
    assert verdicts["ridge.tower"] == "runs again" and verdicts["distill.heir"] == "refused"
