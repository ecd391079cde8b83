"""When one rank fails, the job ends everywhere, with the cause on the console and nothing left behind."""

import os
import subprocess
import time

from cskd_program import CSKD, environment, errors, mpirun

IMAGES = "60"


def one_rank_fails(folder, failure, failing_rank):
    """Two ranks of `cskd demo`, of which one has CSKD_FAIL_AT set."""
    ranks = []
    for rank in range(2):
        variables = ["-x", f"CSKD_FAIL_AT={failure}"] if rank == failing_rank else []
        ranks += [":"] * bool(rank) + ["-n", "1", *variables, CSKD, "demo", str(folder), "--images", IMAGES]
    started = time.monotonic()
    process = subprocess.run(
        ["mpirun", "--oversubscribe", "--bind-to", "none", *ranks],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env=environment(None),
    )
    process.seconds = time.monotonic() - started
    return process


def test_an_error_of_one_rank_is_reported_once_with_its_cause_last(tmp_path):
    for rank in range(2):
        result = one_rank_fails(tmp_path / "demo", "demo.write:3", failing_rank=rank)
        assert result.returncode == 1
        assert errors(result)[-1].startswith(f"cskd[rank {rank} of 2]")
        assert "demo.write failed on" in errors(result)[-1] and "Input/output error" in errors(result)[-1]
        assert os.listdir(tmp_path) == []


def test_an_error_of_all_ranks_is_printed_once(tmp_path):
    (tmp_path / "file").write_text("x")
    result = mpirun(2, "demo", tmp_path / "file", "--images", IMAGES)
    assert result.returncode == 2
    assert len([line for line in errors(result) if ": error:" in line]) == 1
    assert (tmp_path / "file").read_text() == "x"


def test_a_killed_rank_ends_the_job(tmp_path):
    result = one_rank_fails(tmp_path / "demo", "demo.write:3:kill", failing_rank=1)
    assert result.returncode == 137
    assert not (tmp_path / "demo").exists()
    again = mpirun(2, "demo", tmp_path / "demo", "--images", IMAGES)
    assert again.returncode == 0, again.stderr
    assert os.listdir(tmp_path) == ["demo"]
