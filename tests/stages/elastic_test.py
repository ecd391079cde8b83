"""determinism = "elastic": the same bits on any number of ranks, and across stops and resumes between them."""

import shutil

import pytest
from cskd_program import mpirun
from safetensors.torch import load_file
from stage_runs import EVERY_STEP, copied, result, whole_result

STEPS = 50
# A CNN with BatchNorm and dropout, and a transformer.
ENCODERS = {"mobilenetv3_small_100": 64, "ViT-demo-16": 128}


def arguments(encoder, steps=STEPS, determinism="elastic"):
    changes = {
        "encoders.mobile.architecture": encoder,
        "encoders.mobile.image_size": ENCODERS[encoder],
        "align.student.training.determinism": determinism,
        "align.student.training.steps": steps,
        "align.student.training.log_every": 1,
        "align.student.training.micro_batches": 8,
        "align.student.training.feature_dropout": 0.2,
        "compute.threads": 1,
        "align.student.training.check_every": 3,
    }
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


@pytest.mark.rotating(2)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_weights_and_losses_are_bitwise_equal_on_1_2_and_4_ranks(cached, config, encoder):
    found = {}
    for ranks in (1, 2, 4):
        path, folder = copied(cached, config, f"ranks{ranks}")
        process = mpirun(ranks, "align", path, *arguments(encoder))
        assert process.returncode == 0, process.stderr
        found[ranks] = result(folder, step=STEPS)
    assert found[1] == found[2] == found[4]
    assert len(found[1].losses) == STEPS
    # Not because any order gives these bits: one rank that adds from left to right has others.
    path, folder = copied(cached, config, "fast")
    process = mpirun(1, "align", path, *arguments(encoder, determinism="fast"))
    assert process.returncode == 0, process.stderr
    assert result(folder, step=STEPS).state != found[1].state


def test_a_whole_run_has_the_same_bits_on_any_number_of_ranks(config, whole):
    for ranks in (1, 4):
        path, folder = config(f"whole{ranks}")
        process = mpirun(ranks, "run", path, *EVERY_STEP)
        assert process.returncode == 0, process.stderr
        assert whole_result(folder) == whole


@pytest.mark.rotating(2)
def test_it_goes_on_with_any_number_of_ranks(cached, config):
    plain_path, plain = copied(cached, config, "plain")
    assert mpirun(1, "align", plain_path, *arguments("mobilenetv3_small_100")).returncode == 0
    path, folder = copied(cached, config, "moved")
    for ranks, stop in ((1, 3), (2, 3), (4, 3), (1, None)):
        env = {"CSKD_FAIL_AT": f"trainer.step:{stop}:term"} if stop else {}
        process = mpirun(ranks, "align", path, *arguments("mobilenetv3_small_100"), env=env)
        assert process.returncode == (75 if stop else 0), process.stderr
    assert result(folder, step=STEPS) == result(plain, step=STEPS)


@pytest.mark.rotating(2)
def test_statistics_of_batchnorm_are_updated_once_a_step(cached, config):
    """By the mean over all micro-batches, whatever the number of ranks: as many updates as steps."""
    path, folder = copied(cached, config, "statistics")
    process = mpirun(2, "align", path, *arguments("mobilenetv3_small_100"))
    assert process.returncode == 0, process.stderr
    weights = load_file(folder / "align/student" / "checkpoints" / f"step-{STEPS:09}" / "model.safetensors")
    counters = [int(tensor) for name, tensor in weights.items() if name.endswith("num_batches_tracked")]
    assert counters and set(counters) == {STEPS}


def test_a_number_of_ranks_without_a_tree_is_refused(cached, config):
    path, folder = copied(cached, config, "three")
    process = mpirun(
        3,
        "align",
        path,
        *arguments("ViT-demo-16"),
        "--set",
        "align.student.training.micro_batches=6",
        "--set",
        "align.student.training.global_batch=12",
    )
    assert process.returncode == 2, process.stderr
    assert "align.student.training.determinism is elastic, which needs 1, 2, 4, 8, ... ranks, not 3" in process.stderr
    process = mpirun(
        2, "align", path, *arguments("ViT-demo-16"), "--set", "align.student.training.compress_gradients=true"
    )
    assert process.returncode == 2, process.stderr
    assert not (folder / "align/student" / "model.safetensors").exists()


@pytest.mark.rotating(2)
def test_compressed_gradients_train_almost_alike(cached, config):
    losses = []
    for compress in ("false", "true"):
        path, folder = copied(cached, config, f"compress{compress}")
        process = mpirun(
            2,
            "align",
            path,
            *arguments("ViT-demo-16", determinism="fast"),
            "--set",
            f"align.student.training.compress_gradients={compress}",
        )
        assert process.returncode == 0, process.stderr
        losses.append(result(folder, step=STEPS).losses)
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_ranks_with_different_configurations_are_refused(cached, config):
    """The names of the key and of the rank; nothing is touched."""
    path, folder = copied(cached, config, "one")
    other = path.with_name("other.toml")
    other.write_text(path.read_text().replace("learning_rate = 1e-3", "learning_rate = 2e-3", 1))
    script = path.with_name("start.sh")
    script.write_text(
        f'#!/bin/sh\nif [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then exec "$CSKD_BINARY" align "{other}"; fi\nexec "$CSKD_BINARY" align "{path}"\n'
    )
    script.chmod(0o755)
    import cskd_program

    command, cskd_program.CSKD = cskd_program.CSKD, str(script)
    try:
        process = mpirun(2)
    finally:
        cskd_program.CSKD = command
    assert process.returncode == 2, process.stderr
    assert "align.student.training.learning_rate is '0.001' on rank 0 and '0.002' on rank 1" in process.stderr, (
        process.stderr
    )
    assert not (folder / "align/student" / "checkpoints").exists()
    shutil.rmtree(folder)
