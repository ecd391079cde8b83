"""launch/submit.sh: what it writes and submits, and what it refuses, with stand-ins for Slurm."""

import re
import shutil
import subprocess

import pytest
import slurm_standins
from slurm_standins import CSKD, SOURCE

STAGES = [
    "shard",
    "cache.clip",
    "align.student",
    "finetune.teacher",
    "finetune.supervised",
    "distill.student",
    "evaluate",
]
CONFIG = """
[run]
folder = "{folder}"

[[sources]]
name = "photos"
kind = "folder"
path = "photos"

[towers.clip]
architecture = "ViT-B-32"
weights = "clip.safetensors"
[encoders.mobile]
architecture = "mobilenetv3_small_100"
[align.student]
encoder = "mobile"
towers = ["clip"]
[finetune.teacher]
from = "towers.clip"
[finetune.supervised]
from = "encoders.mobile"
[distill.student]
from = "align.student"
teachers = ["finetune.teacher"]
[align.student.training]
micro_batches = 32
[finetune.teacher.training]
micro_batches = 32
[finetune.supervised.training]
micro_batches = 4
determinism = "elastic"
[distill.student.training]
micro_batches = 24
"""


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.slurm = slurm_standins.Slurm(folder / "slurm")
        self.config = folder / "big run.toml"
        self.run_folder = folder / "runs" / '50% "big" $run'
        quoted = str(self.run_folder).replace('"', '\\"')
        self.config.write_text(CONFIG.format(folder=quoted))
        self.settings = folder / "site.conf"
        self.use("")

    def use(self, text):
        self.settings.write_text(f"program = {CSKD}\n{text}")

    def submit(self, *words, **environment):
        return subprocess.run(
            [SOURCE / "launch/submit.sh", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.slurm.environment(CSKD_SITE=str(self.settings), **environment),
        )

    def dry(self, *words):
        """{stage: its script}, and the sbatch lines."""
        done = self.submit(self.config, "--dry-run", *words)
        assert done.returncode == 0, done.stderr
        scripts = {}
        for text in re.split(r"^# ---- .*/(?=[\w.]+\.sbatch ----$)", done.stdout, flags=re.MULTILINE)[1:]:
            name, rest = text.split(".sbatch ----\n", 1)
            scripts[name] = rest.split("\n$ sbatch", 1)[0]
        return scripts, re.findall(r"^\$ (sbatch .*)$", done.stdout, flags=re.MULTILINE)


@pytest.fixture(scope="session", autouse=True)
def right_to_boxes():
    """Nobody needs it here."""


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def options(script):
    return dict(
        (line.removeprefix("#SBATCH --") + "=").split("=", 1)
        for line in script.splitlines()
        if line.startswith("#SBATCH")
    )


def option(script, name):
    return options(script)[name].rstrip("=")


def value(script, name):
    """A variable as the script sets it."""
    done = slurm_standins.bash(
        'eval "$1"; declare -n found=$2; printf "%s\\n" "${found[@]}"',
        "\n".join(line for line in script.splitlines() if re.match(rf"{name}=", line)),
        name,
        env={"SLURM_JOB_ID": "7", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# ---- what is written --------------------------------------------------------------------------------------------------------


def test_one_job_for_all_stages(site):
    scripts, lines = site.dry("--nodes", 2, "--ranks-per-node", 2, "--time", "12:00:00", "--spare", 1)
    script = scripts["run"]
    assert list(scripts) == ["run"] and len(lines) == 1 and "--dependency" not in lines[0]
    assert {
        name: option(script, name)
        for name in ("nodes", "ntasks-per-node", "cpus-per-task", "partition", "time", "open-mode", "signal")
    } == {
        "nodes": "3",
        "ntasks-per-node": "2",
        "cpus-per-task": "8",
        "partition": "main",
        "time": "12:00:00",
        "open-mode": "append",
        "signal": "B:USR1@120",
    }
    assert f'#SBATCH --output="{site.folder}/runs/50%% \\"big\\" $run/slurm/run-%j.log"\n' in script
    assert "requeue" in options(script) and "no-kill" in options(script)
    assert not any("gpu" in line for line in script.splitlines() if line.startswith("#SBATCH"))
    assert value(script, "run") == [str(site.run_folder)] and value(script, "config") == [str(site.config)]
    assert value(script, "log") == [f"{site.run_folder}/slurm/run-7.log"]
    assert (
        value(script, "nodes"),
        value(script, "spare"),
        value(script, "min_nodes"),
        value(script, "micro_batches"),
        value(script, "power_of_two"),
    ) == (["2"], ["1"], ["1"], ["4"], ["true"])


def test_a_single_node_needs_no_recovery_in_the_job(site):
    assert "no-kill" not in options(site.dry("--nodes", 1)[0]["run"])


def test_chain_waits_for_success_and_takes_as_many_ranks_as_each_stage_can_use(site):
    scripts, lines = site.dry("--nodes", 4, "--ranks-per-node", 8, "--chain", "--after", 9, "--stage-nodes", "shard=2")
    assert list(scripts) == STAGES
    assert "--dependency" in lines[0] and "afterok:9" in lines[0]
    for line, before in zip(lines[1:], STAGES, strict=False):
        assert f"--parsable --dependency=afterok:JOB-OF-{before.upper()} --kill-on-invalid-dep=yes" in line
    shapes = {
        stage: (int(option(script, "nodes")), int(option(script, "ntasks-per-node")))
        for stage, script in scripts.items()
    }
    # 32, 4 (a power of two) and 24 micro-batches
    assert shapes == {
        "shard": (2, 8),
        "cache.clip": (4, 8),
        "align.student": (4, 8),
        "finetune.teacher": (4, 8),
        "finetune.supervised": (1, 4),
        "distill.student": (3, 8),
        "evaluate": (1, 8),
    }


def test_a_sweep_is_one_job(site):
    scripts, lines = site.dry("--nodes", 4, "--sweep", "--over", "run.seed=1,2", "--over", "labels.fraction=0.1,1")
    assert list(scripts) == ["sweep"] and len(lines) == 1
    assert value(scripts["sweep"], "command") == ["sweep"] and value(scripts["sweep"], "micro_batches") == ["4"]
    assert value(scripts["sweep"], "stage_arguments") == ["--over", "run.seed=1,2", "--over", "labels.fraction=0.1,1"]
    assert list(site.dry("--nodes", 4, "--over", "run.seed=1,2")[0]) == ["sweep"]


def test_every_gpu_of_the_partition_gets_a_rank_with_its_share_of_cores(site):
    site.use("partition = gpu\ncpu_partition = main\ngpu_request = --gres=gpu:a100:{}\naccount = vision\nmemory = 0\n")
    scripts, _ = site.dry("--nodes", 4, "--chain")
    align = scripts["align.student"]
    assert (
        "#SBATCH --gres=gpu:a100:8" in align
        and option(align, "ntasks-per-node") == "8"
        and option(align, "cpus-per-task") == "8"
    )
    assert option(align, "account") == "vision" and option(align, "mem") == "0" and value(align, "gpus") == ["8"]
    assert (
        "#SBATCH --gres=gpu:a100:4" in scripts["finetune.supervised"]
        and option(scripts["finetune.supervised"], "cpus-per-task") == "8"
    )
    assert (
        option(scripts["shard"], "partition") == "main"
        and value(scripts["shard"], "gpus") == ["0"]
        and option(scripts["shard"], "cpus-per-task") == "16"
    )


def test_settings_of_the_site_and_arguments_arrive(site):
    site.use(
        "modules = gcc/12 openmpi\nnetwork = ib0\nsbatch = --nice=5\nsbatch = --comment=a b\nsrun = --network=x\nenvironment = UCX_TLS=rc,sm x\nlauncher = mpirun\n"
    )
    script = site.dry(
        "--nodes", 1, "--set", "run.seed=3", '--set=logging.level="debug"', "--allow-change", "run.seed", "--no-doctor"
    )[0]["run"]
    assert (
        "#SBATCH --nice=5\n#SBATCH --comment=a b\n" in script
        and "module load gcc/12 openmpi" in script
        and "export UCX_TLS=rc\\,sm\\ x" in script
    )
    assert value(script, "set_arguments") == ["--set", "run.seed=3", "--set", 'logging.level="debug"']
    assert value(script, "stage_arguments") == ["--allow-change", "run.seed"] and value(script, "srun_options") == [
        "--network=x"
    ]
    assert (
        value(script, "launcher") == ["mpirun"]
        and value(script, "with_doctor") == ["false"]
        and value(script, "CSKD_NETWORK") == ["ib0"]
    )


def test_shipped_site_file_sets_nothing_and_its_examples_are_read(site):
    shipped = (SOURCE / "cluster/slurm/site.conf").read_text()
    before = site.dry("--nodes", 2)[0]["run"]
    site.use(shipped)
    assert site.dry("--nodes", 2)[0]["run"] == before
    examples = [line.removeprefix("# ") for line in shipped.splitlines() if re.match(r"# [a-z_]+ = ", line)]
    keys = {line.split(" = ")[0] for line in examples}
    done = slurm_standins.bash('source cluster/slurm/site_file.sh; printf \'%s\\n\' "${!site[@]}" "${!site_lists[@]}"')
    assert keys == set(done.stdout.split())
    readable = [line for line in examples if not line.startswith(("setup", "container", "program"))]
    assert site.settings.write_text(f"program = {CSKD}\n" + "\n".join(readable)) and site.submit(
        site.config, "--nodes", 1, "--dry-run"
    ).returncode in (0, 2)


def test_scripts_are_sound_shell(site, tmp_path):
    site.use("modules = gcc/12\nsetup = /etc/hostname\nenvironment = A=$(touch x)\n")
    scripts, _ = site.dry("--nodes", 2, "--chain")
    for name, text in scripts.items():
        path = tmp_path / f"{name}.sh"
        path.write_text(text)
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
        done = subprocess.run(["shellcheck", "--severity=error", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_dry_run_touches_nothing(site):
    site.dry("--nodes", 2, "--chain")
    assert not site.run_folder.exists() and not site.slurm.calls("sbatch") and not site.slurm.calls("scancel")


def test_dry_run_without_slurm_says_what_was_not_looked_at(site, tmp_path):
    tools = "bash env awk sed cut sort paste grep realpath dirname tail cat printf".split()
    done = site.submit(
        site.config, "--nodes", 2, "--dry-run", PATH=slurm_standins.folder_of_tools(tmp_path / "tools", tools)
    )
    assert done.returncode == 0, done.stderr
    assert "partition, time, nodes and PMIx were not looked at" in done.stderr and "#SBATCH --nodes=2" in done.stdout
    done = site.submit(site.config, "--nodes", 2, PATH=str(tmp_path / "tools"))
    assert done.returncode == 1 and "sbatch was not found" in done.stderr


# ---- what is submitted ------------------------------------------------------------------------------------------------------


def test_submitted_chain(site):
    done = site.submit(site.config, "--nodes", 2, "--stages", "align,evaluate")
    assert done.returncode == 0, done.stderr
    folder = site.run_folder / "slurm"
    calls = site.slurm.calls("sbatch")
    assert [call.startswith("--test-only") for call in calls] == [True, True, False, False]
    assert calls[2] == f"--parsable {folder}/align.student.sbatch"
    assert calls[3] == f"--parsable --dependency=afterok:101 --kill-on-invalid-dep=yes {folder}/evaluate.sbatch"
    assert (folder / "jobs").read_text() == "101\n102\n"
    assert (
        re.search(r"^job 102 +evaluate +1 node x 1 rank, after job 101$", done.stdout, re.MULTILINE)
        and "scancel 101 102" in done.stdout
    )


def test_chain_that_cannot_be_submitted_whole_is_taken_back(site):
    site.slurm.answer(full="102")
    done = site.submit(site.config, "--nodes", 2, "--chain")
    assert done.returncode == 1 and "sbatch did not take align.student: sbatch: error: the queue is full" in done.stderr
    assert site.slurm.calls("scancel") == ["101 102"]


def test_nothing_is_submitted_when_slurm_refuses_one(site):
    site.slurm.answer(
        test_only="sbatch: error: Batch job submission failed: Invalid account\nallocation failure: Invalid account\n"
    )
    done = site.submit(site.config, "--nodes", 2, "--chain")
    assert done.returncode == 2 and "Slurm refuses the job of shard" in done.stderr and "Invalid account" in done.stderr
    assert all(call.startswith("--test-only") for call in site.slurm.calls("sbatch"))


def test_run_that_is_with_slurm_already(site):
    assert site.submit(site.config, "--nodes", 2).returncode == 0
    site.slurm.answer(queue="101 (RUNNING)\n")
    done = site.submit(site.config, "--nodes", 2)
    assert (
        done.returncode == 2 and "with Slurm already: job 101 (RUNNING)" in done.stderr and "scancel 101" in done.stderr
    )
    site.slurm.answer(queue="101 (COMPLETING)\n")
    assert site.submit(site.config, "--nodes", 2).returncode == 0


# ---- what is refused --------------------------------------------------------------------------------------------------------

REFUSED = {
    "no configuration": (["--nodes", "2"], "", "name a configuration"),
    "not there": (["nowhere.toml", "--nodes", "2"], "", "cannot read the configuration nowhere.toml"),
    "no nodes": (["CONFIG"], "", "--nodes is missing"),
    "not a number": (["CONFIG", "--nodes", "two"], "", "--nodes is 'two'; expected a whole number, 1 or more"),
    "no value": (["CONFIG", "--nodes"], "", "--nodes lacks its value"),
    "misspelt option": (["CONFIG", "--ndoes", "2"], "", "unknown option '--ndoes'; did you mean '--nodes'?"),
    "time": (["CONFIG", "--nodes", "2", "--time", "3h"], "", "--time is '3h'; expected MINUTES"),
    "too short": (["CONFIG", "--nodes", "2", "--time", "3"], "", "leaves no time to work"),
    "too long": (["CONFIG", "--nodes", "2", "--time", "3-0"], "", "is more than partition main allows: 2-00:00:00"),
    "too many nodes": (["CONFIG", "--nodes", "4", "--spare", "1"], "", "run asks for 5 nodes, partition main has 4"),
    "too many GPUs": (
        ["CONFIG", "--nodes", "1", "--partition", "gpu", "--gpus-per-node", "9"],
        "",
        "hosts of partition gpu have 8",
    ),
    "partition": (["CONFIG", "--nodes", "2", "--partition", "mian"], "", "no partition 'mian'; did you mean 'main'?"),
    "partition of the site": (
        ["CONFIG", "--nodes", "2"],
        "partition = nowhere",
        "site.conf: partition: Slurm has no partition 'nowhere'",
    ),
    "ranks": (["CONFIG", "--nodes", "3"], "", "3 ranks (3 nodes with 1 each) do not divide micro_batches = 4"),
    "stage": (["CONFIG", "--nodes", "2", "--stages", "alig"], "", "--stages names 'alig'; did you mean 'align'?"),
    "chain of a sweep": (
        ["CONFIG", "--nodes", "2", "--sweep", "--chain"],
        "",
        "--sweep and --chain exclude each other",
    ),
    "nodes of no job": (
        ["CONFIG", "--nodes", "2", "--stage-nodes", "align=1"],
        "",
        "--stage-nodes names align, which is not among the jobs",
    ),
    "least nodes": (["CONFIG", "--nodes", "2", "--min-nodes", "3"], "", "--min-nodes 3 is more than --nodes 2"),
    "GPUs and ranks": (
        ["CONFIG", "--nodes", "1", "--gpus-per-node", "1", "--ranks-per-node", "1"],
        "",
        "exclude each other",
    ),
    "configuration": (["CONFIG", "--nodes", "2", "--set", "run.sede=1"], "", "run.sede"),
    "site key": (
        ["CONFIG", "--nodes", "2"],
        "partiton = main",
        "site.conf:2: unknown key 'partiton'; did you mean 'partition'?",
    ),
    "site twice": (["CONFIG", "--nodes", "2"], "qos = a\nqos = b", "site.conf:3: qos was set before, in line 2"),
    "site value": (
        ["CONFIG", "--nodes", "2"],
        "launcher = mpiexec",
        "site.conf:2: launcher is 'mpiexec'; expected srun or mpirun",
    ),
    "site line": (
        ["CONFIG", "--nodes", "2"],
        "partition main",
        "site.conf:2: found 'partition main'; expected KEY = VALUE",
    ),
    "site GPUs": (
        ["CONFIG", "--nodes", "2"],
        "gpu_request = --gres=gpu:4",
        "expected an option with {} for the number of GPUs",
    ),
    "site container": (["CONFIG", "--nodes", "2"], "container = /no/such.sif", "cannot read /no/such.sif"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_touched(site, case):
    words, text, message = REFUSED[case]
    site.use(text)
    done = site.submit(*[str(site.config) if word == "CONFIG" else word for word in words])
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not list(site.run_folder.glob("slurm/*")) and not site.slurm.calls("sbatch")


def test_slurm_without_pmix(site):
    site.slurm.answer(mpi="MPI plugin types are...\n\tnone\n\tpmi2\n")
    done = site.submit(site.config, "--nodes", 2)
    assert (
        done.returncode == 2
        and "this Slurm has no 'pmix' for MPI" in done.stderr
        and "none pmi2" in done.stderr
        and "launcher = mpirun" in done.stderr
    )
    if shutil.which("mpirun"):
        site.use("launcher = mpirun")
        assert site.submit(site.config, "--nodes", 2).returncode == 0


def test_program_that_was_not_built(site):
    site.settings.write_text("program = /nowhere/cskd\n")
    done = site.submit(site.config, "--nodes", 2)
    assert (
        done.returncode == 1
        and "/nowhere/cskd is missing" in done.stderr
        and "launch/setup.sh builds it" in done.stderr
    )


# ---- shapes -----------------------------------------------------------------------------------------------------------------


def test_most_ranks_that_divide_the_micro_batches():
    cases = [
        (hosts, ranks, batches, power)
        for hosts in range(1, 7)
        for ranks in (1, 3, 4, 8)
        for batches in (0, 1, 4, 12, 32, 45)
        for power in (False, True)
    ]
    script = 'source cluster/slurm/shape.sh; while read -r a b c d; do shape_of $a $b $c $d; done <<<"$1"'
    done = slurm_standins.bash(script, "\n".join(f"{a} {b} {c} {str(d).lower()}" for a, b, c, d in cases))
    for (hosts, ranks, batches, power), line in zip(cases, done.stdout.splitlines(), strict=True):
        used, each = map(int, line.split())
        fitting = [
            h * r
            for h in range(1, hosts + 1)
            for r in range(1, ranks + 1)
            if (batches == 0 or batches % (h * r) == 0) and (not power or (h * r).bit_count() == 1)
        ]
        assert used <= hosts and each <= ranks and used * each == max(fitting), (hosts, ranks, batches, power, line)
