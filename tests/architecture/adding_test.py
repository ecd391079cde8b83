"""What docs/adding promises of each page's subject, held against the last one that was added: which files it touches, and no others."""

import dataclasses
import os
import pathlib
import re

import pytest

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
PAGES = SOURCE / "docs/adding"
# Of an encoder, a source kind and a loss term.
MOST_FILES = 4


@dataclasses.dataclass
class Added:
    word: str  # by which src, shards and launch know it, and nothing else
    files: dict[str, str]  # that it touches: how the page names each
    tests: dict[str, str]  # that its page names: a word for it there


ADDED = {
    "encoder": Added(
        r"convnext",
        {
            "src/models/families/convnext.cpp": "a file pair in `src/models/families/`",
            "src/models/families/convnext.h": "a file pair in `src/models/families/`",
            "src/models/encoder.cpp": "../../src/models/encoder.cpp",
            "src/models/CMakeLists.txt": "`CMakeLists.txt`",
        },
        {"tests/models/families/convnext.py": "convnext"},
    ),
    "source-kind": Added(
        r"\beva\b|eva_importer",
        {
            "shards/importers/eva.cpp": "`shards/importers/<kind>.cpp`",
            "shards/importers/kinds.cpp": "../../shards/importers/kinds.cpp",
            "shards/CMakeLists.txt": "`CMakeLists.txt`",
            "src/config/source.proto": "../../src/config/source.proto",
        },
        {
            "tests/shards/importers_test.cpp": "eva",
            "tests/fuzz/fuzz_labels.cpp": "eva",
            "tests/fuzz/seeds.py": "image_id=user_id=score",
        },
    ),
    "loss-term": Added(
        r"rank_distance|settings\.rank\(\)|message Rank\b|\bRank rank\b",
        {
            "src/stages/distill_terms.cpp": "../../src/stages/distill_terms.cpp",
            "src/losses/distribution.h": "`src/losses/`",
            "src/losses/distribution.cpp": "`src/losses/`",
            "src/config/stages.proto": "../../src/config/stages.proto",
        },
        {"tests/stages/distill_terms_test.cpp": "RankCounts"},
    ),
    "communicator": Added(
        r"nccl_communicator",
        {
            "src/distributed/nccl/nccl_communicator.cpp": "`src/distributed/<name>/<name>_communicator.cpp`",
            "src/distributed/nccl/no_nccl_communicator.cpp": "`no_<name>_communicator.cpp`",
            "src/distributed/communicator.h": "../../src/distributed/communicator.h",
            "src/distributed/communicator.cpp": "../../src/distributed/communicator.cpp",
            "src/distributed/CMakeLists.txt": "../../src/distributed/CMakeLists.txt",
        },
        {"tests/distributed/communicator_test.cpp": '"nccl"'},
    ),
    "stage": Added(
        r"(?m)\w+ (run_export|export_inputs|export_text)\(|= (run_export|export_inputs|export_text)\b"
        r"|message Export\b|repeated Export\b|^ +export\.cpp",
        {
            "src/config/stages.proto": "../../src/config/stages.proto",
            "src/config/config.proto": "../../src/config/config.proto",
            "src/stages/export.cpp": "`src/stages/<kind>.cpp`",
            "src/stages/export.h": "../../src/stages/export.h",
            "src/stages/inputs.h": "../../src/stages/inputs.h",
            "src/stages/inputs.cpp": "`inputs.cpp`",
            "src/stages/stage_table.cpp": "../../src/stages/stage_table.cpp",
            "src/stages/CMakeLists.txt": "../../src/stages/CMakeLists.txt",
        },
        {"tests/launch/completion_test.py": '"export"', "tests/stages/export_test.py": r"stage\.model:kill"},
    ),
    "command": Added(
        r"add_score\(Program|launch::add_score|commands/score\.cpp",
        {
            "launch/commands/score.cpp": "`launch/commands/<name>.cpp`",
            "launch/commands/commands.h": "../../launch/commands/commands.h",
            "launch/main.cpp": "../../launch/main.cpp",
            "launch/CMakeLists.txt": "../../launch/CMakeLists.txt",
        },
        {"tests/launch/completion_test.py": '"score"'},
    ),
}


def sources(*folders):
    for folder in folders:
        for path in (SOURCE / folder).rglob("*"):
            if path.suffix in (".h", ".cpp", ".proto", ".txt", ".py", ".md", ".sh"):
                yield path


def text_of(page):
    return (PAGES / f"{page}.md").read_text()


def test_every_page_is_held_against_what_was_added():
    assert {page.stem for page in PAGES.glob("*.md")} == set(ADDED)


@pytest.mark.parametrize("page", ADDED)
def test_what_was_added_last_touches_the_files_of_its_page_and_no_more(page):
    added = ADDED[page]
    touched = {
        str(path.relative_to(SOURCE))
        for path in sources("src", "shards", "launch")
        if path.suffix != ".md" and re.search(added.word, path.read_text())
    }
    assert touched == set(added.files)
    assert len(touched) <= MOST_FILES or page in ("communicator", "stage", "command")
    text = text_of(page)
    assert {file: name for file, name in added.files.items() if name not in text} == {}


@pytest.mark.parametrize("page", ADDED)
def test_what_was_added_last_is_in_the_tests_of_its_page(page):
    for file, word in ADDED[page].tests.items():
        assert re.search(word, (SOURCE / file).read_text()), f"{file} does not test '{word}'"
        assert pathlib.Path(file).name in text_of(page) or str(pathlib.Path(file).parent) in text_of(page), file


@pytest.mark.parametrize("page", ADDED)
def test_every_page_names_files_that_there_are(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page)):
        assert (PAGES / target).exists(), f"{page}.md names {target}"
    names = {path.name for path in sources("src", "shards", "launch", "tests", "docs")}
    spans = re.findall(r"`([^`\s]+)`", text_of(page))
    for name in (span for span in spans if re.search(r"\.(h|cpp|py|proto|txt|md)$", span) and "<" not in span):
        there = (SOURCE / name).exists() if "/" in name else name in names
        assert there, f"{page}.md names {name}"
    for folder in (span for span in spans if span.endswith("/") and "<" not in span):
        assert (SOURCE / folder).is_dir(), f"{page}.md names {folder}"


@pytest.mark.parametrize("page", ADDED)
def test_every_page_names_functions_that_there_are(page):
    code = "\n".join(path.read_text() for path in sources("src", "shards", "launch") if path.suffix in (".h", ".cpp"))
    for call in re.findall(r"`(?:\w+(?:::|\.))*(\w+)\(\)`", text_of(page)):
        assert re.search(rf"\b{call}\(", code), f"{page}.md names {call}()"
