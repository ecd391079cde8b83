"""Every measure against NumPy, SciPy and scikit-learn."""

import os
import subprocess

import numpy
import pytest
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import cdist, pdist
from scipy.special import log_softmax, softmax
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "analysis_measures")
FOLDS = 4


@pytest.fixture(scope="module")
def given():
    random = numpy.random.default_rng(11)
    features = (random.normal(size=(60, 24)) * random.uniform(0.1, 3, 24) + random.normal(size=24)).astype("f4")
    scores = features @ random.normal(size=24) * 0.4 + random.normal(size=60) * 2
    return {
        "queries": random.normal(size=(3, 4, 17, 8)).astype("f4") * 2,
        "keys": random.normal(size=(3, 4, 17, 8)).astype("f4"),
        "tokens": random.normal(size=(3, 36, 10)).astype("f4"),
        "features": features,
        "others": (features[:, :7] + random.normal(size=(60, 7))).astype("f4"),
        "scores": scores,
        "fold": numpy.arange(60) % FOLDS,
        "judged": random.normal(size=(15, 24)).astype("f4") * 2,
    }


@pytest.fixture(scope="module")
def found(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures")
    save_file(given, folder / "input.safetensors")
    process = subprocess.run(
        [PROGRAM, folder / "input.safetensors", folder / "output.safetensors"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stderr
    return load_file(folder / "output.safetensors")


def distances(grid):
    places = numpy.stack(numpy.meshgrid(range(grid), range(grid), indexing="ij"), -1).reshape(-1, 2)
    return cdist(places, places) / (numpy.sqrt(2) * (grid - 1))


def check_maps(found, name, maps, log_maps, grid):
    close = {"rtol": 1e-5, "atol": 1e-6}
    numpy.testing.assert_allclose(found[f"{name}.maps"], maps, **close)
    numpy.testing.assert_allclose(
        found[f"{name}.distance"], (maps * distances(grid)).sum(-1).mean(-1), rtol=1e-5, atol=1e-6
    )
    with numpy.errstate(invalid="ignore"):
        entropy = -numpy.where(maps > 0, maps * log_maps, 0).sum(-1).mean(-1)
    numpy.testing.assert_allclose(found[f"{name}.entropy"], entropy, **close)
    heads = maps.shape[1]
    for picture, similarity in zip(maps, found[f"{name}.similarity"], strict=True):
        cosines = cosine_similarity(picture.reshape(heads, -1))
        pairs = cosines[numpy.triu_indices(heads, 1)]
        numpy.testing.assert_allclose(similarity, pairs.mean() if heads > 1 else numpy.nan, **close)
    edges = numpy.linspace(0, 1, 9)
    edges[1:-1] -= 1e-7  # what lies on an edge belongs above it
    for index in numpy.ndindex(maps.shape[:2]):
        counts, _ = numpy.histogram(distances(grid).clip(0, 1), edges, weights=maps[index])
        numpy.testing.assert_allclose(found[f"{name}.histogram"][index], counts / grid**2, **close)


def test_attention(given, found):
    scores = given["queries"].astype("f8") @ given["keys"].astype("f8").swapaxes(-1, -2) / numpy.sqrt(8)
    whole = softmax(scores, -1)[..., 1:, 1:]
    maps = whole / whole.sum(-1, keepdims=True)
    check_maps(found, "attention", maps, log_softmax(scores[..., 1:, 1:], -1), 4)


def test_affinity(given, found):
    tokens = given["tokens"].astype("f8").reshape(3, 3, 2, 3, 2, 10).mean((2, 4)).reshape(3, 9, 10)
    logits = numpy.stack([cosine_similarity(picture) for picture in tokens]) / 0.1
    logits[:, range(9), range(9)] = -numpy.inf
    check_maps(found, "affinity", softmax(logits, -1)[:, None], log_softmax(logits, -1)[:, None], 3)


def test_collapse(given, found):
    features = given["features"].astype("f8")
    values = numpy.linalg.svd(features, compute_uv=False)
    numpy.testing.assert_allclose(found["singular_values"], values, rtol=1e-6)
    shares = values / values.sum() + 1e-7
    numpy.testing.assert_allclose(found["rank_me"], numpy.exp(-(shares * numpy.log(shares)).sum()), rtol=1e-9)
    unit = features / numpy.linalg.norm(features, axis=1, keepdims=True)
    numpy.testing.assert_allclose(found["direction_std"], unit.std(0).mean(), rtol=1e-9)
    numpy.testing.assert_allclose(found["uniformity"], numpy.log(numpy.exp(-2 * pdist(unit) ** 2).mean()), rtol=1e-9)


def test_cka(given, found):
    grams = []
    for name in ("features", "others"):
        centred = given[name].astype("f8") - given[name].astype("f8").mean(0)
        grams.append(centred @ centred.T)
    expected = (grams[0] * grams[1]).sum() / numpy.linalg.norm(grams[0]) / numpy.linalg.norm(grams[1])
    numpy.testing.assert_allclose(found["cka"], expected, rtol=1e-9)


def test_linear_probe(given, found):
    features, scores, fold = given["features"].astype("f8"), given["scores"], given["fold"]

    def fitted(rows, alpha):
        return make_pipeline(StandardScaler(), Ridge(alpha * rows.sum(), solver="svd")).fit(
            features[rows], scores[rows]
        )

    def error(alpha):
        return sum(
            (
                (fitted(fold != left_out, alpha).predict(features[fold == left_out]) - scores[fold == left_out]) ** 2
            ).sum()
            for left_out in range(FOLDS)
        )

    alphas = 10.0 ** numpy.arange(-6, 3.25, 0.5)
    best = min(alphas, key=error)
    assert alphas[0] < best < alphas[-1]
    numpy.testing.assert_allclose(found["alpha"], best, rtol=1e-9)
    expected = fitted(fold >= 0, best).predict(given["judged"].astype("f8"))
    numpy.testing.assert_allclose(found["ridge"], expected, rtol=1e-7, atol=1e-9)


def test_nearest_neighbours(given, found):
    regressor = KNeighborsRegressor(5, metric="cosine", algorithm="brute")
    expected = regressor.fit(given["features"].astype("f8"), given["scores"]).predict(given["judged"].astype("f8"))
    numpy.testing.assert_allclose(found["neighbours"], expected, rtol=1e-9)
