"""The stored demo teacher: its file, its agreement with open_clip, and what it sees beyond statistics."""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from open_clip.transformer import VisionTransformer
from safetensors.torch import load_file
from scipy.stats import spearmanr

from cskd_program import run
from probe_teacher import features_to_compare, out_of_fold, rated_pictures
from teacher_network import HEADS, LAYERS, MLP, PATCH, SHARED, SIDE, WEIGHTS, WIDTH, load_teacher, normalised

IMAGES = 3000  # a fifth of them rated


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_file_is_small_and_says_where_it_comes_from():
    assert WEIGHTS.stat().st_size <= 8 * 2**20
    with open(WEIGHTS, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    facts = header.pop("__metadata__")
    assert facts["encoder"] == "ViT-demo-16" and "train_teacher.py" in facts["trained_with"]
    assert {entry["dtype"] for entry in header.values()} == {"F16"}
    assert all(name.startswith("visual.") for name in header)
    assert all(torch.isfinite(tensor).all() for tensor in load_file(WEIGHTS).values())


def test_open_clip_reads_it_and_computes_the_same():
    home = VisionTransformer(
        image_size=SIDE,
        patch_size=PATCH,
        width=WIDTH,
        layers=LAYERS,
        heads=HEADS,
        mlp_ratio=MLP / WIDTH,
        output_dim=SHARED,
        output_tokens=True,
    )
    home.load_state_dict(
        {name.removeprefix("visual."): tensor.float() for name, tensor in load_file(WEIGHTS).items()}, strict=True
    )
    images = normalised(np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8))
    with torch.no_grad():
        pooled, projected = load_teacher()(images)
        torch.testing.assert_close(projected, home.eval()(images)[0], rtol=1e-4, atol=1e-4)
        home.proj = None
        torch.testing.assert_close(pooled, home(images)[0], rtol=1e-4, atol=1e-4)


def test_its_features_tell_more_of_the_taste_than_statistics_and_a_random_network(tmp_path):
    result = run("demo", tmp_path / "corpus", "--images", IMAGES, "--seed", 77, timeout=300)
    assert result.returncode == 0, result.stderr
    paths, scores, _ = rated_pictures(tmp_path / "corpus")
    found = {
        name: spearmanr(out_of_fold(features, scores), scores).statistic
        for name, features in features_to_compare(paths).items()
    }
    assert found["teacher"] > found["statistics of pixels"] + 0.3, found
    assert found["teacher"] > found["random network"] + 0.3, found


@pytest.mark.rotating(3)
def test_training_gives_the_same_file_each_time(tmp_path):
    """The command that made the stored file, for a few steps, in one go and stopped on the way: all that it draws follows
    from its options."""
    files = []
    for name, stops in (("one", []), ("two", [["--until", "3"]])):
        command = [
            sys.executable,
            pathlib.Path(__file__).with_name("train_teacher.py"),
            tmp_path / name,
            "--out",
            tmp_path / f"{name}.safetensors",
            "--images",
            "300",
            "--steps",
            "4",
            "--batch",
            "32",
            "--held-out",
            "50",
            "--threads",
            "1",
        ]
        for stop in stops:
            subprocess.run([*command, *stop], check=True, timeout=280, stdout=subprocess.DEVNULL)
            assert not (tmp_path / f"{name}.safetensors").exists()
        subprocess.run(command, check=True, timeout=280, stdout=subprocess.DEVNULL)
        files.append(load_file(tmp_path / f"{name}.safetensors"))
    assert files[0].keys() == load_file(WEIGHTS).keys() == files[1].keys()
    assert all(torch.equal(tensor, files[1][name]) for name, tensor in files[0].items())
    load_teacher(tmp_path / "one.safetensors")
