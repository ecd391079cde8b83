"""A small corpus, and runs of it at several stages, shared by all test programs of a build.

They lie in <build>/shared_runs, under a name that says what they were made with: the binary and the files below. Whoever
comes first makes them, others wait. Tests copy what they change; one that changes what is shared fails.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path

import cskd_program
import pytest
import small_run
import stage_runs
from small_run import configuration, random_tower

A_DAY = 86400


def state(folder):
    """Names, sizes and times of all files."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def shared_runs():
    """Makes a folder of that name with `make(folder)`, unless another program made it before: its path."""
    made_with = hashlib.sha256()
    for path in (cskd_program.CSKD, __file__, small_run.__file__, stage_runs.__file__):
        made_with.update(Path(path).read_bytes())
    root = Path(os.environ["CSKD_BUILD_DIR"]) / "shared_runs" / made_with.hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    for other in root.parent.iterdir():  # of binaries that are gone
        if other != root and time.time() - other.stat().st_mtime > A_DAY:
            shutil.rmtree(other, ignore_errors=True)
    handed_out = {}

    def made(name, make):
        folder = root / name
        with open(root / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = root / f"{name}.made"
            if not done.exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(folder)
                folder.mkdir()
                make(folder)
                done.touch()
        handed_out[folder] = state(folder)
        return folder

    yield made
    for folder, before in handed_out.items():
        assert state(folder) == before, f"a test changed {folder}, which others share"


@pytest.fixture(scope="session")
def corpus(shared_runs):
    def make(folder):
        process = cskd_program.run("demo", folder / "demo", "--images", 200)
        assert process.returncode == 0, process.stderr

    return shared_runs("corpus", make) / "demo"


@pytest.fixture(scope="session")
def weights(shared_runs):
    return (
        shared_runs("weights", lambda folder: random_tower(folder / "tower.safetensors", seed=1)) / "tower.safetensors"
    )


@pytest.fixture
def config(corpus, weights, tmp_path):
    """Writes a configuration into the test's folder: config(name="a", steps=8) -> (its path, its run folder)."""

    def write(name="run", **changes):
        path = tmp_path / f"{name}.toml"
        path.write_text(configuration(corpus, changes.pop("weights", weights), tmp_path / name, **changes))
        return path, tmp_path / name

    return write


def stages_run(folder, corpus, weights, stages, options=()):
    """Runs `stages`, the words of each, on two ranks into <folder>/run."""
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    for stage in stages:
        process = cskd_program.mpirun(2, *stage_runs.command(stage, path), *options)
        assert process.returncode == 0, process.stderr


@pytest.fixture(scope="session")
def cached(corpus, weights, shared_runs):
    """A run folder whose shard and cache stages are complete; copy it before use."""
    return shared_runs("cached", lambda folder: stages_run(folder, corpus, weights, ("shard", "cache"))) / "run"


@pytest.fixture(scope="session")
def trained(cached, corpus, weights, shared_runs):
    """A run folder whose trainings were never disturbed (EVERY_STEP); copy it before use."""

    def make(folder):
        shutil.copytree(cached, folder / "run")
        stages_run(folder, corpus, weights, stage_runs.TRAININGS, stage_runs.EVERY_STEP)

    return shared_runs("trained", make) / "run"


@pytest.fixture(scope="session")
def opinionated(cached, corpus, weights, shared_runs):
    """A run folder whose finetune.supervised tells pictures apart (OPINIONATED); copy it before use."""

    def make(folder):
        shutil.copytree(cached, folder / "run")
        stages_run(folder, corpus, weights, ("finetune.supervised",), stage_runs.OPINIONATED)

    return shared_runs("opinionated", make) / "run"


@pytest.fixture(scope="session")
def whole_run(corpus, weights, shared_runs):
    """The folder of an undisturbed run of all stages on two ranks (EVERY_STEP); copy it before use."""
    make = lambda folder: stages_run(folder, corpus, weights, ("run",), stage_runs.EVERY_STEP)  # noqa: E731
    return shared_runs("whole", make) / "run"


@pytest.fixture(scope="session")
def whole(whole_run):
    """What that run gives."""
    return stage_runs.whole_result(whole_run)
