"""Runs clang-tidy on the files of build/release/compile_commands.json and remembers each file's result in build/lint.

A result counts for as long as the file, every header of ours that it includes, the schema, .clang-tidy, the compile
command and the tool are the same. Called by tests/lint.sh.

What is examined by default: files that changed since a commit, each changed header through one file that includes it, and a tenth of
the others, another one each day. Files of tests/ and those that include LibTorch take most of the time and are examined with --all only,
which examines everything. The static analyzer (clang-analyzer-*) takes longer than all other checks together, in GoogleTest's macros four
times as long: it is part of --all only, and leaves out tests/.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
CACHE = ROOT / "build" / "lint"
NOT_OURS = [ROOT / "build", ROOT / ".venv"]
INCLUDE = re.compile(rb'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
TORCH = re.compile(r"^(torch|c10|ATen|caffe2)/")
FINDING = re.compile(r"^(?P<file>/[^:]+):(?P<place>\d+:\d+): (?P<kind>warning|error): (?P<text>.*)$")
TIMEOUT_SECONDS = 600
KEEP_DAYS = 14
PARTS = 10  # of the unchanged files, one a day


def is_ours(path: Path) -> bool:
    return path.is_relative_to(ROOT) and not any(path.is_relative_to(other) for other in NOT_OURS)


def clang_arguments(command: list[str]) -> list[str]:
    """The compiler's arguments as clang 14 takes them: no launcher, compiler, outputs, precompiled header or -Werror."""
    compiler = next(i for i, word in enumerate(command) if re.fullmatch(r"(.*/)?(c|g|clang)\+\+(-[\d.]+)?", word))
    kept = ["-Wno-unknown-warning-option"]
    words = iter(command[compiler + 1 :])
    for word in words:
        if word in ("-o", "-MF", "-MT", "-MQ"):
            next(words)
        elif word == "-include":
            header = next(words)
            if "cmake_pch" not in header:
                kept += [word, header]
        elif word not in ("-c", "-MD", "-MMD", "-Winvalid-pch", "-fpch-preprocess") and not word.startswith("-Werror"):
            kept.append(word)
    return kept


class Includes:
    """What a file includes, directly and through headers of ours."""

    def __init__(self) -> None:
        self.direct: dict[Path, tuple[list[Path], bool]] = {}

    def _read(self, path: Path) -> tuple[list[Path], bool]:
        if path not in self.direct:
            headers, torch = [], False
            for quoted, angled in INCLUDE.findall(path.read_bytes()):
                name = (quoted or angled).decode("utf-8", "replace")
                torch = torch or bool(TORCH.match(name))
                for folder in (path.parent, ROOT / "src", ROOT):
                    header = Path(os.path.normpath(folder / name))
                    if is_ours(header) and header.is_file():
                        headers.append(header)
                        break
            self.direct[path] = (headers, torch)
        return self.direct[path]

    def direct_of(self, path: Path) -> list[Path]:
        """Our headers that `path` names itself."""
        return self._read(path)[0]

    def closure(self, path: Path) -> tuple[list[Path], bool]:
        """All our files that `path` consists of, sorted, and whether LibTorch is among what they include."""
        seen, todo, torch = {path}, [path], False
        while todo:
            headers, direct_torch = self._read(todo.pop())
            torch = torch or direct_torch
            todo += [header for header in headers if header not in seen]
            seen.update(headers)
        return sorted(seen), torch


def examine(command: list[str], path: Path, directory: str, key: str) -> tuple[list[str], bool]:
    """The findings of `command` in one file, and whether they were remembered."""
    remembered = CACHE / f"{key}.json"
    try:
        findings = json.loads(remembered.read_text(encoding="utf-8"))["findings"]
        os.utime(remembered)
        return findings, True
    except (OSError, ValueError, KeyError):
        pass

    try:
        run = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"{path.relative_to(ROOT)}: clang-tidy did not end within {TIMEOUT_SECONDS} s"], False
    findings, anywhere = set(), False
    for line in run.stdout.splitlines():
        if match := FINDING.match(line):
            anywhere = True
            file = Path(os.path.normpath(match["file"]))
            text = match["text"].replace(",-warnings-as-errors]", "]")
            if is_ours(file):
                findings.add(f"{file.relative_to(ROOT)}:{match['place']}: {text}")
            elif "[clang-diagnostic-error]" in text:
                findings.add(f"{path.relative_to(ROOT)}: clang cannot compile it: {file}:{match['place']}: {text}")
    if run.returncode < 0 or (run.returncode and not anywhere):
        lines = (run.stdout + run.stderr).strip().splitlines()[:5]
        return [f"{path.relative_to(ROOT)}: clang-tidy failed ({run.returncode}): " + " / ".join(lines)], False

    temporary = remembered.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"file": str(path), "findings": sorted(findings)}), encoding="utf-8")
    temporary.replace(remembered)
    return sorted(findings), False


def git(*words: str) -> str | None:
    """What git prints; None without git, outside of a repository, or where it fails."""
    try:
        run = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return run.stdout if run.returncode == 0 else None


def changed_since(commit: str) -> set[Path] | None:
    """Files that differ from `commit`, uncommitted and new ones among them; None where the commit is unknown."""
    tracked = git("diff", "--name-only", "-z", "--relative", commit)
    new = git("ls-files", "-z", "--others", "--exclude-standard")
    if tracked is None or new is None:
        return None
    return {ROOT / name for name in (tracked + new).split("\0") if name}


def default_commit() -> str:
    return (git("merge-base", "HEAD", "@{upstream}") or "HEAD~10").strip()


class Selection:
    """Which files are examined: the changed ones, and the part of the others whose turn it is. All where git does not know."""

    def __init__(self, commit: str, files: dict[Path, list[Path]]) -> None:
        """`files`: of each source its directly included headers of ours."""
        changed = changed_since(commit)
        day = int((git("log", "-1", "--format=%ct") or "0").strip()) // 86400 or datetime.date.today().toordinal()
        self.turn = day % PARTS
        self.changed = {path for path in files if changed is None or path in changed}
        for header in sorted(path for path in changed or () if path.suffix == ".h"):
            users = [path for path in sorted(files) if header in files[path]]
            self.changed.update(sorted(users, key=lambda path: path.with_suffix("") != header.with_suffix(""))[:1])

    def __contains__(self, path: Path) -> bool:
        name = str(path.relative_to(ROOT)).encode()
        return path in self.changed or hashlib.sha256(name).digest()[0] % PARTS == self.turn


def sources_of(compiled: Path) -> list[Path]:
    """The file itself, or those that CMake compiles together by a file that includes them."""
    if not compiled.name.startswith("unity_") or not compiled.is_file():
        return [compiled]
    lines = compiled.read_text(encoding="utf-8").splitlines()
    return [Path(line.split('"')[1]) for line in lines if line.startswith('#include "')]


def forget_old_results() -> None:
    for result in CACHE.iterdir():
        if time.time() - result.stat().st_mtime > KEEP_DAYS * 86400:
            result.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", default="clang-tidy-14")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also files that include LibTorch or belong to tests, also the static analyzer",
    )
    parser.add_argument(
        "--since", help="commit whose changed files are examined (default: where upstream left off, or HEAD~10)"
    )
    parser.add_argument("--every", action="store_true", help="changed or not")
    options = parser.parse_args()

    start = time.monotonic()
    database = BUILD / "compile_commands.json"
    if not database.is_file():
        print(f"[failed] clang-tidy: {database.relative_to(ROOT)} is missing; launch/setup.sh --tests makes it")
        return 1
    CACHE.mkdir(parents=True, exist_ok=True)
    forget_old_results()
    version = subprocess.run([options.tool, "--version"], capture_output=True, text=True, check=True).stdout
    common = hashlib.sha256((version + (ROOT / ".clang-tidy").read_text(encoding="utf-8")).encode())
    common.update(Path(__file__).read_bytes())
    for proto in sorted(ROOT.glob("src/**/*.proto")) + sorted(ROOT.glob("shards/**/*.proto")):
        common.update(proto.read_bytes())

    includes, entries = Includes(), {}
    for entry in json.loads(database.read_text(encoding="utf-8")):
        for path in sources_of(Path(os.path.normpath(Path(entry["directory"]) / entry["file"]))):
            if path.suffix == ".cpp" and is_ours(path) and path.is_file():
                entries.setdefault(path, entry)
    commit = options.since or default_commit()
    if options.since and changed_since(options.since) is None:
        print(f"[failed] clang-tidy: git knows no commit '{options.since}'")
        return 1
    selected = (
        entries
        if options.all or options.every
        else Selection(commit, {path: includes.direct_of(path) for path in entries})
    )

    jobs, left_out, unchanged = {}, 0, 0
    for path, entry in entries.items():
        files, torch = includes.closure(path)
        of_tests = path.is_relative_to(ROOT / "tests")
        if (torch or of_tests) and not options.all:
            left_out += 1
            continue
        if path not in selected:
            unchanged += 1
            continue
        analyzer = options.all and not of_tests
        checks = [] if analyzer else ["--checks=-clang-analyzer-*"]
        compiler = entry.get("arguments") or shlex.split(entry["command"])
        command = [options.tool, "--quiet", *checks, str(path), "--", *clang_arguments(compiler)]
        key = common.copy()
        key.update("\0".join(command).encode())
        for file in files:
            key.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
        jobs[path] = (command, path, entry["directory"], key.hexdigest())

    findings, remembered = set(), 0
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for found, was_remembered in pool.map(lambda job: examine(*job), jobs.values()):
            findings.update(found)
            remembered += was_remembered
    for line in sorted(findings):
        print(line)
    left = f", {left_out} with LibTorch or of tests left to --all" if left_out else ""
    turn = f", {unchanged} not changed since {commit[:12]} left to other days or --every" if unchanged else ""
    what = f"{len(jobs)} files ({remembered} remembered{turn}{left}), {time.monotonic() - start:.1f} s"
    if findings:
        print(f"[failed] clang-tidy {len(findings)} findings in {what}")
        return 1
    print(f"[ok] clang-tidy    {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
