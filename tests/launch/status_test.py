"""`cskd status` of run folders that are made by hand: what it shows, its exit codes, and --watch on a terminal."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from cskd_program import CSKD, errors, run
from pseudo_terminal import Terminal

UNKNOWN_HOST = {"host": "node17", "pid": 4242, "process_namespace": "pid:[1]"}


def status(**changes):
    """Of a run on this host that is well."""
    now = time.time()
    content = {
        "version": 1,
        "state": "running",
        "stage": "align",
        "step": 1204,
        "steps": 7500,
        "unit": "steps",
        "images_per_second": 1412.25,
        "seconds_left": 3720.0,
        "loss": 0.25134,
        "validation": {"step": 1000, "figures": {"validation/emd": 0.0712, "validation/srcc": 0.681}},
        "checkpoint": {"step": 1000, "time": now - 192},
        "skipped_steps": 0,
        "damaged_pictures": 0,
        "ranks": 8,
        "message": "",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_namespace": os.readlink("/proc/self/ns/pid"),
        "started": now - 8042,
        "updated": now - 2,
        "last_step_time": now - 4,
        "step_seconds": 0.5,
        "longest_step_seconds": 2.0,
    }
    return {**content, **changes}


def write(folder, content):
    """Puts the file there as the program does."""
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    temporary = folder / "status.json.tmp"
    temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
    temporary.rename(folder / "status.json")


def shown(folder, code, *arguments):
    process = run("status", folder, *arguments)
    assert process.returncode == code, process.stdout + process.stderr
    assert process.stderr == ""
    return process.stdout


class SignsOfLife:
    """A run that keeps writing, by a clock that is `ahead` by so many seconds."""

    def __init__(self, folder, ahead, **changes):
        self.folder, self.ahead, self.changes, self.over = folder, ahead, changes, threading.Event()
        self.thread = threading.Thread(target=self.write_on)

    def write_on(self):
        while not self.over.wait(1):
            self.write()

    def write(self):
        now = time.time() + self.ahead
        write(self.folder, status(updated=now, last_step_time=now - 1, started=now - 100, **self.changes))

    def __enter__(self):
        self.write()
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture
def started():
    """Starts a process that does not outlive the test."""
    processes = []

    def start(*command, **options):
        processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_run_that_is_well(tmp_path):
    write(tmp_path, status(skipped_steps=2, damaged_pictures=1))
    lines = shown(tmp_path, 0).splitlines()
    assert lines[0] == f"{tmp_path}   align   running"
    assert lines[1] == "  1,204 of 7,500 steps   16 %"
    assert lines[2] == ""
    assert lines[3:8] == [
        "  speed       1,412 images/s, 1 h 02 min left",
        "  loss        0.2513",
        "  validation  emd 0.0712, srcc 0.681   at step 1,000",
        "  checkpoint  step 1,000, 3 min 10 s ago",
        "  left out    2 steps, 1 damaged picture",
    ]
    assert re.fullmatch(r"  health      healthy, last step [23] s ago", lines[8])
    assert lines[9] == f"  job         8 ranks, process {os.getpid()} on {socket.gethostname()}, for 2 h 14 min"
    assert len(lines) == 10


def test_complete_stages_are_listed(tmp_path):
    for number, (folder, stage) in enumerate([("shards", "shard"), ("cache/ViT", "cache"), ("align", "align")]):
        (tmp_path / folder).mkdir(parents=True)
        record = tmp_path / folder / "complete.json"
        record.write_text(
            json.dumps(
                {"stage": stage, "inputs": {}, "seconds": 10.0 + number, "images": 7, "facts": {}, "products": {}}
            )
        )
        os.utime(record, (1000 + number, 1000 + number))
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill" / "complete.json").write_text("damaged")
    write(tmp_path, status())
    assert shown(tmp_path, 0).splitlines()[-3:] == [
        "  complete    shard   10 s",
        "              cache   11 s",
        "              align   12 s",
    ]


@pytest.mark.parametrize(
    "state,message,code,text",
    [
        ("finished", "", 0, "finished"),
        ("stopped", "", 75, "stopped at a checkpoint; the same command continues"),
        ("failed", "the disk is full", 1, "the disk is full"),
        ("failed", "", 1, "failed"),
    ],
)
def test_a_run_that_is_over(tmp_path, state, message, code, text):
    now = time.time()
    write(tmp_path, status(state=state, message=message, updated=now - 7200, started=now - 9000, **UNKNOWN_HOST))
    lines = shown(tmp_path, code).splitlines()
    assert lines[0].endswith(f"   align   {state}")
    assert f"  health      {text}" in lines
    assert "  job         8 ranks, process 4242 on node17, for 30 min 00 s until 2 h 00 min ago" in lines
    assert json.loads(shown(tmp_path, code, "--json"))["health"] == {"verdict": state, "text": text}


def test_a_run_elsewhere_is_well_while_it_writes(tmp_path):
    write(tmp_path, status(**UNKNOWN_HOST))
    assert "healthy" in shown(tmp_path, 0)


def test_a_process_that_was_killed_is_missed_at_once(tmp_path, started):
    child = started("sleep", "1000")
    write(tmp_path, status(pid=child.pid))
    assert "healthy" in shown(tmp_path, 0)
    child.kill()
    child.wait()
    start = time.monotonic()
    text = shown(tmp_path, 1)
    assert f"  health      process {child.pid} is gone: it was killed or crashed\n" in text
    assert time.monotonic() - start < 5


def test_a_run_without_steps_is_stalled(tmp_path):
    now = time.time()
    write(tmp_path, status(updated=now - 1, last_step_time=now - 121))
    assert "  health      alive, but no step for 2 min 00 s, where 1 s is usual\n" in shown(tmp_path, 1)
    assert json.loads(shown(tmp_path, 1, "--json"))["health"]["verdict"] == "stalled"


def test_a_run_elsewhere_that_writes_nothing_is_silent(tmp_path):
    write(tmp_path, status(updated=time.time() - 170, **UNKNOWN_HOST))
    start = time.monotonic()
    text = shown(tmp_path, 1)
    assert re.search(r"  health      no sign of life for 2 min 5\d s: killed, or its machine is down\n", text)
    assert time.monotonic() - start > 5  # it looked again


def test_a_process_that_is_held_is_told_from_one_that_is_gone(tmp_path):
    write(tmp_path, status(updated=time.time() - 170))
    assert f"process {os.getpid()} runs, but does not write" in shown(tmp_path, 1)


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_clocks_that_differ_do_not_make_a_run_silent(tmp_path, ahead):
    with SignsOfLife(tmp_path, ahead, **UNKNOWN_HOST):
        text = shown(tmp_path, 0)
    assert re.search(r"  health      healthy, last step \d s ago\n", text)
    assert "for 1 min 40 s" in text


def test_a_status_of_the_future_is_no_sign_of_life(tmp_path):
    write(tmp_path, status(updated=time.time() + 3600, last_step_time=time.time() + 3599, **UNKNOWN_HOST))
    assert re.search(r"  health      no sign of life seen yet; its clock is 59 min 5\d s ahead", shown(tmp_path, 1))


def test_json_is_the_file_and_what_is_made_of_it(tmp_path):
    content = status(loss=None)
    write(tmp_path, {**content, "unknown": 1})
    assert json.loads(shown(tmp_path, 0, "--json")) == {**content, "health": {"verdict": "healthy", "text": "healthy"}}


def test_what_is_no_run_is_a_usage_error(tmp_path):
    for folder, message in [
        (tmp_path, f"{tmp_path} holds no status.json: has a stage of it been started?"),
        (tmp_path / "no", f"{tmp_path / 'no'} is not a run folder: it does not exist"),
    ]:
        for arguments in ([], ["--json"], ["--watch"]):
            process = run("status", folder, *arguments)
            assert (process.returncode, process.stdout) == (2, "")
            assert process.stderr == f"cskd: error: {message}\n"


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "RUN is required"),
        (["x", "--json", "--watch"], "--watch excludes --json"),
        (["x", "--interval", "3"], "--interval requires --watch"),
        (["x", "--watch", "--interval", "0"], "--interval: is 0, expected 0.1 to 3600 seconds"),
        (["x", "--watch", "--interval", "nan"], "--interval: is nan, expected 0.1 to 3600 seconds"),
        (["x", "--watch", "--interval", "1day"], "Could not convert: --interval = 1day"),
        (["x", "--watch", "--interval", "soon"], "--interval: is soon, expected 0.1 to 3600 seconds"),
    ],
)
def test_usage_errors(arguments, message):
    process = run("status", *arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith(f"cskd: error: {message}") and process.stderr.count("\n") == 1, process.stderr


HOSTILE = {
    "empty": b"",
    "cut": json.dumps(status()).encode()[:200],
    "zeros": bytes(4096),
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 200_000,
    "no UTF-8": b'{"version": 1, "state": "\xff"}',
    "two": b"{}{}",
    "long": json.dumps(status()).encode() + b" " * 10_000_000,
    "many keys": json.dumps(
        {**status(), "validation": {"step": 1, "figures": {f"{i}": "x" for i in range(20_000)}}}
    ).encode(),
    "wrong state": json.dumps(status(state="dreaming")).encode(),
    "signals everybody": json.dumps(status(pid=-1)).encode(),
    "process 0": json.dumps(status(pid=0)).encode(),
    "overflow": json.dumps(status(step=2**64 - 1)).encode(),
    "infinite": json.dumps(status(updated=float("inf"))).encode(),
    "text for a number": json.dumps(status(updated="now")).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("arguments", [[], ["--json"], ["--watch"]])
def test_damage_has_exit_code_3_and_one_line(tmp_path, name, arguments):
    write(tmp_path, HOSTILE[name])
    process = run("status", tmp_path, *arguments, timeout=20)
    assert (process.returncode, process.stdout) == (3, ""), process.stderr
    assert len(errors(process)) == len(process.stderr.splitlines()) == 1
    assert str(tmp_path / "status.json") in process.stderr and len(process.stderr) < 500


def test_a_version_of_the_future_says_so(tmp_path):
    write(tmp_path, {"version": 2, "everything": "else"})
    process = run("status", tmp_path)
    assert process.returncode == 3
    assert process.stderr == (
        f"cskd: error: {tmp_path / 'status.json'} is of version 2, written by a newer cskd; this one reads version 1\n"
    )


def test_texts_of_a_status_do_not_steer_the_terminal(tmp_path, terminal):
    evil = "a\x1b[2Jb\r\n\x07\u009b2J\x7f"
    write(
        tmp_path,
        status(
            stage=evil,
            unit=evil,
            host=evil,
            process_namespace=evil,
            message=evil,
            state="failed",
            validation={"step": 1, "figures": {evil: 1.0}},
        ),
    )
    text = shown(tmp_path, 1)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert len(text.splitlines()) == 9
    assert json.loads(shown(tmp_path, 1, "--json"))["stage"] == evil
    drawn = whole(terminal(tmp_path, env={"NO_COLOR": "1"}))[1]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", drawn.replace("\r\n", "\n"))


@pytest.fixture
def terminal(started):
    """A Terminal with `cskd status` and these arguments."""
    return lambda *arguments, **options: Terminal(started, "status", *arguments, **options)


def whole(shown_on):
    return shown_on.end(), shown_on.written, shown_on.screen()


def test_a_terminal_gets_a_bar_and_colours(tmp_path, terminal):
    write(tmp_path, status())
    code, written, screen = whole(terminal(tmp_path))
    assert code == 0
    assert screen[1] == "  █████░░░░░░░░░░░░░░░░░░░░░░░░░   1,204 of 7,500 steps   16 %"
    assert "\x1b[32mhealthy" in written
    assert "\x1b[3" not in whole(terminal(tmp_path, env={"NO_COLOR": "1"}))[1]


@pytest.mark.parametrize("columns", [1, 20, 47, 60])
def test_no_line_exceeds_the_terminal(tmp_path, terminal, columns):
    write(tmp_path, status(stage="a" * 200))
    screen = whole(terminal(tmp_path, columns=columns))[2]
    assert all(len(line) <= columns for line in screen)


def test_watch_redraws_in_place_until_the_run_ends(tmp_path, terminal):
    write(tmp_path, status(step=10, skipped_steps=1))
    watching = terminal(tmp_path, "--watch", "--interval", "0.1")
    before = watching.wait_for("  10 of 7,500 steps")
    assert any("left out" in line for line in before)
    write(tmp_path, status(step=5000))
    after = watching.wait_for("  5,000 of 7,500 steps")
    assert len(after) == len(before) - 1  # nothing of the longer block is left
    assert not any("left out" in line for line in after)
    write(tmp_path, status(step=7500, state="finished"))
    assert watching.end() == 0
    last = watching.screen()
    assert last[0].endswith("align   finished") and [line.startswith(str(tmp_path)) for line in last].count(True) == 1
    assert "7,500 of 7,500 steps   100 %" in last[1]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_with_control_c(tmp_path, terminal, signal_number):
    write(tmp_path, status())
    watching = terminal(tmp_path, "--watch", "--interval", "3600")
    watching.wait_for("healthy")
    watching.process.send_signal(signal_number)
    assert watching.end() == 0
    assert watching.written.endswith("\n\x1b[J")


def test_watch_stays_within_a_low_terminal(tmp_path, terminal):
    write(tmp_path, status(step=10))
    watching = terminal(tmp_path, "--watch", "--interval", "0.1", rows=5)
    watching.wait_for("  10 of 7,500 steps")
    write(tmp_path, status(step=20, state="finished"))
    assert watching.end() == 0
    assert len(watching.screen()) == 3  # of four, one is empty
    assert max(map(int, re.findall(r"\x1b\[(\d+)A", watching.written))) == 4


@pytest.mark.parametrize("state,code", [("finished", 0), ("stopped", 75), ("failed", 1)])
def test_watch_away_from_a_terminal_prints_a_line_for_each_change(tmp_path, started, state, code):
    write(tmp_path, status(step=10))
    process = started(
        CSKD,
        "status",
        tmp_path,
        "--watch",
        "--interval",
        "0.1",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    rest = "   1,412 images/s   loss 0.2513   emd 0.0712, srcc 0.681   "
    assert process.stdout.readline() == f"align   10 of 7,500 steps   0 %{rest}healthy\n"
    for _ in range(5):  # signs of life only
        write(tmp_path, status(step=10))
        time.sleep(0.15)
    write(tmp_path, status(step=20, state=state))
    assert process.communicate(timeout=30) == (
        f"align   20 of 7,500 steps   0 %{rest}{state}" + (": failed\n" if state == "failed" else "\n"),
        "",
    )
    assert process.returncode == code


def test_watch_sees_that_a_run_is_killed_and_started_again(tmp_path, started, terminal):
    child = started("sleep", "1000")
    write(tmp_path, status(pid=child.pid))
    watching = terminal(tmp_path, "--watch", "--interval", "0.1")
    watching.wait_for("healthy")
    child.kill()
    child.wait()
    watching.wait_for(f"process {child.pid} is gone")
    write(tmp_path, status())
    watching.wait_for("healthy")
    write(tmp_path, status(state="stopped"))
    assert watching.end() == 75
