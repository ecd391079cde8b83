"""cluster/box/box.sh: commands in a box, its isolation, its end, and what it says of wrong usage."""

import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from slurm_box import SCRIPT, SOURCE, box_sh, stopped_at_end, succeeded, wait_for

CSKD = os.environ["CSKD_BINARY"]

# ---- commands ---------------------------------------------------------------------------------------------------------------


def test_command_has_its_own_exit_code_input_and_folder(box):
    for prefix in (["run", box.folder], ["on", box.folder, "n2"]):
        result = box_sh(*prefix, "sh", "-c", "cat; pwd; echo fault >&2; exit 75", input="words\n")
        assert (result.returncode, result.stdout, result.stderr) == (75, f"words\n{SOURCE}\n", "fault\n")
        assert box_sh(*prefix, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


# Prints the name of each signal that it gets, each time, until it is given a line.
SIGNALS = """
import os, select, signal
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda *_: None)
print("ready", flush=True)
while 0 not in (ready := select.select([0, read], [], [])[0]):
    for number in os.read(read, 100):
        print(signal.Signals(number).name, flush=True)
print(os.read(0, 100).decode(), end="")
"""


@pytest.mark.parametrize("host", [None, "n1"])
@pytest.mark.parametrize("to_group", [False, True])
def test_signals_reach_the_command_once(box, host, to_group):
    options = {"host": host, "stdin": subprocess.PIPE, "start_new_session": True}
    with stopped_at_end(box.start("/usr/bin/python3", "-c", SIGNALS, **options)) as process:
        lines = [process.stdout.readline()]
        for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
            (os.killpg if to_group else os.kill)(process.pid, getattr(signal, name))
            lines.append(process.stdout.readline())
        assert lines == ["ready\n", "SIGTERM\n", "SIGINT\n", "SIGUSR1\n"]
        time.sleep(0.2)  # a second one would come now
        assert process.communicate("end\n", timeout=20) == ("end\n", "") and process.returncode == 0


def test_command_has_the_terminal(box):
    leader, follower = pty.openpty()
    options = {
        "stdin": follower,
        "stdout": follower,
        "stderr": follower,
        "start_new_session": True,
        "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    }
    with stopped_at_end(box.start("/usr/bin/python3", "-c", SIGNALS, **options)) as process:
        os.close(follower)
        seen = b""
        for wanted, typed in ((b"ready", b"\x03"), (b"SIGINT", b"end\n")):
            while wanted not in seen:
                seen += os.read(leader, 1000)
            time.sleep(0.2)  # a second one would come now
            os.write(leader, typed)
        assert process.wait(timeout=20) == 0
        assert (seen + os.read(leader, 1000)).count(b"SIGINT") == 1
    os.close(leader)


def test_command_that_cannot_be_started(box):
    result = box.run("no-such-command")
    assert result.returncode == 127 and result.stderr == "box.sh: no-such-command: No such file or directory\n"


def test_killed_run_takes_its_command_along(box, shared_path):
    with stopped_at_end(box.start("sh", "-c", f"while :; do date >>{shared_path}/alive; sleep 0.05; done")):
        wait_for((shared_path / "alive").exists)
    size = None

    def ended() -> bool:
        nonlocal size
        before, size = size, (shared_path / "alive").stat().st_size
        return size == before

    wait_for(ended)


def test_commands_of_the_manual(shared_path):
    text = (SOURCE / "cluster/box/README.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    folder = shared_path / "box"
    try:
        for block in blocks:
            commands = block.replace("build/release/cskd", CSKD).replace("/var/tmp/box", str(folder))
            out = succeeded(
                subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, timeout=120, cwd=SOURCE)
            )
            if CSKD in commands:
                assert "2 ranks on 2 hosts, started by srun" in out and "n1: rank 0" in out and "n2: rank 1" in out
        assert not folder.exists()
    finally:
        succeeded(box_sh("down", folder))


def test_mpirun_in_a_batch_job_runs_on_all_hosts(box, shared_path):
    script = shared_path / "job.sh"
    script.write_text(f"#!/bin/bash\nmpirun {CSKD} doctor\n")
    job = box.submit(script, "-N2", "-n2", "-o", shared_path / "out")
    assert box.wait_for_job(job, "COMPLETED", "FAILED")["ExitCode"] == "0:0", (shared_path / "out").read_text()
    assert "2 ranks on 2 hosts, started by mpirun" in (shared_path / "out").read_text()


def test_gpus_and_urgent_jobs(make_box, shared_path):
    box = make_box("--hosts", 1, "--gpus", 2)
    assert box.out("srun", "--gpus=2", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES") == "0,1\n"
    script = shared_path / "job.sh"
    script.write_text("#!/bin/bash\ntrap 'echo USR1; exec sleep 60' USR1\necho began\nsleep 60 & wait\n")
    job = box.submit(script, "--signal=B:USR1@1", "-o", shared_path / "out", "--open-mode=append", "-t", "60")
    wait_for(lambda: (shared_path / "out").exists() and (shared_path / "out").read_text())
    with stopped_at_end(box.start("srun", "-p", "urgent", "hostname")):
        wait_for(lambda: (shared_path / "out").read_text() == "began\nUSR1\n")
    box.run("scancel", job)


# ---- isolation --------------------------------------------------------------------------------------------------------------


def test_hosts_have_their_own_names_addresses_processes_and_memory(box):
    kinds = ("net", "pid", "mnt", "uts", "ipc")
    show = "hostname; hostname -I; cat /proc/1/comm; readlink " + " ".join(f"/proc/self/ns/{kind}" for kind in kinds)
    n1, n2 = (succeeded(box.on(host, "sh", "-c", show)).split() for host in ("n1", "n2"))
    assert n1[:3] == ["n1", "10.231.0.11", "bash"] and n2[:3] == ["n2", "10.231.0.12", "bash"]
    assert len(n1) == 3 + len(kinds) and not set(n1[3:]) & set(n2[3:])
    for folder in ("/tmp", "/dev/shm"):
        succeeded(box.on("n1", "touch", f"{folder}/cskd-test-mine"))
        assert box.on("n2", "test", "-e", f"{folder}/cskd-test-mine").returncode == 1
        assert (
            box.run("test", "-e", f"{folder}/cskd-test-mine").returncode == 1
            and not Path(f"{folder}/cskd-test-mine").exists()
        )
        assert (box.folder / "hosts/n1/tmp/cskd-test-mine").exists() == (folder == "/tmp")
        succeeded(box.on("n1", "rm", f"{folder}/cskd-test-mine"))


def test_file_system_is_shared(box, shared_path):
    assert box.on("n1", "sh", "-c", f"hostname >{shared_path}/from").returncode == 0
    assert succeeded(box.on("n2", "cat", shared_path / "from")) == "n1\n"


def test_boxes_side_by_side_do_not_meet(box, make_box):
    other = make_box("--hosts", 1)
    assert other.out("hostname", "-I") == box.out("hostname", "-I") == "10.231.0.1 \n"
    assert box.out("sinfo", "-h", "-p", "main", "-o", "%D %T") == "2 idle\n"
    assert other.out("sinfo", "-h", "-p", "main", "-o", "%D %T") == "1 idle\n"
    other.close()
    assert sorted(box.out("srun", "-N2", "hostname").split()) == ["n1", "n2"]


# ---- the end ----------------------------------------------------------------------------------------------------------------


def namespaces(process: int | str) -> set[str]:
    try:
        return {os.readlink(path) for path in Path(f"/proc/{process}/ns").iterdir()}
    except OSError:  # it has ended
        return set()


def descendants(process: int) -> list[int]:
    children = list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    return children + [other for child in children for other in descendants(child)]


def keeper_of(folder: Path) -> int:
    return int((folder / "keeper.pid").read_text().split()[0])


def namespaces_of_box(folder: Path) -> set[str]:
    found = set().union(*map(namespaces, descendants(keeper_of(folder)))) - namespaces("self")
    assert len(found) >= 3 * 5  # login and at least two hosts
    return found


def started_at(process: int | str) -> float:
    """Seconds after boot; infinite if it has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return float("inf")


def wait_for_nothing_of(box_namespaces: set[str]) -> None:
    """A network, a mount or a process lives in a namespace, and a namespace ends with its last process.

    Numbers of namespaces are used again, so processes that start from now on do not count.
    """
    now = time.clock_gettime(time.CLOCK_BOOTTIME)

    def left() -> list[Path]:
        return [
            path
            for path in Path("/proc").glob("[0-9]*")
            if namespaces(path.name) & box_namespaces and started_at(path.name) <= now
        ]

    wait_for(lambda: not left(), 10, lambda: f"left behind: {[(path / 'cmdline').read_bytes() for path in left()]}")
    assert "/run/box" not in Path("/proc/mounts").read_text()
    assert not {"switch", "n1", "n2"} & set(os.listdir("/sys/class/net"))


@pytest.mark.parametrize("victim", ["keeper", "first process"])
def test_killed_keeper_leaves_nothing_but_a_folder(shared_path, victim):
    folder = shared_path / "a box"
    succeeded(box_sh("up", folder))
    try:
        succeeded(box_sh("slow", folder, "n2", "1ms"))
        box_namespaces = namespaces_of_box(folder)
        keeper = keeper_of(folder)
        words = [SCRIPT, "run", folder, "srun", "-N2", "sh", "-c", "echo ready; exec sleep 60"]
        with stopped_at_end(subprocess.Popen(words, cwd=SOURCE, stdout=subprocess.PIPE, text=True)) as command:
            assert command.stdout.readline() == "ready\n"
            os.kill(keeper if victim == "keeper" else descendants(keeper)[0], signal.SIGKILL)
            wait_for_nothing_of(box_namespaces)
            assert command.wait(timeout=20) == 128 + signal.SIGKILL
        result = box_sh("run", folder, "true")
        assert (
            result.returncode == 1
            and result.stderr == f"box.sh: the box in {folder} is not running\n        box.sh up {folder}\n"
        )
        succeeded(box_sh("up", folder, "--hosts", 1))
        assert succeeded(box_sh("run", folder, "sinfo", "-h", "-p", "main", "-o", "%D %T")) == "1 idle\n"
    finally:
        succeeded(box_sh("down", folder))
    assert not folder.exists()


def test_down_leaves_nothing(shared_path):
    folder = shared_path / "box"
    succeeded(box_sh("up", folder))
    box_namespaces = namespaces_of_box(folder)
    succeeded(box_sh("down", folder))
    wait_for_nothing_of(box_namespaces)
    assert not folder.exists()
    succeeded(box_sh("down", folder))


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_box_for_a_command_ends_with_it_or_with_its_caller(name):
    with stopped_at_end(
        subprocess.Popen(
            [SCRIPT, "with", "--", "sh", "-c", 'echo "$CSKD_BOX"; exec sleep 60'], stdout=subprocess.PIPE, text=True
        )
    ) as process:
        folder = Path(process.stdout.readline().rstrip("\n"))
        box_namespaces = namespaces_of_box(folder)
        process.send_signal(getattr(signal, name))
        process.wait(timeout=20)
        wait_for_nothing_of(box_namespaces)
        wait_for(lambda: not folder.exists())
    result = box_sh("with", "--hosts", 1, "--", "sh", "-c", 'echo "$CSKD_BOX"; hostname; exit 9')
    assert result.returncode == 9 and result.stdout.splitlines()[1:] == ["login"]
    assert not Path(result.stdout.splitlines()[0]).exists()


# ---- wrong usage and failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["sideways"], "unknown command 'sideways'"),
        (["up"], "up: which folder?"),
        (["up", "/tmp/box"], "/tmp/box: a box has a /tmp of its own, so its folder must be elsewhere"),
        (["up", "/var/tmp/none", "--hosts", "10"], "--hosts: 1 to 9, not 10"),
        (["up", "/var/tmp/none", "--cpus", "two"], "--cpus: 'two' is no number"),
        (["up", "/var/tmp/none", "--node-timeout", "1"], "--node-timeout: at least 3"),
        (["up", "/var/tmp/none", "n1"], "unknown argument 'n1'"),
        (["up", SOURCE], f"{SOURCE} holds something else than a box"),
        (["down", SOURCE], f"there is no box in {SOURCE}"),
        (["run", "/var/tmp/none", "true"], "there is no box in /var/tmp/none"),
        (["with", "--hosts", "1"], "with: which command?"),
    ],
)
def test_wrong_usage(words, complaint):
    result = box_sh(*words)
    assert (result.returncode, result.stdout) == (2, "") and complaint in result.stderr
    assert not Path("/var/tmp/none").exists()


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["on", "n3", "true"], "there is no host 'n3'"),
        (["cut", "login"], "there is no host 'login'"),
        (["slow", "n1", "20"], "'20' is no delay such as 20ms, 500us or 1s"),
        (["slow", "n1", "20ms", "0.1"], "'0.1' is no loss such as 1%"),
        (["slow", "n1", "20ms", "101%"], "a loss of 101% is more than all"),
        (["log", "../keeper.pid"], "there is no log '../keeper.pid'"),
    ],
)
def test_wrong_usage_of_a_box(box, words, complaint):
    result = box_sh(words[0], box.folder, *words[1:])
    assert result.returncode == 2 and complaint in result.stderr


def test_folder_that_the_box_does_not_have(box, tmp_path):
    result = box.run("true", cwd=tmp_path)
    assert result.returncode == 2 and f"the box has no {tmp_path}" in result.stderr


def test_second_box_in_a_folder_is_refused(box):
    result = box_sh("up", box.folder)
    assert result.returncode == 1 and f"a box is already running in {box.folder}" in result.stderr
    assert box.out("sinfo", "-h", "-p", "main", "-o", "%D %T") == "2 idle\n"


def test_without_root(shared_path):
    shared_path.chmod(0o755)
    scripts = shutil.copytree(SCRIPT.parent, shared_path / "box")  # nobody may not be able to reach the checkout
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", scripts / SCRIPT.name, "up", "/var/tmp/none"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert result.returncode == 1 and "this needs root" in result.stderr and "sudo" in result.stderr


def test_missing_packages_are_listed_with_the_line_that_installs_them(shared_path):
    for tool in Path("/usr/bin").iterdir():
        if tool.name not in ("sinfo", "hostname"):
            (shared_path / tool.name).symlink_to(tool)
    result = box_sh("up", "/var/tmp/none", env=os.environ | {"PATH": str(shared_path)})
    assert result.returncode == 1 and "Debian packages are missing: slurm-client hostname\n" in result.stderr
    assert "apt-get install -y --no-install-recommends slurm-client hostname\n" in result.stderr
    listed = (SCRIPT.parent / "packages.txt").read_text()
    assert "\nslurm-client " in listed and "\nhostname " in listed


def stand_in(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which the program `name` is another."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "name, text, complaint, reason",
    [
        ("slurmctld", "echo no controller today >&2; exit 1", "the box in {} did not start", "no controller today"),
        ("slurmd", "echo no host today >&2; exit 1", "the box in {} did not start", "no host today"),
        ("slurmd", "exit 0", "not all of the 2 hosts were idle after 4 s", "n1 is unknown"),
    ],
)
def test_start_that_fails_tells_why_and_leaves_nothing_running(shared_path, name, text, complaint, reason):
    folder = shared_path / "box"
    result = box_sh("up", folder, "--patience", 4, env=stand_in(shared_path / "bin", name, text))
    assert result.returncode == 1 and complaint.format(folder) in result.stderr and reason in result.stderr
    assert f"the logs are in {folder}/log" in result.stderr and (folder / "log/box").exists()
    assert not keeper_lives(folder)
    succeeded(box_sh("down", folder))


def keeper_lives(folder: Path) -> bool:
    keeper, start = (folder / "keeper.pid").read_text().split()
    return started_at(keeper) == int(start) / os.sysconf("SC_CLK_TCK")
