"""A training in a Slurm in a box, and what its run folder and processes tell: for cluster.py."""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.update(
    CSKD_BINARY=os.path.realpath(os.environ.get("CSKD_BINARY", ROOT / "build/release/cskd")),
    OMPI_ALLOW_RUN_AS_ROOT="1",
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    OMPI_MCA_mpi_yield_when_idle="1",
)
sys.path.insert(0, str(ROOT / "tests/support"))

import cskd_program  # noqa: E402
import slurm_box  # noqa: E402
import small_run  # noqa: E402  the tests' configuration
from slurm_box import succeeded  # noqa: E402

CSKD = os.environ["CSKD_BINARY"]
SUBMIT = ROOT / "launch/submit.sh"
CHECKPOINT_INTERVAL = 2  # seconds
ENDLESS = {
    "align.student.training.steps": 1000000,
    "align.student.training.checkpoint_every": 1000000,
    "align.student.training.checkpoint_interval": CHECKPOINT_INTERVAL,
    "align.student.training.log_every": 1,
    "compute.threads": 1,
}


def until(condition, seconds, complaint):
    """The first true value of `condition`."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > limit:
            raise AssertionError(complaint())
        time.sleep(0.02)
    return value


def sleep_until(when):
    time.sleep(max(0.0, when - time.time()))


class Work:
    """A folder that all hosts see: packed pictures with their features, which every training starts with."""

    def __init__(self, folder, logs=None):
        """`logs`: a folder for the logs of jobs, which are gone with their runs otherwise."""
        self.folder, self.logs, self.runs = folder, logs, 0
        self.site = folder / "site.conf"
        self.site.write_text(f"program = {CSKD}\n")

    def pack(self):
        succeeded(cskd_program.run("demo", self.folder / "corpus", "--images", 200))
        small_run.random_tower(self.folder / "tower.safetensors", seed=1)
        path = self.configuration("packed")
        for stage in ("shard", "cache"):
            succeeded(cskd_program.mpirun(2, stage, path))

    def configuration(self, name):
        path = self.folder / f"{name}.toml"
        path.write_text(
            small_run.configuration(self.folder / "corpus", self.folder / "tower.safetensors", path.with_suffix(""))
        )
        return path

    def new_run(self):
        """The configuration of a run that is ready to train."""
        self.runs += 1
        path = self.configuration(f"run-{self.runs}")
        for part in ("shards", "cache"):
            shutil.copytree(self.folder / "packed" / part, path.with_suffix("") / part)
        return path

    def keep_logs(self, run):
        for path in (run / "slurm").glob("*.log"):
            self.logs.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.logs / f"{run.name}-{path.name}")


class Training:
    """What a run folder tells of its training."""

    def __init__(self, config):
        self.config, self.folder = config, config.with_suffix("")

    def status(self):
        try:
            return json.loads((self.folder / "status.json").read_text())
        except FileNotFoundError:
            return {}

    def steps(self):
        """Lines of metrics.jsonl, but for one that is being written."""
        try:
            text = (self.folder / "align/student/metrics.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def log(self):
        return "".join(path.read_text(errors="replace") for path in sorted((self.folder / "slurm").glob("*.log")))

    def first_step(self, after, seconds=180):
        """When the first step was done (Unix time) of those who started `after`. A line's own time counts: status.json may be a second late."""

        def complaint():
            return f"no step within {seconds} s; the end of the job's log:\n{self.log()[-4000:]}"

        started = until(
            lambda: (status := self.status()).get("started", 0) > after and status["step"] and status["started"],
            seconds,
            complaint,
        )
        return until(
            lambda: next((step["time"] for step in self.steps() if step["time"] > started), None), seconds, complaint
        )

    def next_checkpoint(self):
        saved = self.status().get("checkpoint", {}).get("step", 0)
        until(
            lambda: self.status().get("checkpoint", {}).get("step", 0) > saved,
            60,
            lambda: f"no checkpoint within 60 s:\n{self.log()[-4000:]}",
        )


@contextlib.contextmanager
def box_of(*options):
    box = slurm_box.Box("--cpus", 2, *options)
    try:
        yield box
    except BaseException:
        with contextlib.suppress(AssertionError):  # a signal to all of us has ended it
            box.close()
        raise
    box.close()


def set_words(settings):
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


@contextlib.contextmanager
def job_of(work, options, *words, **settings):
    """A box, an endless training that was submitted in it, and when that was; gone at the end."""
    config = work.new_run()
    with box_of(*options) as box:
        start = time.time()
        box.out(
            SUBMIT,
            config,
            "--site",
            work.site,
            "--nodes",
            2,
            "--stages",
            "align",
            "--time",
            60,
            *set_words(ENDLESS | settings),
            *words,
        )
        try:
            yield box, Training(config), start
        finally:
            if work.logs:
                work.keep_logs(config.with_suffix(""))
    shutil.rmtree(config.with_suffix(""))


def ranks_of(box, command="align"):
    """(process, host) of each rank, by rank. Other boxes have such processes too."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (
                os.readlink(folder / "exe") != CSKD
                or (folder / "cmdline").read_bytes().split(b"\0")[1] != command.encode()
            ):
                continue
            variables = dict(pair.split("=", 1) for pair in (folder / "environ").read_text().split("\0") if "=" in pair)
        except OSError:
            continue
        if variables.get("CSKD_BOX") == str(box.folder):
            found[int(variables["PMIX_RANK"])] = int(folder.name), variables["SLURMD_NODENAME"]
    return found
