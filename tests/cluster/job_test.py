"""What a job does when its ranks end, with stand-ins for Slurm and for cskd: going on, queueing again, giving up."""

import re
import shlex
import signal
import subprocess
import time

import pytest
import slurm_standins
from slurm_standins import SOURCE

# Takes a line of `plan` at each start: exit code, checkpoint that it leaves, seconds that it runs; `asked`: until SIGUSR1;
# `silent`: it does not tell its code; `LAUNCHER`: the code of the launcher, which is another one.
CSKD = r"""#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "cskd 9.9"; exit; fi
echo "$*" >>"$STANDIN/starts"
read -r code step seconds launcher <"$STANDIN/plan" || { echo "the plan is over"; exit 99; }
sed -i 1d "$STANDIN/plan"
if [[ $seconds == asked ]]; then
  trap 'seconds=0' USR1
  while [[ $seconds == asked ]]; do sleep 0.05; done
fi
silent=
if [[ $seconds == silent ]]; then seconds=0 silent=1; fi
sleep "${seconds:-0}"
if [[ -n $step && $step != 0 ]]; then
  mkdir -p "$RUN/align/student/checkpoints/step-$step"
  : >"$RUN/align/student/checkpoints/step-$step/commit.json"
fi
if ((code > 1000)); then # a rank's code, hidden by a higher one of a rank that was killed
  echo "srun: error: n2: task 1: Exited with exit code $((code - 1000))"
  kill -KILL $$
fi
if ((code > 128)); then
  echo "srun: error: $(cat "$STANDIN/killed"): task 1: Killed"
fi
if [[ ! $silent ]] && ((code < 128)); then echo "$code" >"$CSKD_EXIT_CODE_FILE"; fi
exit "${launcher:-$code}"
"""


class Job:
    def __init__(self, folder):
        self.folder = folder
        self.slurm = slurm_standins.Slurm(folder / "slurm")
        self.run = folder / "run"
        (self.run / "slurm").mkdir(parents=True)
        self.cskd = folder / "cskd"
        self.cskd.write_text(CSKD)
        self.cskd.chmod(0o755)
        self.log = self.run / "slurm/align-7.log"
        self.slurm.answer(hosts="n1,n2,n3\n", killed="n2")

    def start(self, plan, **changes):
        self.slurm.answer(plan="\n".join(plan) + "\n")
        values = {
            "cskd_home": SOURCE,
            "job_file": "align.sbatch",
            "job_name": "align",
            "log": self.log,
            "command": "align",
            "config": "big.toml",
            "run": self.run,
            "launcher": "srun",
            "mpi": "pmix",
            "nodes": 2,
            "spare": 1,
            "min_nodes": 1,
            "ranks_per_node": 1,
            "cpus_per_rank": 1,
            "gpus": 0,
            "gpu_request": "--gpus-per-node={}",
            "micro_batches": 4,
            "power_of_two": "false",
            "with_doctor": "false",
            "max_stops": 5,
            "max_failures": 2,
        } | changes
        script = "set -euo pipefail\n" + "".join(f"{name}={shlex.quote(str(text))}\n" for name, text in values.items())
        script += f"cskd=({self.cskd})\nset_arguments=()\nstage_arguments=()\nsrun_options=()\n"
        # Waits are not what is tried here.
        script += 'sleep() { if [[ $1 =~ ^[0-9]+$ ]]; then command sleep 0.01; else command sleep "$1"; fi; }\nsource "$cskd_home/cluster/slurm/job.sh"\n'
        environment = self.slurm.environment(
            SLURM_JOB_ID="7", SLURMD_NODENAME="n1", SLURM_JOB_NODELIST="n1,n2,n3", RUN=str(self.run)
        )
        with self.log.open("a") as output:
            return subprocess.Popen(
                ["bash", "-c", script], stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
            )

    def ends(self, plan, **changes):
        process = self.start(plan, **changes)
        try:
            return process.wait(timeout=60)
        finally:
            process.kill()

    def text(self):
        return self.log.read_text()

    def starts(self):
        path = self.slurm.folder / "starts"
        return path.read_text().splitlines() if path.exists() else []

    def hosts(self):
        """Of each start of the ranks."""
        return [
            re.search(r"--nodelist=(\S+)", call)[1]
            for call in self.slurm.calls("srun")
            if "--job-name=cskd-align" in call
        ]

    def requeues(self):
        return self.slurm.calls("scontrol").count("requeue 7")

    def wait_for(self, count):
        end = time.monotonic() + 30
        while len(self.starts()) < count:
            assert time.monotonic() < end, self.text()
            time.sleep(0.02)
        time.sleep(0.3)  # its trap


@pytest.fixture(scope="session", autouse=True)
def right_to_boxes():
    """Nobody needs it here."""


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_done(job):
    assert job.ends(["0"]) == 0
    assert job.starts() == ["align big.toml --stop-before slurm"] and job.requeues() == 0
    assert "align is done; exit code 0" in job.text()


@pytest.mark.parametrize("code", [2, 3])
def test_wrong_settings_and_data_end_the_job(job, code):
    assert job.ends([str(code)]) == code and len(job.starts()) == 1 and job.requeues() == 0


def test_cause_counts_where_a_higher_code_hides_it(job):
    assert job.ends(["1003"]) == 3 and len(job.starts()) == 1


def test_launcher_that_calls_an_ended_step_a_success(job):
    # As srun does where Slurm ended the step: "Timed out waiting for job step to complete".
    assert job.ends(["0 4 silent", "0"]) == 0 and len(job.starts()) == 2
    assert "the run failed with exit code 1" in job.text()


def test_launcher_that_calls_a_stop_a_failure(job):
    # As mpirun does after SIGTERM.
    assert job.ends(["75 4 0 1"]) == 75 and job.requeues() == 1


def test_checkpointed_stop_is_queued_again_and_remembered(job):
    assert job.ends(["75 4"]) == 75 and job.requeues() == 1
    assert job.ends(["75 8"]) == 75 and job.requeues() == 2
    assert "before         1 stops, 0 failures" in job.text() and "stop 2): the job is queued again" in job.text()


def test_stops_without_progress_come_to_an_end(job):
    for _ in range(2):
        assert job.ends(["75"]) == 75
    assert job.requeues() == 2 and job.ends(["75"]) == 75 and job.requeues() == 2
    assert "stopped 3 times in turn without getting anywhere: give the job more time; exit code 75" in job.text()


def test_most_stops(job):
    for step in range(1, 7):
        assert job.ends([f"75 {step}"]) == 75
    assert job.requeues() == 4 and "as often as --max-stops allows" in job.text()


def test_slurm_that_does_not_queue_again(job):
    job.slurm.answer(no_requeue="")
    assert job.ends(["75 4"]) == 75 and "go on with: sbatch align.sbatch" in job.text()


def test_failures_without_progress_come_to_an_end_with_their_code(job):
    assert job.ends(["1", "1", "1", "0"]) == 1 and len(job.starts()) == 3 and job.requeues() == 0
    assert "3 failures in turn without getting anywhere" in job.text()


def test_run_that_gets_on_may_fail_as_often_as_it_likes(job):
    plan = [f"1 {step}" for step in range(1, 9)]
    assert job.ends([*plan, "1", "1", "1 9", "1", "0"]) == 0 and len(job.starts()) == 13


def test_lost_host_is_replaced_by_the_spare_one(job):
    job.slurm.answer(dead="")
    process = job.start(["1 4 1", "0"])
    job.wait_for(1)
    job.slurm.answer(dead="n2\n")
    assert process.wait(timeout=60) == 0
    assert job.hosts() == ["n1,n2", "n1,n3"]


def test_ranks_divide_the_micro_batches_of_what_is_left(job):
    job.slurm.answer(hosts="n1,n2,n3,n4\n", down="n2\n")
    assert job.ends(["0"], nodes=4, spare=0, micro_batches=4) == 0
    assert job.hosts() == ["n1,n3"] and "ranks: 2, 1 on each of: n1 n3" in job.text()


def test_too_few_hosts_are_queued_again(job):
    job.slurm.answer(down="n2\nn3\n")
    assert job.ends(["0"], min_nodes=2) == 75 and job.requeues() == 1 and not job.starts()
    assert "1 of 1 answering hosts can be used (n1), at least 2 are wanted" in job.text()


def test_host_on_which_ranks_are_killed_again_and_again_is_left_out(job):
    assert job.ends(["137 1", "137 2", "0"]) == 0
    assert (
        job.hosts() == ["n1,n2", "n1,n2", "n1,n3"]
        and "left out, since ranks were killed there again and again: n2" in job.text()
    )


def test_killed_ranks_everywhere_blame_nobody(job):
    job.slurm.answer(killed="n1,n2")
    assert job.ends(["137 1", "137 2", "137 3", "0"]) == 0 and set(job.hosts()) == {"n1,n2"}


def test_launcher_that_waits_for_a_lost_host_is_not_waited_for(job):
    # The stand-in's rank 0 ends, but srun does not, for a host that is gone.
    path = job.slurm.folder / "bin/srun"
    path.write_text(
        path.read_text().replace(
            'SLURM_PROCID=0 exec "$@"',
            'if [[ $* == *rank.sh* && ! -e $STANDIN/once ]]; then touch "$STANDIN/once"; '
            'SLURM_PROCID=0 "$@"; sleep 600; fi\nSLURM_PROCID=0 exec "$@"',
        )
    )
    job.slurm.answer(dead="n2\n", hosts="n1,n2,n3\n")
    # n2 is lost after it was chosen.
    (job.slurm.folder / "dead").unlink()
    process = job.start(["1 4 1", "0"])
    job.wait_for(1)
    job.slurm.answer(dead="n2\n")
    assert process.wait(timeout=60) == 0
    assert "rank 0 has ended, but srun waits for n2, which does not answer" in job.text() and job.hosts() == [
        "n1,n2",
        "n1,n3",
    ]


def test_signal_to_the_script_reaches_the_ranks(job):
    process = job.start(["75 4 asked"])
    job.wait_for(1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=30) == 75 and job.requeues() == 1
    assert "SIGUSR1: the run is asked for a checkpoint" in job.text()


def test_end_by_slurm_is_not_queued_again(job):
    process = job.start(["75 4 1"])
    job.wait_for(1)
    job.slurm.answer(state="COMPLETING\n")
    process.send_signal(signal.SIGTERM)
    assert (
        process.wait(timeout=30) == 75 and job.requeues() == 0 and "stopped at a checkpoint; exit code 75" in job.text()
    )


def test_no_go_ends_the_job(job):
    assert (
        job.ends(["1"], with_doctor="true") == 1
        and job.starts() == ["doctor big.toml --stage align"]
        and job.requeues() == 0
    )
    assert "no-go: cskd doctor found something wrong" in job.text()
    assert job.ends(["0", "0"], with_doctor="true") == 0 and job.starts()[1:] == [
        "doctor big.toml --stage align",
        "align big.toml --stop-before slurm",
    ]


def test_guard_queues_a_job_again_whose_first_host_is_gone(job):
    guard = [SOURCE / "cluster/slurm/guard.sh", "7", "n1", job.log]
    environment = job.slurm.environment(CSKD_GUARD_INTERVAL="0.05")
    queue = job.slurm.folder / "queue"
    queue.write_text("RUNNING n1,n2,n3\n")
    process = subprocess.Popen(guard, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    assert process.poll() is None and job.requeues() == 0
    queue.write_text("RUNNING n2,n3\n")
    assert process.wait(timeout=30) == 0 and job.requeues() == 1 and "Slurm has lost n1" in job.text()


def test_guard_leaves_a_job_alone_that_waits(job):
    (job.slurm.folder / "queue").write_text("PENDING \n")
    guard = [SOURCE / "cluster/slurm/guard.sh", "7", "n1", job.log]
    process = subprocess.Popen(
        guard,
        env=job.slurm.environment(CSKD_GUARD_INTERVAL="0.05"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.5)
    process.kill()
    process.wait(timeout=10)
    assert job.requeues() == 0


def test_guard_that_ended_is_started_again(job):
    path = job.slurm.folder / "bin/srun"
    path.write_text(path.read_text().replace("exec sleep 600", "exit 1"))
    job.ends(["0 4 12"])
    assert len([call for call in job.slurm.calls("srun") if "guard.sh" in call]) == 2
