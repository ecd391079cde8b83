"""Exit codes and messages of the command line itself."""

import os
import pathlib
import pty
import re
import subprocess
import tomllib

import pytest

from cskd_program import CSKD, errors, mpirun, run


def test_help_lists_every_command_with_a_description():
    result = run("--help")
    assert result.returncode == 0
    for command in ("demo", "doctor", "config", "completion"):
        assert re.search(rf"^  {command}  +[A-Z].{{20,}}$", result.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", ["demo", "doctor", "config", "completion"])
def test_each_command_has_help_with_examples(command):
    result = run(command, "--help")
    assert result.returncode == 0
    assert "Examples:" in result.stdout and f"cskd {command}" in result.stdout


def test_help_lines_fit_a_screen():
    for arguments in (["--help"], ["demo", "--help"], ["doctor", "--help"], ["config", "--help"], ["plan", "--help"]):
        longest = max(run(*arguments).stdout.splitlines(), key=len)
        assert len(longest) <= 120, longest


def test_every_configuration_that_is_shipped_is_read():
    shipped = sorted(pathlib.Path(os.environ["CSKD_SOURCE_DIR"], "configs").glob("*.toml"))
    assert len(shipped) > 1
    for path in shipped:
        process = run("plan", path, "--names")
        assert process.returncode == 0, process.stderr
        assert process.stdout.split()[-1] == "evaluate"


def test_version_names_every_library():
    result = run("--version")
    assert result.returncode == 0
    lines = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", result.stdout, re.MULTILINE))
    assert re.fullmatch(r"2\.11\.0", lines["LibTorch"])
    for library in (
        "CUDA runtime",
        "NCCL",
        "MPI",
        "HDF5",
        "protobuf",
        "toml++",
        "CLI11",
        "spdlog",
        "fmt",
        "libjpeg-turbo",
        "libspng",
        "libwebp",
        "xxHash",
        "nlohmann/json",
    ):
        assert re.match(r"(Open MPI v)?\d+\.\d+|none", lines[library]), library


USAGE_ERRORS = [
    ([], "A subcommand is required; see 'cskd --help'"),
    (["docotr"], "unknown command 'docotr', did you mean 'doctor'?; 'cskd --help' lists the commands"),
    (["xyzzy"], "unknown command 'xyzzy'; 'cskd --help' lists the commands"),
    (["doctor", "--jsn"], "unknown option '--jsn', did you mean '--json'?; see 'cskd doctor --help'"),
    (["doctor", "a.toml", "b.toml"], "unexpected argument 'b.toml'; see 'cskd doctor --help'"),
    (["demo"], "DIR is required; see 'cskd demo --help'"),
    (["demo", "x", "--images", "many"], "Could not convert: --images = many; see 'cskd demo --help'"),
    (["demo", "x", "--seed", "-1"], "--seed: is -1, expected a whole number from 0; see 'cskd demo --help'"),
    (["completion", "fish"], "SHELL: fish not in {bash}; see 'cskd completion --help'"),
    (
        ["doctor", "--log-level", "loud"],
        "--log-level: loud not in {trace,debug,info,warning,error,off}; see 'cskd doctor --help'",
    ),
]


@pytest.mark.parametrize("arguments,message", USAGE_ERRORS)
def test_usage_errors_exit_with_2_and_one_line(arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"cskd: error: {message}\n"


def test_usage_errors_of_many_ranks_are_printed_once():
    result = mpirun(2, "doctor", "--jsn")
    assert result.returncode == 2
    assert len(errors(result)) == 1


def test_config_prints_the_resolved_configuration():
    demo = os.path.join(os.environ["CSKD_SOURCE_DIR"], "configs", "demo.toml")
    result = run("config", demo, "--set", "run.seed=7")
    assert result.returncode == 0, result.stderr
    resolved = tomllib.loads(result.stdout)
    assert resolved["run"]["seed"] == 7
    assert resolved["run"]["folder"] == os.path.join(os.environ["CSKD_SOURCE_DIR"], "runs", "demo")
    assert [source["name"] for source in resolved["sources"]] == ["coast", "city", "studio", "archive", "rated"]


def test_config_errors_exit_with_2_and_name_the_place(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text('[run]\nfolder = "x"\nsede = 1\n')
    for arguments in (["config", bad], ["doctor", bad]):
        result = run(*arguments)
        assert result.returncode == 2
        assert (
            result.stderr
            == f"cskd: error: {bad}:3:1: run.sede is not a key of the configuration, did you mean run.seed?\n"
        )
    assert (
        run("config", tmp_path).stderr
        == f"cskd: error: {tmp_path}: is a folder; expected a configuration file in TOML\n"
    )
    assert run("config").returncode == 2
    assert run("doctor", "--set", "run.seed=1").returncode == 2


def test_help_of_all_keys_and_the_page_come_from_the_schema():
    assert "folder (path; required)" in run("config", "--help-all").stdout
    with open(os.path.join(os.environ["CSKD_SOURCE_DIR"], "docs", "configuration.md"), encoding="utf-8") as page:
        assert run("config", "--markdown").stdout == page.read()


def test_log_level_of_the_option_wins_over_the_configuration(tmp_path):
    config = tmp_path / "a.toml"
    config.write_text(f'[run]\nfolder = "{tmp_path}"\n[logging]\nlevel = "debug"\n')
    assert "debug measuring the links" in run("doctor", config).stderr
    assert run("doctor", config, "--log-level", "error").stderr == ""
    assert run("doctor", config, "--set", "logging.level=warning").stderr == ""


def test_malformed_failure_injection_is_refused():
    result = run("doctor", env={"CSKD_FAIL_AT": "a.b:never"})
    assert result.returncode == 2
    assert "CSKD_FAIL_AT: cannot read 'never' in 'a.b:never'" in result.stderr


def output_on_a_terminal(*arguments, env=None):
    """What the program writes to its standard output when that is a pseudo-terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [CSKD, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    os.close(follower)
    chunks = []
    try:
        while chunk := os.read(leader, 4096):
            chunks.append(chunk)
    except OSError:  # Linux reports the closed terminal as an input/output error
        pass
    os.close(leader)
    process.communicate(timeout=60)
    return b"".join(chunks).decode()


def test_colours_appear_on_a_terminal_only():
    assert "\x1b[32mfine" in output_on_a_terminal("doctor")
    assert "\x1b" not in output_on_a_terminal("doctor", env={"NO_COLOR": "1"})
    assert "\x1b" not in run("doctor").stdout


def test_no_colours_when_the_output_of_mpirun_is_a_pipe():
    assert "\x1b" not in mpirun(2, "doctor").stdout
