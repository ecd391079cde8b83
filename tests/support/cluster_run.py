"""cskd on the hosts of a box: a small run, its processes, and how it ends."""

import json
import os
import signal
import time
from pathlib import Path

import small_run
import stage_runs
from slurm_box import stopped_at_end, wait_for

CSKD = os.environ["CSKD_BINARY"]
# Trainings have the same bits on any hosts.
ELASTIC = [word for stage in stage_runs.TRAININGS for word in ("--set", f"{stage}.training.determinism=elastic")] + [
    "--set",
    "compute.threads=1",
]
# A training that lasts until something happens to it.
ENDLESS = [
    "--set",
    "align.student.training.steps=100000",
    "--set",
    "align.student.training.warmup_steps=2",
    "--set",
    "compute.threads=1",
]
SRUN = ["srun", "--mpi=pmix", "-N2", "-n2"]


class Run:
    """A configuration and its run folder, on the file system that all hosts share."""

    def __init__(self, material: Path, folder: Path, name="run") -> None:
        self.path = folder / f"{name}.toml"
        self.folder = folder / name
        self.path.write_text(small_run.configuration(material / "corpus", material / "tower.safetensors", self.folder))

    def status(self) -> dict:
        try:
            return json.loads((self.folder / "status.json").read_text())
        except (OSError, ValueError):
            return {}

    def is_training(self, stage="align.student", step=2) -> bool:
        status = self.status()
        return status.get("stage") == stage and status.get("step", 0) >= step and status.get("unit") == "steps"

    def log(self, rank) -> str:
        return (self.folder / "logs" / f"rank-{rank}.log").read_text()


def process_of(box, rank: int) -> int:
    """The process of a rank of cskd on any host of the box; other tests run ranks of their own beside it."""
    wanted = {f"PMIX_RANK={rank}".encode(), f"CSKD_BOX={box.folder}".encode()}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if os.readlink(folder / "exe") != CSKD:
                continue
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted.issubset(variables):
            return int(folder.name)
    raise AssertionError(f"rank {rank} has no process in {box.folder}")


class Ended:
    """How a command ended that something was done to."""

    def __init__(self, box, words, when, what) -> None:
        """Starts `words` in the box, waits until `when()`, does `what()`, and waits for the end."""
        with stopped_at_end(box.start(*words)) as process:
            wait_for(when, 60, lambda: f"it did not begin; ended with {process.poll()}")
            what()
            started = time.monotonic()
            self.output, self.errors = process.communicate(timeout=120)
            self.seconds = time.monotonic() - started
            self.code = process.returncode

    def last_line(self) -> str:
        """The last line that cskd itself wrote."""
        lines = [line for line in self.errors.splitlines() if line.startswith("cskd")]
        assert lines, f"cskd said nothing:\n{self.errors}"
        return lines[-1]


def kill(box, rank: int, number=signal.SIGKILL) -> None:
    os.kill(process_of(box, rank), number)
