"""The demo corpus, read by other people's programs: Pillow, tarfile, numpy, scipy."""

import csv
import hashlib
import json
import pathlib
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.stats import spearmanr

from cskd_program import run
from statistics_of_images import image_statistics, linear_fit

IMAGES = 2500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    result = run("demo", folder, "--images", IMAGES, timeout=300)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def planted(corpus):
    return json.loads((corpus / "planted.json").read_text())


def of_kind(planted, kind):
    found = [entry for entry in planted if entry["kind"] == kind]
    assert found, kind
    return found


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image.copy()


def difference(a, b):
    """Mean absolute difference of two pictures, 0..255; the second is resized to the first."""
    first = np.asarray(a.convert("RGB"), dtype=float)
    second = np.asarray(b.convert("RGB").resize(a.size, Image.Resampling.BICUBIC), dtype=float)
    return np.abs(first - second).mean()


def test_sources_hold_what_the_list_says(corpus):
    listed = json.loads((corpus / "corpus.json").read_text())
    assert listed["format"] == "cskd demo corpus" and listed["images"] == IMAGES
    assert [source["kind"] for source in listed["sources"]] == ["folder", "folder", "folder", "webdataset", "ava"]
    assert sum(source["images"] for source in listed["sources"]) == IMAGES
    on_disk = {str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.is_file()} - {"corpus.json"}
    assert on_disk == {entry["path"] for entry in listed["files"]}


def test_every_picture_that_is_not_planted_opens_and_has_its_size(corpus, planted):
    bad = {entry["path"] for entry in planted}
    formats = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
    count = 0
    for path in corpus.rglob("*"):
        if path.suffix not in formats or str(path.relative_to(corpus)) in bad:
            continue
        with Image.open(path) as image:
            assert image.format == formats[path.suffix]
            assert 120 <= min(image.size) and 200 <= max(image.size) <= 320
            image.load()
        count += 1
    assert count > IMAGES * 0.7


def test_tars_are_webdataset_samples(corpus):
    count = 0
    for path in sorted((corpus / "archive").glob("*.tar")):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
            for image, sidecar in zip(members[::2], members[1::2], strict=True):
                key = pathlib.PurePath(image.name).stem
                assert (image.name, sidecar.name) == (f"{key}.jpg", f"{key}.json")
                assert image.mtime == 0 and image.uid == 0
                assert json.load(tar.extractfile(sidecar))["source"] == "archive"
                Image.open(tar.extractfile(image)).load()
                count += 1
    listed = json.loads((corpus / "corpus.json").read_text())
    assert count == next(source["images"] for source in listed["sources"] if source["name"] == "archive")


def ava_rows(corpus):
    return [list(map(int, line.split(" "))) for line in (corpus / "rated/AVA.txt").read_text().splitlines()]


def test_rated_source_has_avas_layout(corpus):
    rows = ava_rows(corpus)
    assert len(rows) == IMAGES // 5
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert all(len(row) == 15 for row in rows)
    ids = [row[1] for row in rows]
    assert len(set(ids)) == len(ids)
    lists = corpus / "rated/aesthetics_image_lists"
    test = set(map(int, (lists / "generic_test.jpgl").read_text().split()))
    train = set(map(int, (lists / "generic_train.jpgl").read_text().split()))
    assert test | train == set(ids) and not test & train
    assert 0.3 < len(test) / len(ids) < 0.36
    tags = dict(line.split(" ") for line in (corpus / "rated/tags.txt").read_text().splitlines())
    for row in rows:
        assert str(row[12]) in tags and (row[13] == 0 or str(row[13]) in tags)
        assert 120 <= sum(row[2:12]) <= 290


def test_scores_spread_like_avas(corpus):
    counts = np.array([row[2:12] for row in ava_rows(corpus)])
    scores = np.arange(1, 11)
    means = counts @ scores / counts.sum(axis=1)
    deviations = np.sqrt(counts @ scores**2 / counts.sum(axis=1) - means**2)
    assert 5.1 < means.mean() < 5.8
    assert 0.6 < means.std() < 1.0
    assert 1.1 < deviations.mean() < 1.7


def test_duplicates_are_what_they_say(corpus, planted):
    for entry in of_kind(planted, "exact_duplicate"):
        assert (corpus / entry["path"]).read_bytes() == (corpus / entry["original"]).read_bytes()
    assert {
        pathlib.PurePath(e["path"]).parts[0] == pathlib.PurePath(e["original"]).parts[0]
        for e in of_kind(planted, "exact_duplicate")
    } == {True, False}
    for entry in of_kind(planted, "near_duplicate"):
        assert (corpus / entry["path"]).read_bytes() != (corpus / entry["original"]).read_bytes()
        assert difference(opened(corpus / entry["path"]), opened(corpus / entry["original"])) < 8, entry


def test_unplanted_pictures_are_no_duplicates(corpus, planted):
    involved = {entry["path"] for entry in planted} | {entry["original"] for entry in planted}
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in corpus.rglob("*.*")
        if path.is_file() and str(path.relative_to(corpus)) not in involved
    ]
    assert len(set(digests)) == len(digests)


def test_orientations_make_the_original(corpus, planted):
    for entry in of_kind(planted, "exif_orientation"):
        image = opened(corpus / entry["path"])
        assert image.getexif()[0x0112] == int(entry["note"])
        original = opened(corpus / entry["original"])
        upright = ImageOps.exif_transpose(image)
        assert upright.size == original.size
        assert difference(upright, original) < 7  # grain, compressed once in each direction
        assert difference(image, original) > 1.5 * difference(upright, original)


def test_damaged_files_do_not_open(corpus, planted):
    for kind in ("truncated", "rated_truncated"):
        for entry in of_kind(planted, kind):
            with Image.open(corpus / entry["path"]) as image, pytest.raises((OSError, SyntaxError)):
                image.load()
    for entry in of_kind(planted, "empty"):
        assert (corpus / entry["path"]).stat().st_size == 0
    for entry in of_kind(planted, "garbage"):
        with pytest.raises(OSError):
            Image.open(corpus / entry["path"])
    for entry in of_kind(planted, "rated_missing"):
        assert not (corpus / entry["path"]).exists()
        assert int(pathlib.PurePath(entry["path"]).stem) in {row[1] for row in ava_rows(corpus)}


def test_the_huge_header_is_a_valid_png_header_with_little_behind_it(corpus, planted):
    for entry in of_kind(planted, "huge_header"):
        path = corpus / entry["path"]
        assert path.stat().st_size < 1000
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path) as image:
                assert image.size == (60_000, 60_000)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def test_oddities_open_as_what_they_are(corpus, planted):
    for entry in of_kind(planted, "wrong_extension"):
        path = corpus / entry["path"]
        assert opened(path).size
        with Image.open(path) as image:
            assert image.format == entry["note"]
            assert {".jpg": "JPEG", ".png": "PNG"}[path.suffix] != image.format
    for entry in of_kind(planted, "grey_jpeg"):
        assert opened(corpus / entry["path"]).mode == "L"
    for entry in of_kind(planted, "cmyk_jpeg"):
        image = opened(corpus / entry["path"])
        assert image.mode == "CMYK"
        # Read with the wrong sign, a bright holiday picture would be dark.
        assert np.asarray(image.convert("RGB")).mean() > 60


def test_leaks_are_test_images(corpus, planted):
    test = set((corpus / "rated/aesthetics_image_lists/generic_test.jpgl").read_text().split())
    exact = 0
    for entry in of_kind(planted, "leaked_test_image"):
        assert pathlib.PurePath(entry["original"]).stem in test
        assert pathlib.PurePath(entry["path"]).parts[0] in ("coast", "city")
        exact += (corpus / entry["path"]).read_bytes() == (corpus / entry["original"]).read_bytes()
        assert difference(opened(corpus / entry["path"]), opened(corpus / entry["original"])) < 6
    assert 0 < exact < len(of_kind(planted, "leaked_test_image"))


def test_captions_name_every_picture_that_opens_in_colour(corpus, planted):
    with open(corpus / "truth/captions.csv") as file:
        captions = {row["path"]: row["caption"] for row in csv.DictReader(file)}
    damaged = {
        entry["path"]
        for entry in planted
        if entry["kind"] in ("truncated", "rated_truncated", "empty", "garbage", "huge_header", "grey_jpeg")
    }
    pictures = {str(path.relative_to(corpus)) for path in corpus.rglob("*") if path.suffix in (".jpg", ".png", ".webp")}
    for path in corpus.glob("archive/*.tar"):
        with tarfile.open(path) as tar:
            pictures |= {f"archive/{path.name}/{name}" for name in tar.getnames() if name.endswith(".jpg")}
    assert set(captions) == pictures - damaged
    for entry in of_kind(planted, "leaked_test_image") + of_kind(planted, "near_duplicate"):
        assert captions[entry["path"]] == captions[entry["original"]]
    # What a caption says of the brightness can be measured.
    light = {
        word: np.mean(
            [
                np.asarray(opened(corpus / path).convert("L")).mean()
                for path, caption in captions.items()
                if path.startswith("coast") and f"the exposure is {word}," in caption
            ]
        )
        for word in ("very dark", "dark", "medium", "bright", "very bright")
    }
    assert list(light.values()) == sorted(light.values()), light


@pytest.fixture(scope="module")
def latent(corpus):
    with open(corpus / "truth/latent.csv") as file:
        return list(csv.DictReader(file))


def test_the_panel_agrees_with_itself(latent):
    halves = [[float(row[name]) for row in latent] for name in ("mean_a", "mean_b")]
    assert spearmanr(*halves).statistic >= 0.9


def test_simple_statistics_do_not_explain_the_taste(corpus, planted, latent):
    missing = {pathlib.PurePath(e["path"]).stem for e in planted if e["kind"].startswith("rated_")}
    rows = [row for row in latent if row["id"] not in missing]
    features = np.array([image_statistics(corpus / f"rated/images/{row['id']}.jpg") for row in rows])
    scores = np.array([float(row["mean"]) for row in rows])
    is_test = np.array([row["split"] == "test" for row in rows])
    predicted = linear_fit(features[~is_test], scores[~is_test], features[is_test])
    assert abs(spearmanr(predicted, scores[is_test]).statistic) < 0.5
    # The fit itself works: it finds a score that is a linear function of the same statistics.
    easy = features @ np.linspace(-1, 1, features.shape[1])
    assert spearmanr(linear_fit(features[~is_test], easy[~is_test], features[is_test]), easy[is_test]).statistic > 0.99


def test_the_latent_factors_explain_the_votes(latent):
    mean = [float(row["mean"]) for row in latent]
    assert spearmanr(mean, [float(row["liking"]) for row in latent]).statistic > 0.95
    for factor in ("composition", "harmony", "contrast", "exposure", "sharpness", "calm"):
        assert spearmanr(mean, [float(row[factor]) for row in latent]).statistic > 0.1, factor
