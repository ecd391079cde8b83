"""Photos scored by themselves get the scores of the evaluation; whatever cannot be scored is told, and nothing is lost."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

import numpy
import pandas
import pytest
import timm
import torch
from cskd_program import CSKD, run


@pytest.fixture
def photos(corpus, model, tmp_path):
    """A folder with the test pictures, a subfolder with one of them, a damaged one and others that are none."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in model[1]:
        shutil.copy(corpus / "rated/images" / name, folder / name)
    first = next(iter(model[1]))
    shutil.copy(folder / first, folder / 'sub/a,"b"\n.jpg')
    whole = (folder / first).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no photo")
    return folder


def rows_of(text):
    return {row["photo"]: row for row in csv.DictReader(io.StringIO(text))}


def test_scores_are_those_of_the_evaluation(model, photos):
    exported, scores = model
    process = run("score", exported, photos, "--exact")
    assert process.returncode == 0, process.stderr
    rows = rows_of(process.stdout)
    assert len(rows) == len(scores) + 3
    for name, score in scores.items():
        assert float(rows[f"{photos}/{name}"]["score"]) == pytest.approx(score, abs=1e-4)
    first = next(iter(scores))
    copy = float(rows[f'{photos}/sub/a,"b"\n.jpg']["score"])
    assert copy == pytest.approx(float(rows[f"{photos}/{first}"]["score"]), abs=1e-5)
    for name in ("cut.jpg", "empty.jpg"):
        row = rows[f"{photos}/{name}"]
        assert row["error"] and not row["score"]
    assert "2 of" in process.stderr and "could not be read" in process.stderr
    # Without --exact large photos are decoded at a lower resolution: nearly the same.
    fast = rows_of(run("score", exported, photos).stdout)
    assert fast.keys() == rows.keys()
    differences = [float(fast[name]["score"]) - float(row["score"]) for name, row in rows.items() if row["score"]]
    assert max(map(abs, differences)) < 0.1


def test_an_archive_a_list_and_json(model, photos, tmp_path):
    exported, scores = model
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(photos, "photos")
    process = run("score", exported / "model.safetensors", tmp_path / "photos.tar", "--format", "jsonl", "--exact")
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    found = {line["photo"].removeprefix(f"{tmp_path}/photos.tar/photos/"): line for line in lines}
    for name, score in scores.items():
        assert found[name]["score"] == pytest.approx(score, abs=1e-4)
        centres = numpy.arange(1, 11)
        distribution = numpy.array(found[name]["distribution"])
        assert distribution @ centres == pytest.approx(found[name]["score"], abs=1e-6)
        assert (distribution @ (centres - distribution @ centres) ** 2) ** 0.5 == pytest.approx(
            found[name]["spread"], abs=1e-5
        )
    names = list(scores)[:3]
    listed = subprocess.run(
        [CSKD, "score", exported, "-", "--exact"],
        input="".join(f"{photos}/{name}\n" for name in names) + f"{photos}/gone.jpg\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    rows = rows_of(listed.stdout)
    assert list(rows) == [f"{photos}/{name}" for name in [*names, "gone.jpg"]] and listed.returncode == 0
    assert rows[f"{photos}/gone.jpg"]["error"] == "No such file or directory"


def test_the_best_are_copied(model, photos, tmp_path):
    exported, scores = model
    process = run("score", exported, photos, "--top", 3, "--copy-best", tmp_path / "best", "--exact")
    assert process.returncode == 0, process.stderr
    order = [float(row["score"]) for row in rows_of(process.stdout).values()]
    best = sorted([*scores.values(), next(iter(scores.values()))], reverse=True)[:3]
    assert order == pytest.approx(best, abs=1e-4)
    copies = sorted(os.listdir(tmp_path / "best"))
    assert [name[:4] for name in copies] == ["001 ", "002 ", "003 "]


def test_a_killed_scoring_goes_on(model, corpus, tmp_path):
    exported, _ = model
    folders = [corpus / name for name in ("coast", "city", "studio", "rated/images")]
    whole = run("score", exported, *folders, "--output", tmp_path / "whole.csv")
    assert whole.returncode == 0, whole.stderr
    output = tmp_path / "scores.csv"
    words = [CSKD, "score", exported, *folders, "--output", output, "--resume", "--threads", "1"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 60
        while not output.exists() or output.stat().st_size < 500:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = output.read_bytes()
    assert len(before) < (tmp_path / "whole.csv").stat().st_size
    output.write_bytes(before[:-3])  # as where the disk got half of a line
    process = run("score", exported, *folders, "--output", output, "--resume")
    assert process.returncode == 0 and "stand in" in process.stderr, process.stderr
    first, second = (
        pandas.read_csv(path).sort_values("photo").reset_index(drop=True) for path in (tmp_path / "whole.csv", output)
    )
    pandas.testing.assert_frame_equal(first, second, atol=1e-4)


def test_latency(model, photos):
    exported, scores = model
    photo = photos / next(iter(scores))
    words = ("bench", "latency", exported, "--photo", photo, "--batch", 1, 3, "--repeats", 5)
    figures = json.loads(run(*words, "--json").stdout)
    assert [batch["images"] for batch in figures["batches"]] == [1, 3]
    for times in (*(batch["seconds"] for batch in figures["batches"]), figures["preprocessing_seconds"]):
        assert 0 < times["least"] <= times["median"] <= times["p95"]
    network = timm.create_model(figures["encoder"], num_classes=0).eval()
    features = network(torch.zeros(1, 3, 64, 64)).shape[1]
    assert figures["parameters"] == sum(p.numel() for p in network.parameters()) + 10 * (features + 1)
    assert figures["multiplications"] == pytest.approx(multiplications(network) + 10 * features, rel=1e-6)
    assert "network, batch of 3" in run(*words).stdout


def multiplications(network):
    """Of convolutions and linear layers, for one image."""
    total = 0

    def count(module, _, output):
        nonlocal total
        weight = module.weight
        total += output.numel() * weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    return total


def test_what_cannot_be_scored(model, photos, tmp_path):
    exported, _ = model
    for words, code, text in [
        ((exported, photos / "cut.jpg"), 3, "not one photo could be scored"),
        ((exported, tmp_path / "gone"), 3, "not one photo could be scored"),
        ((exported, photos / "sub" / "nothing.txt"), 3, "not one photo could be scored"),
        ((exported.parents[1] / "finetune/supervised/model.safetensors", photos), 2, "[export.NAME]"),
        ((exported / "model.onnx", photos), 2, "for other programs"),
        ((exported, photos, "--resume"), 2, "--output"),
        ((exported, photos, "--copy-best", tmp_path), 2, "--top"),
        ((tmp_path / "no model", photos), 1, "no model"),
        ((exported, photos, "--output", "/proc/scores.csv"), 1, "cannot write /proc/scores.csv"),
    ]:
        process = run("score", *words)
        assert process.returncode == code and text in process.stderr, (words, process.returncode, process.stderr)
    (tmp_path / "nothing").mkdir()
    process = run("score", exported, tmp_path / "nothing")
    assert process.returncode == 3 and "no photos" in process.stderr
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [CSKD, "score", exported, photos], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert process.returncode == 1 and "cannot write to standard output: No space" in process.stderr
