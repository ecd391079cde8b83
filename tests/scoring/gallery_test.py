"""The gallery: a page whose photos are those that were scored, whatever they are called, and that needs nothing else."""

import base64
import html.parser
import io
import json
import shutil

import pytest
from cskd_program import run
from PIL import Image

HOSTILE = ["</script><img src=x onerror=alert(1)>.jpg", "<!--<script>.jpg", "a\"b'c&amp;\\u003c.jpg", "line\nbreak.jpg"]


class Page(html.parser.HTMLParser):
    """The scripts of a page, as a browser finds them, and every address that it names."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.addresses, self.tags = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


@pytest.fixture
def photos(corpus, model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    first, *others = model[1]
    for name in others:
        shutil.copy(corpus / "rated/images" / name, folder / name)
    for name in HOSTILE:
        if "/" not in name:
            shutil.copy(corpus / "rated/images" / first, folder / name)
    (folder / "<").mkdir()
    shutil.copy(corpus / "rated/images" / first, folder / "<" / "script><img src=x onerror=alert(1)>.jpg")
    (folder / "empty.jpg").touch()
    return folder


def test_the_page_holds_what_was_scored(model, photos, tmp_path):
    exported, _ = model
    process = run("score", exported, photos, "--gallery", tmp_path / "photos.html", "--format", "jsonl")
    assert process.returncode == 0 and f"{tmp_path}/photos.html shows" in process.stderr, process.stderr
    lines = {line["photo"]: line for line in map(json.loads, process.stdout.splitlines()) if "score" in line}
    page = Page((tmp_path / "photos.html").read_text())
    assert page.addresses == [] and set(page.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "div", "label", "select", "option"),
        *("input", "output", "small", "main", "p", "dialog", "script"),
    }  # fmt: skip
    shown = [json.loads(text) for attributes, text in page.scripts if attributes.get("class") == "p"]
    assert {photo["n"] for photo in shown} == set(lines)
    for photo in shown:
        line = lines[photo["n"]]
        assert photo["s"] == pytest.approx(line["score"], abs=1e-4)
        assert photo["p"] == pytest.approx(line["distribution"], abs=1e-4)
        thumbnail = Image.open(io.BytesIO(base64.b64decode(photo["t"])))
        whole = Image.open(photo["n"])
        assert thumbnail.format == "JPEG" and max(thumbnail.size) == min(240, max(whole.size))
        assert thumbnail.width / thumbnail.height == pytest.approx(whole.width / whole.height, rel=0.02)
    (about,) = (json.loads(text) for attributes, text in page.scripts if attributes.get("id") == "page")
    assert about == {"model": "finetune.supervised", "bins": list(range(1, 11)), "failed": 1}


def test_nothing_half_written(model, photos, tmp_path):
    exported, _ = model
    process = run("score", exported, photos / "empty.jpg", "--gallery", tmp_path / "photos.html")
    assert process.returncode == 3 and list(tmp_path.glob("photos.html*")) == []
    process = run("score", exported, photos, "--gallery", tmp_path / "no folder/photos.html")
    assert process.returncode == 1 and "no folder/photos.html" in process.stderr
    process = run(
        "score", exported, photos, "--gallery", tmp_path / "a.html", "--output", tmp_path / "a.csv", "--resume"
    )
    assert process.returncode == 2 and "--gallery and --bursts need all photos" in process.stderr
