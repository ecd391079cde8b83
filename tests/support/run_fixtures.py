"""A small corpus, and runs of it at several stages."""

import shutil

import cskd_program
import pytest
import stage_runs
from small_run import configuration, random_tower


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "demo"
    process = cskd_program.run("demo", folder, "--images", 200)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tower.safetensors"
    random_tower(path, seed=1)
    return path


@pytest.fixture
def config(corpus, weights, tmp_path):
    """Writes a configuration into the test's folder: config(name="a", steps=8) -> (its path, its run folder)."""

    def write(name="run", **changes):
        path = tmp_path / f"{name}.toml"
        path.write_text(configuration(corpus, changes.pop("weights", weights), tmp_path / name, **changes))
        return path, tmp_path / name

    return write


@pytest.fixture(scope="session")
def cached(corpus, weights, tmp_path_factory):
    """A run folder whose shard and cache stages are complete; copy it before use."""
    folder = tmp_path_factory.mktemp("cached")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    for stage in ("shard", "cache"):
        process = cskd_program.mpirun(2, stage, path)
        assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def trained(cached, corpus, weights, tmp_path_factory):
    """A run folder whose trainings were never disturbed (EVERY_STEP); copy it before use."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    shutil.copytree(cached, folder / "run")
    for stage in stage_runs.TRAININGS:
        process = cskd_program.mpirun(2, *stage_runs.command(stage, path), *stage_runs.EVERY_STEP)
        assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def whole(corpus, weights, tmp_path_factory):
    """What an undisturbed run of all stages on two ranks gives (EVERY_STEP)."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    process = cskd_program.mpirun(2, "run", path, *stage_runs.EVERY_STEP)
    assert process.returncode == 0, process.stderr
    return stage_runs.whole_result(folder / "run")
