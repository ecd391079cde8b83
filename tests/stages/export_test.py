"""Exported files: ONNX Runtime and Python compute what cskd does, on real pictures."""

import json
import re
import shutil
import subprocess
import sys

import numpy
import onnx
import onnxruntime
import pandas
import pytest
from cskd_program import mpirun, run
from PIL import Image
from safetensors import safe_open
from small_run import configuration
from stage_runs import OPINIONATED, digest

EXPORTS = """
[export.plain]
from = "finetune.supervised"

[export.half]
from = "finetune.supervised"
precision = "fp16"
input = "pixels"

[export.small]
from = "finetune.supervised"
precision = "int8"
calibration_pictures = 32
int8_deviation = 1000

[export.careful]
from = "finetune.supervised"
precision = "int8"
calibration_pictures = 32
int8_deviation = 0.02
"""
# The last digits of what is measured depend on the number of threads.
ONE_THREAD = [*OPINIONATED, "--set", "compute.threads=1"]
NAMES = ("plain", "half", "small", "careful")


@pytest.fixture(scope="module")
def exported(opinionated, corpus, weights, tmp_path_factory):
    """Configuration and run folder: all three files were made on two ranks."""
    path, folder = (tmp_path_factory.mktemp("exported") / name for name in ("config.toml", "run"))
    shutil.copytree(opinionated, folder)
    path.write_text(configuration(corpus, weights, folder) + EXPORTS)
    process = mpirun(2, "export", path, *ONE_THREAD)
    assert process.returncode == 0, process.stderr
    assert f"{folder}/export/small/model.onnx: int8" in process.stdout
    process = run("evaluate", path, *OPINIONATED, "--set", 'evaluate.models=["finetune.supervised"]')
    assert process.returncode == 0, process.stderr
    return path, folder


def session(folder, name):
    file = folder / "export" / name / "model.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def normalised(pixels, metadata):
    mean, std = (numpy.float32(metadata[key].split(",")) for key in ("mean", "std"))
    return ((pixels.astype(numpy.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)


def test_pictures(corpus, folder):
    """Of the test split: names, pixels as Pillow squeezes them, and the scores of cskd."""
    scores = pandas.read_csv(folder / "evaluate/predictions.csv").set_index("picture")["predicted_mean"]
    files = {key: corpus / "rated/images" / key.split("/", 1)[1] for key in scores.index}
    squeezed = [
        numpy.asarray(Image.open(file).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
        for file in files.values()
    ]
    assert numpy.ptp(scores) > 0.2  # or equal scores say nothing
    return list(files.values()), numpy.stack(squeezed), scores.to_numpy()


test_pictures.__test__ = False


def test_onnx_runtime_scores_real_pictures_as_cskd_does(exported, corpus):
    _, folder = exported
    _, pixels, scores = test_pictures(corpus, folder)
    assert len(scores) > 3
    model = session(folder, "plain")
    metadata = model.get_modelmeta().custom_metadata_map
    assert metadata["bin_centres"] == "1,2,3,4,5,6,7,8,9,10" and metadata["image_size"] == "64"
    score, spread, distribution = model.run(None, {"pixels": normalised(pixels, metadata)})
    numpy.testing.assert_allclose(score, scores, atol=1e-4)
    numpy.testing.assert_allclose(distribution.sum(1), 1, atol=1e-5)
    centres = numpy.arange(1, 11)
    numpy.testing.assert_allclose(
        spread, numpy.sqrt((distribution * (centres - score[:, None]) ** 2).sum(1)), atol=1e-4
    )
    # One by one, too: the number of images is free.
    one = model.run(None, {"pixels": normalised(pixels[:1], metadata)})[0]
    numpy.testing.assert_allclose(one, scores[:1], atol=1e-4)
    half = session(folder, "half").run(None, {"pixels": pixels})[0]
    numpy.testing.assert_allclose(half, scores, atol=1e-2)


def test_what_rounding_costs_is_told(exported, corpus):
    _, folder = exported
    _, pixels, scores = test_pictures(corpus, folder)
    for name in NAMES:
        facts = json.loads((folder / "export" / name / "complete.json").read_text())["facts"]
        assert facts["model"]["n"] == len(scores)
        model = session(folder, name)
        given = pixels if name == "half" else normalised(pixels, model.get_modelmeta().custom_metadata_map)
        found = model.run(None, {"pixels": given})[0]
        # ONNX Runtime loses what cskd said that would be lost.
        assert abs(found - scores).max() == pytest.approx(facts["greatest_difference"], rel=0.5, abs=5e-3), name
    small, plain = ((folder / "export" / name / "model.onnx").stat().st_size for name in ("small", "plain"))
    assert small < 0.4 * plain
    operators = {node.op_type for node in onnx.load(folder / "export/small/model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} < operators and "BatchNormalization" not in operators


def test_what_costs_most_stays_in_float32(exported, corpus):
    _, folder = exported
    _, pixels, scores = test_pictures(corpus, folder)
    found, integers, facts = {}, {}, {}
    for name in ("small", "careful"):
        facts[name] = json.loads((folder / "export" / name / "complete.json").read_text())["facts"]
        model = session(folder, name)
        given = normalised(pixels, model.get_modelmeta().custom_metadata_map)
        found[name] = numpy.sqrt(((model.run(None, {"pixels": given})[0] - scores) ** 2).mean())
        graph = onnx.load(folder / "export" / name / "model.onnx").graph
        from_int8 = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        products = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        integers[name] = sum(node.input[1] in from_int8 for node in products), len(products)
    assert facts["small"]["float32_products"] == 0 and integers["small"][0] == integers["small"][1]
    left = facts["careful"]["float32_products"]
    assert integers["careful"] == (integers["small"][1] - left, integers["small"][1])
    assert facts["careful"]["deviation"] <= 0.02 or left == integers["small"][1] // 2
    assert 0 < left and facts["careful"]["deviation"] < facts["small"]["deviation"]
    assert found["careful"] < found["small"]


def test_the_cards_python_runs(exported, corpus):
    _, folder = exported
    files, _, scores = test_pictures(corpus, folder)
    for name in ("plain", "half"):
        card = (folder / "export" / name / "model_card.md").read_text()
        code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        assert len(code.splitlines()) <= 12
        printed = subprocess.run(
            [sys.executable, "-c", code, files[0]],
            cwd=folder / "export" / name,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert float(printed) == pytest.approx(scores[0], abs=1e-2 if name == "half" else 2e-4)
        assert "| model.onnx, " in card and "## Limits" in card


def test_weights_hold_all_that_scoring_needs(exported):
    _, folder = exported
    with safe_open(folder / "export/plain/model.safetensors", "pt") as file:
        metadata = file.metadata()
        names = set(file.keys())
    with safe_open(folder / "finetune/supervised/model.safetensors", "pt") as file:
        assert names == set(file.keys())
    assert metadata["bin_centres"] == "1,2,3,4,5,6,7,8,9,10" and metadata["model"] == "finetune.supervised"


def test_the_same_bytes_on_any_ranks_and_after_a_kill(exported):
    path, folder = exported
    files = [
        folder / "export" / name / file
        for name in NAMES
        for file in ("model.onnx", "model.safetensors", "model_card.md")
    ]
    before = [digest(file) for file in files]
    assert run("export", path, *ONE_THREAD).stderr.count("complete already") == len(NAMES)
    for file in files:
        file.unlink()
    process = run("export", path, "small", *ONE_THREAD, env={"CSKD_FAIL_AT": "stage.model:kill"})
    assert process.returncode == -9 and not files[-3].exists()
    process = run("export", path, *ONE_THREAD)
    assert process.returncode == 0, process.stderr
    assert [digest(file) for file in files] == before


def test_what_cannot_be_exported(exported):
    path, _ = exported
    process = run("export", path, *ONE_THREAD, "--set", 'export.plain.from="align.student"')
    assert process.returncode == 2 and "export.plain.from" in process.stderr, process.stderr
    process = run("export", path, *ONE_THREAD, "--set", "export.small.calibration_pictures=1")
    assert process.returncode == 2 and "calibration_pictures" in process.stderr
