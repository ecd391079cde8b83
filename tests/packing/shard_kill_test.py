"""Packing is killed at every place where it writes, and started again: the result is that of an undisturbed packing.

With CSKD_TEST_FULL=1 also at 30 random moments of a job of two ranks."""

import os
import random
import signal
import subprocess
import time

import pytest
from small_run import configuration
from cskd_program import CSKD, environment, mpirun, run
from packing_runs import contents, folder_config, photo, save_photos

POINTS = [
    "survey.list",
    "record_file.write",
    "shard.next",
    "shard.verify",
    "image_shard.open",
    "image_shard.verify",
    "hdf5_file.write",
    "atomic_file.open",
    "atomic_file.write",
    "atomic_file.fsync",
    "atomic_file.verify",
    "atomic_file.rename",
    "atomic_file.fsync_folder",
]

# What packing more pictures writes, in this order.
GROWN = [
    "*.chunk",
    "a-unlabelled-g1-*.h5",
    "quarantine.jsonl",
    "dropped.jsonl",
    "manifest.cskd",
    "passed_over.jsonl",
    "complete.json",
]


def small_config(folder, name):
    return folder_config(folder, [("a", "folder", folder / "a", "")], name=name, extra="max_side = 128", max_samples=16)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Sources of ten pictures, one of them too large, one faulty, one a duplicate; and what packing them undisturbed gives."""
    folder = tmp_path_factory.mktemp("small")
    save_photos(folder / "a", range(8))
    photo(20, (300, 200)).save(folder / "a" / "large.jpg")
    (folder / "a" / "copy.jpg").write_bytes((folder / "a" / "0003.jpg").read_bytes())
    (folder / "a" / "faulty.jpg").write_bytes(b"no picture")
    path = small_config(folder, "run")
    assert run("shard", path).returncode == 0
    return folder, contents(folder / "run" / "shards")


@pytest.mark.rotating(3)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_passage_of(small, point):
    folder, undisturbed = small
    for passage in range(1, 200):
        path = small_config(folder, f"{point}-{passage}")
        process = run("shard", path, env={"CSKD_FAIL_AT": f"{point}:{passage}:kill"})
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr
        process = run("shard", path)
        assert process.returncode == 0, process.stderr
        assert contents(folder / f"{point}-{passage}" / "shards") == undisturbed, f"{point}:{passage}"
    # "shard.verify" is passed only where there are shards already.
    assert passage > 1 or point == "shard.verify", f"{point} is not passed at all"


@pytest.mark.rotating(2)
def test_killed_while_pictures_are_added(small):
    """The second packing of a growing corpus, killed before each of its files counts, the manifest among them."""
    folder, _ = small

    def grow(name, point=None):
        source = folder / f"{name}-source"
        save_photos(source, range(8))
        # The list holds times, and the survey holds the list.
        for picture in source.iterdir():
            os.utime(picture, (1_700_000_000, 1_700_000_000))
        path = folder_config(folder, [("a", "folder", source, "")], name=name)
        assert run("shard", path).returncode == 0
        save_photos(source, range(50, 58))
        if point:
            assert run("shard", path, env={"CSKD_FAIL_AT": point}).returncode == -signal.SIGKILL
        assert run("shard", path).returncode == 0
        return {
            file: value for file, value in contents(folder / name / "shards").items() if not file.startswith("survey")
        }

    undisturbed = grow("grown")
    for number, file in enumerate(GROWN):
        assert grow(f"grown-{number}", f"atomic_file.rename@{file}:kill") == undisturbed, file


@pytest.mark.rotating(2)
@pytest.mark.skipif("CSKD_TEST_FULL" not in os.environ, reason="takes minutes: tests/run.sh --full")
def test_killed_at_random_moments(tmp_path):
    seed = int(os.environ.get("CSKD_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"CSKD_TEST_SEED={seed}")
    moments = random.Random(seed)
    corpus = tmp_path / "corpus"
    assert run("demo", corpus, "--images", 1500).returncode == 0
    undisturbed_path = tmp_path / "undisturbed.toml"
    undisturbed_path.write_text(configuration(corpus, "none", tmp_path / "undisturbed"))
    start = time.monotonic()
    assert mpirun(2, "shard", undisturbed_path).returncode == 0
    whole = time.monotonic() - start
    undisturbed = contents(tmp_path / "undisturbed" / "shards")
    kills = 0
    for round_number in range(60):
        if kills >= 30:
            break
        folder = tmp_path / f"round-{round_number}"
        path = tmp_path / f"round-{round_number}.toml"
        path.write_text(configuration(corpus, "none", folder))
        command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", CSKD, "shard", str(path)]
        job = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(None),
            start_new_session=True,
        )
        time.sleep(moments.uniform(0.3, whole))
        if job.poll() is None:
            kills += 1
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        time.sleep(0.3)  # ranks end after their launcher
        process = mpirun(2, "shard", path)
        assert process.returncode == 0, (seed, round_number, process.stderr)
        assert contents(folder / "shards") == undisturbed, (seed, round_number)
    assert kills >= 25
