"""launch/setup.sh, launch/quickstart.sh and the arguments of tests/run.sh, in scratch checkouts."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from scratch_checkout import CMAKE_LISTS, MAIN, PHASES, STEP_SECONDS, WHEELS, phases, write_wheel
from scratch_checkout import bare, first_setup, ready, wheels  # noqa: F401  (fixtures)

# ---- from nothing to done, and again ----------------------------------------------------------------------------------------


def test_first_setup_does_every_phase(first_setup):
    checkout, result = first_setup
    assert result.returncode == 0, result.stdout + result.stderr + checkout.log()
    assert list(phases(result)) == PHASES
    assert result.stderr == ""
    assert checkout.site("torch/part_0.txt").is_file() and checkout.site("only_for_tests/part_0.txt").is_file()
    assert (checkout.root / "build/release/test_program").is_file()
    assert result.stdout.splitlines()[-1].startswith("build/release/cskd is ready (")


def test_second_setup_does_nothing(first_setup):
    checkout, _ = first_setup
    for words in (["--tests"], [], ["--preset", "release"]):
        result = checkout.run(*words)
        assert result.returncode == 0
        assert [phases(result)[phase] for phase in PHASES[1:]] == ["ok unchanged"] * 4, result.stdout
        assert "pip install" not in checkout.log() and "cmake --preset" not in checkout.log()


def test_tests_come_on_top_of_a_plain_setup(ready):
    shutil.rmtree(ready.root / "build")
    shutil.rmtree(ready.site("only_for_tests"))
    shutil.rmtree(ready.site("only_for_tests-1.0.dist-info"))
    (ready.root / ".venv/.setup-tests").unlink()
    assert ready.run().returncode == 0
    assert not ready.site("only_for_tests").exists() and not (ready.root / "build/release/test_program").exists()
    assert ready.run("--tests").returncode == 0
    assert ready.site("only_for_tests").exists() and (ready.root / "build/release/test_program").exists()
    assert phases(ready.run())["Configure"] == "ok unchanged"


def test_changed_requirements_are_installed(ready, wheels):
    write_wheel(wheels, "another", "1.0")
    with (ready.root / "launch/requirements.txt").open("a") as requirements:
        requirements.write("another==1.0\n")
    result = ready.run()
    assert result.returncode == 0 and phases(result)["Python environment"] != "ok unchanged"
    assert ready.site("another/part_0.txt").is_file()


def test_moved_checkout_is_configured_afresh(ready):
    result = ready.run()
    assert result.returncode == 0, result.stderr
    assert phases(result)["Configure"] != "ok unchanged"
    assert f"CMAKE_HOME_DIRECTORY:INTERNAL={ready.root}\n" in (ready.root / "build/release/CMakeCache.txt").read_text()


# ---- wrong usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["launch/setup.sh", "launch/quickstart.sh", "tests/run.sh"])
def test_help_and_unknown_arguments(bare, script):
    result = bare.run("--help", script=script)
    assert result.returncode == 0 and result.stdout.startswith(f"usage: {script}") and result.stderr == ""
    result = bare.run("--fastt", script=script)
    assert result.returncode == 2 and "unknown argument '--fastt'" in result.stderr
    assert not (bare.root / "build").exists()


def test_unknown_preset(bare):
    result = bare.run("--preset", "fast")
    assert result.returncode == 2
    assert "unknown preset 'fast'; there are release, debug, asan and tsan" in result.stderr
    assert bare.run("--preset").returncode == 2
    assert not (bare.root / "build").exists()


# ---- Debian packages --------------------------------------------------------------------------------------------------------


def test_missing_packages_without_root_prints_the_line_to_run(bare):
    bare.state_is(missing="ccache\ncmake", uid="1000")
    result = bare.run()
    assert result.returncode == 1 and phases(result)["Debian packages"].startswith("failed")
    assert "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends ccache cmake'" in result.stderr
    assert "2 Debian packages are missing, and you are neither root nor allowed to use sudo" in result.stderr
    assert not (bare.root / ".venv").exists() and not (bare.state / "calls").exists()


def test_no_root_is_needed_when_nothing_is_missing(ready):
    ready.state_is(uid="1000")
    assert ready.run().returncode == 0


def test_only_missing_packages_are_installed_after_an_interrupted_dpkg(ready):
    ready.state_is(
        missing="ccache\nlibgtest-dev\nslurmd", audit="The following packages are only half configured: ccache"
    )
    result = ready.run("--tests")
    assert result.returncode == 0, result.stderr
    calls = [call for call in ready.calls() if "--audit" not in call]
    assert [call.split(" -o ")[0] for call in calls] == ["dpkg --configure -a", "apt-get", "apt-get"]
    assert calls[1].endswith(" update") and calls[2].endswith(
        " install -y --no-install-recommends ccache libgtest-dev slurmd"
    )


def test_apt_that_reaches_no_mirror(bare):
    bare.state_is(
        missing="cmake",
        apt="echo 'Err: Temporary failure resolving mirror'; seq 100000; "
        "echo 'Err: Temporary failure resolving mirror'; exit 100",
    )
    result = bare.run()
    assert result.returncode == 1
    assert "setup.sh: no network: apt cannot reach its package mirror" in result.stderr
    assert "Temporary failure resolving mirror" in result.stderr


def test_apt_that_does_not_know_a_package(bare):
    bare.state_is(missing="cmake", apt="echo 'E: Unable to locate package cmake'; exit 100")
    assert "apt does not know some of the packages" in bare.run().stderr


def path_without_apt(folder: Path) -> str:
    """A PATH with everything but Debian's own tools."""
    folder.mkdir()
    for place in ("/usr/bin", "/usr/sbin"):
        for tool in Path(place).iterdir():
            if tool.name not in ("apt-get", "dpkg-query") and not (folder / tool.name).is_symlink():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


def test_another_system_is_told_what_to_provide(ready, tmp_path):
    for name in ("apt-get", "dpkg-query"):
        (tmp_path / "bin" / name).unlink()
    ready.environment["PATH"] = f"{tmp_path / 'bin'}:{path_without_apt(tmp_path / 'tools')}"
    result = ready.run()
    assert result.returncode == 1 and "has no apt-get" in result.stderr and "--no-packages" in result.stderr
    assert "libhdf5-dev: image shards and feature cache" in result.stderr
    assert ready.run("--no-packages").returncode == 0
    remembered = ready.run()
    assert remembered.returncode == 0 and "Debian packages" not in phases(remembered)


# ---- the machine ------------------------------------------------------------------------------------------------------------


def test_too_little_disk(bare):
    bare.state_is(free_kilobytes="3000000")
    result = bare.run()
    assert result.returncode == 1 and phases(result) == {"Check": phases(result)["Check"]}
    assert (
        "too little disk" in result.stderr
        and "needs about 8000 MB" in result.stderr
        and "2929 MB are free" in result.stderr
    )
    assert str(bare.root) in result.stderr and not (bare.root / ".venv").exists()


def test_full_disk_does_not_matter_when_nothing_is_to_be_done(first_setup):
    checkout, _ = first_setup
    checkout.state_is(free_kilobytes="1000")
    try:
        assert checkout.run("--tests").returncode == 0
    finally:
        (checkout.state / "free_kilobytes").unlink()


def test_other_architecture(bare):
    bare.state_is(machine="aarch64")
    result = bare.run()
    assert result.returncode == 1 and "this machine is aarch64" in result.stderr


# ---- interrupted and at once ------------------------------------------------------------------------------------------------


def test_second_setup_at_once_is_refused(ready):
    with (ready.root / "build/setup.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = ready.run()
        assert result.returncode == 1 and result.stdout == ""
        assert "another set-up is at work in this checkout (process 4711, or what it started)" in result.stderr
    assert ready.run().returncode == 0


def wait_for(condition) -> None:
    limit = time.monotonic() + STEP_SECONDS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_terminated_setup_ends_what_it_started_and_can_go_on(ready):
    ready.state_is(missing="cmake", apt='echo $$ >"$STATE/apt_process"; exec sleep 600')
    process = ready.start()
    wait_for(lambda: (ready.state / "apt_process").is_file() and (ready.state / "apt_process").read_text().strip())
    apt = int((ready.state / "apt_process").read_text())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=STEP_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM and "the same command goes on from here" in err
    with pytest.raises(ProcessLookupError):
        os.kill(apt, 0)
    (ready.state / "apt").unlink()
    assert ready.run().returncode == 0


def test_killed_while_pip_unpacks(ready):
    for name in ("torch", "nvidia_cuda_crt"):
        shutil.rmtree(ready.site(name))
        shutil.rmtree(ready.site(f"{name}-{WHEELS[name]}.dist-info"))
    (ready.root / ".venv/.setup-launch").unlink()
    process = ready.start()
    wait_for(
        lambda: ready.site("nvidia_cuda_crt").exists() or ready.site("torch").exists() or process.poll() is not None
    )
    groups = {
        int(line.split()[0])
        for line in subprocess.check_output(["ps", "-eo", "pgid,args"], text=True).splitlines()
        if f"{ready.root}/.venv/bin/python -m pip" in line
    }
    process.kill()
    for group in groups:
        os.killpg(group, signal.SIGKILL)
    process.communicate(timeout=STEP_SECONDS)
    wait_for(lambda: is_free(ready.root / "build/setup.lock"))
    assert ready.run().returncode == 0
    for name in ("torch", "nvidia_cuda_crt", "nvidia_cuda_cccl"):
        assert len(list(ready.site(name).glob("part_*.txt"))) == 20


def test_half_installed_packages_are_installed_again(ready):
    (ready.root / ".venv/.setup-launch").unlink()
    ready.site("torch/part_7.txt").unlink()
    ready.site("nvidia_cuda_crt/part_3.txt").write_text("half a fi")
    ready.site("nvidia_cuda_cccl-13.0.85.dist-info/RECORD").unlink()
    ready.site("nvidia_cuda_cccl/part_1.txt").unlink()
    ready.site("~orch").mkdir()
    result = ready.run()
    assert result.returncode == 0, result.stderr
    assert ready.site("torch/part_7.txt").is_file() and ready.site("nvidia_cuda_cccl/part_1.txt").is_file()
    assert ready.site("nvidia_cuda_crt/part_3.txt").read_text().startswith("part 3 of nvidia_cuda_crt")
    assert not ready.site("~orch").exists()


@pytest.mark.parametrize("lost", ["pip", "pip/_internal/cli/main.py"])
def test_half_made_environment_is_made_again(ready, lost):
    (ready.root / ".venv/.setup-launch").unlink()
    if lost == "pip":
        for path in ready.site("").glob("pip*"):
            shutil.rmtree(path)
    else:
        ready.site(lost).unlink()
    result = ready.run()
    assert result.returncode == 0, result.stderr + ready.log()
    assert ready.site("torch/part_0.txt").is_file() and ready.site("pip/_internal/cli/main.py").is_file()


def test_lost_interpreter_is_noticed_in_spite_of_stamps(ready):
    (ready.root / ".venv/bin/python3").unlink()
    result = ready.run()
    assert result.returncode == 0, result.stderr + ready.log()
    assert ready.site("torch/part_0.txt").is_file()
    assert subprocess.run([ready.root / ".venv/bin/python", "-c", "import pip"], check=False).returncode == 0


# ---- pip, CMake, compiler ---------------------------------------------------------------------------------------------------


def test_pip_that_reaches_no_index(ready):
    (ready.root / ".venv/.setup-launch").unlink()
    shutil.rmtree(ready.site("torch-2.11.0.dist-info"))
    del ready.environment["PIP_NO_INDEX"], ready.environment["PIP_FIND_LINKS"]
    result = ready.run(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1")
    assert result.returncode == 1 and phases(result)["Python environment"].startswith("failed")
    assert "setup.sh: no network: pip cannot reach the Python package index" in result.stderr
    assert "Traceback" not in result.stderr and not (ready.root / ".venv/.setup-launch").exists()


def test_index_without_the_version(ready, tmp_path):
    (ready.root / ".venv/.setup-launch").unlink()
    shutil.rmtree(ready.site("torch-2.11.0.dist-info"))
    result = ready.run(PIP_FIND_LINKS=str(tmp_path / "state"))
    assert (
        result.returncode == 1
        and "lacks a version that cskd needs" in result.stderr
        and "torch==2.11.0" in result.stderr
    )


def test_other_python(bare):
    (bare.root.parent / "bin/other").write_text("#!/bin/sh\necho 3.12\n")
    (bare.root.parent / "bin/other").chmod(0o755)
    result = bare.run(CSKD_PYTHON="other")
    assert result.returncode == 1 and "no Python 3.11 found at CSKD_PYTHON=other" in result.stderr


def test_build_error_is_shown_and_repaired(ready):
    (ready.root / "main.cpp").write_text("int main() { return nothing; }\n")
    result = ready.run()
    assert result.returncode == 1 and phases(result)["Build"].startswith("failed")
    assert "main.cpp:1:21: error: ‘nothing’ was not declared" in result.stderr and "could not be built" in result.stderr
    (ready.root / "main.cpp").write_text(MAIN)
    assert ready.run().returncode == 0


def test_configuration_error_is_shown(ready):
    (ready.root / "CMakeLists.txt").write_text(CMAKE_LISTS + 'message(FATAL_ERROR "no such thing as a LibTorch")\n')
    result = ready.run()
    assert result.returncode == 1 and phases(result)["Configure"].startswith("failed")
    assert "no such thing as a LibTorch" in result.stderr


def test_program_that_does_not_start(ready):
    (ready.root / "main.cpp").write_text("int main() { return 127; }\n")
    for _ in range(2):
        result = ready.run()
        assert result.returncode == 1 and "build/release/cskd was built but does not start" in result.stderr


# ---- quickstart -------------------------------------------------------------------------------------------------------------


def test_quickstart_runs_demo_and_doctor(ready):
    result = ready.run(script="launch/quickstart.sh")
    assert result.returncode == 0, result.stderr
    assert "<demo><runs/demo/corpus>" in result.stdout and "<doctor><configs/demo.toml>" in result.stdout
    assert " -n 2 build/release/cskd doctor configs/demo.toml" in result.stdout


def test_quickstart_hands_on_the_exit_code(ready):
    script = (ready.root / "launch/quickstart.sh").read_text()
    (ready.root / "launch/quickstart.sh").write_text(script.replace('"$cskd" demo ', '"$cskd" fail '))
    result = ready.run(script="launch/quickstart.sh")
    assert result.returncode == 3
    assert "quickstart.sh: exit code 3 from: build/release/cskd fail runs/demo/corpus" in result.stderr
    assert "<doctor>" not in result.stdout
