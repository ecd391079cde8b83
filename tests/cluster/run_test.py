"""A run on two hosts: the same bits as on one, stops that reach all, and starts that are refused."""

import json
import shutil
import signal
import time

import cskd_program
import packing_runs
import pytest
import small_plugin
import small_run
import stage_runs
from cluster_run import CSKD, ELASTIC, ENDLESS, SRUN, Ended, Run, kill
from slurm_box import wait_for

BOTH_ELASTIC = stage_runs.settings("distill.heir", determinism="elastic") + stage_runs.settings(
    "finetune.plugged", determinism="elastic"
)
SMALL_SHARDS = ["--set", "packing.max_samples=4"]  # many, so that a stop comes between them


def test_a_whole_run_on_two_hosts_equals_one_on_one_host(box, material, shared_path):
    there, here = Run(material, shared_path, "there"), Run(material, shared_path, "here")
    plugin = small_plugin.small_plugin(shared_path / "small.pt2")
    plugged = f'[encoders.plug]\nplugin = "{plugin}"\n\n[finetune.plugged]\nfrom = "encoders.plug"\n'
    plugged += small_run.TRAINING.format(stage="finetune.plugged", steps=8)
    for run in (there, here):
        run.path.write_text(run.path.read_text() + small_run.HEIR + plugged)
    on_two = box.run(*SRUN, CSKD, "run", there.path, *ELASTIC, *BOTH_ELASTIC)
    assert on_two.returncode == 0, on_two.stderr
    on_one = cskd_program.mpirun(2, "run", here.path, *ELASTIC, *BOTH_ELASTIC)
    assert on_one.returncode == 0, on_one.stderr
    files = [
        str(path.relative_to(here.folder))
        for pattern in ("shards/*.h5", "cache/*/*.h5", "*/*/model.safetensors", "evaluate/predictions.csv")
        for path in sorted(here.folder.glob(pattern))
    ]
    assert len(files) > 20 and sum(name.endswith("model.safetensors") for name in files) == 7
    assert [stage_runs.digest(there.folder / name) for name in files] == [
        stage_runs.digest(here.folder / name) for name in files
    ]


def test_a_source_that_changed_is_packed_again_on_two_hosts(box, shared_path):
    packing_runs.save_photos(shared_path / "a", range(20))
    config = packing_runs.folder_config(shared_path, [("a", "folder", shared_path / "a", "")])
    assert box.run(*SRUN, CSKD, "shard", config).returncode == 0
    (shared_path / "a" / "0003.jpg").unlink()
    packing_runs.photo(50).save(shared_path / "a" / "0004.jpg", quality=90)
    process = box.run(*SRUN, CSKD, "shard", config)
    assert process.returncode == 0 and "1 changed, 0 relabelled, 1 gone" in process.stderr, process.stderr
    assert {key: sample[1] for key, sample in packing_runs.samples(shared_path / "run").items()} == {
        ("a", file.name): file.read_bytes() for file in (shared_path / "a").iterdir()
    }


@pytest.mark.rotating(2)
def test_a_signal_to_one_rank_stops_packing_and_caching_everywhere(box, material, shared_path):
    run = Run(material, shared_path)
    assert box.run(*SRUN, CSKD, "shard", run.path, *SMALL_SHARDS).returncode == 0
    caches = lambda: len(list(run.folder.glob("cache/*/*.h5")))
    ended = Ended(
        box, [*SRUN, CSKD, "cache", run.path, *SMALL_SHARDS], lambda: caches() > 1, lambda: kill(box, 1, signal.SIGUSR1)
    )
    assert ended.code == 75, ended.errors
    done = caches()
    assert done < len(list(run.folder.glob("shards/*.h5"))) - 2
    assert box.run(*SRUN, CSKD, "cache", run.path, *SMALL_SHARDS).returncode == 0
    assert caches() > done


def test_a_stopped_training_goes_on_bit_for_bit(box, cached, material, shared_path):
    run, whole = Run(material, shared_path), Run(material, shared_path, "whole")
    slower = [*ELASTIC, "--set", "align.student.training.steps=24", "--set", "align.student.training.global_batch=32"]
    for folder in (run.folder, whole.folder):
        shutil.copytree(cached, folder)
    assert cskd_program.mpirun(2, "align", whole.path, *slower).returncode == 0
    ended = Ended(box, [*SRUN, CSKD, "align", run.path, *slower], run.is_training, lambda: kill(box, 1, signal.SIGUSR1))
    assert ended.code == 75, ended.errors
    assert run.status()["state"] == "stopped"
    assert box.run(*SRUN, CSKD, "align", run.path, *slower).returncode == 0
    assert stage_runs.digest(run.folder / "align/student/model.safetensors") == stage_runs.digest(
        whole.folder / "align/student/model.safetensors"
    )
    assert run.status()["goodput"]["starts"] == 2 and run.status()["goodput"]["lost_steps"] == 0


def test_towers_in_each_step_a_queue_and_an_analysis_on_two_hosts(box, cached, material, shared_path):
    there, here = Run(material, shared_path, "there"), Run(material, shared_path, "here")
    words = [*ELASTIC, "--set", "align.student.token_cosine_weight=1"]
    words += ["--set", "align.student.relational={weight=1, queue=19}"]
    models = ["towers.clip", "align.student"]
    for run in (there, here):
        shutil.copytree(cached, run.folder)
    for command, names in (("align", []), ("analyze", models)):
        process = box.run(*SRUN, CSKD, command, there.path, *names, *words)
        assert process.returncode == 0, process.stderr
        assert cskd_program.mpirun(2, command, here.path, *names, *words).returncode == 0
    one, other = (json.loads((run.folder / "analyze/analysis.json").read_text()) for run in (there, here))
    assert one["models"] == other["models"] and len(one["models"]) == 2
    model = "align/student/model.safetensors"
    assert stage_runs.digest(there.folder / model) == stage_runs.digest(here.folder / model)
    process = box.run(*SRUN, CSKD, "inspect", there.folder / "cache/clip", "--verify")
    assert process.returncode == 0 and "32 views computed again" in process.stdout, process.stderr


def test_silent_singletons_are_refused(box, material, shared_path):
    run = Run(material, shared_path)
    process = box.run("srun", "--mpi=none", "-N2", "-n2", CSKD, "shard", run.path)
    assert process.returncode == 2
    assert "start them with 'srun --mpi=pmix cskd ...'" in process.stderr
    assert not run.folder.exists()


def test_a_run_folder_that_is_not_shared_is_refused(box, material, shared_path):
    run = Run(material, shared_path)
    process = box.run(*SRUN, CSKD, "shard", run.path, "--set", "run.folder=/tmp/cskd-not-shared")
    assert process.returncode == 2, process.stderr
    assert "/tmp/cskd-not-shared/logs is a different folder on n2 than on n1, or does not exist there" in process.stderr
    for host in ("n1", "n2"):
        box.on(host, "rm", "-rf", "/tmp/cskd-not-shared")


def test_hosts_with_different_configurations_are_refused(box, material, shared_path):
    run = Run(material, shared_path)
    script = shared_path / "rank.sh"
    script.write_text(f"#!/bin/sh\nexec {CSKD} shard {run.path} --set run.seed=$((1 + SLURM_PROCID))\n")
    script.chmod(0o755)
    process = box.run(*SRUN, script)
    assert process.returncode == 2, process.stderr
    assert "run.seed" in process.stderr and "rank 1" in process.stderr


@pytest.mark.rotating(2)
def test_a_stopped_process_is_no_loss_within_the_limit(box, cached, material, shared_path):
    run = Run(material, shared_path)
    shutil.copytree(cached, run.folder)

    def pause() -> None:
        kill(box, 1, signal.SIGSTOP)
        time.sleep(5)
        step = run.status()["step"]
        kill(box, 1, signal.SIGCONT)
        wait_for(lambda: run.is_training("align.student", step + 3))
        kill(box, 0, signal.SIGUSR1)

    ended = Ended(box, [*SRUN, CSKD, "align", run.path, *ENDLESS], run.is_training, pause)
    assert ended.code == 75, ended.errors
