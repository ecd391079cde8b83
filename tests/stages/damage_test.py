"""Pictures that a disk damages after they were packed: replaced, counted and told of, or one too many."""

import re
import shutil

import h5py
import numpy
import pandas
import pytest
from cskd_program import mpirun, run



def damage(shards, names):
    """Turns a byte in the middle of the first picture of each shard; [(shard, row)]."""
    for name in names:
        with h5py.File(shards / name) as shard:
            place = shard["bytes"].id.get_offset() + int(shard["offset"][1]) // 2
        with open(shards / name, "r+b") as file:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 0xFF]))
    return [(name, 0) for name in names]


def shards_of(folder, split):
    names = sorted(path.name for path in (folder / "shards").glob(f"*-{split}-*.h5"))
    assert names
    return names


@pytest.fixture
def run_folder(cached, config):
    """A copy of the cached run, and its configuration."""

    def copy(name="run", **changes):
        path, folder = config(name, **changes)
        shutil.copytree(cached, folder)
        return path, folder

    return copy


def logs(folder):
    return "".join(path.read_text() for path in sorted((folder / "logs").glob("*.log")))


def test_damaged_pictures_are_replaced_alike_on_any_number_of_ranks(run_folder):
    losses, damaged = [], []
    for ranks in (1, 2, 4):
        path, folder = run_folder(f"ranks{ranks}")
        places = damage(folder / "shards", shards_of(folder, "unlabelled")[:3])
        process = mpirun(ranks, "align", path, "--set", "data.max_damaged=1", "--set", "compute.threads=1", "--set", "align.training.log_every=1",
                         "--set", "align.training.steps=12")
        assert process.returncode == 0, process.stderr
        for shard, row in places:
            assert re.search(rf"{shard} row {row}: .*CRC-32C.*another one takes its place", logs(folder)), (shard, logs(folder))
        metrics = pandas.read_json(folder / "align" / "metrics.jsonl", lines=True)
        losses.append(numpy.array(metrics["train/loss"]))
        damaged.append(metrics["data/damaged"].iloc[-1])
    assert min(damaged) >= 1
    # BatchNorm's statistics of two ranks are averaged: they go apart slowly, and not where other pictures were seen.
    numpy.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)
    numpy.testing.assert_allclose(losses[2], losses[0], rtol=2e-3)


def cut(path):
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 7)


def replace(path):
    size = path.stat().st_size
    path.write_bytes(numpy.random.default_rng(0).integers(0, 255, size, dtype=numpy.uint8).tobytes())


@pytest.mark.parametrize("harm", [cut, replace, lambda path: path.unlink()], ids=["cut", "replaced", "gone"])
def test_too_much_damage_ends_all_ranks_with_the_cause(run_folder, harm):
    path, folder = run_folder()
    for shard in shards_of(folder, "unlabelled"):
        harm(folder / "shards" / shard)
    process = mpirun(2, "align", path, timeout=120)
    assert process.returncode == 3, process.stderr
    assert "data.max_damaged = 0.001 allows" in process.stderr, process.stderr
    assert re.search(rf"because: .*{folder}/shards/\S+-unlabelled-\d+\.h5", process.stderr), process.stderr
    assert not (folder / "align" / "model.safetensors").exists()


def test_a_picture_that_was_damaged_before_it_was_cached_has_no_features(run_folder):
    path, folder = run_folder()
    shutil.rmtree(folder / "cache")
    places = damage(folder / "shards", shards_of(folder, "unlabelled")[:2])
    process = mpirun(2, "cache", path, "--set", "data.max_damaged=0")
    assert process.returncode == 3, process.stderr
    assert "CRC-32C" in process.stderr, process.stderr
    process = mpirun(2, "cache", path, "--set", "data.max_damaged=0.01")
    assert process.returncode == 0, process.stderr
    for file in (folder / "cache" / "ViT-demo-16").glob("*.h5"):
        with h5py.File(file) as cache:
            expected = [0 if (file.name, row) in places else 1 for row in range(len(cache["status"]))]
            assert list(cache["status"][:]) == expected
            assert [bool(row.any()) for row in cache["pooled"][:]] == [bool(status) for status in expected]
    # The pictures are mended, but their features are not there: stand-ins as before.
    for shard, _ in places:
        damage(folder / "shards", [shard])
    process = run("align", path, "--set", "data.max_damaged=1", "--set", "align.training.steps=12")
    assert process.returncode == 0, process.stderr
    assert "has no features" in logs(folder)


def test_a_whole_run_gets_over_damage_but_never_evaluates_on_it(run_folder):
    path, folder = run_folder()
    damage(folder / "shards", [shards_of(folder, "unlabelled")[1], shards_of(folder, "train")[0]])
    damage(folder / "shards", shards_of(folder, "test"))
    process = mpirun(2, "run", path, "--set", "data.max_damaged=1", timeout=300)
    assert process.returncode == 3, process.stderr
    test_shard = shards_of(folder, "test")[0]
    assert f"{test_shard} row 0" in process.stderr and "CRC-32C" in process.stderr, process.stderr
    assert (folder / "distill" / "model.safetensors").exists()
    metrics = pandas.read_json(folder / "distill" / "metrics.jsonl", lines=True)
    assert metrics["data/damaged"].iloc[-1] >= 1
    assert numpy.isfinite(metrics["train/loss"]).all()
    damage(folder / "shards", shards_of(folder, "test"))  # back again
    process = run("run", path, "--set", "data.max_damaged=1")
    assert process.returncode == 0, process.stderr
