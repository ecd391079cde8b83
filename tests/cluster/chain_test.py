"""Runs handed over to a Slurm of three hosts by launch/submit.sh, and what befalls them there."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import cluster_run
import cskd_program
import pytest
import slurm_box
import small_run
import stage_runs
from slurm_box import SOURCE, succeeded, wait_for

pytestmark = pytest.mark.rotating(2)

STEPS = 50
long = pytest.mark.skipif("CSKD_TEST_FULL" not in os.environ, reason="takes a minute: tests/run.sh --full")
# The same bits on any number of ranks; a checkpoint now and then, since what follows ends trainings in their midst.
SETTINGS = [
    "compute.threads=1",
    "compute.lost_after=5",
    "align.student.training.checkpoint_every=5",
    *[f'{stage}.training.determinism="elastic"' for stage in stage_runs.TRAININGS],
]


class Cluster:
    """A box, a corpus that all hosts see, and an undisturbed run of it on one host with two ranks."""

    def __init__(self, folder):
        self.folder = folder
        succeeded(cskd_program.run("demo", folder / "corpus", "--images", 200))
        small_run.random_tower(folder / "tower.safetensors", seed=1)
        self.site = folder / "site.conf"
        self.site.write_text(
            f"program = {cskd_program.CSKD}\nenvironment = CSKD_GUARD_INTERVAL=2\nenvironment = OMPI_MCA_mpi_yield_when_idle=1\n"
        )
        self.box = slurm_box.Box("--hosts", 3, "--cpus", 2, "--grace", 20)
        self.undisturbed = self.config("undisturbed", 8)
        succeeded(cskd_program.mpirun(2, "run", self.undisturbed, *self.set()))
        self.long = self.config("long", STEPS, packed=True)
        succeeded(cskd_program.mpirun(2, "align", self.long, *self.set()))

    @staticmethod
    def set():
        return [word for setting in SETTINGS for word in ("--set", setting)]

    def run_of(self, config):
        return config.with_suffix("")

    def config(self, name, steps, packed=False):
        path = self.folder / f"{name}.toml"
        path.write_text(
            small_run.configuration(
                self.folder / "corpus", self.folder / "tower.safetensors", self.run_of(path), steps=steps
            )
        )
        if packed:
            for part in ("shards", "cache"):
                shutil.copytree(self.run_of(self.undisturbed) / part, self.run_of(path) / part)
        return path

    def submit(self, config, *words):
        """The numbers of the jobs."""
        self.rest()
        command = [
            SOURCE / "launch/submit.sh",
            config,
            "--site",
            self.site,
            "--no-doctor",
            "--time",
            "30",
            *self.set(),
            *words,
        ]
        return [int(number) for number in re.findall(r"^job (\d+)", self.box.out(*command), re.MULTILINE)]

    def rest(self):
        """Waits for all hosts."""
        wait_for(lambda: self.box.out("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == "3", 60)

    def log(self, config, job, name="align.student"):
        path = self.run_of(config) / "slurm" / f"{name}-{job}.log"
        return path.read_text() if path.exists() else ""

    def step(self, config):
        try:
            return json.loads((self.run_of(config) / "status.json").read_text())["step"]
        except FileNotFoundError:
            return 0

    def align(self, name, *words):
        """A long training that has begun: its configuration and job."""
        config = self.config(name, STEPS, packed=True)
        [job] = self.submit(config, "--nodes", 2, "--stages", "align", *words)
        wait_for(lambda: self.step(config) >= 10, 120, lambda: self.log(config, job))
        return config, job

    def check(self, config, job, seconds=120):
        """The training ends, with the result of the undisturbed one."""
        facts = self.box.wait_for_job(job, "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", seconds=seconds)
        assert (facts["JobState"], facts["ExitCode"]) == ("COMPLETED", "0:0"), self.log(config, job)
        assert (self.run_of(config) / "align/student/complete.json").exists(), self.log(config, job)
        assert stage_runs.result(self.run_of(config), step=STEPS) == stage_runs.result(
            self.run_of(self.long), step=STEPS
        )


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="cskd-test-", dir="/var/tmp"))
    cluster = Cluster(folder)
    yield cluster
    cluster.box.close()
    shutil.rmtree(folder)


def processes(words):
    """Of this machine, whose hosts' processes are among its own."""
    listed = subprocess.check_output(["ps", "-eo", "pid=,args="], text=True)
    return [int(line.split()[0]) for line in listed.splitlines() if words in line and "srun" not in line]


def test_chain_by_dependencies_alone_gives_what_one_host_gives(cluster):
    config = cluster.config("chain", 8)
    jobs = cluster.submit(config, "--nodes", 2, "--chain")
    assert len(jobs) == 7
    facts = cluster.box.wait_for_job(jobs[-1], "COMPLETED", "FAILED", "CANCELLED", seconds=200)
    assert facts["JobState"] == "COMPLETED", [cluster.box.job(job) for job in jobs]
    assert stage_runs.whole_result(cluster.run_of(config)) == stage_runs.whole_result(
        cluster.run_of(cluster.undisturbed)
    )


def test_failed_stage_ends_the_chain(cluster):
    config = cluster.config("missing", 8)
    jobs = cluster.submit(config, "--nodes", 1, "--stages", "align,evaluate")
    assert cluster.box.wait_for_job(jobs[0], "FAILED", seconds=60)["ExitCode"] in ("2:0", "3:0"), cluster.log(
        config, jobs[0]
    )
    assert cluster.box.wait_for_job(jobs[1], "CANCELLED", seconds=60)
    assert (
        "[" in cluster.log(config, jobs[0]).splitlines()[-1]
        and "exit code" in cluster.log(config, jobs[0]).splitlines()[-1]
    )


def test_signal_before_the_end_of_the_job(cluster):
    config, job = cluster.align("signal")
    cluster.box.out("scancel", "--batch", "--signal=USR1", job)
    cluster.check(config, job)
    text = cluster.log(config, job)
    assert (
        "stopped at a checkpoint (stop 1): the job is queued again" in text
        and f"align.student, job {job}, start 2" in text
    )
    assert cluster.box.job(job)["Restarts"] == "1"


@long
def test_killed_rank_is_replaced_at_once(cluster):
    config, job = cluster.align("killed at 5%")
    cluster_run.kill(cluster.box, 1)
    cluster.check(config, job)
    assert cluster.box.job(job)["Restarts"] == "0" and "the run failed with exit code" in cluster.log(config, job)


@pytest.mark.parametrize("fault", ["crash", pytest.param("switch-off", marks=long)])
def test_lost_host_is_replaced_by_the_spare_one(cluster, fault):
    config, job = cluster.align(f"{fault} with a spare", "--spare", 1)
    cluster.box.fault(fault, "n2")
    cluster.check(config, job)
    text = cluster.log(config, job)
    assert cluster.box.job(job)["Restarts"] == "0" and "lost: n2" in text and "on each of: n1 n3" in text
    cluster.box.fault("restore", "n2")


@long
def test_loss_of_the_first_host_queues_the_job_again(cluster):
    config, job = cluster.align("first")
    cluster.box.fault("crash", "n1")
    wait_for(lambda: "where the script of job" in cluster.log(config, job), 60, lambda: cluster.log(config, job))
    cluster.box.fault("restore", "n1")
    cluster.check(config, job, seconds=180)
    assert int(cluster.box.job(job)["Restarts"]) >= 1


def test_killed_script_and_cancelled_job_leave_a_checkpoint_to_go_on_from(cluster):
    config, job = cluster.align("ended")
    [script] = processes(f"job{job:05}/slurm_script")[:1]
    os.kill(script, signal.SIGKILL)
    assert cluster.box.wait_for_job(job, "FAILED", seconds=60)["ExitCode"] == "0:9"
    assert max(stage_runs.checkpoints(cluster.run_of(config))) >= 10
    before = cluster.step(config)
    [job] = cluster.submit(config, "--nodes", 2, "--stages", "align")
    wait_for(lambda: cluster.step(config) > before + 5, 120, lambda: cluster.log(config, job))
    cluster.box.out("scancel", job)
    cluster.box.wait_for_job(job, "CANCELLED")
    wait_for(
        lambda: "stopped at a checkpoint; exit code 75" in cluster.log(config, job),
        30,
        lambda: cluster.log(config, job),
    )
    [job] = cluster.submit(config, "--nodes", 2, "--stages", "align")
    cluster.check(config, job)


@long
def test_urgent_job_and_the_way_back(cluster):
    config, job = cluster.align("preempted")
    urgent = int(
        cluster.box.out(
            "sbatch",
            "--parsable",
            "--partition=urgent",
            "--nodes=3",
            "--cpus-per-task=2",
            "--output=/dev/null",
            "--wrap",
            "sleep 3",
        )
    )
    cluster.box.wait_for_job(urgent, "COMPLETED", seconds=90)
    cluster.check(config, job)
    assert "SIGUSR1: the run is asked for a checkpoint" in cluster.log(config, job)
