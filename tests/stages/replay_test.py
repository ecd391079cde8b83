"""A step that goes wrong is kept, and replayed by one process: who is to blame for it."""

import json
import re

import pytest
import timm
import torch
from cskd_program import mpirun, run
from safetensors.torch import save_file
from stage_runs import copied

ONE_THREAD = ["--set", "compute.threads=1"]
CAPSULES = "align/student/capsules"


def replayed(capsule, *words, env=None):
    process = run("replay", capsule, "--json", *words, env=env or {})
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture
def trained(cached, config):
    """Of a training on `ranks`: the process and the folder of the first step that it kept."""

    def train(name, ranks, *words, env=None):
        path, folder = copied(cached, config, name)
        process = mpirun(ranks, "align", path, *ONE_THREAD, *words, env=env or {})
        kept = sorted((folder / CAPSULES).glob("step-*"))
        assert kept, process.stderr
        return process, kept[0]

    return train


def test_a_machine_that_computed_wrongly(trained):
    # The 7th micro-batch of each of two ranks, which have two in a step.
    process, capsule = trained("machine", 2, env={"CSKD_FAIL_AT": "trainer.loss@align.student:7:spoil"})
    assert process.returncode == 0 and capsule.name == "step-000000004", process.stderr
    assert "step 4 is skipped" in process.stderr and f"cskd replay {capsule}" in process.stderr
    report = replayed(capsule)
    assert report["blame"] == "machine" and report["step"] == 4
    assert [part["rank"] for part in report["micro_batches"]] == [0, 0, 1, 1]
    assert [part["is_close"] for part in report["micro_batches"]] == [False, True, False, True]
    # The others come out to the bit in one process, although two had computed them.
    assert [part["is_same"] for part in report["micro_batches"]] == [False, True, False, True]
    assert report["micro_batches"][0]["loss_then"] == "nan" != report["micro_batches"][0]["loss"]
    assert "rank 1 on" in report["verdict"]
    text = run("replay", capsule).stdout
    assert "To blame: machine." in text and len(re.findall("same bits", text)) == 2


def test_pictures_that_lead_there(trained):
    # A fault of the program with these pictures: it comes again.
    _, capsule = trained("data", 1, env={"CSKD_FAIL_AT": "trainer.loss@align.student:7:spoil"})
    report = replayed(capsule, env={"CSKD_FAIL_AT": "trainer.loss@align.student:3:spoil"})
    assert report["blame"] == "data"
    assert all(part["is_same"] for part in report["micro_batches"])
    assert "micro-batch 2: " in report["verdict"] and re.search(r"\.h5 row \d+", report["verdict"])


def test_weights_that_had_come_too_far(trained, tmp_path):
    weights = timm.create_model("mobilenetv3_small_100").state_dict()
    weights["conv_stem.weight"] = torch.full_like(weights["conv_stem.weight"], 3e38)
    save_file(weights, tmp_path / "huge.safetensors")
    process, capsule = trained("weights", 2, "--set", f"encoders.mobile.weights={tmp_path}/huge.safetensors")
    assert process.returncode == 0, process.stderr
    kept = [folder.name for folder in sorted(capsule.parent.iterdir())]
    assert kept == ["step-000000001", "step-000000002", "step-000000003"]  # of eight; the disk is spared
    report = replayed(capsule)
    assert report["blame"] == "weights" and all(part["is_same"] for part in report["micro_batches"]), report
    assert "conv_stem.weight, whose largest number is 3e+38" in report["verdict"]


def test_what_cannot_be_replayed(trained):
    _, capsule = trained("refused", 1, env={"CSKD_FAIL_AT": "trainer.loss@align.student:7:spoil"})
    process = run("replay", capsule, "--set", "align.student.cosine_weight=0.5")
    assert process.returncode == 2 and "align.student.cosine_weight" in process.stderr
    process = mpirun(2, "replay", capsule)
    assert process.returncode == 2 and "by one process" in process.stderr
    model = next(capsule.glob("before/*/model.safetensors"))
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    process = run("replay", capsule)
    assert process.returncode == 3, process.stderr
    model.write_bytes(whole)
    document = (capsule / "capsule.json").read_text()
    for damaged in (document[: len(document) // 2], "{}", document.replace('"format": 1', '"format": 2')):
        (capsule / "capsule.json").write_text(damaged)
        process = run("replay", capsule)
        assert process.returncode == 3 and "is no capsule of a step, or damaged" in process.stderr
    process = run("replay", capsule.parent / "nothing")
    assert process.returncode != 0 and "capsule.json" in process.stderr
