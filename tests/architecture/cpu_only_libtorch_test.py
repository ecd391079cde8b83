"""A LibTorch without CUDA configures, and gets the twin sources instead of the CUDA and NCCL ones."""

import json
import os
import pathlib
import subprocess

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["CSKD_BUILD_DIR"])


def site_packages():
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if line.startswith("CSKD_PYTHON_SITE"):
            return pathlib.Path(line.split("=", 1)[1])
    raise AssertionError("CSKD_PYTHON_SITE is not in the cache")


def cpu_only_copy(target):
    """Links to everything of torch but its CUDA libraries; no nvidia packages."""
    torch = site_packages() / "torch"
    (target / "torch" / "lib").mkdir(parents=True)
    (target / "torch" / "include").symlink_to(torch / "include")
    for library in (torch / "lib").iterdir():
        if "cuda" not in library.name:
            (target / "torch" / "lib" / library.name).symlink_to(library)


def configure(build, site):
    return subprocess.run(
        [
            "cmake",
            "-G",
            "Ninja",
            "-S",
            SOURCE,
            "-B",
            build,
            f"-DCSKD_PYTHON_SITE={site}",
            "-DCSKD_TESTS=OFF",
            "-DCSKD_UNITY=OFF",  # a command for each file
            "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_cpu_only_libtorch_gets_the_twin(tmp_path):
    cpu_only_copy(tmp_path / "site")
    result = configure(tmp_path / "build", tmp_path / "site")
    assert result.returncode == 0, result.stderr
    commands = json.loads((tmp_path / "build" / "compile_commands.json").read_text())
    files = {pathlib.Path(entry["file"]).name for entry in commands}
    assert "no_cuda_accelerators.cpp" in files
    assert "cuda_accelerators.cpp" not in files
    assert not any("nvidia" in entry["command"] for entry in commands)
    twin = next(entry for entry in commands if entry["file"].endswith("no_cuda_accelerators.cpp"))
    subprocess.run(twin["command"], shell=True, check=True, cwd=twin["directory"], timeout=120)


def test_missing_libtorch_names_the_remedy(tmp_path):
    result = configure(tmp_path / "build", tmp_path / "nowhere")
    assert result.returncode != 0
    assert "run launch/setup.sh" in result.stderr
