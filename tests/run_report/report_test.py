"""The page of `cskd report`: its figures are those of the run's files, whatever is missing, damaged or hostile."""

import csv
import json
import re
import shutil

import pytest
from cskd_program import mpirun, run
from html_page import Page, require_safe
from stage_runs import EVERY_STEP


def report(*arguments):
    process = run("report", *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def read(path):
    page = Page(open(path).read())
    require_safe(page)
    return page


def text_of(page):
    return " ".join(" ".join(page.texts).split())


@pytest.fixture
def folder(whole_run, tmp_path):
    """A copy of a whole run, which may lie elsewhere than it ran."""
    return shutil.copytree(whole_run, tmp_path / "moved")


@pytest.fixture(scope="session")
def figures(whole_run):
    return json.loads((whole_run / "evaluate/results.json").read_text())


def test_a_whole_run(folder, figures):
    path = report(folder)
    assert path == str(folder / "report.html")
    page = read(path)
    text = text_of(page)
    for model in figures["results"]:
        name = model["model"]
        assert name in text.replace(". ", ".")
        for figure in ("srcc", "plcc", "emd"):
            value = model[figure]
            assert f"{value['value']:.3f}" in text and f"{value['low']:.3f}…{value['high']:.3f}" in text
    for each in figures["differences"]:
        assert f"{each['srcc']['value']:.3f} [{each['srcc']['low']:.3f}, {each['srcc']['high']:.3f}]" in text
    # A dot for each test picture and model, of few pictures.
    dots = sum(tag == "circle" and attributes["class"].startswith("dot") for tag, attributes in page.tags)
    pictures = figures["split"]["pictures"]
    trainings = {"align.student", "finetune.teacher", "finetune.supervised", "distill.student"}
    latencies = len(figures["results"])
    assert dots == pictures * len(figures["results"]) + latencies
    for stage in trainings:
        assert f"Training {stage}" in text
    # Every stage of the graph is a box, all complete.
    boxes = [attributes["class"] for tag, attributes in page.tags if tag == "rect"]
    assert set(boxes) == {"box"}
    plan = run("plan", folder / "config.toml", "--names", "--quick")
    assert len(boxes) == len(plan.stdout.split())
    for setting in ("[run]", "global_batch = 16", "learning_rate"):
        assert setting in text


def test_pictures_are_those_that_predictions_say(folder):
    rows = list(csv.DictReader(open(folder / "evaluate/predictions.csv", newline="")))
    first = [row for row in rows if row["model"] == rows[0]["model"]]
    predicted = sorted(first, key=lambda row: -float(row["predicted_mean"]))
    wrong = sorted(first, key=lambda row: -abs(float(row["predicted_mean"]) - float(row["rated_mean"])))
    page = read(report(folder, "--quick", "--pictures", 3))
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    names = [[row["picture"] for row in rows[:3]] for rows in (predicted, predicted[::-1], wrong)]
    assert shown == [name for group in names for name in group]


def test_what_is_missing_is_said(folder):
    shutil.rmtree(folder / "shards")
    shutil.rmtree(folder / "distill")
    (folder / "evaluate/predictions.csv").unlink()
    text = text_of(read(report(folder)))
    assert "Not complete: shard, distill.student" in text
    assert "predictions.csv" in text
    assert "the latency of distill.student was not measured" in text


def test_damaged_files_are_said(folder):
    (folder / "evaluate/results.json").write_text('{"split": 1}')
    with open(folder / "align/student/metrics.jsonl", "a") as log:
        log.write('{"step": 9, "ti')
    (folder / "status.json").write_text("{")
    text = text_of(read(report(folder, "--quick")))
    assert "results.json is damaged" in text and "1 lines are no records of a step" in text
    assert "status.json" in text and "No model has been evaluated" in text


def test_names_are_text_only(folder):
    table = folder / "evaluate/predictions.csv"
    lines = table.read_text().splitlines(keepends=True)
    hostile = 'rated/<script>alert(1)</script><img src="http://x/">.jpg'
    first = lines[1].split('"')
    quoted = hostile.replace('"', '""')
    table.write_text(lines[0] + f'"{quoted}"' + first[2] + "".join(lines[2:]))
    page = read(report(folder, "--quick", "--pictures", 100))
    assert hostile in text_of(page)
    assert f"{hostile} is no longer where it was" in text_of(page)


def test_a_run_that_has_not_ended(config):
    path, folder = config("begun")
    process = mpirun(1, "shard", path)
    assert process.returncode == 0, process.stderr
    text = text_of(read(report(path)))
    assert "No model has been evaluated" in text and "Not complete: cache.clip, align.student" in text
    assert "coast" in text


def test_two_runs_side_by_side(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    configuration = (other / "config.toml").read_text()
    changed = configuration.replace("global_batch = 16", "global_batch = 24", 1)
    assert changed != configuration
    (other / "config.toml").write_text(changed)
    page = tmp_path / "both.html"
    assert report(folder, other, "--quick", "--output", page) == str(page)
    text = text_of(read(page))
    rows = re.findall(r"(\S+global_batch) (\d+) (\d+)", text)
    assert [(old, new) for _, old, new in rows] == [("16", "24")]
    assert "Graph" in text and "drawn once" in text


def test_a_sweep(config):
    path, folder = config("swept")
    process = mpirun(2, "sweep", path, *EVERY_STEP, "--over", "run.seed=1,2")
    assert process.returncode == 0, process.stderr
    sweep = json.loads((folder / "sweep.json").read_text())
    text = text_of(read(report(folder, "--quick")))
    for row in sweep["rows"]:
        seeds = " ".join(f"{value:.3f}" for value in row["srcc_by_seed"])
        assert f"{row['srcc']['value']:.3f}" in text and seeds in text
    assert "run.seed=1" in text and "run.seed=2" in text


@pytest.mark.parametrize(
    "path, message",
    [
        ("nowhere", "is no run folder"),
        (".", "holds neither config.toml nor sweep.json"),
        ("x.toml", "is no run folder"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, path, message):
    process = run("report", tmp_path / path, "--output", tmp_path / "page.html")
    assert process.returncode == 2, process.stderr
    assert message in process.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_sweep_is_refused(folder, tmp_path):
    (folder / "sweep.json").write_text("{}")
    process = run("report", folder)
    assert process.returncode == 3 and "sweep.json is damaged" in process.stderr


def test_the_page_is_whole_or_not_there(folder, tmp_path):
    process = run("report", folder, "--output", "/dev/full/page.html")
    assert process.returncode != 0 and "page.html" in process.stderr
