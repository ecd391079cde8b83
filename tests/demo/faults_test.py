"""`cskd demo` killed, refused and repeated: nothing is ever half there."""

import json
import os

import pytest

from cskd_program import errors, mpirun, run

pytestmark = pytest.mark.rotating(2)

IMAGES = ("--images", "60")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "demo"
    assert run("demo", folder, *IMAGES).returncode == 0
    return (folder / "corpus.json").read_bytes()


@pytest.mark.parametrize(
    "point",
    [
        "demo.render:7",
        "demo.write:1",
        "demo.write:60",
        "demo.list",
        "demo.rename",
        "atomic_file.write@corpus.json",
        "atomic_file.rename@corpus.json",
        "atomic_file.fsync_folder@corpus.json",
    ],
)
def test_a_kill_leaves_nothing_and_the_next_run_finishes(tmp_path, whole, point):
    killed = run("demo", tmp_path / "demo", *IMAGES, env={"CSKD_FAIL_AT": f"{point}:kill"})
    assert killed.returncode == -9
    assert not (tmp_path / "demo").exists()
    again = run("demo", tmp_path / "demo", *IMAGES)
    assert again.returncode == 0, again.stderr
    assert os.listdir(tmp_path) == ["demo"]
    assert (tmp_path / "demo/corpus.json").read_bytes() == whole


def seed_of(folder):
    return json.loads((folder / "corpus.json").read_text())["seed"]


# The seed that the next run finds: the old corpus until the rename, the new one from then on.
@pytest.mark.parametrize("point,seed", [("demo.write:9", 1), ("demo.rename", 1), ("demo.replace", 1), ("demo.tidy", 2)])
def test_a_kill_while_replacing_loses_no_corpus(tmp_path, whole, point, seed):
    assert run("demo", tmp_path / "demo", *IMAGES).returncode == 0
    killed = run(
        "demo", tmp_path / "demo", *IMAGES, "--seed", "2", "--overwrite", env={"CSKD_FAIL_AT": f"{point}:kill"}
    )
    assert killed.returncode == -9
    refused = run("demo", tmp_path / "demo", *IMAGES, "--seed", "3")
    assert refused.returncode == 2 and f"(--images 60 --seed {seed} of generator 2)" in refused.stderr
    again = run("demo", tmp_path / "demo", *IMAGES, "--seed", seed)
    assert "is already there, whole and unchanged" in again.stdout
    assert os.listdir(tmp_path) == ["demo"]
    assert seed_of(tmp_path / "demo") == seed
    assert (seed == 1) == ((tmp_path / "demo/corpus.json").read_bytes() == whole)
    assert not [path for path in (tmp_path / "demo").iterdir() if path.name.startswith(".")]


def test_two_ranks_write_what_one_writes(tmp_path, whole):
    assert mpirun(2, "demo", tmp_path / "demo", *IMAGES).returncode == 0
    assert (tmp_path / "demo/corpus.json").read_bytes() == whole


def test_a_second_run_finds_the_corpus_whole(tmp_path):
    assert "is ready" in run("demo", tmp_path / "demo", *IMAGES).stdout
    again = run("demo", tmp_path / "demo", *IMAGES)
    assert again.returncode == 0 and "is already there, whole and unchanged" in again.stdout


REFUSALS = [
    (["--images", "59"], 2, "--images is 59, expected 60 to 1000000"),
    (["--images", "-5"], 2, "--images is -5, expected 60 to 1000000"),
    (["--images", "60", "--seed", "2"], 2, "holds another demo corpus (--images 60 --seed 1 of generator 2)"),
]


@pytest.mark.parametrize("arguments,code,message", REFUSALS)
def test_refusals_name_the_remedy_and_touch_nothing(tmp_path, arguments, code, message):
    assert run("demo", tmp_path / "demo", *IMAGES).returncode == 0
    before = (tmp_path / "demo/corpus.json").stat().st_mtime_ns
    result = run("demo", tmp_path / "demo", *arguments)
    assert result.returncode == code
    assert message in result.stderr and len(errors(result)) == 1
    assert (tmp_path / "demo/corpus.json").stat().st_mtime_ns == before
    assert os.listdir(tmp_path) == ["demo"]


def test_overwrite_replaces_a_corpus(tmp_path):
    assert run("demo", tmp_path / "demo", *IMAGES).returncode == 0
    assert run("demo", tmp_path / "demo", *IMAGES, "--seed", "2", "--overwrite").returncode == 0
    assert seed_of(tmp_path / "demo") == 2
    assert os.listdir(tmp_path) == ["demo"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    below_a_file = run("demo", tmp_path / "file/demo", *IMAGES)
    assert below_a_file.returncode == 1 and f"{tmp_path}/file/demo" in below_a_file.stderr
    proc = run("demo", "/proc/demo", *IMAGES)
    assert proc.returncode == 1 and "/proc/demo" in proc.stderr


def test_a_full_disk_is_found_before_anything_is_written(tmp_path):
    # /proc has no space at all; a corpus of 7,500 images asks for 286 MiB.
    result = run("demo", "/proc/demo")
    assert result.returncode == 1
    assert "no room for the demo corpus: 286.1 MiB needed at /proc/demo, but only 0 B are free there" in result.stderr
