"""Stand-ins for Slurm's commands, so that scripts for Slurm can be tried without it: each notes its arguments in calls.txt."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(os.environ.get("CSKD_SOURCE_DIR", Path(__file__).resolve().parents[2]))
CSKD = os.environ.get("CSKD_BINARY", str(SOURCE / "build/release/cskd"))

NOTE = '#!/usr/bin/env bash\nprintf "%s\\n" "${0##*/} $*" >>"$STANDIN/calls.txt"\n'
COMMANDS = {
    # nodes, CPUs and GPUs of the smallest host, time limit
    "sinfo": 'cat "$STANDIN/partitions"',
    "sbatch": """
if [[ $1 == --test-only ]]; then if [[ -e $STANDIN/test-only ]]; then cat "$STANDIN/test-only" >&2; exit 1; fi; exit 0; fi
number=$(($(cat "$STANDIN/jobs" 2>/dev/null || echo 100) + 1))
if [[ -e $STANDIN/full && $number -gt $(cat "$STANDIN/full") ]]; then echo "sbatch: error: the queue is full" >&2; exit 1; fi
echo "$number" | tee "$STANDIN/jobs" """,
    # The whole list of hosts while the job runs; what `queue` holds when asked for states of jobs.
    "squeue": """
case $* in
  *--format=%N) cat "$STANDIN/hosts" ;;
  *--format=%T) cat "$STANDIN/state" ;;
  *--format=%e) echo 2099-01-01T00:00:00 ;;
  *) cat "$STANDIN/queue" 2>/dev/null ;;
esac
true""",
    "scontrol": """
case $1 in
  show) tr ',' '\\n' <<<"$3" ;;
  requeue) [[ ! -e $STANDIN/no-requeue ]] ;;
esac""",
    "scancel": "true",
    # Runs the command on this machine, as rank 0 of the first host. A host that is listed in `down` is refused, one in `dead` never answers.
    "srun": """
if [[ $1 == --mpi=list ]]; then cat "$STANDIN/mpi" >&2; exit; fi
while [[ $1 == -* ]]; do
  if [[ $1 == --nodelist=* ]]; then host=${1#*=}; fi
  shift
done
if grep -qxF -- "$host" "$STANDIN/down" 2>/dev/null; then exit 1; fi
if grep -qxF -- "$host" "$STANDIN/dead" 2>/dev/null; then exec sleep 60; fi
if [[ $1 == *guard.sh ]]; then exec sleep 600; fi
SLURM_PROCID=0 exec "$@" """,
}


class Slurm:
    """Commands in a folder of their own; what they answer lies in files beside them."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for name, text in COMMANDS.items():
            path = folder / "bin" / name
            path.write_text(NOTE + text + "\n")
            path.chmod(0o755)
        self.answer(
            partitions="main|main*|4|16|(null)|2-00:00:00|up\ngpu|gpu|8|64|gpu:a100:8(S:0-1)|1-00:00:00|up\n",
            mpi="MPI plugin types are...\n\tpmix\n\tnone\nspecific pmix plugin versions available: pmix_v4\n",
            state="RUNNING\n",
        )

    def answer(self, **texts):
        for name, text in texts.items():
            (self.folder / name.replace("_", "-")).write_text(text)

    def calls(self, command):
        path = self.folder / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.removeprefix(command + " ") for line in lines if line.startswith(command + " ")]

    def environment(self, **more):
        names = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "CSKD_SITE"))
        }
        return names | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "STANDIN": str(self.folder)} | more


def bash(script, *arguments, cwd=SOURCE, env=None, timeout=60):
    return subprocess.run(
        ["bash", "-c", script, "bash", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
    )


def folder_of_tools(folder, names):
    """A PATH that holds these programs alone."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)
