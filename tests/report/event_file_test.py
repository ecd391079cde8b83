"""What a MetricLog wrote, read by TensorBoard and by pandas."""

import io
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
from PIL import Image
from tensorboard import data_compat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, histogram_pb2, summary_pb2
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New
from tensorboard.context import RequestContext
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util, tensor_util

PROGRAM = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "metric_log_writer"
EVERYTHING = {"scalars": 0}  # otherwise TensorBoard keeps a sample


def run(folder, lines, first_step=0, env=None, retry=False):
    """`lines`: of (step, [(tag, value), ...]), or of fields for metric_log_writer."""
    text = "".join("\t".join(map(str, fields(line))) + "\n" for line in lines)
    command = [PROGRAM, folder, str(first_step), *(["retry"] if retry else [])]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})}
    )


def fields(line):
    if isinstance(line[0], str):
        return [value if isinstance(value, (str, pathlib.Path)) else repr(value) for value in line]
    return [line[0], *(f"{tag}\t{value!r}" for tag, value in line[1])]


def write(folder, lines, first_step=0):
    result = run(folder, lines, first_step)
    assert result.returncode == 0, result.stderr


def event_files(folder):
    return sorted((folder / "events").iterdir())


def scalars(path):
    """{tag: [(step, value), ...]} as TensorBoard shows it, of a file or of a folder of files."""
    accumulator = EventAccumulator(str(path), size_guidance=EVERYTHING).Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


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
    return [
        (
            step,
            [
                (tag, generator.gauss(0, 1) * 10.0 ** generator.randint(-30, 30))
                for tag in ("train/loss", "perf/data_wait", "train/gradient é")
            ],
        )
        for step in steps
    ]


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

    expected = [
        event_pb2.Event(file_version="brain.Event:2"),
        event_pb2.Event(step=5, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START)),
    ]
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
    path.write_bytes(whole[:value] + struct.pack("<f", 0.26) + whole[value + 4 :])
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
    write(
        tmp_path,
        [
            (1, [("train/loss", 0.1), ("a", math.inf)]),
            (2, [("train/loss", math.nan)]),
            (3, [("train/loss", 1e-3), ("evaluation/rank correlation", 0.75)]),
        ],
    )
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
    # The fifth line; or, behind the version and the start, the events of step 3.
    assert done == ([1, 2, 3, 4] if place == "metric_log.write" else [1, 2])
    assert not is_damaged(event_files(tmp_path)[0])
    if action == "full":
        assert "No space left on device" in result.stderr and str(tmp_path) in result.stderr

    first_step = done[-1] + 1
    write(tmp_path, writes[done[-1] :], first_step)
    assert [(line["step"], list(line.items())[2:]) for line in lines_of(tmp_path)] == writes
    assert scalars(tmp_path / "events") == by_tag(writes, single)


@pytest.mark.parametrize("place", ["metric_log.write:4", "event_file.write:5"])
def test_a_write_that_is_tried_again_is_in_both_files_once(tmp_path, place):
    writes = [(step, [("a", step / 3), ("b", step / 5)]) for step in range(1, 50)]
    result = run(tmp_path, writes, env={"CSKD_FAIL_AT": f"{place}:full"}, retry=True)
    assert result.returncode == 0, result.stderr
    assert [int(step) for step in result.stdout.split()] == [step for step, _ in writes]
    assert result.stderr.count("trying again every 5 s") == result.stderr.count("nothing is lost") == 1
    assert [(line["step"], list(line.items())[2:]) for line in lines_of(tmp_path)] == writes
    events = [event_pb2.Event.FromString(payload) for payload in records(*event_files(tmp_path))]
    found = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert found == [(step, tag, single(value)) for step, values in writes for tag, value in values]


def test_a_run_goes_on_behind_files_of_a_clock_that_was_ahead(tmp_path):
    writes = random_writes(6, range(1, 21))
    write(tmp_path, writes[:12])
    (first,) = event_files(tmp_path)
    first.rename(
        first.with_name("events.out.tfevents.4102444800" + first.name[len("events.out.tfevents.4102444800") :])
    )
    write(tmp_path, writes[7:], first_step=8)
    assert len(event_files(tmp_path)) == 2
    assert scalars(tmp_path / "events") == by_tag(writes, single)
    assert [(line["step"], list(line.items())[2:]) for line in lines_of(tmp_path)] == writes


def random_values(seed, count):
    generator = random.Random(seed)
    return [single(generator.gauss(0.5, 3)) for _ in range(count)]


def png(path, width, height):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def proto_of(values):
    """What TensorBoard's own class holds for the values, with the buckets of NumPy."""
    finite = np.array([value for value in values if math.isfinite(value)])
    counts, limits = np.histogram(finite, bins=64 if finite.min() < finite.max() else 1)
    limits[-1] = finite.max()
    return histogram_pb2.HistogramProto(
        min=finite.min(),
        max=finite.max(),
        num=len(finite),
        sum=math.fsum(finite),
        sum_squares=math.fsum(finite**2),
        bucket_limit=limits[1:],
        bucket=counts,
    )


def test_histograms_and_images_are_those_that_tensorboards_own_classes_would_hold(tmp_path):
    cases = [random_values(7, 5000), [0.25, math.nan, 0.5, -math.inf], [3.0, 3.0]]
    png(tmp_path / "a.png", 40, 30)
    write(
        tmp_path,
        [
            *(("histogram", 7, f"weights é {i}", *values) for i, values in enumerate(cases)),
            ("image", 8, "views", 40, 30, tmp_path / "a.png"),
        ],
    )
    (path,) = event_files(tmp_path)
    events = [event_pb2.Event.FromString(payload) for payload in records(path)][2:]
    assert [event.step for event in events] == [7, 7, 7, 8]
    for i, (values, event) in enumerate(zip(cases, events)):
        (value,) = event.summary.value
        expected = proto_of(values)
        assert value.tag == f"weights é {i}" and value.WhichOneof("value") == "histo"
        assert list(value.histo.bucket) == list(expected.bucket)
        np.testing.assert_allclose(value.histo.bucket_limit, expected.bucket_limit, rtol=1e-12, atol=1e-12)
        for name in ("min", "max", "num", "sum", "sum_squares"):
            assert getattr(value.histo, name) == pytest.approx(getattr(expected, name), rel=1e-12)
    image = summary_pb2.Summary.Image(
        height=30, width=40, colorspace=3, encoded_image_string=(tmp_path / "a.png").read_bytes()
    )
    assert events[3].summary.value[0] == summary_pb2.Summary.Value(tag="views", image=image)


def test_tensorboard_reads_histograms_and_images(tmp_path):
    values = {step: random_values(step, 1000) for step in range(3)}
    pixels = {step: png(tmp_path / f"{step}.png", 40 + step, 30) for step in range(3)}
    write(
        tmp_path,
        [
            line
            for step in range(3)
            for line in (
                (step, [("train/loss", 0.5 * step)]),
                ("histogram", step, "weights", *values[step]),
                ("image", step, "views", 40 + step, 30, tmp_path / f"{step}.png"),
            )
        ],
    )
    accumulator = EventAccumulator(
        str(tmp_path / "events"), size_guidance={"scalars": 0, "histograms": 0, "images": 0}
    ).Reload()
    assert [(event.step, event.value) for event in accumulator.Scalars("train/loss")] == [(0, 0), (1, 0.5), (2, 1)]
    for event in accumulator.Histograms("weights"):
        expected = proto_of(values[event.step])
        assert (event.histogram_value.num, event.histogram_value.bucket) == (1000, list(expected.bucket))
    for event in accumulator.Images("views"):
        assert (event.width, event.height) == (40 + event.step, 30)
        np.testing.assert_array_equal(
            np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), pixels[event.step]
        )
    assert [len(accumulator.Histograms("weights")), len(accumulator.Images("views"))] == [3, 3]
    # In the form in which the dashboards take them.
    for event in (event_pb2.Event.FromString(payload) for payload in records(*event_files(tmp_path))):
        for value in event.summary.value:
            migrated = data_compat.migrate_value(value)
            if value.tag == "weights":
                buckets = tensor_util.make_ndarray(migrated.tensor)
                assert migrated.metadata.plugin_data.plugin_name == "histograms"
                assert buckets.shape == (64, 3) and buckets[:, 2].sum() == 1000
                np.testing.assert_array_equal(buckets[1:, 0], buckets[:-1, 1])
                assert (buckets[0, 0], buckets[-1, 1]) == (min(values[event.step]), max(values[event.step]))


def test_tensorboard_shows_a_histogram_of_nothing_as_empty(tmp_path):
    write(tmp_path, [("histogram", 1, "weights", math.nan), ("histogram", 2, "weights")])
    for event in [event_pb2.Event.FromString(payload) for payload in records(*event_files(tmp_path))][2:]:
        migrated = data_compat.migrate_value(event.summary.value[0])
        assert tensor_util.make_ndarray(migrated.tensor).shape == (0, 3)
    accumulator = EventAccumulator(str(tmp_path / "events"), size_guidance={"histograms": 0}).Reload()
    first, second = accumulator.Histograms("weights")
    assert first.histogram_value.num == second.histogram_value.num == 0


def test_tensorboards_fast_loader_reads_everything(tmp_path):
    values = random_values(9, 1000)
    pixels = png(tmp_path / "a.png", 41, 30)
    write(
        tmp_path / "run",
        [
            (1, [("train/loss", 0.5)]),
            ("histogram", 1, "weights", *values),
            ("image", 1, "views", 41, 30, tmp_path / "a.png"),
            ("histogram", 2, "weights"),
        ],
    )
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=str(tmp_path / "run"),
        reload_interval=1,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
    )
    ingester.start()
    provider, context = ingester.data_provider, RequestContext()
    arguments = {"experiment_id": "", "run_tag_filter": None}

    def series(read, plugin):
        """The points of the only tag of the only run, once the loader has read the file."""
        for _ in range(200):
            found = read(context, plugin_name=plugin, downsample=100, **arguments)
            if found and len(provider.list_runs(context, experiment_id="")) == 1:
                ((_, tags),) = found.items()
                ((_, points),) = tags.items()
                return points
            time.sleep(0.1)
        raise AssertionError(f"the loader shows no {plugin}")

    images = series(provider.read_blob_sequences, "images")
    assert [(point.step, point.value) for point in series(provider.read_scalars, "scalars")] == [(1, 0.5)]
    first, second = series(provider.read_tensors, "histograms")
    expected = proto_of(values)
    assert first.step == 1 and list(first.numpy[:, 2]) == list(expected.bucket)
    assert (first.numpy[0, 0], first.numpy[-1, 1]) == (np.float32(min(values)), np.float32(max(values)))
    assert second.numpy.shape == (0, 3)
    width, height, picture = (provider.read_blob(context, blob_key=blob.blob_key) for blob in images[0].values)
    assert (width, height) == (b"41", b"30")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture))), pixels)
