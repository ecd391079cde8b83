"""Runs on what looks like a network file system, with files that are seen late, stay when they are removed, and cannot be locked; and from
copies on a local disk. The result has the same bits."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from cskd_program import CSKD, environment, mpirun, run
from stage_runs import EVERY_STEP, checkpoints, copied, result, whole_result

pytestmark = pytest.mark.rotating(2)

SHIM = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "network_shim" / "libnetwork_shim.so"


def shimmed(ranks, folder, log, *arguments, **shim):
    """Every rank is a host of its own, as far as files are concerned."""
    variables = {
        "LD_PRELOAD": str(SHIM),
        "SHIM_FOLDER": str(folder),
        "SHIM_LOG": str(log),
        **{f"SHIM_{name.upper()}": str(value) for name, value in shim.items()},
    }
    command = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        str(ranks),
        "env",
        *[f"{k}={v}" for k, v in variables.items()],
        CSKD,
    ]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        env=environment({}),
        check=False,
    )


def letters(log):
    return set(log.read_text()) if log.exists() else set()


def test_a_whole_run_where_files_are_seen_late(config, whole, tmp_path):
    path, folder = config("late")
    log = tmp_path / "shim.log"
    process = shimmed(2, folder, log, "run", path, *EVERY_STEP, delay_ms=1000, no_flock=1)
    assert process.returncode == 0, process.stderr
    assert whole_result(folder) == whole
    assert letters(log) == {"d", "f"}
    assert not list(folder.rglob("run.lock*"))


def test_a_whole_run_where_nothing_can_be_removed(config, whole, tmp_path):
    path, folder = config("kept")
    log = tmp_path / "shim.log"
    process = shimmed(
        2, folder, log, "run", path, *EVERY_STEP, *["--set", "align.student.training.keep_checkpoints=1"], keep="/"
    )
    assert process.returncode == 0, process.stderr
    assert whole_result(folder) == whole
    assert letters(log) == {"k"}
    assert re.search(r"warning the old checkpoint .*step-\d+ cannot be removed, and takes room", process.stderr), (
        process.stderr
    )
    # It goes on from there, in a folder that is full of what should be gone.
    process = run("run", path, *EVERY_STEP)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("removable", [False, True])
def test_checkpoints_that_could_not_be_removed_go_later(cached, config, trained, tmp_path, removable):
    path, folder = copied(cached, config, "later")
    log = tmp_path / "shim.log"
    process = shimmed(1, folder, log, "align", path, *EVERY_STEP, keep="step-000000003/state.pb")
    assert process.returncode == 0, process.stderr
    assert (folder / "align/student/checkpoints/step-000000003/state.pb").exists() == ("k" in letters(log))
    assert 3 not in checkpoints(folder)
    assert result(folder) == result(trained)
    (folder / "align/student/complete.json").unlink()
    shim = {} if removable else {"keep": "step-000000003/state.pb"}
    process = shimmed(1, folder, log, "align", path, *EVERY_STEP, **shim)
    assert process.returncode == 0, process.stderr
    assert (folder / "align/student/checkpoints/step-000000003").exists() != removable
    assert result(folder) == result(trained)


def test_two_jobs_without_flock(cached, config, tmp_path):
    path, folder = copied(cached, config, "twice")
    long = ["--set", "align.student.training.steps=100000"]
    command = ["env", f"LD_PRELOAD={SHIM}", f"SHIM_FOLDER={folder}", "SHIM_NO_FLOCK=1", CSKD, "align", str(path), *long]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment({})
    ) as first:
        try:
            while not (folder / "align/student" / "metrics.jsonl").exists() and first.poll() is None:
                pass
            second = shimmed(1, folder, tmp_path / "log", "align", path, no_flock=1)
            assert second.returncode == 2
            assert f"another job works in {folder}" in second.stderr and f"process {first.pid}" in second.stderr
        finally:
            first.kill()
    # Killed: the process is known to be gone, without any lock. On a slow machine it left a checkpoint of its own steps.
    shutil.rmtree(folder / "align/student")
    third = shimmed(1, folder, tmp_path / "log", "align", path, *EVERY_STEP, no_flock=1)
    assert third.returncode == 0, third.stderr
    assert "ended without a word: taken over" in third.stderr
    assert "waiting" not in third.stderr


def staged(local, gib=1.0):
    return ["--set", f"data.stage_to={local}", "--set", f"data.stage_size={gib}"]


def counts(process):
    """(hits, reads) of all stages, as rank 0 logged them."""
    found = re.findall(r"(\d+) of (\d+) reads were from copies", process.stderr)
    return sum(int(hits) for hits, _ in found), sum(int(reads) for _, reads in found)


def test_a_whole_run_from_copies(config, whole, tmp_path):
    local = tmp_path / "local"
    for name in ("first", "second"):
        path, folder = config(name)
        process = mpirun(2, "run", path, *EVERY_STEP, *staged(local))
        assert process.returncode == 0, process.stderr
        assert whole_result(folder) == whole
        hits, reads = counts(process)
        assert 0 < hits <= reads
    # The shards of the second run are those of the first.
    assert hits > 0.5 * reads, process.stderr
    assert not list(local.glob("*.tmp")) and list(local.glob("*.copy"))


@pytest.mark.rotating(2)
@pytest.mark.parametrize("trouble", ["damaged", "tight", "unwritable", "full"])
def test_trainings_from_troubled_copies(cached, config, trained, tmp_path, trouble):
    path, folder = copied(cached, config, "run")
    local = tmp_path / "local"
    process = mpirun(2, "align", path, *EVERY_STEP, *staged(local))
    assert process.returncode == 0, process.stderr
    shutil.rmtree(folder / "align/student")
    gib = 1.0
    fails_at = None
    copies = sorted(local.glob("*.copy"))
    assert copies
    if trouble == "damaged":
        # As a disk does it: the times stay.
        for copy in copies:
            before = copy.stat()
            content = bytearray(copy.read_bytes())
            for at in range(0, len(content), 5000):
                content[at] ^= 0xFF
            copy.write_bytes(content)
            os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif trouble == "tight":
        gib = max(copy.stat().st_size for copy in copies) * 2.5 / 2**30
        shutil.rmtree(local)
    elif trouble == "unwritable":
        shutil.rmtree(local)
        local.write_text("a file")
    else:
        shutil.rmtree(local)
        fails_at = "staging.write:2:full"
    process = mpirun(2, "align", path, *EVERY_STEP, *staged(local, gib), env={"CSKD_FAIL_AT": fails_at})
    assert process.returncode == 0, process.stderr
    assert result(folder) == result(trained)
    if trouble in ("unwritable", "full"):
        assert "no more files are copied" in process.stderr
    if trouble == "tight":
        assert sum(copy.stat().st_size for copy in local.glob("*.copy")) <= gib * 2**30
    if trouble == "damaged":
        assert any(copy.read_bytes()[0] != 0x89 ^ 0xFF for copy in local.glob("*.copy"))


def test_staging_may_be_switched_on_and_off_while_a_training_is_resumed(cached, config, trained, tmp_path):
    path, folder = copied(cached, config, "run")
    process = mpirun(
        2, "align", path, *EVERY_STEP, *staged(tmp_path / "local"), env={"CSKD_FAIL_AT": "trainer.step:4:kill"}
    )
    assert process.returncode == 137, process.stderr
    process = mpirun(2, "align", path, *EVERY_STEP)
    assert process.returncode == 0, process.stderr
    assert result(folder) == result(trained)
