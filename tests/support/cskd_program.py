"""Runs the built program, alone or under mpirun."""

import os
import subprocess

CSKD = os.environ["CSKD_BINARY"]


def run(*arguments, env=None, timeout=240, cwd=None):
    """Finished process of `cskd *arguments`; `env` adds variables, or removes those that are None."""
    return subprocess.run(
        [CSKD, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env=environment(env),
    )


def mpirun(ranks, *arguments, env=None, timeout=300):
    command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks), CSKD, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env=environment(env)
    )


def environment(changes):
    result = dict(os.environ)
    for name, value in (changes or {}).items():
        result.pop(name, None)
        if value is not None:
            result[name] = value
    return result


def errors(process):
    """The lines that cskd itself wrote to standard error."""
    return [line for line in process.stderr.splitlines() if line.startswith("cskd")]
