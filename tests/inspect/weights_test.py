"""`cskd inspect` of weight files: what they hold, whether their numbers are finite, and those that are none."""

import json

import pytest
import safetensors.torch
import timm
import torch

from cskd_program import run


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return timm.create_model("resnet18").state_dict()


def save(path, tensors):
    safetensors.torch.save_file(tensors, path)
    return path


def test_a_classifier_of_timm_is_recognised(tmp_path, resnet):
    path = save(tmp_path / "r.safetensors", resnet)
    shown = run("inspect", path)
    assert shown.returncode == 0, shown.stderr
    assert f"timm resnet18, {len(resnet) - 2} of {len(resnet)} tensors used, classifier left out" in shown.stdout
    assert "224 x 224 pixels" in shown.stdout and "512 pooled; 7 x 7 tokens of 512" in shown.stdout
    assert "not read; --verify" in shown.stdout

    report = json.loads(run("inspect", path, "--json", "--verify").stdout)
    assert [encoder["name"] for encoder in report["encoders"]] == ["resnet18"]
    assert report["numbers"] == sum(tensor.numel() for tensor in resnet.values())
    assert report["not_finite"] == []


def test_numbers_that_are_not_finite_are_found(tmp_path, resnet):
    damaged = {name: tensor.clone() for name, tensor in resnet.items()}
    damaged["layer2.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    shown = run("inspect", save(tmp_path / "r.safetensors", damaged), "--verify")
    assert shown.returncode == 3
    assert "NaN or infinite in 1 tensors: layer2.0.conv1.weight" in shown.stdout


def test_two_towers_of_the_same_tensors_are_both_named(tmp_path):
    import open_clip

    model = open_clip.create_model("ViT-B-32", pretrained=None)
    path = save(tmp_path / "clip.safetensors", {k: v.contiguous() for k, v in model.state_dict().items()})
    shown = run("inspect", path)
    assert "open_clip ViT-B-32, " in shown.stdout and "open_clip ViT-B-32-quickgelu, " in shown.stdout
    assert "text tower" in shown.stdout and "an activation is not in a file" in shown.stdout


def test_what_is_no_encoder(tmp_path):
    path = save(tmp_path / "x.safetensors", {"decoder.weight": torch.zeros(2), "b\n\x1b[31m": torch.zeros(1)})
    shown = run("inspect", path)
    assert shown.returncode == 0
    assert "no encoder that cskd knows" in shown.stdout and "\x1b" not in shown.stdout

    torch.save({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    refused = run("inspect", path)
    assert refused.returncode == 3
    assert "pickle" in refused.stderr and "torch.load" in refused.stderr


def test_a_file_without_tensors_is_no_encoder(tmp_path):
    path = save(tmp_path / "empty.safetensors", {})
    shown = run("inspect", path)
    assert shown.returncode == 0, shown.stderr
    assert "no encoder that cskd knows" in shown.stdout
