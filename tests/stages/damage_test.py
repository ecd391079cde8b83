"""Pictures that a disk damages after they were packed: replaced, counted and logged; too many end the run."""

import json
import re
import shutil
import subprocess

import h5py
import numpy
import pandas
import pytest
from cskd_program import CSKD, environment, mpirun, run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.rotating(2)


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
        process = mpirun(
            ranks,
            "align",
            path,
            "--set",
            "data.max_damaged=1",
            "--set",
            "compute.threads=1",
            "--set",
            "align.student.training.log_every=1",
            "--set",
            "align.student.training.steps=12",
            "--set",
            "align.student.training.determinism=elastic",
        )
        assert process.returncode == 0, process.stderr
        for shard, row in places:
            assert re.search(rf"{shard} row {row}: .*CRC-32C.*another one takes its place", logs(folder)), (
                shard,
                logs(folder),
            )
        metrics = pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True)
        losses.append(numpy.array(metrics["train/loss"]))
        damaged.append(metrics["data/damaged"].iloc[-1])
    assert min(damaged) >= 1
    numpy.testing.assert_array_equal(losses[1], losses[0])
    numpy.testing.assert_array_equal(losses[2], losses[0])


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
    assert not (folder / "align/student" / "model.safetensors").exists()


def test_a_picture_that_was_damaged_before_it_was_cached_has_no_features(run_folder):
    path, folder = run_folder()
    shutil.rmtree(folder / "cache")
    places = damage(folder / "shards", shards_of(folder, "unlabelled")[:2])
    process = mpirun(2, "cache", path, "--set", "data.max_damaged=0")
    assert process.returncode == 3, process.stderr
    assert "CRC-32C" in process.stderr, process.stderr
    process = mpirun(2, "cache", path, "--set", "data.max_damaged=0.01")
    assert process.returncode == 0, process.stderr
    for file in (folder / "cache" / "clip").glob("*.h5"):
        with h5py.File(file) as cache:
            expected = [0 if (file.name, row) in places else 1 for row in range(len(cache["status"]))]
            assert list(cache["status"][:]) == expected
            assert [bool(row.any()) for row in cache["pooled"][:]] == [bool(status) for status in expected]
    # The pictures are mended, but their features are not there: stand-ins as before.
    for shard, _ in places:
        damage(folder / "shards", [shard])
    process = run("align", path, "--set", "data.max_damaged=1", "--set", "align.student.training.steps=12")
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
    assert (folder / "distill/student" / "model.safetensors").exists()
    metrics = pandas.read_json(folder / "distill/student" / "metrics.jsonl", lines=True)
    assert metrics["data/damaged"].iloc[-1] >= 1
    assert numpy.isfinite(metrics["train/loss"]).all()
    damage(folder / "shards", shards_of(folder, "test"))  # back again
    process = run("run", path, "--set", "data.max_damaged=1")
    assert process.returncode == 0, process.stderr


def test_weights_that_are_not_finite_are_refused_before_anything_is_stored(run_folder, tmp_path):
    path, folder = run_folder("nan")
    broken = tmp_path / "broken.safetensors"
    weights = load_file(re.search(r'weights = "(.*)"', path.read_text())[1])
    weights["visual.ln_post.weight"][3] = float("nan")
    save_file(weights, broken)
    shutil.rmtree(folder / "cache")
    process = run("cache", path, "--set", f"towers.clip.weights={broken}")
    assert (
        process.returncode == 3
        and f"{broken}: the tensor 'visual.ln_post.weight' holds numbers that are not finite" in process.stderr
    )
    assert not list((folder / "cache").glob("**/*.h5"))


def test_features_that_do_not_fit_are_never_stored(run_folder, tmp_path):
    path, folder = run_folder("huge")
    huge = tmp_path / "huge.safetensors"
    weights = load_file(re.search(r'weights = "(.*)"', path.read_text())[1])
    weights["visual.ln_post.weight"] = weights["visual.ln_post.weight"].float() * 1e6
    save_file(weights, huge)
    shutil.rmtree(folder / "cache")
    process = run("cache", path, "--set", f"towers.clip.weights={huge}")
    assert process.returncode == 3, process.stderr
    assert re.search(
        r"ViT-demo-16 with the weights .*huge.safetensors gives features of .*\.h5 row \d+ \('.*'\) that are not finite",
        process.stderr,
    )
    assert not list((folder / "cache").glob("**/*.h5"))


def test_a_teacher_whose_answers_are_not_finite_teaches_nobody(run_folder):
    path, folder = run_folder("teacher")
    for stage in ("align", "finetune"):
        process = run(stage, path)
        assert process.returncode == 0, process.stderr
    [model] = (folder / "finetune/teacher").glob("*.safetensors")
    weights, metadata = load_file(model), {}
    with safe_open(model, "pt") as file:
        metadata = file.metadata()
    name = next(name for name in weights if name.endswith("ln_post.weight"))
    weights[name] = weights[name].float() * 3e38
    save_file(weights, model, metadata)
    process = run("distill", path)
    assert process.returncode == 3, process.stderr
    assert re.search(r"the predictions of ViT-demo-16 for .* row \d+ \('.*'\) are not finite", process.stderr), (
        process.stderr
    )


def test_many_files_few_of_which_may_be_open(config):
    path, folder = config("many")
    for stage in ("shard", "cache", "align"):
        words = " ".join(
            [CSKD, stage, str(path), "--set", "packing.max_samples=1", "--set", "align.student.training.steps=4"]
        )
        process = subprocess.run(
            ["bash", "-c", f"ulimit -n 64; exec {words}"],
            env=environment({}),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert process.returncode == 0, process.stderr
    record = json.loads((folder / "cache/clip/complete.json").read_text())
    assert list(record["products"]) == ["products.txt"]
    files = sorted((folder / "cache/clip").glob("*.h5"))
    assert len(files) > 100
    again = ["cache", path, "--set", "packing.max_samples=1"]
    assert "cache.clip is complete already" in run(*again).stderr
    data = bytearray(files[77].read_bytes())
    data[len(data) // 2] ^= 1
    files[78].touch()  # read again, and found whole
    files[77].write_bytes(data)
    process = run(*again)
    assert process.returncode == 0 and f"{files[77].name} is missing or damaged: its stage runs again" in process.stderr
