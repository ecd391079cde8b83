"""What becomes of a run on two hosts that loses a rank, a host, or the network between them."""

import shutil
import signal
import subprocess
import time

import cskd_program
import pytest
from cluster_run import CSKD, ENDLESS, SRUN, Ended, Run, kill
from slurm_box import wait_for

SOON = ["--set", "compute.lost_after=5"]  # seconds of silence
IN_TIME = 10  # seconds in which a job must have ended


@pytest.fixture
def run(cached, material, shared_path):
    """A run whose features are cached."""
    run = Run(material, shared_path)
    shutil.copytree(cached, run.folder)
    return run


def goes_on(box, run) -> None:
    """The training goes on from a whole checkpoint."""
    started = run.status()["started"]
    ended = Ended(
        box,
        [*SRUN, CSKD, "align", run.path, *ENDLESS],
        lambda: run.is_training("align.student", 3) and run.status()["started"] > started + 0.5,
        lambda: kill(box, 0, signal.SIGUSR1),
    )
    assert ended.code == 75, ended.errors
    assert "align.student goes on after step" in run.log(0)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job_under_plain_srun(box, run, rank):
    ended = Ended(box, [*SRUN, CSKD, "align", run.path, *ENDLESS], run.is_training, lambda: kill(box, rank))
    assert ended.seconds < IN_TIME
    assert ended.code == 137  # of the killed task; the other one ends with 1
    assert f"task {1 - rank}: Exited with exit code 1" in ended.errors
    assert ended.last_line().startswith(
        f"cskd[rank {1 - rank} of 2]: error: rank {rank} on n{rank + 1} is gone: ended without a word"
    )
    assert f"rank {rank} on n{rank + 1} is gone" in run.log(1 - rank).splitlines()[-1]
    assert f"rank {rank} on n{rank + 1} is gone" in (run.folder / f"logs/collectives-rank-{1 - rank}.txt").read_text()


def test_a_killed_rank_ends_the_job_under_mpirun(box, run, shared_path):
    script = shared_path / "job.sh"
    script.write_text(
        f"#!/bin/bash\nmpirun --bind-to none {CSKD} align {run.path} {' '.join(ENDLESS)} --set align.student.training.checkpoint_every=2\n"
    )
    job = box.submit(script, "-N2", "-n2", "-o", shared_path / "out")
    wait_for(lambda: run.is_training("align.student", 4), 60, lambda: (shared_path / "out").read_text())
    kill(box, 1)
    started = time.monotonic()
    facts = box.wait_for_job(job, "FAILED", "COMPLETED", "NODE_FAIL")
    assert time.monotonic() - started < IN_TIME
    assert facts["ExitCode"] in ("137:0", "1:0")
    # mpirun does not always pass on what ranks say while it ends them.
    assert "rank 1 on n2 is gone: ended without a word" in run.log(0)
    goes_on(box, run)


@pytest.mark.rotating(2)
def test_a_network_that_is_cut_for_a_while_is_no_loss(make_box, run):
    box = make_box("--hosts", 2, "--cpus", 2, "--node-timeout", 60)  # Slurm itself has to be as patient

    def interrupt() -> None:
        box.fault("cut", "n2")
        time.sleep(20)
        step = run.status()["step"]
        box.fault("mend", "n2")
        wait_for(lambda: run.is_training("align.student", step + 3), 60)
        kill(box, 0, signal.SIGUSR1)

    ended = Ended(box, [*SRUN, CSKD, "align", run.path, *ENDLESS], run.is_training, interrupt)
    assert ended.code == 75, ended.errors


@pytest.mark.rotating(2)
def test_a_network_that_stays_cut_ends_both_sides(box, run):
    try:
        with_silence = [*SRUN, CSKD, "align", run.path, *ENDLESS, *SOON]
        ended = Ended(box, with_silence, run.is_training, lambda: box.fault("cut", "n2"))
        assert ended.code != 0
        assert "rank 1 on n2 gave no sign of life for 5 s (compute.lost_after)" in ended.errors
        # The other side is alone, and ends as well.
        wait_for(lambda: "rank 0 on n1 gave no sign of life for 5 s" in run.log(1))
    finally:
        box.fault("restore", "n2")


@pytest.mark.rotating(2)
def test_a_process_that_stays_stopped_is_named(box, run):
    ended = Ended(
        box, [*SRUN, CSKD, "align", run.path, *ENDLESS, *SOON], run.is_training, lambda: kill(box, 1, signal.SIGSTOP)
    )
    assert ended.seconds < 5 + IN_TIME
    assert "rank 1 on n2 gave no sign of life for 5 s" in ended.errors


@pytest.mark.rotating(2)
def test_a_slow_link_is_named_and_training_goes_on(box, run):
    def slow_down() -> None:
        box.fault("slow", "n2", "60ms")
        wait_for(
            lambda: any(
                "the network between n1 and n2 is slow" in warning for warning in run.status().get("warnings", [])
            ),
            60,
        )
        step = run.status()["step"]
        wait_for(lambda: run.is_training("align.student", step + 2), 60)
        box.fault("mend", "n2")
        kill(box, 0, signal.SIGUSR1)

    ended = Ended(box, [*SRUN, CSKD, "align", run.path, *ENDLESS], run.is_training, slow_down)
    assert ended.code == 75, ended.errors
    assert "warning the network between n1 and n2 is slow" in ended.errors


def test_a_full_shared_disk_ends_the_job_and_loses_nothing(cached, make_box, material, shared_path):
    disk = shared_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    try:
        box = make_box("--hosts", 2, "--cpus", 2)  # its hosts see what is mounted when it starts
        run = Run(material, disk)
        shutil.copytree(cached, run.folder)
        every_step = [
            "--set",
            "align.student.training.checkpoint_every=1",
            "--set",
            "align.student.training.keep_checkpoints=1000",
        ]
        full = box.run(*SRUN, CSKD, "align", run.path, *ENDLESS, *every_step)
        assert full.returncode == 1, full.stderr
        assert "disk" in full.stderr or "No space left" in full.stderr
        whole = cskd_program.run("inspect", run.folder / "align/student")
        assert whole.returncode == 0 and whole.stdout.count("whole") >= 1 and "damaged" not in whole.stdout
        subprocess.run(["mount", "-o", "remount,size=512m", disk], check=True)
        for host in ("n1", "n2"):
            box.on(host, "mount", "-o", "remount,size=512m", disk)
        goes_on(box, run)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
