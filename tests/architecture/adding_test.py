"""Encoders, sources and loss terms join in few files: what docs/adding promises, held against the last ones that were added."""

import os
import pathlib
import re

import pytest

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
MOST_FILES = 4
# What was added, by a word that nothing else has, and the files that its page names.
ADDED = {
    "encoder": (
        r"resnet",
        {
            "src/models/families/resnet.cpp",
            "src/models/families/resnet.h",
            "src/models/encoder.cpp",
            "src/models/CMakeLists.txt",
        },
    ),
    "source-kind": (
        r"\beva\b|eva_importer",
        {"shards/importers/eva.cpp", "shards/importers/kinds.cpp", "shards/CMakeLists.txt", "src/config/source.proto"},
    ),
    "loss-term": (
        r"consistency_weight",
        {"src/stages/distill_terms.cpp", "src/stages/distill.cpp", "src/config/stages.proto"},
    ),
}


def files_with(word):
    for folder in ("src", "shards", "launch"):
        for path in (SOURCE / folder).rglob("*"):
            if path.suffix in (".h", ".cpp", ".proto", ".txt") and re.search(word, path.read_text()):
                yield str(path.relative_to(SOURCE))


@pytest.mark.parametrize("page", ADDED)
def test_what_was_added_last_touches_the_files_of_its_page_and_no_more(page):
    word, expected = ADDED[page]
    assert set(files_with(word)) == expected and len(expected) <= MOST_FILES
    text = (SOURCE / "docs/adding" / f"{page}.md").read_text()
    unnamed = [
        file
        for file in expected
        if pathlib.Path(file).name not in text and "families" not in file and "importers/eva" not in file
    ]
    assert unnamed == []


def test_every_page_names_files_that_there_are():
    for page in sorted((SOURCE / "docs/adding").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} names {target}"
