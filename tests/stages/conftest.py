"""A small corpus, a CLIP tower with random weights, and a configuration that trains in seconds."""

import shutil

import cskd_program
import pytest
import stage_runs
import torch
from safetensors.torch import save_file


def random_tower(path, seed):
    """Weights in open_clip's names for ViT-demo-16."""
    generator = torch.Generator().manual_seed(seed)
    width, layers, mlp, tokens, patch = 192, 6, 768, 65, 16

    def random(*shape, scale=0.05):
        return (torch.randn(*shape, generator=generator) * scale).half()

    weights = {"visual.class_embedding": random(width), "visual.positional_embedding": random(tokens, width),
               "visual.conv1.weight": random(width, 3, patch, patch), "visual.proj": random(width, 128)}
    norms = ["ln_pre", "ln_post"]
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        weights[f"visual.{block}.attn.in_proj_weight"] = random(3 * width, width)
        weights[f"visual.{block}.attn.in_proj_bias"] = random(3 * width)
        for name, (rows, columns) in {"attn.out_proj": (width, width), "mlp.c_fc": (mlp, width), "mlp.c_proj": (width, mlp)}.items():
            weights[f"visual.{block}.{name}.weight"] = random(rows, columns)
            weights[f"visual.{block}.{name}.bias"] = random(rows)
    for norm in norms:
        weights[f"visual.{norm}.weight"] = 1 + random(width)
        weights[f"visual.{norm}.bias"] = random(width)
    save_file(weights, path)


TRAINING = """
[{stage}.training]
steps = {steps}
global_batch = 16
micro_batches = 4
learning_rate = 1e-3
warmup_steps = 2
checkpoint_every = 4
log_every = 2
"""


def configuration(corpus, weights, folder, fraction=0.75, steps=8):
    text = f'[run]\nfolder = "{folder}"\nmin_free = 0\n'
    for name, kind in [("coast", "folder"), ("city", "folder"), ("studio", "folder"), ("archive", "webdataset"), ("rated", "ava")]:
        text += f'\n[[sources]]\nname = "{name}"\nkind = "{kind}"\npath = "{corpus / name}"\n'
    text += f"""
[labels]
fraction = {fraction}

[packing]
max_samples = 32
max_fault_rate = 0.2

[clip]
encoder = "ViT-demo-16"
weights = "{weights}"

[cache]
views = 2

[align]
encoder = "mobilenetv3_small_100"
image_size = 64

[finetune]
encoder = "ViT-demo-16"
start = "clip"

[evaluate]
resamples = 100

[compute]
precision = "fp32"
memory_format = "channels_last"
"""
    for stage in ("align", "finetune", "baseline", "distill"):
        text += TRAINING.format(stage=stage, steps=steps)
    return text


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "demo"
    process = cskd_program.run("demo", folder, "--images", 200)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tower.safetensors"
    random_tower(path, seed=1)
    return path


@pytest.fixture
def config(corpus, weights, tmp_path):
    """Writes a configuration into the test's folder: config(name="a", steps=8) -> (its path, its run folder)."""

    def write(name="run", **changes):
        path = tmp_path / f"{name}.toml"
        path.write_text(configuration(corpus, changes.pop("weights", weights), tmp_path / name, **changes))
        return path, tmp_path / name

    return write


@pytest.fixture(scope="session")
def cached(corpus, weights, tmp_path_factory):
    """A run folder whose shard and cache stages are complete; copy it before use."""
    folder = tmp_path_factory.mktemp("cached")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    for stage in ("shard", "cache"):
        process = cskd_program.mpirun(2, stage, path)
        assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def trained(cached, corpus, weights, tmp_path_factory):
    """A run folder whose trainings were never disturbed (EVERY_STEP); copy it before use."""
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    shutil.copytree(cached, folder / "run")
    for stage in stage_runs.TRAININGS:
        process = cskd_program.mpirun(2, stage, path, *stage_runs.EVERY_STEP)
        assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def whole(corpus, weights, tmp_path_factory):
    """What an undisturbed run of all stages on two ranks gives (EVERY_STEP)."""
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "config.toml"
    path.write_text(configuration(corpus, weights, folder / "run"))
    process = cskd_program.mpirun(2, "run", path, *stage_runs.EVERY_STEP)
    assert process.returncode == 0, process.stderr
    return stage_runs.whole_result(folder / "run")
