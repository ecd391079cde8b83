"""tests/lint.sh in small checkouts, with and without git, with the real tools; and what tests/clang_tidy.py makes of a compile command."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get("CSKD_SOURCE_DIR", Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(SOURCE / "tests"))

import clang_tidy  # noqa: E402

GOOD = "int twice(int number) { return 2 * number; }\n"
UNFORMATTED = "int twice(int number)   {return 2*number;}\n"
REDUNDANT = "int twice(int number) { return number | number; }\n"
HEADER = "#pragma once\n\ninline int once(int number) { return number; }\n"
BAD_HEADER = "#pragma once\n\ninline int once(int number) { return number - number; }\n"
BAD_MODULE = "answer = {'a':1}\n"
BAD_PAGE = "# Title\n* one\n"
BAD_SCRIPT = "#!/bin/sh\ncat $1\n"


@pytest.fixture(params=["git", "source archive"])
def checkout(request, tmp_path) -> Path:
    root = tmp_path / "my checkout"
    for part in ("tests/lint.sh", "tests/clang_tidy.py", ".clang-format", ".clang-tidy", "ruff.toml", ".mdformat.toml"):
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / part, root / part)
    if request.param == "git":
        subprocess.run(["git", "init", "--quiet", root], check=True)
        (root / ".gitignore").write_text("/build/\n/.venv/\n")
    for tool in ("ruff", "mdformat"):
        (root / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (root / ".venv/bin" / tool).symlink_to(SOURCE / ".venv/bin" / tool)
    (root / "src").mkdir()
    (root / "build/release").mkdir(parents=True)
    write(root, {"src/twice.cpp": GOOD, "build/generated.cpp": UNFORMATTED, ".venv/bin/activate.sh": BAD_SCRIPT})
    return root


def write(root: Path, files: dict[str, str]) -> None:
    """Writes the files; every .cpp file in src/ gets a compile command."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    entries = [
        {
            "directory": str(root / "build/release"),
            "file": str(path),
            "command": f"/usr/bin/c++ -I'{root}/src' -std=c++20 -Werror -o x.o -c '{path}'",
        }
        for path in sorted((root / "src").glob("*.cpp"))
    ]
    (root / "build/release/compile_commands.json").write_text(json.dumps(entries))


def lint(root: Path, *words: str) -> tuple[int, str]:
    result = subprocess.run(
        [root / "tests/lint.sh", *words], cwd="/", capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    return result.returncode, result.stdout + result.stderr


def test_clean_checkout_passes_and_is_remembered(checkout):
    status, text = lint(checkout)
    assert status == 0, text
    assert "[ok] clang-format  1 files" in text and "[ok] shellcheck    1 files" in text
    assert "[ok] ruff format   1 files" in text and "[ok] mdformat      0 files" in text
    assert "[ok] clang-tidy    1 files (0 remembered)" in text
    assert "1 files (1 remembered)" in lint(checkout)[1]


def test_unformatted_file_is_named_and_repaired(checkout):
    write(checkout, {"src/twice.cpp": UNFORMATTED})
    status, text = lint(checkout)
    assert status == 1 and "src/twice.cpp:1: not formatted (" in text and "tests/lint.sh --fix" in text
    assert lint(checkout, "--fix") == (0, "[ok] formatted 2 files\n")
    assert (checkout / "src/twice.cpp").read_text() == GOOD
    assert lint(checkout)[0] == 0


def test_unformatted_module_is_named_and_repaired(checkout):
    write(checkout, {"src/good.py": "answer = 1\n", "src/bad.py": BAD_MODULE, ".venv/lib/other.py": BAD_MODULE})
    status, text = lint(checkout)
    assert status == 1 and "[failed] ruff format 1 findings in 3 files; to format them: tests/lint.sh --fix" in text, (
        text
    )
    assert re.search(r"^src/bad\.py:", text, re.MULTILINE) and "good.py" not in text and "other.py" not in text, text
    assert lint(checkout, "--fix") == (0, "[ok] formatted 4 files\n")
    assert (checkout / "src/bad.py").read_text() == 'answer = {"a": 1}\n'
    assert lint(checkout)[0] == 0


def test_module_that_does_not_parse_fails(checkout):
    write(checkout, {"src/bad.py": "answer = (\n"})
    status, text = lint(checkout)
    assert status == 1 and "src/bad.py" in text and "[failed] ruff format" in text, text


# The second is so long that mdformat breaks its message.
@pytest.mark.parametrize("page", ["docs/bad.md", f"docs/{'long-' * 15}/bad page.md"])
def test_unformatted_page_is_named_and_repaired(checkout, page):
    write(checkout, {"good.md": "# Title\n\n- one\n", page: BAD_PAGE, ".venv/lib/other.md": BAD_PAGE})
    status, text = lint(checkout)
    assert status == 1 and "[failed] mdformat  1 findings in 2 files; to format them: tests/lint.sh --fix" in text, text
    assert f"\n{page}: not formatted\n" in text and "good.md" not in text and "other.md" not in text, text
    assert lint(checkout, "--fix") == (0, "[ok] formatted 4 files\n")
    assert (checkout / page).read_text() == "# Title\n\n- one\n"
    assert lint(checkout)[0] == 0


def test_written_page_of_settings_is_left_alone(checkout):
    write(checkout, {"docs/configuration.md": BAD_PAGE})
    assert lint(checkout)[0] == 0


def test_settings_that_mdformat_refuses_are_no_success(checkout):
    write(checkout, {"good.md": "# Title\n"})
    with (checkout / ".mdformat.toml").open("w") as settings:
        settings.write("wrap = 'nonsense'\n")
    status, text = lint(checkout)
    assert status == 1 and "[failed] mdformat" in text and "wrap" in text, text


@pytest.mark.parametrize("tool", ["ruff", "mdformat"])
def test_missing_tool_is_named_with_its_remedy(checkout, tool):
    (checkout / ".venv/bin" / tool).unlink()
    for words in [], ["--fix"]:
        assert lint(checkout, *words) == (
            1,
            f"lint.sh: .venv/bin/{tool} is missing: launch/setup.sh --tests installs it\n",
        )


def test_script_with_and_without_ending(checkout):
    write(checkout, {"src/a.sh": BAD_SCRIPT, "src/starts": BAD_SCRIPT, "src/no_script": "cat $1\n"})
    status, text = lint(checkout)
    assert status == 1 and "src/a.sh:2:5: note:" in text and "src/starts:2:5: note:" in text and "SC2086" in text
    assert "src/no_script" not in text


def test_finding_is_shown_until_it_is_repaired(checkout):
    write(checkout, {"src/twice.cpp": REDUNDANT})
    for remembered in (0, 1):
        status, text = lint(checkout)
        assert status == 1 and f"1 files ({remembered} remembered)" in text
        assert "src/twice.cpp:1:39: both sides of operator are equivalent [misc-redundant-expression]\n" in text
    write(checkout, {"src/twice.cpp": GOOD})
    assert lint(checkout)[0] == 0


def test_files_compiled_together_are_examined_one_by_one(checkout):
    write(checkout, {"src/fine.cpp": GOOD, "src/wrong.cpp": REDUNDANT})
    together = checkout / "build/release/Unity/unity_0_cxx.cxx"
    together.parent.mkdir()
    together.write_text("".join(f'#include "{path}"\n\n' for path in sorted((checkout / "src").glob("*.cpp"))))
    database = checkout / "build/release/compile_commands.json"
    entry = json.loads(database.read_text())[0]
    database.write_text(
        json.dumps([entry | {"file": str(together), "command": f"/usr/bin/c++ -std=c++20 -c {together}"}])
    )
    status, text = lint(checkout, "--every")
    assert status == 1 and "src/wrong.cpp" in text and "in 3 files" in text, text


def test_changed_header_is_examined_again(checkout):
    write(checkout, {"src/once.h": HEADER, "src/user.cpp": '#include "once.h"\n\n' + GOOD})
    assert "2 files (0 remembered)" in lint(checkout)[1]
    write(checkout, {"src/once.h": BAD_HEADER})
    status, text = lint(checkout)
    assert status == 1 and "2 files (1 remembered)" in text and "src/once.h:3:45: both sides" in text


def test_changed_settings_examine_everything_again(checkout):
    assert lint(checkout)[0] == 0
    with (checkout / ".clang-tidy").open("a") as settings:
        settings.write("# changed\n")
    assert "1 files (0 remembered)" in lint(checkout)[1]


def test_unchanged_files_are_examined_once_in_ten_days(checkout):
    if not (checkout / ".git").exists():
        return
    names = [f"src/file{number}.cpp" for number in range(12)]
    write(
        checkout,
        {name: REDUNDANT for name in names}
        | {
            "src/once.h": HEADER,
            "src/other.cpp": '#include "once.h"\n\n' + GOOD,
            "src/once.cpp": '#include "once.h"\n\n' + GOOD,
        },
    )

    def commit(day: int) -> None:
        date = f"{day * 86400} +0000"
        words = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "a"]
        subprocess.run(["git", "-C", checkout, "add", "--all"], check=True)
        subprocess.run(
            ["git", "-C", checkout, *words],
            check=True,
            env=os.environ | {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date},
        )

    seen = set()
    for day in range(20000, 20010):
        commit(day)
        text = lint(checkout, "--since", "HEAD")[1]
        found = {name for name in names if name in text}
        assert not found & seen
        seen |= found
    assert seen == set(names)

    assert lint(checkout, "--every")[1].count("[misc-redundant-expression]") == len(names)
    write(checkout, {"src/once.h": BAD_HEADER, "src/file0.cpp": REDUNDANT + "\n"})
    text = lint(checkout, "--since", "HEAD")[1]
    assert "src/once.h:3:45: both sides" in text and "src/file0.cpp:1:39" in text
    assert "git knows no commit 'nothing'" in lint(checkout, "--since", "nothing")[1]


def test_files_with_torch_are_left_to_all(checkout):
    write(
        checkout,
        {
            "src/tensor.h": "#pragma once\n\n#include <torch/types.h>\n",
            "src/tensor.cpp": '#include "tensor.h"\n\n' + REDUNDANT,
        },
    )
    status, text = lint(checkout)
    assert status == 0 and "1 with LibTorch or of tests left to --all" in text
    status, text = lint(checkout, "--all")
    assert status == 1 and "'torch/types.h' file not found" in text


def test_file_that_does_not_compile_fails(checkout):
    write(checkout, {"src/twice.cpp": "int twice(int number) { return nothing; }\n"})
    status, text = lint(checkout)
    assert status == 1 and "use of undeclared identifier 'nothing'" in text


def test_missing_compile_commands(checkout):
    (checkout / "build/release/compile_commands.json").unlink()
    status, text = lint(checkout)
    assert status == 1 and "build/release/compile_commands.json is missing; launch/setup.sh --tests makes it" in text


def test_unknown_argument(checkout):
    status, text = lint(checkout, "--everything")
    assert status == 2 and "unknown argument '--everything'" in text


def test_compile_command_for_clang():
    command = [
        "/usr/bin/cmake",
        "-E",
        "env",
        "A=b",
        "/usr/bin/ccache",
        "/usr/bin/c++",
        "-I/s",
        "-Werror",
        "-Winvalid-pch",
        "-include",
        "/b/cmake_pch.hxx",
        "-include",
        "/b/other.h",
        "-std=c++20",
        "-MD",
        "-MF",
        "x.d",
        "-o",
        "x.o",
        "-c",
        "x.cpp",
    ]
    assert clang_tidy.clang_arguments(command)[1:] == ["-I/s", "-include", "/b/other.h", "-std=c++20", "x.cpp"]
