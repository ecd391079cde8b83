"""Trainings on disks that are full or cannot be written: errors that are injected, and file systems that are small or read-only in truth."""

import json
import re
import subprocess

import pytest
from cskd_program import CSKD, environment, mpirun, run
from stage_runs import EVERY_STEP, checkpoints, copied, result, settings

pytestmark = pytest.mark.rotating(2)


def test_a_full_disk_ends_the_training_with_the_last_good_state(cached, config, trained):
    path, folder = copied(cached, config, "full")
    process = mpirun(2, "align", path, *EVERY_STEP, env={"CSKD_FAIL_AT": "checkpoint.optimizer@step-*4:full"})
    assert process.returncode == 1, process.stderr
    assert "No space left on device" in process.stderr and "the ones before it are untouched" in process.stderr
    assert max(checkpoints(folder)) == 3
    assert mpirun(2, "align", path, *EVERY_STEP).returncode == 0
    assert result(folder) == result(trained)


def test_a_full_disk_keeps_the_training_if_so_configured(cached, config, trained):
    path, folder = copied(cached, config, "goes_on")
    process = mpirun(
        2,
        "align",
        path,
        *EVERY_STEP,
        *settings(when_full="go_on"),
        env={"CSKD_FAIL_AT": "checkpoint.optimizer@step-*4:full"},
    )
    assert process.returncode == 0, process.stderr
    assert "training goes on without it" in process.stderr and "No space left on device" in process.stderr
    assert result(folder) == result(trained)


def test_a_run_folder_that_is_a_file_is_refused(config):
    path, folder = config("file")
    folder.write_text("a file, not a folder")
    process = run("align", path)
    assert process.returncode == 1
    assert str(folder) in process.stderr


@pytest.fixture
def mounted(tmp_path):
    """mounted(script, *arguments): the finished process of a script that may mount file systems, which are gone with it."""
    start = ["unshare", "--mount", "--propagation", "private"]
    probe = subprocess.run(
        [*start, "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"file systems cannot be mounted here: {probe.stderr.strip()}")

    def execute(script, *arguments):
        return subprocess.run(
            [*start, "bash", "-euo", "pipefail", "-c", script, "bash", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment({}),
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return execute


BEGIN = f"""
cskd() {{ mpirun --oversubscribe --bind-to none -n 2 {CSKD} "$@"; }}
folder=$1 out=$2
shift 2
"""


# What follows a run that ended for want of room: there is more of it, and the run goes on.
GOES_ON = """
echo "$code" >"$out/code"
ls -R "$folder/checkpoints" >"$out/left"
rm -f "$folder/other"
mount -o remount,size=1g "$folder"
cskd "$@"
mkdir -p "$out/align"
cp -a "$folder" "$out/align/student"
"""


def ended_with_two_checkpoints(process, out):
    left = (out / "left").read_text()
    assert (out / "code").read_text() == "1\n"
    assert left.count("commit.json") == 2 and ".tmp" not in left, left
    assert (
        "the ones before it are untouched" in process.stderr and "align.student goes on after step 2" in process.stderr
    ), process.stderr


def test_a_disk_without_room_for_a_third_checkpoint_is_noticed_before_it_is_begun(
    cached, config, trained, mounted, tmp_path
):
    path, folder = copied(cached, config, "small")
    (folder / "align/student").mkdir(parents=True)
    process = mounted(
        BEGIN
        + """
mount -t tmpfs -o size=60m none "$folder"
cskd "$@" && exit 99 || code=$?
"""
        + GOES_ON,
        folder / "align/student",
        tmp_path,
        "align",
        path,
        *EVERY_STEP,
    )
    assert process.returncode == 0, process.stderr
    assert re.search(r"no room for a checkpoint: [\d.]+ MiB needed", process.stderr), process.stderr
    ended_with_two_checkpoints(process, tmp_path)
    assert result(tmp_path) == result(trained)


def test_a_disk_that_fills_up_while_a_checkpoint_is_written(cached, config, trained, mounted, tmp_path):
    path, folder = copied(cached, config, "filled")
    (folder / "align/student").mkdir(parents=True)
    process = mounted(
        BEGIN
        + """
mount -t tmpfs -o size=120m none "$folder"
CSKD_FAIL_AT=checkpoint.model@step-*3:halt cskd "$@" &
job=$!
until halted=$(pgrep --runstates T -f "cskd $1 $2"); do kill -0 $job && sleep 0.01; done
cat /dev/zero >"$folder/other" || true
kill -CONT $halted
wait $job && exit 99 || code=$?
"""
        + GOES_ON,
        folder / "align/student",
        tmp_path,
        "align",
        path,
        *EVERY_STEP,
    )
    assert process.returncode == 0, process.stderr
    assert re.search("cannot write .*step-000000003.*No space left on device", process.stderr), process.stderr
    ended_with_two_checkpoints(process, tmp_path)
    assert result(tmp_path) == result(trained)


def test_a_disk_that_is_full_for_a_while_costs_neither_the_training_nor_a_line_of_its_log(
    cached, config, mounted, tmp_path
):
    path, folder = copied(cached, config, "busy")
    (folder / "align/student").mkdir(parents=True)
    process = mounted(
        BEGIN
        + """
mount -t tmpfs -o size=120m none "$folder"
fallocate -l 90m "$folder/other"
cskd "$@" 2>"$out/errors" &
job=$!
until grep -q "training goes on without it" "$out/errors"; do kill -0 $job && sleep 0.01; done
cat /dev/zero >"$folder/rest" || true  # not even a line fits now
until grep -q "cannot append" "$out/errors"; do kill -0 $job && sleep 0.01; done
rm "$folder/other" "$folder/rest"
wait $job
rm -rf "$out/align"
mkdir "$out/align"
cp -a "$folder" "$out/align/student"
""",
        folder / "align/student",
        tmp_path,
        "align",
        path,
        *settings(steps=200, checkpoint_every=2, log_every=1, when_full="go_on"),
    )
    errors = (tmp_path / "errors").read_text()
    assert process.returncode == 0, process.stderr + errors
    assert "No space left on device" in errors and "nothing is lost" in errors
    lines = [json.loads(line) for line in (tmp_path / "align/student" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 201))
    assert checkpoints(tmp_path)[-1] == 200


def test_a_disk_that_is_read_only_is_refused(cached, config, mounted, tmp_path):
    path, folder = copied(cached, config, "read_only")
    process = mounted(
        BEGIN
        + """
mount --bind "$folder" "$folder"
mount -o remount,bind,ro "$folder"
cskd "$@"
""",
        folder,
        tmp_path,
        "align",
        path,
    )
    assert process.returncode == 1
    assert "Read-only file system" in process.stderr and str(folder) in process.stderr, process.stderr
    assert not (folder / "align/student").exists() and not (folder / "run.lock").exists()
