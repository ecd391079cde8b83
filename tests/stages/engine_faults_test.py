"""Faults of collective operations on one rank: every other rank ends in time, and the report says who is to blame and where."""

import re
import shutil
import time

import pytest
from cskd_program import mpirun

pytestmark = pytest.mark.rotating(2)

STEP_TIMEOUT, START_TIMEOUT = 4, 10
# Beyond the time-out: asking the others (3 s), telling them (3 s), ending the job, and starting it on a busy machine.
GRACE = 25


def arguments(path, *more):
    changes = {
        "compute.step_timeout": STEP_TIMEOUT,
        "compute.start_timeout": START_TIMEOUT,
        "align.student.training.check_every": 1,
        "compute.threads": 1,
    }
    return ["align", path, *[word for key, value in changes.items() for word in ("--set", f"{key}={value}")], *more]


@pytest.fixture
def strike(cached, config):
    """Trains on `ranks` with a fault: (process, seconds, run folder)."""

    def run(fault, ranks=2):
        path, folder = config()
        shutil.copytree(cached, folder)
        start = time.monotonic()
        process = mpirun(ranks, *arguments(path), env={"CSKD_FAULT": fault} if fault else {}, timeout=120)
        return process, time.monotonic() - start, folder

    return run


def journals(folder):
    return {path.name: path.read_text() for path in (folder / "logs").glob("collectives-rank-*.txt")}


def test_nothing_is_told_when_nothing_happens(strike):
    process, _, folder = strike(None)
    assert process.returncode == 0, process.stderr
    assert not journals(folder)


# 4 all-reduces a step: statistics, two buckets, whether to stop.
@pytest.mark.rotating(4)
@pytest.mark.parametrize("number", [1, 2, 3, 4, 8, 13, 21])
@pytest.mark.parametrize("ranks,rank", [(2, 0), (2, 1), (4, 2)])
def test_a_lost_message_is_traced_to_its_rank(strike, number, ranks, rank):
    process, seconds, folder = strike(f"all-reduce:{number}@{rank}:drop", ranks)
    assert process.returncode == 1, process.stderr
    assert seconds < STEP_TIMEOUT + START_TIMEOUT + GRACE
    assert re.search(
        rf"was not done after \d+\.\d s: ranks? [\d, ]+(is|are) in it; rank {rank} is not: .*which never began",
        process.stderr,
    ) or re.search(rf"rank {rank}.*all-reduce.* on rank {rank} of {ranks} was not done", process.stderr), process.stderr
    assert set(journals(folder)) == {f"collectives-rank-{each}.txt" for each in range(ranks)}
    assert "not begun" in journals(folder)[f"collectives-rank-{rank}.txt"]


@pytest.mark.rotating(2)
@pytest.mark.parametrize(
    "kind,number,rank", [("all-reduce", 5, 1), ("all-reduce", 9, 0), ("all-gather", 2, 1), ("broadcast", 3, 1)]
)
def test_a_rank_that_stays_away_is_named_with_what_it_does(strike, kind, number, rank):
    process, seconds, folder = strike(f"{kind}:{number}@{rank}:delay:1000")
    assert process.returncode == 1, process.stderr
    assert seconds < STEP_TIMEOUT + START_TIMEOUT + GRACE
    label = {"all-reduce": "(bucket|statistics)", "all-gather": "hashes", "broadcast": ""}[kind]
    assert re.search(rf"{kind} \d+ of .*{label}.* on rank {1 - rank} of 2 was not done after", process.stderr), (
        process.stderr
    )
    assert re.search(rf"rank {1 - rank} is in it; rank {rank} is not: in '.*' for \d+", process.stderr), process.stderr
    assert len(journals(folder)) == 2


@pytest.mark.rotating(3)
@pytest.mark.parametrize("number", [1, 6, 14, 20])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_killed_ends_the_others(strike, number, rank):
    process, seconds, folder = strike(f"all-reduce:{number}@{rank}:kill")
    assert process.returncode == 137, process.stderr
    assert seconds < GRACE
    assert re.search(r"rank \d+ .*exited on signal 9 \(Killed\)", process.stderr), process.stderr
    # The other one had a second to write its journal.
    assert f"collectives-rank-{1 - rank}.txt" in journals(folder)


@pytest.mark.rotating(2)
@pytest.mark.parametrize(
    "kind,number", [("all-reduce", 1), ("all-reduce", 7), ("all-reduce", 15), ("broadcast", 10), ("all-gather", 3)]
)
def test_a_rank_that_throws_ends_the_others_with_its_cause(strike, kind, number):
    process, seconds, folder = strike(f"{kind}:{number}@1:throw")
    assert process.returncode == 1, process.stderr
    assert seconds < GRACE
    assert f"CSKD_FAULT: {kind} {number} was told to fail" in process.stderr, process.stderr
    assert len(journals(folder)) == 2
    assert "rank 1 failed" in journals(folder)["collectives-rank-0.txt"]


@pytest.mark.rotating(3)
@pytest.mark.parametrize("number", [1, 6, 11])
@pytest.mark.parametrize("ranks,rank", [(2, 1), (4, 2)])
def test_a_rank_that_computes_wrongly_is_found(strike, number, ranks, rank):
    process, _, _ = strike(f"all-reduce:{number}@{rank}:corrupt", ranks)
    assert process.returncode == 1, process.stderr
    step = (number + 3) // 4
    assert re.search(rf"after step {step} '.+' on rank {rank} differs from that of rank 0", process.stderr), (
        process.stderr
    )


def test_a_rank_that_stops_alone_is_named(strike):
    process, seconds, _ = strike("all-reduce:8@1:corrupt")
    assert process.returncode == 1, process.stderr
    assert seconds < STEP_TIMEOUT + GRACE
    assert re.search(r"rank 0 is in it; rank 1 is not: in 'checkpoint' for \d+", process.stderr), process.stderr


@pytest.mark.parametrize("number", [2, 11])
def test_a_short_delay_changes_nothing(strike, number):
    process, _, folder = strike(f"all-reduce:{number}@1:delay:0.7")
    assert process.returncode == 0, process.stderr
    assert (folder / "align/student" / "model.safetensors").exists()


def test_a_fault_that_cannot_be_read_is_refused(strike):
    process, _, _ = strike("all-reduce:x@1:kill")
    assert process.returncode == 2, process.stderr
    assert "expected <kind>:<number>@<rank>:<action>" in process.stderr
