"""Faults of hosts in a box: lost packets, slow links, hosts that crash or are switched off, and what Slurm makes of them."""

import os
import queue
import subprocess
import threading

import pytest

from slurm_box import Box, box_sh, stopped_at_end, wait_for

# Echoes what it gets, over TCP and UDP.
SERVER = """
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 5000))
tcp = socket.create_server(("", 5000))
print("ready", flush=True)
def echo_udp():
    while True:
        udp.sendto(*udp.recvfrom(100))
def echo_tcp(connection):
    while data := connection.recv(100):
        connection.send(data)
threading.Thread(target=echo_udp, daemon=True).start()
while True:
    threading.Thread(target=echo_tcp, args=(tcp.accept()[0],), daemon=True).start()
"""

# Sends a line for each that it is given, and prints what comes back.
CLIENT = """
import socket, sys, threading
connection = socket.create_connection(("n2", 5000), timeout=10)
connection.settimeout(None)
print("connected", flush=True)
def receive():
    try:
        while data := connection.recv(100):
            print(data.decode(), flush=True)
        print("closed", flush=True)
    except OSError as error:
        print("closed", error, flush=True)
threading.Thread(target=receive, daemon=True).start()
for line in sys.stdin:
    connection.send(line.strip().encode())
"""

# The median of 21 round trips, in milliseconds.
TRIP = """
import socket, time
connection = socket.create_connection(("n2", 5000), timeout=10)
times = []
for _ in range(21):
    start = time.monotonic()
    connection.send(b"x")
    connection.recv(1)
    times.append(time.monotonic() - start)
print(sorted(times)[10] * 1000)
"""

# How many of 200 datagrams come back.
REPLIES = """
import socket, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(1)
for _ in range(200):
    udp.sendto(b"x", ("n2", 5000))
    time.sleep(0.001)
replies = 0
try:
    while udp.recv(1):
        replies += 1
except TimeoutError:
    pass
print(replies)
"""


class Connection:
    """A TCP connection from n1 to n2, where SERVER runs."""

    def __init__(self, process) -> None:
        self.process = process
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        assert self.line(20) == "connected"

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def send(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def line(self, seconds) -> str | None:
        """What came back, None if nothing does for so long."""
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return None


@pytest.fixture
def server(box):
    with stopped_at_end(box.start("/usr/bin/python3", "-c", SERVER, host="n2")) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.fixture
def connection(box, server):
    with stopped_at_end(box.start("/usr/bin/python3", "-c", CLIENT, host="n1", stdin=subprocess.PIPE)) as process:
        yield Connection(process)


def trip(box: Box) -> float:
    return float(box.on("n1", "/usr/bin/python3", "-c", TRIP).stdout)


def replies(box: Box) -> int:
    return int(box.on("n1", "/usr/bin/python3", "-c", REPLIES).stdout)


def can_connect(box: Box) -> bool:
    return box.on("n1", "timeout", "2", "bash", "-c", "echo >/dev/tcp/n2/5000").returncode == 0


# ---- links ------------------------------------------------------------------------------------------------------------------


def test_cut_loses_packets_and_closes_nothing(box, connection):
    connection.send("before")
    assert connection.line(10) == "before"
    box.fault("cut", "n2")
    connection.send("during")
    assert connection.line(2) is None
    assert (
        box.on("n1", "timeout", "2", "bash", "-c", "echo >/dev/tcp/n2/5000").returncode == 124
    )  # neither taken nor refused
    assert "cut" in box.status("n2") and "connected" in box.status("n1")
    box.fault("mend", "n2")
    assert connection.line(20) == "during"
    assert can_connect(box)


@pytest.mark.skipif("CSKD_TEST_FULL" not in os.environ, reason="takes a while: tests/run.sh --full")
def test_slow_link_delays_and_loses(box, connection):
    assert replies(box) == 200
    box.fault("slow", "n2", "20ms")
    slow = trip(box)
    assert slow >= 40 and replies(box) == 200
    box.fault("slow", "n2", "100us", "30%")
    assert 50 < replies(box) < 150  # 98 of 200 come back on average, with a standard deviation of 7
    assert "slow (100us, 30%)" in box.status("n2")
    box.fault("cut", "n2")
    assert not can_connect(box)
    assert "n2 is cut off; box.sh mend ends that" in box_sh("slow", box.folder, "n2", "1ms").stderr
    box.fault("mend", "n2")
    assert trip(box) < slow and replies(box) == 200 and "connected" in box.status("n2")
    connection.send("still there")
    assert connection.line(20) == "still there"


# ---- hosts ------------------------------------------------------------------------------------------------------------------


def test_crashed_host_closes_its_connections(box, connection, server):
    box.on("n2", "touch", "/tmp/left", "/dev/shm/left")
    box.fault("crash", "n2")
    assert connection.line(10).startswith("closed")
    assert server.wait(timeout=10) == 128 + 9
    box.fault("restore", "n2")
    assert sorted(box.out("srun", "-N2", "hostname").split()) == ["n1", "n2"]
    assert box.on("n2", "rm", "/tmp/left", "/dev/shm/left").returncode == 0


def test_host_that_is_switched_off_says_nothing(box, connection, server):
    box.on("n2", "touch", "/tmp/left", "/dev/shm/left")
    box.fault("slow", "n2", "1ms")
    box.fault("switch-off", "n2")
    assert server.wait(timeout=10) == 128 + 9
    connection.send("into the void")
    assert connection.line(3) is None
    assert "switched off" in box.status("n2")
    refused = box.on("n2", "true")
    assert (refused.returncode, refused.stderr) == (
        1,
        f"box.sh: n2 is switched off\n        box.sh restore {box.folder} n2\n",
    )
    box.fault("restore", "n2")
    assert connection.line(30).startswith("closed")  # a host that has been started again knows no such connection
    assert "connected" in box.status("n2")
    assert sorted(box.out("srun", "-N2", "hostname").split()) == ["n1", "n2"]
    assert box.on("n2", "sh", "-c", "ls /tmp /dev/shm").stdout == "/dev/shm:\n\n/tmp:\n"


# ---- jobs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("CSKD_TEST_FULL" not in os.environ, reason="takes a while: tests/run.sh --full")
def test_jobs_of_a_lost_host_are_requeued_or_go_on_without_it(make_box, shared_path):
    box = make_box("--hosts", 2, "--cpus", 2, "--node-timeout", 3)
    usual, shrinking = shared_path / "usual.sh", shared_path / "shrinking.sh"
    usual.write_text(
        "#!/bin/bash\n"
        "echo restart ${SLURM_RESTART_COUNT:-0}\n"
        "if [[ -z ${SLURM_RESTART_COUNT:-} ]]; then srun sleep 300; else srun hostname; fi\n"
    )
    shrinking.write_text(
        "#!/bin/bash\n"
        "echo $SLURM_JOB_NODELIST\n"
        "until [[ $(scontrol -o show job $SLURM_JOB_ID) == *' NodeList=n1 '* ]]; do sleep 0.2; done\n"
        "unset SLURM_JOB_NUM_NODES SLURM_NNODES SLURM_NTASKS SLURM_NPROCS\n"
        "srun -N1 -n1 hostname\n"
    )
    jobs = [
        box.submit(usual, "-N2", "-n2", "-o", shared_path / "usual.out", "--open-mode=append"),
        box.submit(shrinking, "-N2", "-n2", "-o", shared_path / "shrinking.out", "--no-kill"),
    ]
    for job in jobs:
        box.wait_for_job(job, "RUNNING")
    wait_for(lambda: all((shared_path / name).exists() for name in ("usual.out", "shrinking.out")))

    box.fault("switch-off", "n2")
    assert box.wait_for_job(jobs[1], "COMPLETED", "FAILED")["ExitCode"] == "0:0"
    assert (shared_path / "shrinking.out").read_text() == "n[1-2]\nn1\n"
    assert box.wait_for_job(jobs[0], "PENDING")["Restarts"] == "1"
    assert "due to failure of node n2" in box.log("slurmctld")

    box.fault("restore", "n2")
    assert box.wait_for_job(jobs[0], "COMPLETED", "FAILED")["ExitCode"] == "0:0"
    text = (shared_path / "usual.out").read_text()
    assert text.startswith("restart 0\n") and sorted(text.splitlines()[-3:]) == ["n1", "n2", "restart 1"]
