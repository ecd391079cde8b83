"""One encoder of each family as ONNX: what ONNX Runtime computes equals LibTorch, for any number of pictures."""

import os
import subprocess
from pathlib import Path

import numpy
import onnxruntime
import pytest

PROGRAM = Path(os.environ["CSKD_BUILD_DIR"]) / "export_encoder"
ENCODERS = [
    "mobilenetv3_small_100",
    "mobilenetv2_100",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "efficientnet_lite0",
    "mobileone_s0",
    "fastvit_t8",
    "resnet18",
    "RN50",
    "convnext_atto",
    "convnextv2_atto",
    "vit_tiny_patch16_224",
    "ViT-B-32-quickgelu",
    "vit_base_patch16_siglip_224",
    "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
    "vit_relpos_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
]


@pytest.mark.rotating(3)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_onnx_runtime_gives_the_same(encoder, tmp_path):
    subprocess.run([PROGRAM, encoder, tmp_path], check=True, timeout=300)
    model = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    side = model.get_inputs()[0].shape[2]
    images = numpy.fromfile(tmp_path / "images", numpy.float32).reshape(4, 3, side, side)
    expected = numpy.fromfile(tmp_path / "outputs", numpy.float32).reshape(4, -1)
    # Networks of random weights may hardly tell images apart: what they tell has to be right, too.
    told = numpy.ptp(expected, axis=0).max()
    tolerance = min(2e-5 * abs(expected).max(), 0.05 * told)
    assert told > 0
    for count in (4, 1):
        (found,) = model.run(None, {"images": images[:count]})
        numpy.testing.assert_allclose(found, expected[:count], atol=tolerance)
