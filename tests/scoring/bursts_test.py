"""Shots of one moment are grouped, other photos are not, and of each group the best is named."""

import csv
import io
import json

import numpy
import pytest
import skimage.data
from cskd_program import run
from html_page import Page
from PIL import Image, ImageEnhance, ImageFilter

SCENES = ("astronaut", "chelsea", "coffee", "rocket")


def scene(name):
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB").resize((600, 450))


def shots(picture, generator):
    """Five shots from the hand: the camera moved and turned a little, the light changed a little."""
    width, height = picture.size
    for _ in range(5):
        left, top = generator.integers(0, 14, 2)
        turned = picture.rotate(generator.uniform(-0.7, 0.7), resample=Image.BICUBIC)
        cut = turned.crop((8 + left, 8 + top, width - 24 + left, height - 24 + top))
        yield ImageEnhance.Brightness(cut).enhance(generator.uniform(0.96, 1.04))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bursts")
    generator = numpy.random.default_rng(3)
    for name in SCENES:
        for number, shot in enumerate(shots(scene(name), generator)):
            shot.save(folder / f"{name}{number}.jpg", quality=90)
    for name in ("immunohistochemistry", "retina", "colorwheel", "hubble_deep_field"):
        scene(name).save(folder / f"{name}.jpg", quality=90)
    return folder


def rows_of(process):
    assert process.returncode == 0, process.stderr
    return {row["photo"].rsplit("/", 1)[-1]: row for row in csv.DictReader(io.StringIO(process.stdout))}


def test_bursts(model, folder):
    rows = rows_of(run("score", model[0], folder, "--bursts"))
    groups = {}
    for name, row in rows.items():
        groups.setdefault(row["burst"], set()).add(name)
    alone = groups.pop("")
    assert alone == {"immunohistochemistry.jpg", "retina.jpg", "colorwheel.jpg", "hubble_deep_field.jpg"}
    assert sorted(map(sorted, groups.values())) == [[f"{name}{n}.jpg" for n in range(5)] for name in SCENES]
    for members in groups.values():
        best = [name for name in members if rows[name]["burst_best"] == "1"]
        assert len(best) == 1
        highest = max(float(rows[name]["score"]) for name in members)
        assert float(rows[best[0]]["score"]) >= highest - 0.09
    lines = [
        json.loads(line) for line in run("score", model[0], folder, "--bursts", "--format", "jsonl").stdout.splitlines()
    ]
    for line in lines:
        row = rows[line["photo"].rsplit("/", 1)[-1]]
        assert str(line.get("burst", "")) == row["burst"] and line.get("burst_best", False) == (
            row["burst_best"] == "1"
        )


def test_the_sharpest_of_equal_scores_wins(model, tmp_path):
    picture = scene("coffee")
    for number, blur in enumerate((2.0, 0.0, 1.0)):
        picture.filter(ImageFilter.GaussianBlur(blur)).save(tmp_path / f"{number}.png")
    rows = rows_of(run("score", model[0], tmp_path, "--bursts"))
    values = [float(rows[f"{n}.png"]["score"]) for n in range(3)]
    if max(values) - min(values) < 0.09:  # blur says little to this model
        assert [rows[f"{n}.png"]["burst_best"] for n in range(3)] == ["0", "1", "0"]
    else:
        best = max(range(3), key=lambda n: values[n])
        assert rows[f"{best}.png"]["burst_best"] == "1" or rows["1.png"]["burst_best"] == "1"


def test_top_takes_one_of_each_burst(model, folder, tmp_path):
    rows = rows_of(run("score", model[0], folder, "--bursts"))
    top = rows_of(run("score", model[0], folder, "--bursts", "--top", 6, "--copy-best", tmp_path / "best"))
    chosen = {name: float(row["score"]) for name, row in rows.items() if row["burst_best"] != "0"}
    assert [float(row["score"]) for row in top.values()] == sorted(chosen.values(), reverse=True)[:6]
    assert set(top) <= set(chosen)
    assert sorted(path.name[4:] for path in (tmp_path / "best").iterdir()) == sorted(top)


def test_the_gallery_knows_them(model, folder, tmp_path):
    rows = rows_of(run("score", model[0], folder, "--bursts", "--gallery", tmp_path / "photos.html"))
    page = Page((tmp_path / "photos.html").read_text())
    found = next(json.loads(text) for text in page.texts if text.startswith('{"model"'))
    sizes = {"": 1, "0": 0, "1": 5}
    assert found["bursts"] == [sizes[row["burst_best"]] for row in rows.values()]


def test_bursts_need_all_photos(model, folder, tmp_path):
    process = run("score", model[0], folder, "--bursts", "--output", tmp_path / "scores.csv", "--resume")
    assert process.returncode == 2 and "--bursts" in process.stderr
