"""Boxes and shared folders of the cluster tests."""

import shutil
import tempfile
from pathlib import Path

import cluster_run
import cskd_program
import pytest
import small_run

import slurm_box


@pytest.fixture(scope="session", autouse=True)
def right_to_boxes() -> None:
    reason = slurm_box.missing_right()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def box():
    """The box of this pytest session: two hosts of two CPUs. A test leaves it as it was."""
    box = slurm_box.Box("--hosts", 2, "--cpus", 2)
    yield box
    box.close()


@pytest.fixture
def make_box():
    """Starts a box of the test's own, with options of box.sh."""
    boxes = []

    def make(*options) -> slurm_box.Box:
        boxes.append(slurm_box.Box(*options))
        return boxes[-1]

    yield make
    for box in boxes:
        if box.process.poll() is None:
            box.close()


@pytest.fixture(scope="session")
def material():
    """A small corpus and a CLIP tower, on the file system that all hosts see."""
    folder = Path(tempfile.mkdtemp(prefix="cskd-test-", dir="/var/tmp"))
    process = cskd_program.run("demo", folder / "corpus", "--images", 200)
    assert process.returncode == 0, process.stderr
    small_run.random_tower(folder / "tower.safetensors", seed=1)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cached(box, material):
    """A run folder whose shards and features were made on two hosts; copy it before use."""
    run = cluster_run.Run(material, material, "cached")
    for stage in ("shard", "cache"):
        process = box.run(*cluster_run.SRUN, cluster_run.CSKD, stage, run.path)
        assert process.returncode == 0, process.stderr
    return run.folder


@pytest.fixture
def shared_path():
    """A temporary folder that all hosts see, which they do not see of tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="cskd-test-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)
