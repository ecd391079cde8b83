"""`cskd doctor` alone and under mpirun, and launches that are not what they seem."""

import json
import os
import pathlib
import re
import resource
import subprocess
import time

import pytest
from cskd_program import CSKD, environment, errors, mpirun, run


def test_alone_it_shows_one_rank(tmp_path):
    result = run("doctor", "--run-folder", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 rank on 1 host, started without a launcher" in result.stdout
    assert "verdict: " in result.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ranks", [2, 4])
def test_mpirun_shows_its_ranks(tmp_path, ranks):
    result = mpirun(ranks, "doctor", "--run-folder", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{ranks} ranks on 1 host, started by mpirun" in result.stdout
    assert result.stdout.count("verdict: go") == 1
    assert re.search(r"fine +program, processors, ", result.stdout), result.stdout
    assert not re.search(r"fine .*GFLOP/s", result.stdout)  # figures only of what is not fine
    assert os.listdir(tmp_path) == []


def test_json_is_valid_and_agrees_with_the_machine(tmp_path):
    result = mpirun(2, "doctor", "--json", "--run-folder", tmp_path)
    report = json.loads(result.stdout)
    assert report["world_size"] == 2 and report["nodes"] == 1 and report["launcher"] == "mpirun"
    assert [rank["rank"] for rank in report["ranks"]] == [0, 1]
    for rank in report["ranks"]:
        assert rank["host"] == os.uname().nodename
        assert set(rank["cores"]) <= set(os.sched_getaffinity(0))
        assert rank["cores_online"] == os.sysconf("SC_NPROCESSORS_ONLN")
        assert rank["mpi_thread_level"] == "MPI_THREAD_MULTIPLE"
        assert "vader" in rank["mpi_transports"]
        assert rank["folder"]["path"] == str(tmp_path)
        with open("/proc/meminfo") as meminfo:
            assert rank["memory_total"] <= int(meminfo.readline().split()[1]) * 1024
    assert report["mpi"]["bus_gb_per_second"] > 0
    verdicts = {check["verdict"] for check in report["checks"]}
    assert verdicts <= {"fine", "slow", "wrong"}
    assert report["verdict"] == max(verdicts, key=["fine", "slow", "wrong"].index)


def test_all_shows_the_figures_of_what_is_fine(tmp_path):
    result = run("doctor", "--all", "--run-folder", tmp_path)
    assert re.search(r"fine +sums +all-reduces of whole and real numbers", result.stdout), result.stdout
    assert "GFLOP/s" in result.stdout


def test_json_has_the_facts_of_each_rank(tmp_path):
    report = json.loads(mpirun(2, "doctor", "--json", "--run-folder", tmp_path).stdout)
    assert report["go"] is True
    first, second = report["ranks"]
    assert first["build"] == second["build"] and len(first["build"]) == 40
    assert first["features"] == second["features"]
    assert first["limits"]["open_files"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert first["folder"]["file_system"] and first["folder"]["free_bytes"] > 0
    assert first["shared"] == {
        "sees_rank_zero": True,
        "sees_replacement": True,
        "seen_by_rank_zero": True,
        "flock": "works",
        "seen_after_seconds": first["shared"]["seen_after_seconds"],
        "replaced_after_seconds": first["shared"]["replaced_after_seconds"],
    }
    assert first["disk"]["write_mb_per_second"] > 0 and second["disk"]["write_mb_per_second"] == 0
    assert first["all_reduce_problem"] == ""
    assert set(first["network"]["interfaces"]) <= set(os.listdir("/sys/class/net"))
    assert 0 < report["seconds"] < 60


def test_a_sum_that_is_wrong_is_a_no_go(tmp_path):
    result = mpirun(2, "doctor", "--run-folder", tmp_path, env={"CSKD_FAULT": "all-reduce:3@1:corrupt"})
    assert result.returncode == 1, result.stderr
    assert re.search(
        rf"wrong +sums +rank 1 on {os.uname().nodename}: mpi sum of float32: number 0 of 5 is .*, must be 0",
        result.stdout,
    ), result.stdout
    assert "leave that host out" in result.stdout
    assert "verdict: no-go (sums)" in result.stdout


def both(*words):
    """A job whose second rank gets these words before the program: mpirun -n 1 cskd ... : -n 1 words cskd ..."""
    first, second = words
    command = [
        "mpirun",
        "--oversubscribe",
        "--bind-to",
        "none",
        "-n",
        "1",
        *map(str, first),
        ":",
        "-n",
        "1",
        *map(str, second),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL, env=environment({}), check=False
    )


CONFIG = '[run]\nfolder = "run"\nseed = {seed}\nmin_free = 0\n'


def test_ranks_with_other_configurations_are_a_no_go(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    for seed in (1, 2):
        (tmp_path / f"{seed}.toml").write_text(
            CONFIG.format(seed=seed) + f'[[sources]]\nname = "a"\nkind = "folder"\npath = "photos"\n'
        )
    result = both(*([CSKD, "doctor", tmp_path / f"{seed}.toml", "--stage", "shard"] for seed in (1, 2)))
    assert result.returncode == 1, result.stderr
    assert re.search(r"wrong +configuration +\S+ read another one: run.seed is 2 there, 1 elsewhere", result.stdout), (
        result.stdout
    )
    assert "verdict: no-go (configuration)" in result.stdout


def test_a_rank_that_cannot_read_the_configuration_is_a_no_go(tmp_path):
    (tmp_path / "1.toml").write_text(CONFIG.format(seed=1))
    result = both([CSKD, "doctor", tmp_path / "1.toml"], [CSKD, "doctor", tmp_path / "missing.toml"])
    assert result.returncode == 1, result.stderr
    assert re.search(r"wrong +configuration +\S+: .*missing.toml", result.stdout), result.stdout


def test_a_configuration_that_nobody_can_read_is_a_usage_error(tmp_path):
    result = mpirun(2, "doctor", tmp_path / "missing.toml")
    assert result.returncode == 2
    assert "missing.toml" in result.stderr


def test_ranks_of_other_builds_are_a_no_go(tmp_path):
    other = tmp_path / "cskd"
    content = pathlib.Path(CSKD).read_bytes()
    build = bytes.fromhex(json.loads(run("doctor", "--json", "--run-folder", tmp_path).stdout)["ranks"][0]["build"])
    assert content.count(build) == 1
    other.write_bytes(content.replace(build, bytes(20)))
    other.chmod(0o755)
    result = both([CSKD, "doctor"], [other, "doctor"])
    assert result.returncode == 1, result.stderr
    assert re.search(r"wrong +program +\S+ runs cskd \S+ \(build 000000000000\), the others cskd", result.stdout), (
        result.stdout
    )
    assert "start the same build on every host" in result.stdout


def test_strict_makes_slow_a_no_go(tmp_path):
    for arguments, code in [([], 0), (["--strict"], 1)]:
        result = run("doctor", "--run-folder", tmp_path, *arguments, env={"OMP_NUM_THREADS": "512"})
        assert result.returncode == code, result.stdout
        assert "512, but a rank may use" in result.stdout and "verdict: go, more slowly" in result.stdout


def test_a_file_system_without_locks_is_told_with_what_follows(tmp_path):
    shim = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "network_shim" / "libnetwork_shim.so"
    result = run("doctor", "--run-folder", tmp_path, env={"LD_PRELOAD": str(shim), "SHIM_NO_FLOCK": "1"})
    assert result.returncode == 0, result.stdout
    assert re.search(r"slow +file system +no locks \(flock\) on .*: ENOSYS", result.stdout), result.stdout
    assert "waits up to a minute" in result.stdout


def test_a_host_that_hangs_ends_the_job_by_name(tmp_path):
    photos = tmp_path / "photos"
    (tmp_path / "c.toml").write_text(
        CONFIG.format(seed=1) + f'[[sources]]\nname = "beach"\nkind = "folder"\npath = "{photos}"\n'
    )
    shim = pathlib.Path(os.environ["CSKD_BUILD_DIR"]) / "network_shim" / "libnetwork_shim.so"
    start = time.monotonic()
    result = mpirun(
        2, "doctor", tmp_path / "c.toml", "--step-limit", 5, env={"LD_PRELOAD": str(shim), "SHIM_HANG": str(photos)}
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert (
        f"rank 0 of 2]: error: no-go: {os.uname().nodename} hangs: it is not done after 5 s with looking at source beach at {photos}"
        in result.stderr
    )
    assert time.monotonic() - start < 60


def test_a_run_folder_that_is_a_file_is_wrong(tmp_path):
    (tmp_path / "file").write_text("x")
    result = run("doctor", "--run-folder", tmp_path / "file")
    assert result.returncode == 1
    assert re.search(rf"wrong  run folder +{tmp_path}/file on {os.uname().nodename} is not a folder", result.stdout)
    assert "choose another run.folder" in result.stdout


def test_ranks_bound_to_one_core_are_slow(tmp_path):
    if os.sysconf("SC_NPROCESSORS_ONLN") < 2:
        return
    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        result = run("doctor", "--run-folder", tmp_path)
    finally:
        os.sched_setaffinity(0, before)
    assert "slow   cores" in result.stdout and "may use 1 of its" in result.stdout


def test_silent_singletons_under_srun_are_refused():
    result = run("doctor", env={"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0", "PMI_RANK": "0"})
    assert result.returncode == 2
    assert errors(result)[0].startswith("cskd: error: SLURM_NTASKS is 4, but MPI reports a world of 1.")
    assert "srun --mpi=pmix" in result.stderr


def test_a_batch_script_may_start_what_needs_no_ranks(tmp_path):
    script = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    result = run("doctor", "--run-folder", tmp_path, env=script)
    assert "1 rank on 1 host" in result.stdout and "SLURM_NTASKS" not in result.stderr, result.stderr
    result = run("inspect", tmp_path, env=script)
    assert result.returncode == 3 and "manifest.cskd" in result.stderr
    result = run("bench", "all-reduce", env=script)
    assert result.returncode == 2 and "SLURM_NTASKS is 4" in result.stderr


def test_threads_spin_for_less_unless_the_cores_are_ours_alone(tmp_path):
    def spin_count(**env):
        result = run("doctor", "--json", "--run-folder", tmp_path, env=env)
        return json.loads(result.stdout)["ranks"][0]["environment"].get("GOMP_SPINCOUNT")

    cores = len(os.sched_getaffinity(0))
    assert spin_count() == "10000"
    assert spin_count(GOMP_SPINCOUNT="77") == "77"
    assert spin_count(OMP_WAIT_POLICY="active") is None
    assert spin_count(SLURM_JOB_ID="7", SLURM_CPUS_ON_NODE=str(cores)) is None
    assert spin_count(SLURM_JOB_ID="7", SLURM_CPUS_ON_NODE=str(cores - 1)) == "10000"


def test_a_folder_for_temporary_files_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file/below"
    result = run("doctor", env={"TMPDIR": str(folder)})
    assert result.returncode == 2
    assert errors(result) == [
        f"cskd: error: TMPDIR is {folder}, where no file can be made (Not a directory); set TMPDIR to a folder that can be "
        "written"
    ]


def test_a_folder_for_temporary_files_is_made(tmp_path):
    result = run("doctor", "--run-folder", tmp_path, env={"TMPDIR": str(tmp_path / "not/yet")})
    assert result.returncode == 0, result.stderr


def test_mpirun_of_another_mpi_is_refused():
    result = run("doctor", env={"OMPI_COMM_WORLD_SIZE": "2"})
    assert result.returncode == 2
    assert "mpirun started 2 processes, but MPI reports a world of 1" in result.stderr


def test_mpirun_inside_an_allocation_is_accepted(tmp_path):
    result = mpirun(1, "doctor", "--run-folder", tmp_path, env={"SLURM_NTASKS": "4"})
    assert result.returncode == 0, result.stderr
