"""`cskd bench`: what it prints, and what it refuses."""

import json
import re
import shutil
import statistics

import pytest
from cskd_program import mpirun, run


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """A run folder with the shards of a small demo corpus."""
    folder = tmp_path_factory.mktemp("bench")
    assert run("demo", folder / "corpus", "--images", 100).returncode == 0
    (folder / "config.toml").write_text(
        '[run]\nfolder = "run"\n[packing]\nmax_samples = 16\nmax_fault_rate = 0.5\n[[sources]]\nname = "city"\nkind = "folder"\n'
        'path = "corpus/city"\n[[sources]]\nname = "rated"\nkind = "ava"\npath = "corpus/rated"\nweight = 3.0\n'
    )
    process = run("shard", folder / "config.toml")
    assert process.returncode == 0, process.stderr
    return folder / "run"


def packed_images(packed):
    process = run("inspect", packed, "--json")
    return sum(source["packed"] for source in json.loads(process.stdout)["sources"])


def test_help_names_the_choices():
    process = run("bench", "loader", "--help")
    assert process.returncode == 0 and all(character.isprintable() for character in process.stdout.replace("\n", ""))
    assert re.search(r"\{[a-z,]*crop[a-z,]*\}", process.stdout.replace("\n", "").replace(" ", "")), process.stdout


@pytest.mark.parametrize("work", ["views", "bytes", "order"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_image_is_loaded_once_an_epoch(packed, work, threads):
    process = run(
        "bench",
        "loader",
        packed,
        "--work",
        work,
        "--threads",
        threads,
        "--batch",
        7,
        "--image-size",
        48,
        "--epochs",
        4,
        "--json",
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert result["is_complete"] is True and result["damaged"] == 0
    assert result["images"] == packed_images(packed)
    assert [epoch["images"] for epoch in result["epochs"]] == [result["images"]] * 4
    rates = sorted(epoch["images_per_second"] for epoch in result["epochs"][1:])
    assert result["images_per_second"] == pytest.approx(rates[1])
    for epoch in result["epochs"]:
        assert epoch["images_per_second"] == pytest.approx(epoch["images"] / epoch["seconds"])
        assert epoch["resident_bytes"] > 1 << 20


@pytest.mark.parametrize("view", ["crop", "whole", "weak", "strong"])
def test_views_and_the_text(packed, view):
    process = run(
        "bench", "loader", packed / "shards", "--view", view, "--resize", "fast", "--image-size", 32, "--epochs", 2
    )
    assert process.returncode == 0, process.stderr
    assert f"views ({view}, 32 pixels, fast)" in process.stdout
    assert "images/s, each image once an epoch" in process.stdout
    assert len(process.stdout.splitlines()) == 7


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--threads", -1], "--threads"),
        (["--batch", 0], "--batch"),
        (["--view", "round"], "--view"),
        (["--work", "all"], "--work"),
        (["--min-area", 0], "--min-area"),
        (["--epochs", 0], "--epochs"),
    ],
)
def test_options_that_make_no_sense_are_refused(packed, arguments, message):
    process = run("bench", "loader", packed, *arguments)
    assert process.returncode == 2
    assert message in process.stderr


def test_what_is_missing_is_named(tmp_path):
    process = run("bench", "loader", tmp_path / "nowhere")
    assert process.returncode in (1, 3)
    assert str(tmp_path / "nowhere") in process.stderr
    process = run("bench")
    assert process.returncode == 2


def test_a_lost_shard_ends_it_with_the_cause(packed, tmp_path):
    shutil.copytree(packed / "shards", tmp_path / "shards")
    next((tmp_path / "shards").glob("city*.h5")).unlink()
    process = run("bench", "loader", tmp_path / "shards", "--epochs", 1)
    assert process.returncode == 3, process.stderr
    assert "data.max_damaged = 0.001 allows" in process.stderr and "No such file" in process.stderr


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("reduction", ["sum", "tree"])
def test_all_reduces_are_timed(ranks, reduction):
    process = mpirun(
        ranks, "bench", "all-reduce", "--numbers", 1, 5000, "--repeats", 5, "--reduction", reduction, "--json"
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert (result["ranks"], result["reduction"]) == (ranks, reduction)
    for case, numbers in zip(result["cases"], (1, 5000), strict=True):
        assert case["numbers"] == numbers and len(case["seconds"]) == 5
        assert case["median"] == pytest.approx(statistics.median(case["seconds"]))
        assert case["bus_bytes_per_second"] == pytest.approx(2 * (ranks - 1) / ranks * 4 * numbers / case["median"])
    assert "bus GB/s" in mpirun(ranks, "bench", "all-reduce", "--numbers", 7, "--repeats", 2).stdout


@pytest.mark.parametrize(
    "more",
    [[], ["--elastic", "--micro-batches", 3], ["--compress", "--memory-format", "contiguous", "--precision", "bf16"]],
)
def test_steps_are_timed(more):
    process = mpirun(2, "bench", "step", "--image-size", 64, "--batch", 2, "--steps", 3, *more, "--json")
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    images = 2 * 2 * (3 if more[:1] == ["--elastic"] else 1)
    assert result["images_per_second"] == pytest.approx(images / statistics.median(result["seconds"]))
    assert len(result["exposed_seconds"]) == len(result["communication_seconds"]) == 3
    assert (result["precision"], result["memory_format"]) == (
        ("bf16", "contiguous") if "--compress" in more else ("fp32", "channels_last")
    )
    assert 0 <= result["overlap"] <= 1 and result["probe"] == []
    assert all(bucket["bytes"] > 0 and bucket["bus_bytes_per_second"] > 0 for bucket in result["buckets"])
    # Random targets of variance 1 cannot be learnt in so few steps.
    assert len(result["losses"]) == 6 and all(0.5 < loss < 2 for loss in result["losses"])
    assert all(exposed < step for exposed, step in zip(result["exposed_seconds"], result["seconds"], strict=True))


def test_the_start_up_probe_is_part_of_a_step_bench():
    process = mpirun(
        2,
        "bench",
        "step",
        "--image-size",
        32,
        "--batch",
        2,
        "--steps",
        2,
        "--precision",
        "auto",
        "--memory-format",
        "auto",
        "--json",
    )
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert len(result["probe"]) == 4 and all(case["seconds"] > 0 for case in result["probe"])
    assert {"precision": result["precision"], "memory_format": result["memory_format"]} in [
        {key: case[key] for key in ("precision", "memory_format")} for case in result["probe"]
    ]
    text = run(
        "bench",
        "step",
        "--image-size",
        32,
        "--batch",
        2,
        "--steps",
        2,
        "--precision",
        "bf16",
        "--memory-format",
        "auto",
    ).stdout
    assert "start-up probe" in text and "bf16, contiguous" in text and ", chosen" in text


def test_a_step_without_the_reducer_trains_as_with_it():
    losses = []
    for more in ([], ["--bare"]):
        process = run(
            "bench",
            "step",
            "--encoder",
            "ViT-demo-16",
            "--image-size",
            32,
            "--batch",
            4,
            "--micro-batches",
            2,
            "--steps",
            3,
            *more,
            "--json",
        )
        assert process.returncode == 0, process.stderr
        losses.append(json.loads(process.stdout)["losses"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    process = mpirun(2, "bench", "step", "--bare")
    assert process.returncode == 2 and "--bare" in process.stderr


def test_benches_of_ranks_refuse_what_does_not_go(tmp_path):
    assert "needs 1, 2, 4, ... ranks, not 3" in mpirun(3, "bench", "all-reduce", "--reduction", "tree").stderr
    process = run("bench", "step", "--elastic", "--compress")
    assert process.returncode == 2 and "--elastic" in process.stderr
    process = run("bench", "step", "--encoder", "mobilenetv3_smal_100")
    assert process.returncode == 2 and "mobilenetv3_small_100" in process.stderr


def test_checkpoints_are_timed_and_removed(tmp_path):
    process = run(
        "bench", "checkpoint", tmp_path / "disk", "--encoder", "ViT-demo-16", "--rounds", 3, "--step", 0.05, "--json"
    )
    assert process.returncode == 0, process.stderr
    figures = json.loads(process.stdout)
    # Weights, average and two means of some 2.9 million numbers.
    assert figures["bytes"] > 4 * 4 * 2e6
    assert all(
        len(figures[key]) == 3 and min(figures[key]) >= 0
        for key in ("plain_seconds", "copied_seconds", "written_seconds", "stall_seconds")
    )
    assert figures["stall_p50"] <= figures["stall_p99"] == max(figures["stall_seconds"])
    assert list((tmp_path / "disk").iterdir()) == []
