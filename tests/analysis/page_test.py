"""The page of `cskd analyze`: whole, without script and network, and safe whatever files are called."""

import json
import math
import os
import re
import shutil

from analysis_runs import MODELS, analysed
from cskd_program import run
from html_page import Page, require_safe


def test_the_page_is_whole_and_safe(whole):
    text = (whole[1] / "analyze/analysis.html").read_text()
    page = Page(text)
    require_safe(page)
    assert "http" not in re.sub(r"http-equiv", "", text)
    for name in MODELS:
        assert name in page.texts or any(name in part for part in page.texts)
    # A distance chart for each of the two models with attention, and a table of all heads for each.
    assert page.count("details") == 2
    assert page.count("svg") >= 8
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes["aria-label"]
    numbers = re.findall(r'(?:cx|cy|x1|x2|y1|y2)="([^"]*)"', text)
    assert numbers and all(math.isfinite(float(number)) for number in numbers)


def test_hostile_names_of_files_are_escaped(corpus, tmp_path):
    hostile = ["<img src=x onerror=alert(1)>", '"><script>alert(2)<', "' onmouseover='alert(3)", "\u202egpj", "a&lt;b"]
    source = tmp_path / "source"
    source.mkdir()
    pictures = sorted((corpus / "city").rglob("*.jpg"))[:40]
    for number, picture in enumerate(pictures):
        shutil.copy(picture, source / f"{hostile[number % len(hostile)]} {number}.jpg")
    shutil.copy(pictures[0], os.fsencode(source) + b"/\xff\xfe<b>.jpg")
    path = tmp_path / "config.toml"
    path.write_text(
        f'[run]\nfolder = "{tmp_path}/run"\nmin_free = 0\n[packing]\nmax_fault_rate = 0.5\n[[sources]]\nname = "city"\n'
        f'kind = "folder"\npath = "{source}"\n[encoders.mobile]\narchitecture = "mobilenetv3_small_100"\nimage_size = 64\n'
        "[analyze]\nshown_pictures = 32\n"
    )
    assert run("shard", path).returncode == 0
    process = analysed(path, "--json")
    shown = json.loads(process.stdout)["shown"]
    assert len(shown) > 20
    page = Page((tmp_path / "run/analyze/analysis.html").read_text())
    require_safe(page)
    assert page.count("img") == len(shown)  # one map over each
    for name in hostile[:3]:
        assert any(name in text for text in page.texts), name
    assert not any("\u202e" in text for text in page.texts)
