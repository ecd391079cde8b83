"""Programs that benchmarks start: cskd under mpirun and PyTorch under torchrun, two ranks with one thread each."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
CSKD = ROOT / "build/release/cskd"
RANKS = 2


def output_of(command, stdin=None, timeout=1800):
    """What one process group printed."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    process = subprocess.run(
        [str(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{process.stderr}")
    return process.stdout


def cskd(*words, ranks=RANKS):
    return output_of(["mpirun", "--oversubscribe", "--bind-to", "none", "-n", ranks, CSKD, *words])


def torchrun(*words):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    return output_of([*launch, *words])
