"""What a MetricLog wrote, read by TensorBoard and by pandas."""

import json
import math
import os
import pathlib
import random
import struct
import subprocess
import time

import numpy as np
import pandas
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

PROGRAM = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "metric_log_writer"
EVERYTHING = {"scalars": 0}  # otherwise TensorBoard keeps a sample


def run(folder, writes, first_step=0, env=None):
    lines = ["\t".join([str(step), *(f"{tag}\t{value!r}" for tag, value in values)]) + "\n" for step, values in writes]
    return subprocess.run([PROGRAM, folder, str(first_step)], input="".join(lines), capture_output=True, text=True,
                          timeout=60, env={**os.environ, **(env or {})})


def write(folder, writes, first_step=0):
    result = run(folder, writes, first_step)
    assert result.returncode == 0, result.stderr


def event_files(folder):
    return sorted((folder / "events").iterdir())


def scalars(path):
    """{tag: [(step, value), ...]} as TensorBoard shows it, of a file or of a folder of files."""
    accumulator = EventAccumulator(str(path), size_guidance=EVERYTHING).Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}


def records(path):
    """The payloads of a file, all checksums compared; raises DataLossError at the first that differs."""
    reader = PyRecordReader_New(str(path))
    found = []
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return found
        found.append(reader.record())


def is_damaged(path):
    try:
        records(path)
    except errors.DataLossError:
        return True
    return False


def random_writes(seed, steps):
    generator = random.Random(seed)
    return [(step, [(tag, generator.gauss(0, 1) * 10.0 ** generator.randint(-30, 30))
                    for tag in ("train/loss", "perf/data_wait", "train/gradient é")]) for step in steps]


def by_tag(writes, convert=float):
    found = {}
    for step, values in writes:
        for tag, value in values:
            found.setdefault(tag, []).append((step, convert(value)))
    return found


def single(value):
    return float(np.float32(value))


def test_tensorboard_reads_every_value(tmp_path):
    writes = random_writes(1, range(0, 2000, 10))
    write(tmp_path, writes)
    assert scalars(tmp_path / "events") == by_tag(writes, single)


def test_events_are_those_that_tensorboards_own_classes_would_hold(tmp_path):
    values = [("train/loss", 0.25), ("é" * 100, -0.0), ("none", math.nan), ("too large", 1e300), ("tiny", 1e-42)]
    before = time.time()
    write(tmp_path, [(2**62, values), (-1, [("before", 1.5)])], first_step=5)
    (path,) = event_files(tmp_path)
    events = [event_pb2.Event.FromString(payload) for payload in records(path)]
    times = [event.wall_time for event in events]
    assert times == sorted(times) and before <= times[0] and times[-1] <= time.time()

    expected = [event_pb2.Event(file_version="brain.Event:2"),
                event_pb2.Event(step=5, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))]
    for step, (tag, value) in [*((2**62, pair) for pair in values), (-1, ("before", 1.5))]:
        event = event_pb2.Event(step=step)
        scalar = event.summary.value.add(tag=tag, simple_value=math.inf if value > 3.5e38 else value)
        scalar.metadata.plugin_data.plugin_name = "scalars"
        expected.append(event)
    for event, wall_time in zip(expected, times):
        event.wall_time = wall_time
    # The bytes, since a NaN is not equal to itself.
    assert [event.SerializeToString() for event in events] == [event.SerializeToString() for event in expected]


def test_tensorboard_finds_the_scalars_plugin(tmp_path):
    write(tmp_path, [(1, [("a", 1.0), ("b", 2.0)]), (2, [("a", 3.0)])])
    accumulator = EventAccumulator(str(tmp_path / "events")).Reload()
    assert accumulator.PluginTagToContent("scalars").keys() == {"a", "b"}
    assert accumulator.file_version == 2


def test_every_flipped_byte_of_an_event_file_is_noticed(tmp_path):
    write(tmp_path, [(step, [("train/loss", step / 7)]) for step in range(1, 4)])
    (path,) = event_files(tmp_path)
    whole = path.read_bytes()
    assert not is_damaged(path)
    damaged = tmp_path / "events.out.tfevents.damaged"
    generator = random.Random(2)
    for position in range(len(whole)):
        bytes_ = bytearray(whole)
        bytes_[position] ^= generator.randint(1, 255)
        damaged.write_bytes(bytes_)
        assert is_damaged(damaged), position


def test_tensorboard_shows_no_record_from_a_flipped_byte_on(tmp_path):
    write(tmp_path, [(step, [("train/loss", step / 8)]) for step in range(1, 4)])
    (path,) = event_files(tmp_path)
    whole = path.read_bytes()
    assert scalars(path) == {"train/loss": [(1, 0.125), (2, 0.25), (3, 0.375)]}
    value = whole.index(struct.pack("<f", 0.25))
    path.write_bytes(whole[:value] + struct.pack("<f", 0.26) + whole[value + 4:])
    assert scalars(path) == {"train/loss": [(1, 0.125)]}


def test_a_cut_event_file_and_the_next_ones_are_read_as_one(tmp_path):
    writes = random_writes(3, range(1, 21))
    write(tmp_path, writes[:12])
    (first,) = event_files(tmp_path)
    first.write_bytes(first.read_bytes()[:-5])  # killed while it wrote the last value of step 12
    write(tmp_path, writes[7:15], first_step=8)
    write(tmp_path, writes[13:], first_step=14)
    assert len(event_files(tmp_path)) == 3
    assert scalars(tmp_path / "events") == by_tag(writes, single)


def test_steps_that_a_resumed_run_does_not_log_again_are_forgotten(tmp_path):
    write(tmp_path, [(step, [("a", float(step))]) for step in (2, 4, 6, 8)])
    write(tmp_path, [(step, [("a", -float(step))]) for step in (10, 15)], first_step=5)
    expected = [(2, 2.0), (4, 4.0), (10, -10.0), (15, -15.0)]
    assert scalars(tmp_path / "events") == {"a": expected}
    assert [(line["step"], line["a"]) for line in lines_of(tmp_path)] == expected


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_hold_what_was_written(tmp_path):
    writes = random_writes(4, range(200))
    before = time.time()
    write(tmp_path, writes)
    lines = lines_of(tmp_path)
    assert [(line["step"], list(line.items())[2:]) for line in lines] == writes
    times = [line["time"] for line in lines]
    assert times == sorted(times) and before - 0.001 <= times[0] and times[-1] <= time.time()
    assert {tuple(line)[:2] for line in lines} == {("step", "time")}


def test_pandas_reads_lines_with_different_tags_and_without_numbers(tmp_path):
    write(tmp_path, [(1, [("train/loss", 0.1), ("a", math.inf)]), (2, [("train/loss", math.nan)]),
                     (3, [("train/loss", 1e-3), ("evaluation/rank correlation", 0.75)])])
    table = pandas.read_json(tmp_path / "metrics.jsonl", lines=True, precise_float=True)
    assert list(table.columns) == ["step", "time", "train/loss", "a", "evaluation/rank correlation"]
    assert list(table["step"]) == [1, 2, 3] and table["step"].dtype == np.int64
    np.testing.assert_array_equal(table["train/loss"], [0.1, np.nan, 1e-3])
    np.testing.assert_array_equal(table["evaluation/rank correlation"], [np.nan, np.nan, 0.75])
    assert table["a"].isna().all()


def test_numbers_are_as_short_as_pythons(tmp_path):
    writes = random_writes(5, range(200))
    write(tmp_path, writes)
    text = (tmp_path / "metrics.jsonl").read_text()
    for line, (_, values) in zip(text.splitlines(), writes, strict=True):
        written = dict(part.rsplit(": ", 1) for part in line.strip("{}").split(", ")[2:])
        for tag, value in values:
            assert len(written[json.dumps(tag, ensure_ascii=False)]) <= len(repr(value)), line


@pytest.mark.parametrize("place", ["metric_log.write", "event_file.write"])
@pytest.mark.parametrize("action", ["full", "kill"])
def test_a_run_that_ends_at_any_write_is_taken_up_again(tmp_path, place, action):
    writes = [(step, [("a", step / 3), ("b", step / 5)]) for step in range(1, 7)]
    result = run(tmp_path, writes, env={"CSKD_FAIL_AT": f"{place}:5:{action}"})
    assert result.returncode == (1 if action == "full" else -9)
    done = [int(step) for step in result.stdout.split()]
    # The fifth line; or, behind the version, the start and the events of step 1, the first event of step 2.
    assert done == ([1, 2, 3, 4] if place == "metric_log.write" else [1])
    assert not is_damaged(event_files(tmp_path)[0])
    if action == "full":
        assert "No space left on device" in result.stderr and str(tmp_path) in result.stderr

    first_step = done[-1] + 1
    write(tmp_path, writes[done[-1]:], first_step)
    assert [(line["step"], list(line.items())[2:]) for line in lines_of(tmp_path)] == writes
    assert scalars(tmp_path / "events") == by_tag(writes, single)
