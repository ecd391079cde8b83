"""`cskd analyze`: its figures are those of open_clip and NumPy, the same on any number of ranks."""

import csv
import io
import json
import math
import re

import h5py
import numpy
import pytest
import torch
from analysis_runs import MODELS, ONE_THREAD, PROBED, analysed, findings
from cskd_program import mpirun, run
from safetensors.torch import load_file, safe_open, save_file
from scipy.spatial.distance import cdist, pdist
from stage_runs import copied
from torch_tower import batch_of, rows_of, transformer

# Sums of ranks are added in another order.
ROUNDING = 1e-6


def model_of(document, name):
    return next(model for model in document["models"] if model["model"] == name)


def pictures_of(folder, split):
    return [image for image, *_ in rows_of(folder, lambda file: f"-{split}-" in file)]


@pytest.fixture(scope="module")
def tower_features(whole, weights):
    """What open_clip's own tower makes of all unlabelled pictures: pooled features, queries and keys of each layer."""
    model = transformer(load_file(weights), 128)
    seen = []
    for block in model.transformer.resblocks:
        block.ln_1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        pooled = model(batch_of(pictures_of(whole[1], "unlabelled"), 128))[0].numpy().astype("f8")
        maps = []
        for block, tokens in zip(model.transformer.resblocks, seen, strict=True):
            both = torch.nn.functional.linear(tokens, block.attn.in_proj_weight, block.attn.in_proj_bias)
            queries, keys, _ = (part.unflatten(2, (3, 64)).transpose(1, 2)[:, :, 1:] for part in both.chunk(3, -1))
            maps.append(torch.softmax(queries @ keys.transpose(2, 3) / 8, -1).numpy())
    return pooled, maps


def test_the_towers_figures_are_those_of_open_clip(whole, tower_features):
    """All unlabelled pictures, cut and resized by Pillow."""
    pooled, maps = tower_features
    document = findings(whole[1])
    assert document["pictures"]["measured"] == len(pooled)
    tower = model_of(document, "towers.clip")
    # Pillow's JPEG decoder is another build: pixels differ by a step here and there.
    close = {"rtol": 5e-3}
    values = numpy.linalg.svd(pooled, compute_uv=False)
    shares = values / values.sum() + 1e-7
    numpy.testing.assert_allclose(tower["singular_values"][:20], values[:20], **close)
    numpy.testing.assert_allclose(tower["rank_me"], numpy.exp(-(shares * numpy.log(shares)).sum()), **close)
    unit = pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)
    numpy.testing.assert_allclose(tower["direction_std"], unit.std(0).mean(), **close)
    numpy.testing.assert_allclose(tower["uniformity"], numpy.log(numpy.exp(-2 * pdist(unit) ** 2).mean()), **close)
    places = numpy.stack(numpy.meshgrid(range(8), range(8), indexing="ij"), -1).reshape(-1, 2)
    assert len(tower["attention"]) == len(maps) == 6
    for layer, found in zip(maps, tower["attention"], strict=True):
        distance = (layer * cdist(places, places) * 16).sum(-1).mean((0, 2))
        numpy.testing.assert_allclose([head["distance_pixels"] for head in found["heads"]], distance, **close)
        diagonal = 7 * math.sqrt(2) * 16
        numpy.testing.assert_allclose([head["distance"] for head in found["heads"]], distance / diagonal, **close)
        entropy = -(layer * numpy.log(layer)).sum(-1).mean((0, 2))
        numpy.testing.assert_allclose([head["entropy"] for head in found["heads"]], entropy, **close)
        numpy.testing.assert_allclose(
            [head["entropy_share"] for head in found["heads"]], entropy / math.log(64), **close
        )
        assert sum(found["histogram"]) == pytest.approx(1)


def test_every_model_is_told_of(whole):
    document = findings(whole[1])
    assert [model["model"] for model in document["models"]] == MODELS
    assert [model["is_trained"] for model in document["models"]] == [True, False, True, True, True, True]
    for model in document["models"]:
        assert 1 <= model["rank_me"] <= model["rank_me_limit"] * 1.01
        assert 0 < model["direction_std"] <= model["direction_std_limit"] * 1.0001
        assert -8 <= model["uniformity"] <= 0
        assert 0 <= model["cka"]["towers.clip"] <= 1.000001
        has_attention = model["encoder"].startswith("ViT")
        assert bool(model["attention"]) == has_attention and (model["no_attention"] is None) == has_attention
        # The grid of a MobileNet at 64 pixels; the tower's tokens are pooled to it.
        assert model["affinity"]["grid"] == 2
        assert model["probes"][0]["reason"] is None and model["probes"][0]["labels"] > 10
        assert -1 <= model["probes"][0]["linear_srcc"]["low"] <= model["probes"][0]["linear_srcc"]["high"] <= 1
    assert model_of(document, "towers.clip")["cka"]["towers.clip"] == pytest.approx(1)
    assert 0 < len(document["shown"]) <= 4


def test_table_and_csv_tell_the_same(whole):
    _, folder, process = whole
    document = findings(folder)
    rows = list(csv.DictReader(io.StringIO((folder / "analyze/analysis.csv").read_text())))
    for model in document["models"]:
        own = [row for row in rows if row["model"] == model["model"]]
        for figure in ("rank_me", "direction_std", "uniformity"):
            (value,) = [float(row["value"]) for row in own if row["figure"] == figure]
            assert value == pytest.approx(model[figure], rel=1e-8)
        distances = [float(row["value"]) for row in own if row["figure"] == "attention_distance"]
        assert distances == pytest.approx(
            [head["distance"] for layer in model["attention"] for head in layer["heads"]], rel=1e-8
        )
        assert re.search(rf"{re.escape(model['model'])} +{model['rank_me']:.1f} ", process.stdout), process.stdout
    assert str(folder / "analyze/analysis.html") in process.stdout


def same(first, second, path=""):
    """Equal but for rounding; what is far below the largest singular value is rounding itself."""
    assert type(first) is type(second), path
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            same(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), path
        least = 1e-6 * first[0] if path.endswith("singular_values") and first else 0
        for place, (one, other) in enumerate(zip(first, second)):
            if abs(one if isinstance(one, float) else 1) > least:
                same(one, other, f"{path}[{place}]")
    elif isinstance(first, float):
        # Standard deviations come from differences of squares.
        assert first == pytest.approx(second, rel=ROUNDING, abs=1e-6 if path.endswith("_std") else 1e-9), path
    else:
        assert first == second, path


@pytest.mark.rotating(2)
@pytest.mark.parametrize("ranks", [2, 4])
def test_figures_are_the_same_on_any_number_of_ranks(whole, trained, config, ranks):
    path, folder = copied(trained, config, "ranks")
    analysed(path, *PROBED, *ONE_THREAD, ranks=ranks)
    same(findings(whole[1]), findings(folder))


def test_a_second_start_does_nothing_and_other_settings_make_it_again(whole):
    path, folder, _ = whole
    before = (folder / "analyze/analysis.json").stat().st_mtime_ns
    process = analysed(path, *PROBED, *ONE_THREAD, "--json")
    assert json.loads(process.stdout) == findings(folder)
    assert "complete already" in process.stderr
    assert (folder / "analyze/analysis.json").stat().st_mtime_ns == before


def test_models_are_chosen_by_name(trained, config):
    path, folder = copied(trained, config, "chosen")
    analysed(path, "align.student", "encoders.mobile")
    document = findings(folder)
    assert [model["model"] for model in document["models"]] == ["encoders.mobile", "align.student"]
    # The tower is compared with all the same.
    assert all(list(model["cka"]) == ["towers.clip"] for model in document["models"])
    for words in ([], ["--set", "run.seed=9"]):  # which chooses the pictures
        process = analysed(path, "align.student", *words)
        assert "complete already" not in process.stderr
    assert [model["model"] for model in findings(folder)["models"]] == ["align.student"]


BAD_NAMES = {
    "align.studnet": "the configuration has no model 'align.studnet', did you mean 'align.student'?",
    "teacher": "the configuration has no model 'teacher', did you mean 'finetune.teacher'?",
    "export.phone": "the configuration has no model 'export.phone'; there is towers.clip, encoders.mobile,",
    "<script>": "the configuration has no model '<script>'; there is",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_unknown_name_is_refused(cached, config, name):
    path, folder = copied(cached, config, "unknown")
    for ranks in (1, 2):
        process = mpirun(ranks, "analyze", path, "towers.clip", name)
        assert process.returncode == 2 and BAD_NAMES[name] in process.stderr, process.stderr
    assert not (folder / "analyze").exists()


def test_a_missing_result_is_named_with_the_command_that_makes_it(cached, config):
    path, folder = copied(cached, config, "missing")
    process = run("analyze", path, "distill.student")
    assert process.returncode == 2
    assert "distill.student is not trained yet: run 'cskd distill CONFIG student' first" in process.stderr
    process = analysed(path, "--set", "analyze.pictures=20")
    assert [model["model"] for model in findings(folder)["models"]] == ["towers.clip", "encoders.mobile"]
    assert "left out: align.student is not trained yet: run 'cskd align CONFIG student' first" in process.stderr


def test_without_a_corpus_nothing_is_analysed(config):
    path, _ = config("unpacked")
    process = run("analyze", path)
    assert process.returncode == 2 and "run 'cskd shard CONFIG' first" in process.stderr, process.stderr


def test_an_empty_split_is_refused_with_those_that_are_not(cached, config):
    path, _ = copied(cached, config, "empty")
    process = run("analyze", path, "--set", "analyze.split=validation")
    assert process.returncode == 2
    assert re.search(r'analyze.split is "validation", which has 0 pictures.*\d+ unlabelled', process.stderr)


def test_fewer_pictures_than_wanted_are_counted_and_told(cached, config):
    path, folder = copied(cached, config, "fewer")
    process = analysed(path, "encoders.mobile", "--set", "analyze.split=test", "--set", "analyze.pictures=5000")
    pictures = findings(folder)["pictures"]
    assert pictures["wanted"] == 5000 and 2 <= pictures["found"] < 200
    assert f"analyze.pictures is 5000, but the test split has {pictures['found']}" in process.stderr
    assert f"5000 were wanted, the split has {pictures['found']}" in (folder / "analyze/analysis.html").read_text()


def test_probes_see_the_validation_split_unless_asked_otherwise(cached, config):
    path, folder = copied(cached, config, "probes")
    process = analysed(path, "encoders.mobile", "--set", "analyze.pictures=20")
    probes = findings(folder)["probes"]
    assert probes["split"] == "validation" and "the validation split has 0 pictures" in probes["reason"]
    assert "the validation split has 0 pictures: set validation_share" in process.stderr
    analysed(path, "encoders.mobile", "--set", "analyze.pictures=20", *PROBED)
    document = findings(folder)
    assert document["probes"]["split"] == "test" and document["probes"]["reason"] is None
    probes = document["models"][0]["probes"]
    assert [probe["fraction"] for probe in probes] == [1.0, 0.1, 0.01]
    assert probes[-1]["reason"].startswith("too few labels for 2 folds")


def test_an_encoder_of_a_single_token_has_no_affinity(cached, config):
    path, folder = copied(cached, config, "single")
    analysed(path, "encoders.mobile", "--set", "encoders.mobile.image_size=32", "--set", "analyze.pictures=20")
    model = findings(folder)["models"][0]
    assert model["grid"] == 1 and model["affinity"] is None and "its grid is 1 x 1" in model["no_affinity"]
    assert "its grid is 1 x 1" in (folder / "analyze/analysis.html").read_text()


def test_features_that_are_not_finite_name_model_and_picture(trained, config):
    path, folder = copied(trained, config, "infinite")
    file = folder / "align/student/model.safetensors"
    with safe_open(file, "pt") as stored:
        metadata, tensors = stored.metadata(), {name: stored.get_tensor(name) for name in stored.keys()}
    tensors["conv_stem.weight"] *= 1e38
    save_file(tensors, file, metadata)
    process = mpirun(2, "analyze", path, "align.student", "--set", "analyze.pictures=40")
    assert process.returncode == 3, process.stderr
    assert re.search(
        r"the features of align.student for \S+-unlabelled-\S+\.h5 row \d+ \('.*'\) are not finite", process.stderr
    )
    assert not (folder / "analyze/analysis.json").exists()


def damage(path, rows):
    with h5py.File(path) as shard:
        places = [shard["bytes"].id.get_offset() + int(shard["offset"][row]) + 40 for row in rows]
    with open(path, "r+b") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 0xFF]))


def test_a_damaged_picture_is_left_out_of_every_model_and_many_are_refused(cached, config):
    documents = []
    for ranks in (1, 2):
        path, folder = copied(cached, config, f"damaged{ranks}")
        shard = sorted((folder / "shards").glob("*-unlabelled-*.h5"))[0]
        damage(shard, [1])
        process = analysed(path, "towers.clip", "encoders.mobile", *ONE_THREAD, ranks=ranks)
        assert f"{shard.name} row 1" in process.stderr
        documents.append(findings(folder))
        pictures = documents[-1]["pictures"]
        assert pictures["unreadable"] == 1 and pictures["measured"] == pictures["found"] - 1
    same(*documents)
    damage(shard, [2, 3])
    process = mpirun(2, "analyze", path, "encoders.mobile")
    assert process.returncode == 3, process.stderr
    assert re.search(r"3 of \d+ pictures cannot be read \(data.max_damaged is 0.001\)", process.stderr), process.stderr


def test_a_killed_analysis_leaves_nothing_half_written(cached, config):
    path, folder = copied(cached, config, "killed")
    arguments = [path, "encoders.mobile", "--set", "analyze.pictures=20"]
    for place in ("analyze.model", "atomic_file.rename@analysis.csv", "atomic_file.write@analysis.html"):
        process = run("analyze", *arguments, env={"CSKD_FAIL_AT": f"{place}:kill"})
        assert process.returncode == -9, process.stderr
        assert not (folder / "analyze/complete.json").exists()
        assert not (folder / "analyze/analysis.html").exists()
    analysed(*arguments)
    assert (folder / "analyze/complete.json").exists()


def test_a_damaged_result_is_made_again(cached, config):
    path, folder = copied(cached, config, "again")
    arguments = [path, "encoders.mobile", "--set", "analyze.pictures=20"]
    analysed(*arguments)
    before = findings(folder)
    (folder / "analyze/analysis.json").write_text("{}")
    process = analysed(*arguments)
    assert "missing or damaged" in process.stderr
    same(before, findings(folder))


def test_help_names_what_can_be_analysed():
    process = run("analyze", "--help")
    assert process.returncode == 0
    for word in ("towers.NAME", "--json", "--set", "encoders.NAME"):
        assert word in process.stdout
