"""The training loop: what a run may go on with, retention, validation, deadlines, and what it leaves."""

import io
import json
import re
import shutil
import signal
import subprocess
import time

import small_run
import pandas
import pytest
from cskd_program import CSKD, environment, mpirun, run
from PIL import Image
from safetensors.torch import load_file
from stage_runs import EVERY_STEP, checkpoints, copied, result, settings


@pytest.mark.rotating(2)
def test_what_does_not_matter_may_change_and_what_matters_is_named(cached, config):
    path, folder = copied(cached, config, "changed")
    assert run("align", path, env={"CSKD_FAIL_AT": "trainer.step:7:term"}).returncode == 75
    process = run("align", path, *settings(learning_rate="0.5", clip_norm="1.0"))
    assert process.returncode == 2
    assert (
        "align.student.training.clip_norm (was 3.0, is 1.0), align.student.training.learning_rate (was 0.001, is 0.5)"
        in process.stderr
    ), process.stderr
    assert "--allow-change" in process.stderr
    process = run("align", path, *settings(learning_rate="0.5"), "--allow-change", "align.student.training.clip_norm")
    assert process.returncode == 2
    # Neither changes what is computed.
    process = run("align", path, *settings(log_every=1, checkpoint_every=3, keep_checkpoints=5))
    assert process.returncode == 0, process.stderr


@pytest.mark.rotating(2)
def test_a_change_that_is_allowed_is_gone_on_with(cached, config):
    path, folder = copied(cached, config, "allowed")
    assert run("align", path, env={"CSKD_FAIL_AT": "trainer.step:5:term"}).returncode == 75
    process = run(
        "align", path, *settings(learning_rate="0.002"), "--allow-change", "align.student.training.learning_rate"
    )
    assert process.returncode == 0, process.stderr
    assert "align.student goes on after step 5" in process.stderr
    # A finished one is kept with it.
    process = run("align", path)
    assert process.returncode == 2 and "align.student.training.learning_rate (was 0.002, is 0.001)" in process.stderr
    process = run("align", path, "--allow-change", "align.student.training.learning_rate")
    assert process.returncode == 0 and "align.student is complete already" in process.stderr


def test_resume_never_refuses_checkpoints(cached, config):
    path, _ = copied(cached, config, "never")
    assert run("align", path, "--resume", "never", env={"CSKD_FAIL_AT": "trainer.step:5:term"}).returncode == 75
    process = run("align", path, "--resume", "never")
    assert process.returncode == 2
    assert "holds checkpoints of an earlier run" in process.stderr


def with_validation(path):
    """A fifth of the rated pictures validates."""
    path.write_text(path.read_text().replace('kind = "ava"', 'kind = "ava"\nvalidation_share = 0.2'))


@pytest.fixture(scope="module")
def judged(corpus, weights, tmp_path_factory):
    """As `cached`, with validation pictures."""
    folder = tmp_path_factory.mktemp("judged")
    path = folder / "config.toml"
    path.write_text(small_run.configuration(corpus, weights, folder / "run"))
    with_validation(path)
    for stage in ("shard", "cache"):
        process = mpirun(2, stage, path)
        assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.mark.rotating(2)
def test_the_newest_the_best_and_every_nth_checkpoint_stay(judged, config):
    path, folder = copied(judged, config, "kept")
    with_validation(path)
    process = run(
        "align",
        path,
        *settings(steps=12, checkpoint_every=1, keep_checkpoints=1, keep_every=5, validate_every=2, keep_best=1),
    )
    assert process.returncode == 0, process.stderr
    metrics = pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True).set_index("step")
    judged = metrics["validation/cosine"].dropna()
    assert list(judged.index) == [2, 4, 6, 8, 10, 12]
    assert judged.between(0, 2).all()
    assert checkpoints(folder) == sorted({5, 10, 12, int(judged.idxmin())})


@pytest.mark.rotating(3)
@pytest.mark.parametrize("ranks", [1, 2])
def test_scores_are_validated_alike_on_any_number_of_ranks(judged, config, ranks):
    path, folder = copied(judged, config, f"scores{ranks}")
    with_validation(path)
    process = mpirun(
        ranks,
        "finetune",
        path,
        "supervised",
        "--set",
        "finetune.supervised.training.validate_every=4",
        "--set",
        "finetune.supervised.training.log_every=1",
        "--set",
        "finetune.supervised.training.global_batch=8",
    )
    assert process.returncode == 0, process.stderr
    metrics = pandas.read_json(folder / "finetune/supervised" / "metrics.jsonl", lines=True).set_index("step")
    assert list(metrics["validation/srcc"].dropna().index) == [4, 8]
    state = json.loads((folder / "finetune/supervised" / "checkpoints" / "step-000000008" / "commit.json").read_text())
    assert state["validation"]["validation/srcc"] == pytest.approx(metrics["validation/srcc"][8])
    assert -1 <= metrics["validation/srcc"][8] <= 1 and 0 < metrics["validation/emd2"][8] < 1


def test_validation_does_not_change_what_is_trained(judged, config):
    results = []
    for every in (0, 3):
        path, folder = copied(judged, config, f"every{every}")
        with_validation(path)
        process = mpirun(2, "align", path, *EVERY_STEP, *settings(validate_every=every))
        assert process.returncode == 0, process.stderr
        results.append(result(folder))
    assert results[0] == results[1]


def test_validation_without_pictures_is_refused(cached, config):
    path, _ = copied(cached, config, "unvalidated")
    process = run("align", path, *settings(validate_every=3))
    assert process.returncode == 2
    assert "set validation_share of a rated source" in process.stderr


def test_best_without_validation_is_refused(cached, config):
    path, folder = copied(cached, config, "unjudged")
    process = run("align", path, *settings(keep_best=1))
    assert process.returncode == 2
    assert "set align.student.training.validate_every" in process.stderr


def test_a_deadline_stops_at_a_checkpoint_before_it(cached, config):
    path, folder = copied(cached, config, "deadline")
    start = time.time()
    process = run(
        "align",
        path,
        *settings(steps=100000, checkpoint_every=100000, checkpoint_interval=1, keep_checkpoints=1),
        "--stop-before",
        "35s",
    )
    assert process.returncode == 75, process.stderr
    last = checkpoints(folder)
    assert len(last) == 1
    record = json.loads((folder / "align/student" / "checkpoints" / f"step-{last[0]:09}" / "commit.json").read_text())
    assert start < record["time"] < start + 35


@pytest.mark.rotating(2)
def test_checkpoints_may_come_by_the_clock(cached, config):
    path, folder = copied(cached, config, "clock")
    process = run(
        "align", path, *settings(steps=60, checkpoint_every=1000, checkpoint_interval=0.3, keep_checkpoints=100)
    )
    assert process.returncode == 0, process.stderr
    assert len(checkpoints(folder)) >= 2


def test_two_jobs_in_one_run_folder(cached, config):
    path, folder = copied(cached, config, "twice")
    first = subprocess.Popen(
        [CSKD, "align", str(path), *settings(steps=100000)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({}),
    )
    try:
        deadline = time.monotonic() + 60
        while not list((folder / "align/student").glob("metrics.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        second = run("align", path)
        assert second.returncode == 2
        assert re.search(rf"another job works in {folder}: .*, process {first.pid}, since 20", second.stderr), (
            second.stderr
        )
    finally:
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
    assert first.returncode == 75
    assert not (folder / "run.lock").exists()
    subprocess.run(
        [CSKD, "align", str(path), *settings(steps=100000)],
        env=environment({"CSKD_FAIL_AT": "trainer.step:2:kill"}),
        capture_output=True,
        check=False,
    )
    assert (folder / "run.lock").exists()
    process = run("align", path, *settings(steps=100000), env={"CSKD_FAIL_AT": "trainer.step:2:term"})
    assert process.returncode == 75, process.stderr
    assert "ended without a word: taken over" in process.stderr


@pytest.mark.rotating(2)
def test_a_damaged_newest_checkpoint_costs_no_whole_one(cached, config):
    path, folder = copied(cached, config, "aside")
    run("align", path, *settings(steps=12, checkpoint_every=4), env={"CSKD_FAIL_AT": "trainer.step:10:kill"})
    assert checkpoints(folder) == [4, 8]
    newest = folder / "align/student/checkpoints/step-000000008/model.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    frugal = settings(steps=12, checkpoint_every=1, keep_checkpoints=1)
    process = run("align", path, *frugal, env={"CSKD_FAIL_AT": "trainer.step:2:term"})
    assert process.returncode == 75 and "goes on after step 4" in process.stderr, process.stderr
    assert (folder / "align/student/checkpoints/damaged-step-000000008").is_dir() and 4 < max(checkpoints(folder)) < 8
    process = run("align", path, *frugal)
    assert process.returncode == 0, process.stderr
    assert checkpoints(folder) == [12]


@pytest.mark.rotating(2)
def test_a_complete_training_goes_on_with_more_steps(cached, config):
    constant = ["--set", 'align.student.training.schedule="constant"']
    results = {}
    for name in ("long", "extended"):
        path, folder = copied(cached, config, name)
        if name == "extended":
            assert run("align", path, *settings(steps=8), *constant).returncode == 0
            refused = run("align", path, *settings(steps=12), *constant)
            assert refused.returncode == 2 and "align.student.training.steps (was 8, is 12)" in refused.stderr
        process = run("align", path, *settings(steps=12), *constant, "--allow-change", "align.student.training.steps")
        assert process.returncode == 0, process.stderr
        results[name] = result(folder, "align.student", 12)
    assert results["long"] == results["extended"]
    assert "is complete, but has more steps now" in process.stderr


@pytest.mark.rotating(3)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_that_comes_twice_stops_at_a_checkpoint(cached, config, number):
    path, folder = copied(cached, config, f"signal-{number}")
    process = subprocess.Popen(
        [CSKD, "align", str(path), *settings(steps=100000)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment({}),
    )
    deadline = time.monotonic() + 60
    while not list((folder / "align/student").glob("metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert checkpoints(folder)


@pytest.mark.rotating(2)
def test_output_that_nobody_reads_ends_no_training(cached, config):
    path, folder = copied(cached, config, "dead pipe")
    process = subprocess.Popen(
        [CSKD, "align", str(path), *settings(steps=12)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
        restore_signals=True,
    )
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert "align.student took" in (folder / "logs/rank-0.log").read_text() and max(checkpoints(folder)) == 12


OPTIMIZERS = {"sgd": 0.1, "lamb": 0.005, "lars": 1.0}


@pytest.mark.rotating(3)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_resumed_bitwise(cached, config, name):
    words = settings(
        optimizer=name,
        learning_rate=OPTIMIZERS[name],
        layer_decay=0.9,
        decayed="layers",
        schedule="falling",
        falls="[5]",
        final_rate=0.1,
    )
    plain_path, plain_folder = copied(cached, config, "plain")
    path, folder = copied(cached, config, "stopped")
    assert run("align", plain_path, *words).returncode == 0
    assert run("align", path, *words, env={"CSKD_FAIL_AT": "trainer.step:6:kill"}).returncode == -9
    process = run("align", path, *words)
    assert process.returncode == 0, process.stderr
    assert result(folder) == result(plain_folder)
    rates = pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True).set_index("step")[
        "train/learning_rate"
    ]
    assert rates[8] == pytest.approx(0.1 * rates[4])


def test_the_learning_rate_follows_the_batch_as_configured(cached, config):
    path, folder = copied(cached, config, "scaled")
    words = settings(
        rate_scaling="linear", reference_batch=64, learning_rate=0.004, schedule="constant", warmup_steps=0
    )
    assert run("align", path, *words).returncode == 0
    rates = pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True)["train/learning_rate"]
    assert list(rates) == pytest.approx([0.004 * 16 / 64] * 4)


def test_tensorboard_reads_histograms_and_pictures(cached, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, folder = copied(cached, config, "histograms")
    process = run("align", path, "--set", "logging.histograms_every=4", "--set", "logging.pictures_every=8")
    assert process.returncode == 0, process.stderr
    events = EventAccumulator(
        str(folder / "align/student" / "events"), size_guidance={"histograms": 0, "images": 0}
    ).Reload()
    weights = load_file(folder / "align/student" / "checkpoints" / "step-000000008" / "model.safetensors")
    assert "gradients/conv_stem.weight" in events.Tags()["histograms"]
    last = events.Histograms("weights/conv_stem.weight")[-1]
    assert (last.step, last.histogram_value.num) == (8, weights["conv_stem.weight"].numel())
    assert last.histogram_value.min == pytest.approx(weights["conv_stem.weight"].min().item())
    assert last.histogram_value.sum == pytest.approx(weights["conv_stem.weight"].sum().item(), rel=1e-4, abs=1e-4)
    picture = events.Images("train/pictures")[-1]
    assert (picture.width, picture.height) == (4 * 64, 64)
    assert Image.open(io.BytesIO(picture.encoded_image_string)).size == (256, 64)


def test_status_tells_what_became_of_a_run(cached, config):
    path, folder = copied(cached, config, "status")
    assert run("align", path, env={"CSKD_FAIL_AT": "trainer.step:5:term"}).returncode == 75
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["stage"], status["step"], status["steps"]) == ("stopped", "align.student", 5, 8)
    assert run("align", path, *settings(learning_rate=0.5)).returncode == 2
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed" and "align.student.training.learning_rate" in status["message"]
    assert run("align", path).returncode == 0
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["step"], status["checkpoint"]["step"]) == ("finished", 8, 8)


@pytest.mark.rotating(2)
def test_inspect_shows_checkpoints_and_their_damage(cached, config):
    path, folder = copied(cached, config, "inspected")
    assert run("align", path, *settings(keep_checkpoints=3)).returncode == 0
    process = run("inspect", folder / "align/student")
    assert process.returncode == 0, process.stderr
    assert re.search(r"8 +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC +[\d.]+ MiB +whole", process.stdout), process.stdout
    process = run("inspect", folder / "align/student" / "checkpoints" / "step-000000004")
    assert process.returncode == 0 and "align.student.training.learning_rate = 0.001" in process.stdout, process.stdout
    one = json.loads(run("inspect", folder / "align/student" / "checkpoints" / "step-000000004", "--json").stdout)[0]
    weights = load_file(folder / "align/student" / "checkpoints" / "step-000000004" / "model.safetensors")
    assert one["numbers"] == sum(tensor.numel() for tensor in weights.values()) and one["images"] == 64
    weights_file = folder / "align/student" / "checkpoints" / "step-000000008" / "ema.safetensors"
    damaged = bytearray(weights_file.read_bytes())
    damaged[5000] ^= 1
    weights_file.write_bytes(damaged)
    process = run("inspect", folder / "align/student")
    assert process.returncode == 3
    assert "damaged" in process.stdout and str(weights_file) in process.stdout


def test_weights_of_a_checkpoint_open_in_python(cached, config):
    path, folder = copied(cached, config, "python")
    assert run("align", path).returncode == 0
    last = folder / "align/student" / "checkpoints" / "step-000000008"
    model, average, optimizer = (load_file(last / f"{name}.safetensors") for name in ("model", "ema", "optimizer"))
    assert model.keys() == average.keys()
    assert all(f"exp_avg.{name}" in optimizer for name in model if name.endswith("weight"))
    assert model["conv_stem.weight"].shape == (16, 3, 3, 3)
