"""A Slurm in a box (cluster/box) for tests: starting one, commands and jobs in it, faults of its hosts."""

import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

SOURCE = Path(os.environ.get("CSKD_SOURCE_DIR", Path(__file__).resolve().parents[2]))
SCRIPT = SOURCE / "cluster/box/box.sh"


def missing_right() -> str | None:
    """Why this user cannot have a box; None if nothing stands in the way."""
    if os.geteuid() != 0:
        return "a box needs root"
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "true"], capture_output=True
    )
    return "a box needs the right to make namespaces (CAP_SYS_ADMIN)" if tried.returncode else None


def box_sh(*words, timeout=120, **options) -> subprocess.CompletedProcess:
    """Finished process of box.sh."""
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "cwd": SOURCE} | options
    if "input" in options:
        del options["stdin"]
    return subprocess.run([SCRIPT, *map(str, words)], timeout=timeout, **options)


class Box:
    """A box that ends with this object's `close`, or with this process, also by SIGKILL: its input is then at an end."""

    def __init__(self, *options) -> None:
        words = [SCRIPT, "with", *map(str, options), "--", "sh", "-c", 'echo "$CSKD_BOX"; exec cat']
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=SOURCE)
        self.folder = Path(self.process.stdout.readline().rstrip("\n"))
        assert self.folder.name, "the box did not start"

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0
        self.process.stdout.close()

    def run(self, *words, **options) -> subprocess.CompletedProcess:
        """A command on the login host, whatever becomes of it."""
        return box_sh("run", self.folder, *words, **options)

    def out(self, *words, **options) -> str:
        """Standard output of a command on the login host, which must succeed."""
        return succeeded(self.run(*words, **options))

    def on(self, host, *words, **options) -> subprocess.CompletedProcess:
        """A command on a host, outside of any job."""
        return box_sh("on", self.folder, host, *words, **options)

    def start(self, *words, host=None, **options) -> subprocess.Popen:
        """A command on the login host, or on `host`, that goes on."""
        place = ["on", self.folder, host] if host else ["run", self.folder]
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "cwd": SOURCE,
        } | options
        return subprocess.Popen([SCRIPT, *map(str, [*place, *words])], **options)

    def fault(self, name, *words) -> None:
        """cut, slow, mend, crash, switch-off or restore, then the host."""
        succeeded(box_sh(name, self.folder, *words))

    def status(self, host) -> str:
        """What box.sh says of the host: its state in Slurm, its link."""
        lines = succeeded(box_sh("status", self.folder)).splitlines()
        return next(line for line in lines if line.startswith(f"{host} "))

    def log(self, name) -> str:
        return (self.folder / "log" / name).read_text()

    def submit(self, script: Path, *options) -> int:
        """The number of the job."""
        return int(self.out("sbatch", "--parsable", *options, script))

    def job(self, number: int) -> dict[str, str]:
        """What `scontrol show job` says: JobState, ExitCode, Restarts, NodeList, ..."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.out("scontrol", "-o", "show", "job", number)))

    def wait_for_job(self, number: int, *states, seconds=60) -> dict[str, str]:
        """The job's facts once it is in one of `states`."""
        return wait_for(
            lambda: (job := self.job(number))["JobState"] in states and job,
            seconds,
            lambda: f"job {number} is {self.job(number)}, not {states}",
        )


def succeeded(process: subprocess.CompletedProcess) -> str:
    assert process.returncode == 0, f"{process.args}: exit {process.returncode}\n{process.stdout}\n{process.stderr}"
    return process.stdout


def wait_for(condition, seconds=30, complaint=lambda: "it did not come true"):
    """The first true value of `condition`."""
    limit = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < limit, complaint()
        time.sleep(0.1)
    return value


@contextlib.contextmanager
def stopped_at_end(process: subprocess.Popen):
    """The process, killed when the block ends before it does; what it started may hold its pipes open."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
