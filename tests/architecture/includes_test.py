"""Folders may include only what lies below them: include lines, declared link targets and the order of the architecture agree."""

import json
import os
import pathlib
import re

import draw

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["CSKD_BUILD_DIR"])

# docs/architecture.md, lowest first; folders of one line do not know each other.
ORDER = [
    {"runtime"},
    {"config"},
    {"shards"},
    {"distributed"},
    {"data"},
    {"models", "losses", "optim", "metrics", "export"},
    {"run", "compiled"},
    {"batches"},
    {"inference"},
    {"training", "packing", "features"},
    {"evaluation"},
    {"stages", "report", "demo", "doctor"},
    {"scoring"},
    {"bench"},
    {"inspect", "analysis", "run_report"},
    {"launch"},
]
LEVEL = {folder: level for level, folders in enumerate(ORDER) for folder in folders}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"/]+)/[^"]*"', re.MULTILINE)


def declared():
    libraries = json.loads((BUILD / "dependencies.json").read_text())
    depends = {entry["library"]: set(entry["depends"]) for entry in libraries}
    folders = {entry["library"]: SOURCE / entry["folder"] for entry in libraries}
    return depends, folders


def reachable(library, depends):
    found, todo = set(), [library]
    while todo:
        for below in depends[todo.pop()]:
            if below not in found:
                found.add(below)
                todo.append(below)
    return found


def violations(folder, text, allowed):
    return [name for name in INCLUDE.findall(text) if name in LEVEL and name != folder and name not in allowed]


def test_every_folder_of_sources_is_a_library():
    depends, folders = declared()
    with_code = {path.name for path in (SOURCE / "src").iterdir() if any(path.glob("*.cpp"))}
    assert with_code == {name for name in depends if folders[name].parent.name == "src"}


def test_declared_dependencies_point_down():
    depends, _ = declared()
    upward = [(lib, below) for lib in depends for below in depends[lib] if LEVEL[below] >= LEVEL[lib]]
    assert upward == []


def test_files_include_only_declared_dependencies():
    depends, folders = declared()
    found = []
    for library, folder in folders.items():
        for path in [*folder.rglob("*.h"), *folder.rglob("*.cpp")]:
            for name in violations(library, path.read_text(), reachable(library, depends)):
                found.append(f"{path.relative_to(SOURCE)} includes {name}/, which cskd_{library} does not depend on")
    assert found == []


def test_nothing_below_includes_launch():
    for path in [*(SOURCE / "src").rglob("*.h"), *(SOURCE / "src").rglob("*.cpp")]:
        assert '"launch/' not in path.read_text(), path


def test_a_forbidden_include_is_found():
    text = '#include "report/progress.h"\n  # include "config/reader.h"\n#include <map>\n#include "runtime/error.h"\n'
    assert violations("runtime", text, set()) == ["report", "config"]
    assert violations("report", text, {"runtime"}) == ["config"]


def test_the_page_shows_the_graph_of_the_build():
    assert draw.page_with(draw.drawing(draw.declared())) == draw.PAGE.read_text(), (
        "run tests/architecture/draw.py --write"
    )


def test_a_drawing_leaves_out_what_follows():
    depends = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"b"}}
    assert (
        draw.drawing(depends)
        == "```\n  2  c           -> b\n  2  d           -> b\n\n  1  b           -> a\n\n  0  a\n```\n"
    )


def test_headers_begin_with_what_they_are():
    question = re.compile(r"// (What|Which|Whether|How|Who|Where|When|Why)\b")
    folders = ("src", "shards", "launch", "tests")
    assert [
        str(path) for folder in folders for path in (SOURCE / folder).rglob("*.h") if question.match(path.read_text())
    ] == []


def test_torch_free_folders_stay_torch_free():
    for folder in ("src/runtime", "src/config", "shards", "src/packing", "src/metrics"):
        for path in (SOURCE / folder).rglob("*.[hc]*"):
            if path.suffix in (".h", ".cpp"):
                assert not re.search(r"#\s*include\s*<(torch|ATen|c10)/", path.read_text()), path
