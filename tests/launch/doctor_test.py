"""`cskd doctor` alone and under mpirun, and launches that are not what they seem."""

import json
import os
import re

from cskd_program import errors, mpirun, run


def test_alone_it_shows_one_rank(tmp_path):
    result = run("doctor", "--run-folder", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 rank on 1 node, started without a launcher" in result.stdout
    assert "verdict: " in result.stdout
    assert os.listdir(tmp_path) == []


def test_mpirun_shows_its_ranks(tmp_path):
    result = mpirun(2, "doctor", "--run-folder", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 ranks on 1 node, started by mpirun" in result.stdout
    assert result.stdout.count("verdict: ") == 1
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
    result = run("doctor", env={"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})
    assert result.returncode == 2
    assert errors(result)[0].startswith("cskd: error: SLURM_NTASKS is 4, but MPI reports a world of 1.")
    assert "srun --mpi=pmix" in result.stderr


def test_mpirun_of_another_mpi_is_refused():
    result = run("doctor", env={"OMPI_COMM_WORLD_SIZE": "2"})
    assert result.returncode == 2
    assert "mpirun started 2 processes, but MPI reports a world of 1" in result.stderr


def test_mpirun_inside_an_allocation_is_accepted(tmp_path):
    result = mpirun(1, "doctor", "--run-folder", tmp_path, env={"SLURM_NTASKS": "4"})
    assert result.returncode == 0, result.stderr
