"""The trace of a few steps: a file in the Trace Event Format with every rank's computing, buckets, data and checkpoints."""

import json
import shutil

import pandas
import pytest
from cskd_program import mpirun
from stage_runs import copied


@pytest.fixture(scope="session")
def traced(cached, tmp_path_factory):
    """A training of 40 steps on 2 ranks, of which steps 3 to 5 are traced: (events, run folder)."""
    folder = tmp_path_factory.mktemp("traced") / "run"
    shutil.copytree(cached, folder)
    path = folder.with_suffix(".toml")
    original = next(cached.parent.glob("*.toml")).read_text()
    path.write_text(original.replace(str(cached), str(folder)))
    process = mpirun(
        2,
        "align",
        path,
        "--set",
        "logging.trace_steps=3",
        "--set",
        "logging.trace_after=2",
        # More batches than are made ahead, so that some are made meanwhile.
        "--set",
        "align.student.training.steps=40",
        "--set",
        "compute.prefetch=1",
    )
    assert process.returncode == 0, process.stderr
    assert f"{folder}/align/student/trace.json: open it at https://ui.perfetto.dev" in process.stderr
    return json.loads((folder / "align/student" / "trace.json").read_text())["traceEvents"], folder


def spans(events, rank, category):
    return [event for event in events if event["ph"] == "X" and event["pid"] == rank and event["cat"] == category]


@pytest.mark.parametrize("rank", [0, 1])
def test_every_part_of_the_traced_steps_is_there(traced, rank):
    events, _ = traced
    computing = spans(events, rank, "computing")
    steps = [event for event in computing if event["name"].startswith("step ")]
    assert [event["name"] for event in steps] == ["step 3", "step 4", "step 5"]
    for step in steps:
        inside = [
            event["name"]
            for event in computing
            if event is not step and step["ts"] <= event["ts"] < step["ts"] + step["dur"]
        ]
        # Two of the four micro-batches are this rank's.
        assert inside == ["start of a step"] + 2 * ["data and forward", "statistics and figures", "backward"] + [
            "waiting for buckets",
            "statistics and figures",
            "optimiser",
        ]
        buckets = [
            event
            for event in spans(events, rank, "communication")
            if step["ts"] <= event["ts"] < step["ts"] + step["dur"]
        ]
        assert [event["name"] for event in buckets] == ["bucket 1 of 2", "bucket 2 of 2"]
        assert all(
            float(event["args"]["MiB"]) > 0.5 and "projector" in buckets[0]["args"]["parameters"] for event in buckets
        )
    assert len(spans(events, rank, "waiting for data")) == 6
    assert any(event["ph"] == "b" and event["cat"] == "loader" and event["pid"] == rank for event in events)
    # Rank 0 writes.
    assert [event["name"] for event in spans(events, rank, "checkpoint")] == (
        ["checkpoint of step 4"] if rank == 0 else []
    )


def test_spans_of_a_track_lie_within_each_other_or_apart(traced):
    events, _ = traced
    for track in {(event["pid"], event["tid"]) for event in events if event["ph"] == "X"}:
        open_until = []
        last = 0
        for event in (event for event in events if event["ph"] == "X" and (event["pid"], event["tid"]) == track):
            assert event["ts"] >= last >= 0 and event["dur"] >= 0
            last = event["ts"]
            while open_until and open_until[-1] <= event["ts"] + 0.001:
                open_until.pop()
            assert not open_until or event["ts"] + event["dur"] <= open_until[-1] + 0.001, event
            open_until.append(event["ts"] + event["dur"])
    begun = [(event["pid"], event["id"]) for event in events if event["ph"] == "b"]
    ended = [(event["pid"], event["id"]) for event in events if event["ph"] == "e"]
    assert sorted(begun) == sorted(ended) and len(set(begun)) == len(begun)


def test_buckets_of_ranks_end_together(traced):
    """Their clocks are laid over each other: an all-reduce ends on both ranks at almost the same time, and after it began on each."""
    events, _ = traced
    first, second = (spans(events, rank, "communication") for rank in (0, 1))
    assert len(first) == len(second) == 6
    for one, other in zip(first, second, strict=True):
        assert max(one["ts"], other["ts"]) < min(one["ts"] + one["dur"], other["ts"] + other["dur"])


def test_figures_of_communication_are_written_each_step(traced):
    _, folder = traced
    metrics = pandas.read_json(folder / "align/student" / "metrics.jsonl", lines=True)
    assert ((metrics["perf/overlap"] >= 0) & (metrics["perf/overlap"] <= 1)).all()
    for bucket in (1, 2):
        assert (metrics[f"perf/bus_bandwidth/bucket_{bucket}"] > 0).all()


def test_no_trace_unless_asked_for(cached, config):
    path, folder = copied(cached, config, "plain")
    assert mpirun(1, "align", path).returncode == 0
    assert not (folder / "align/student" / "trace.json").exists()
