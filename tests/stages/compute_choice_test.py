"""compute.precision and compute.memory_format: measured once, kept for every later start, or as the configuration says."""

import json

import h5py
import pandas
import pytest
from cskd_program import mpirun, run
from stage_runs import TRAININGS, command, copied, digest, result, result_folder, settings

pytestmark = pytest.mark.rotating(2)

AUTO = ["--set", "compute.precision=auto", "--set", "compute.memory_format=auto"]


def losses(folder):
    return list(pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True)["train/loss"])


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_choice_is_measured_recorded_and_kept(cached, config, ranks):
    path, folder = copied(cached, config, "auto")
    process = mpirun(ranks, "align", path, *AUTO, env={"CSKD_FAIL_AT": "trainer.step:3:term"})
    assert process.returncode == 75, process.stderr
    assert "align.student computes with " in process.stderr and "the fastest here" in process.stderr
    record = folder / "align/student" / "compute.json"
    found = json.loads(record.read_text())
    assert found["subject"] == {
        "encoder": "mobilenetv3_small_100",
        "image_size": 64,
        "batch": 4,
        "trains_encoder": True,
        "communicator": "local" if ranks == 1 else "mpi",
    }
    assert len(found["cases"]) == 4 and all(case["seconds"] > 0 for case in found["cases"])
    # What is recorded counts from then on, even where a measurement would find another.
    found["chosen"] = {"precision": "bf16", "memory_format": "contiguous"}
    record.write_text(json.dumps(found))
    process = mpirun(ranks, "align", path, *AUTO)
    assert process.returncode == 0, process.stderr
    assert "the fastest here" not in process.stderr
    facts = json.loads((folder / "align/student" / "complete.json").read_text())
    assert '"bf16"' in json.dumps(facts) and '"contiguous"' in json.dumps(facts)


def damage_every_third_row(folder):
    """Of the shards that trainings read: a byte in the middle of each such picture."""
    for path in (folder / "shards").glob("*.h5"):
        if "-test-" in path.name:
            continue
        with h5py.File(path) as shard:
            start, offsets = shard["bytes"].id.get_offset(), list(shard["offset"])
        data = bytearray(path.read_bytes())
        for row in range(0, len(offsets) - 1, 3):
            data[start + (offsets[row] + offsets[row + 1]) // 2] ^= 0xFF
        path.write_bytes(data)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_training_does_not_depend_on_the_probe(cached, config, ranks):
    """The same bits with what was measured and with the same settings given, BatchNorm, dropout, a term that rises with
    the training and damaged pictures included."""
    words = ["--set", "data.max_damaged=1", "--set", "compute.threads=1"]
    for stage in TRAININGS:
        words += settings(stage, log_every=1, feature_dropout=0.1)
    folders = {}
    for name in ("probed", "given"):
        path, folders[name] = copied(cached, config, name)
        damage_every_third_row(folders[name])
    for stage in TRAININGS:
        process = mpirun(ranks, *command(stage, folders["probed"].with_suffix(".toml")), *words, *AUTO)
        assert process.returncode == 0, process.stderr
        chosen = json.loads((result_folder(folders["probed"], stage) / "compute.json").read_text())["chosen"]
        given = [word for key, value in chosen.items() for word in ("--set", f"compute.{key}={value}")]
        process = mpirun(ranks, *command(stage, folders["given"].with_suffix(".toml")), *words, *given)
        assert process.returncode == 0, process.stderr
        assert not (result_folder(folders["given"], stage) / "compute.json").exists()
        assert result(folders["probed"], stage) == result(folders["given"], stage)
        # Of all uses; in between it counts those of batches that are ready, too.
        damaged = [
            pandas.read_json(result_folder(folder, stage) / "metrics.jsonl", lines=True)["data/damaged"].iloc[-1]
            for folder in folders.values()
        ]
        assert damaged[0] == damaged[1] > 0


def test_what_is_given_is_not_measured(cached, config):
    results = {}
    for precision in ("fp32", "bf16"):
        path, folder = copied(cached, config, precision)
        process = run("align", path, "--set", f"compute.precision={precision}")
        assert process.returncode == 0, process.stderr
        assert not (folder / "align/student" / "compute.json").exists()
        results[precision] = (digest(folder / "align/student" / "model.safetensors"), losses(folder))
    assert results["fp32"][0] != results["bf16"][0]
    assert results["bf16"][1] == pytest.approx(results["fp32"][1], rel=0.02)


def test_a_damaged_record_is_named(cached, config):
    path, folder = copied(cached, config, "damaged")
    (folder / "align/student").mkdir(parents=True, exist_ok=True)
    for text in (
        "",
        "{",
        "[]",
        '{"chosen": {"precision": "fp64", "memory_format": "contiguous"}}',
        '{"chosen": 3}',
        '{"chosen": {"precision": 5}}',
    ):
        (folder / "align/student" / "compute.json").write_text(text)
        process = run("align", path, *AUTO)
        assert process.returncode == 3, process.stderr
        assert f"{folder}/align/student/compute.json is damaged: remove it" in process.stderr
