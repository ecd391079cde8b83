"""A checkout with a one-file program, and the machine around it, for tests of set-up.

venv, pip, CMake and the compiler are real; pip finds a few tiny wheels in a folder instead of the packages of their names.
apt-get, dpkg, sudo, id, uname and df are stand-ins ahead in PATH, so that every state of a machine can be had anywhere.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

SOURCE = Path(os.environ.get("CSKD_SOURCE_DIR", Path(__file__).resolve().parents[2]))
WHEELS = {"torch": "2.11.0", "nvidia_cuda_crt": "13.0.88", "nvidia_cuda_cccl": "13.0.85", "only_for_tests": "1.0"}
PHASES = ["Check", "Debian packages", "Python environment", "Configure", "Build"]
STEP_SECONDS = 120

CMAKE_LISTS = """cmake_minimum_required(VERSION 3.25)
project(cskd LANGUAGES CXX)
option(CSKD_TESTS "" ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
add_executable(cskd main.cpp)
if(CSKD_TESTS)
  add_executable(test_program main.cpp)
endif()
"""
MAIN = """#include <cstdio>
#include <cstring>
int main(int count, char** words) {
  for (int i = 1; i < count; ++i) std::printf("<%s>", words[i]);
  std::puts("");
  return count > 1 && std::strcmp(words[1], "fail") == 0 ? 3 : 0;
}
"""
STAND_INS = {
    # every package is there except those named in the file `missing`
    "dpkg-query": 'shift 3; for name; do grep -qxF "$name" "$STATE/missing" 2>/dev/null || echo "$name ii"; done',
    "dpkg": 'echo "dpkg $*" >>"$STATE/calls"; if [ "$1" = --audit ]; then cat "$STATE/audit" 2>/dev/null; fi; exit 0',
    "apt-get": 'echo "apt-get $*" >>"$STATE/calls"; '
    'if [ -e "$STATE/apt" ]; then . "$STATE/apt"; else rm -f "$STATE/missing"; fi',
    "id": 'cat "$STATE/uid" 2>/dev/null || echo 0',
    "sudo": "exit 1",
    "uname": 'cat "$STATE/machine" 2>/dev/null || echo x86_64',
    "df": 'echo header; echo "disk 0 0 $(cat "$STATE/free_kilobytes" 2>/dev/null || echo 99000000) 0% /"',
    "mpirun": 'echo "mpirun $*"; while [ "${1#-}" != "$1" ]; do [ "$1" = -n ] && shift; shift; done; "$@"',
}


def write_wheel(folder: Path, name: str, version: str) -> None:
    files = {f"{name}/part_{i}.txt": f"part {i} of {name}\n" * 20 for i in range(20)}
    info = f"{name}-{version}.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


class Checkout:
    """A checkout at a path with a space, and the machine around it."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.root = folder / "my checkout"
        self.state = folder / "state"
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PIP_", "OMPI_", "CSKD_", "CMAKE_", "SUDO_"))
        }
        self.environment |= {
            "STATE": str(self.state),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_CACHE_DIR": "1",
        }

    def create(self) -> None:
        for part in (
            "launch/setup.sh",
            "launch/setup_steps.sh",
            "launch/quickstart.sh",
            "launch/packages.txt",
            "launch/requirements.txt",
            "launch/repair_packages.py",
            "tests/packages.txt",
            "cluster/box/packages.txt",
            "tests/run.sh",
            "CMakePresets.json",
        ):
            (self.root / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(SOURCE / part, self.root / part)
        (self.root / "tests/requirements.txt").write_text("only-for-tests==1.0\n")
        (self.root / "CMakeLists.txt").write_text(CMAKE_LISTS)
        (self.root / "main.cpp").write_text(MAIN)
        self.state.mkdir()
        stand_ins = self.root.parent / "bin"
        stand_ins.mkdir()
        for name, text in STAND_INS.items():
            (stand_ins / name).write_text(f"#!/bin/sh\n{text}\n")
            (stand_ins / name).chmod(0o755)

    def state_is(self, **contents: str) -> None:
        for name, text in contents.items():
            (self.state / name).write_text(text + "\n")

    def start(self, *words: str, script: str = "launch/setup.sh", **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.root / script, *words],
            cwd="/",
            env=self.environment | environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, script: str = "launch/setup.sh", **environment: str) -> subprocess.CompletedProcess:
        process = self.start(*words, script=script, **environment)
        out, err = process.communicate(timeout=STEP_SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def site(self, name: str) -> Path:
        return self.root / ".venv/lib/python3.11/site-packages" / name

    def log(self) -> str:
        return (self.root / "build/setup.log").read_text()

    def calls(self) -> list[str]:
        return (self.state / "calls").read_text().splitlines()


def phases(result: subprocess.CompletedProcess) -> dict[str, str]:
    """Each phase's mark and time, for instance {"Build": "ok unchanged"}."""
    found = {}
    for line in result.stdout.splitlines():
        if line.startswith("[") and not line.startswith("[note]"):
            mark, rest = line[1:].split("] ")
            found[rest[:20].strip()] = f"{mark} {rest[20:].strip()}"
    return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for name, version in WHEELS.items():
        write_wheel(folder, name, version)
    return folder


@pytest.fixture
def bare(tmp_path, wheels) -> Checkout:
    checkout = Checkout(tmp_path, wheels)
    checkout.create()
    return checkout


@pytest.fixture(scope="module")
def first_setup(tmp_path_factory, wheels):
    checkout = Checkout(tmp_path_factory.mktemp("ready"), wheels)
    checkout.create()
    return checkout, checkout.run("--tests")


@pytest.fixture
def ready(first_setup, tmp_path, wheels) -> Checkout:
    """A copy of a checkout that is set up with tests; CMake sees that it was moved."""
    shutil.copytree(first_setup[0].root.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Checkout(tmp_path, wheels)
