"""A rank that is slower than the others is named, with what its time goes into, while training goes on."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import cskd_program
import stage_runs

RUN = 0.12  # seconds between two stops of the slow rank
STOP = 0.05


def process_of(rank, parent):
    """The process of a rank of this mpirun."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"PMIX_RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"rank {rank} has no process")


def test_a_slow_rank_is_named(cached, config, tmp_path):
    path, folder = stage_runs.copied(cached, config, "slow", steps=2000)
    command = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        "2",
        cskd_program.CSKD,
        "align",
        path,
        "--set",
        "compute.threads=1",
    ]
    status = lambda: json.loads((folder / "status.json").read_text())
    with (
        open(tmp_path / "log", "w") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as job,
    ):
        try:
            limit = time.monotonic() + 120
            while not (folder / "align/student/checkpoints/step-000000004/commit.json").exists():
                assert job.poll() is None and time.monotonic() < limit
                time.sleep(0.1)
            assert status().get("warnings", []) == []
            slow = process_of(1, job.pid)
            while not status().get("warnings"):
                assert job.poll() is None and time.monotonic() < limit, "nobody is named"
                os.kill(slow, signal.SIGSTOP)
                time.sleep(STOP)
                os.kill(slow, signal.SIGCONT)
                time.sleep(RUN)
            named = status()
            shown = cskd_program.run("status", folder).stdout
        finally:
            job.terminate()
    host = os.uname().nodename
    assert named["warnings"][0].startswith(f"rank 1 on {host} is slow: ")
    assert "most of it for forward and backward" in named["warnings"][0]
    assert f"warning rank 1 on {host} is slow" in (tmp_path / "log").read_text()
    assert f"look at     rank 1 on {host} is slow" in shown and "goodput" in shown
