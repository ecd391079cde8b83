"""The completion script, tried in a real bash."""

import os
import subprocess

from cskd_program import CSKD, run

COMPLETE = r"""
source <("$CSKD_BINARY" completion bash)
COMP_WORDS=({words}) COMP_CWORD={position}
_cskd_completion
printf '%s\n' "${{COMPREPLY[@]}}"
"""


def complete(*words, cwd=None):
    quoted = " ".join(f"'{word}'" for word in words)
    script = COMPLETE.format(words=quoted, position=len(words) - 1)
    result = subprocess.run(
        ["bash", "--norc", "-u", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "CSKD_BINARY": CSKD},
    )
    assert result.stderr == ""
    return set(result.stdout.split())


def test_commands():
    assert complete("cskd", "") == {
        "run",
        "shard",
        "cache",
        "align",
        "ridge",
        "export",
        "score",
        "replay",
        "report",
        "finetune",
        "distill",
        "evaluate",
        "analyze",
        "demo",
        "doctor",
        "inspect",
        "status",
        "plan",
        "sweep",
        "bench",
        "config",
        "completion",
    }
    assert complete("cskd", "do") == {"doctor"}


def test_options_of_a_command_and_of_the_program():
    assert {"--json", "--set", "--run-folder", "--log-level", "--help"} <= complete("cskd", "doctor", "--")
    assert complete("cskd", "demo", "--im") == {"--images"}
    assert "--images" not in complete("cskd", "doctor", "--")
    assert "--version" in complete("cskd", "--")


def test_values_of_a_fixed_set():
    assert complete("cskd", "--log-level", "") == {"trace", "debug", "info", "warning", "error", "off"}
    assert complete("cskd", "doctor", "--log-level", "w") == {"warning"}
    assert complete("cskd", "completion", "") == {"bash"}


def test_files_elsewhere(tmp_path):
    (tmp_path / "run.toml").touch()
    assert complete("cskd", "doctor", "ru", cwd=tmp_path) == {"run.toml"}


def test_script_is_valid_bash():
    script = run("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)
