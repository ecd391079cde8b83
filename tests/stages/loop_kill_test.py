"""Trainings killed where they write, and at random moments: the end has the bits of one that was never disturbed."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from cskd_program import CSKD, environment, mpirun
from stage_runs import EVERY_STEP, command, copied, result, result_folder, whole_result

pytestmark = pytest.mark.rotating(2)

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
FULL = bool(os.environ.get("CSKD_TEST_FULL"))
KILLS = 50 if FULL else 8  # at random moments

# One passage in the middle of the training of each place where a file is written.
POINTS = [
    "checkpoint.model@step-*4",
    "checkpoint.ema@step-*4",
    "checkpoint.optimizer@step-*4",
    "checkpoint.state@step-*4",
    "checkpoint.commit@step-*4",
    "checkpoint.remove:2",
    "metric_log.write:4",
    "event_file.write:5",
    "stage.model",
    "trainer.step:6",
]

# The same for one kill after the other in one run folder: each start goes on where the one before was killed, and at the last ones only the
# model is left to write.
ONE_AFTER_THE_OTHER = [
    "run_lock.write",
    "atomic_file.open@config.toml",
    "run_lock.claim",
    "run_lock.replace",
    "atomic_file.write@config.toml",
    "status.write",
    "event_file.write",
    "metric_log.write:2",
    "checkpoint.model:2",
    "checkpoint.ema",
    "checkpoint.optimizer",
    "checkpoint.state",
    "checkpoint.commit",
    "checkpoint.remove",
    "trainer.step:2",
    "stage.model",
    "atomic_file.fsync@model.safetensors",
    "atomic_file.verify@model.safetensors",
    "atomic_file.rename@model.safetensors",
    "atomic_file.fsync_folder@complete.json",
]


def start(path, stage, ranks=2, fails_at=None):
    return subprocess.Popen(
        [
            "mpirun",
            "--oversubscribe",
            "--bind-to",
            "none",
            "-n",
            str(ranks),
            CSKD,
            *map(str, command(stage, path)),
            *EVERY_STEP,
        ],
        env=environment({"CSKD_FAIL_AT": fails_at}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ranks_of(path, stage):
    return [
        int(word)
        for word in subprocess.run(
            ["pgrep", "-f", f"^{CSKD} {' '.join(map(str, command(stage, path)))} "],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
    ]


def is_halted(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def kill_one_at(point, path, stage):
    process = mpirun(2, *command(stage, path), *EVERY_STEP, env={"CSKD_FAIL_AT": f"{point}:kill"})
    assert process.returncode == 137, process.stderr


def kill_all_at(point, path, stage):
    """When one stands at the point."""
    job = start(path, stage, fails_at=f"{point}:halt")
    deadline = time.monotonic() + 60
    while not any(map(is_halted, ranks_of(path, stage))):
        assert job.poll() is None and time.monotonic() < deadline, f"{point} is not passed"
        time.sleep(0.01)
    for rank in ranks_of(path, stage):
        os.kill(rank, signal.SIGKILL)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 137, errors


def finish(path, stage, ranks=2):
    process = mpirun(ranks, *command(stage, path), *EVERY_STEP)
    assert process.returncode == 0, process.stderr


def test_every_write_point_is_known_here():
    written = set()
    for file in [
        *SOURCE.glob("src/training/*.cpp"),
        *SOURCE.glob("src/report/*.cpp"),
        SOURCE / "src/runtime/run_lock.cpp",
        SOURCE / "src/runtime/atomic_file.cpp",
        SOURCE / "src/stages/train_stage.cpp",
    ]:
        written |= set(re.findall(r'(?:failure_point\(|AppendedFile.*)"([a-z_.]+)"', file.read_text()))
    # Reached when something failed before, or when nothing is written.
    written -= {"appended_file.cut", "status.read"}
    assert written == {re.match("[a-z_.]+", point)[0] for point in POINTS + ONE_AFTER_THE_OTHER}


@pytest.mark.rotating(3)
@pytest.mark.parametrize("point", POINTS)
def test_one_rank_killed_at_a_write_point(cached, config, trained, point):
    path, folder = copied(cached, config, "killed")
    kill_one_at(point, path, "align.student")
    finish(path, "align.student")
    assert result(folder) == result(trained)


IN_TURNS = [
    ("align.student", [kill_all_at]),
    ("finetune.teacher", [kill_one_at, kill_all_at]),
    ("distill.student", [kill_all_at, kill_one_at]),
    ("finetune.supervised", [kill_all_at, kill_one_at]),
]


@pytest.mark.rotating(len(IN_TURNS))
@pytest.mark.parametrize("stage, kills", IN_TURNS)
def test_killed_at_every_write_point_one_after_the_other(trained, config, stage, kills):
    path, folder = copied(trained, config, "killed")
    shutil.rmtree(result_folder(folder, stage))
    for number, point in enumerate(ONE_AFTER_THE_OTHER):
        kills[number % len(kills)](point, path, stage)
    finish(path, stage)
    assert result(folder, stage) == result(trained, stage)


def test_1_2_4_1_ranks_across_resumes_are_bitwise_equal(cached, config, trained):
    path, folder = copied(cached, config, "walk")
    for ranks, point in [(1, "trainer.step:3:term"), (2, "trainer.step:3:kill"), (4, "trainer.step:2:term")]:
        process = mpirun(ranks, "align", path, *EVERY_STEP, env={"CSKD_FAIL_AT": point})
        assert process.returncode == (137 if point.endswith("kill") else 75), process.stderr
    finish(path, "align.student", ranks=1)
    assert result(folder) == result(trained)


def test_a_whole_run_killed_at_random_moments(config, whole):
    seed = int(os.environ.get("CSKD_TEST_SEED", "20261126"))
    print("seed", seed)
    chance = random.Random(seed)
    path, folder = config("random")
    kills = ends = 0
    for _ in range(400):
        job = start(path, "run", chance.choice([1, 2, 4]))
        try:
            _, errors = job.communicate(timeout=chance.uniform(0.3, 3.0) if kills < KILLS else 240)
            assert job.returncode == 0, errors
        except subprocess.TimeoutExpired:
            for rank in ranks_of(path, "run"):
                os.kill(rank, signal.SIGKILL)
            job.communicate(timeout=60)
            kills += 1
            continue
        assert whole_result(folder) == whole, f"after {kills} kills"
        ends += 1
        if kills >= KILLS:
            print(f"{kills} kills, {ends} ends")
            return
        shutil.rmtree(folder)
    raise AssertionError(f"only {kills} kills")
