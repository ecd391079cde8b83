"""Stars in XMP sidecars: exiftool reads what cskd writes, what else was in a sidecar stays, and nobody's rating is lost."""

import os
import shutil
import subprocess

import pytest
from cskd_program import run


def exiftool(*words):
    return subprocess.run(["exiftool", *words], capture_output=True, text=True, check=True).stdout


def rating(sidecar):
    return int(exiftool("-s3", "-XMP-xmp:Rating", sidecar))


@pytest.fixture
def photos(corpus, model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in model[1]:
        shutil.copy(corpus / "rated/images" / name, folder / name)
    return folder


def test_stars_by_scores_are_read_by_exiftool(model, photos):
    exported, scores = model
    rising = sorted(scores.values())
    cuts = [rising[int(share * len(rising))] for share in (0.2, 0.4, 0.6, 0.8)]
    words = ["--exact", "--stars", ",".join(f"{(cut - 1e-5):.8f}" for cut in cuts)]
    before = sorted(os.listdir(photos))
    process = run("score", exported, photos, *words, "--xmp-preview")
    assert process.returncode == 0 and sorted(os.listdir(photos)) == before
    assert process.stdout.count(" new") == len(scores) and f"{len(scores)} ratings would be written" in process.stderr
    process = run("score", exported, photos, *words, "--xmp")
    assert process.returncode == 0, process.stderr
    for name, score in scores.items():
        sidecar = photos / f"{name}.xmp"
        assert rating(sidecar) == 1 + sum(score >= cut - 1e-4 for cut in cuts), (score, cuts)
        assert float(
            exiftool("-s3", "-XMP-cskd:Score", sidecar) or exiftool("-s3", "-Score", sidecar)
        ) == pytest.approx(score, abs=1e-3)


def test_what_is_in_a_sidecar_stays(model, photos):
    exported, scores = model
    first, second, third, *_ = scores
    stem = photos / first.replace(".jpg", ".xmp")  # Lightroom's name
    exiftool(
        "-o",
        stem,
        "-XMP-dc:Title=A hill",
        "-XMP-dc:Subject=one",
        "-XMP-dc:Subject=two",
        "-XMP-xmp:Label=Red",
        "-XMP-exif:ISO=100",
        photos / first,
    )
    exiftool("-o", photos / f"{second}.xmp", "-XMP-xmp:Rating=2", "-XMP-dc:Title=Mine", photos / second)
    exiftool("-o", photos / f"{third}.xmp", "-XMP-xmp:Rating=0", photos / third)
    process = run("score", exported, photos, "--xmp", "--stars", "0.1,0.2,0.3,0.4")  # five stars for all
    assert process.returncode == 0 and "1 kept that people gave" in process.stderr, process.stderr
    assert not (photos / f"{first}.xmp").exists() and rating(stem) == 5
    kept = exiftool("-s3", "-XMP-dc:Title", "-XMP-dc:Subject", "-XMP-xmp:Label", "-XMP-exif:ISO", stem).split("\n")
    assert kept[:4] == ["A hill", "one, two", "Red", "100"]
    assert rating(photos / f"{second}.xmp") == 2  # a person's
    assert rating(photos / f"{third}.xmp") == 5  # 0: nobody's
    # Ours may change, but not where a person changed it since.
    exiftool("-overwrite_original", "-XMP-xmp:Rating=3", stem)
    process = run("score", exported, photos, "--xmp", "--stars", "97,98,99,100", "--reject", "96")
    assert process.returncode == 0 and "2 kept" in process.stderr, process.stderr
    assert rating(stem) == 3 and rating(photos / f"{third}.xmp") == -1
    process = run("score", exported, photos, "--xmp", "--stars", "97,98,99,100", "--overwrite-ratings")
    assert rating(stem) == 1 and rating(photos / f"{second}.xmp") == 1
    assert exiftool("-s3", "-XMP-dc:Title", photos / f"{second}.xmp") == "Mine\n"


def test_names_of_new_sidecars(model, photos):
    exported, scores = model
    first = next(iter(scores))
    assert run("score", exported, photos / first, "--xmp", "--sidecar-name", "stem").returncode == 0
    assert sorted(os.listdir(photos)) == sorted([*scores, first.replace(".jpg", ".xmp")])


def test_sidecars_that_cannot_be_written(model, photos):
    exported, scores = model
    first, second, *_ = scores
    (photos / f"{first}.xmp").write_text("no XMP <")
    (photos / f"{second}.xmp").mkdir()
    process = run("score", exported, photos, "--xmp")
    assert process.returncode == 1 and "2 failed" in process.stderr, process.stderr
    assert "is no XMP" in process.stderr and (photos / f"{first}.xmp").read_text() == "no XMP <"
    assert sum(name.endswith(".xmp") for name in os.listdir(photos)) == len(scores)
    # A file that nobody may write, not even root, stays as it is.
    protected = photos / f"{list(scores)[2]}.xmp"
    protected.chmod(0o444)
    before = protected.read_bytes()
    process = run(
        "score", exported, protected.with_suffix(""), "--xmp", "--stars", "0,0.1,0.2,0.3", "--overwrite-ratings"
    )
    assert process.returncode == 1 and f"cannot write {protected}: Permission denied" in process.stderr, process.stderr
    assert protected.read_bytes() == before
    for words, text in [
        (("--stars", "1,2,3"), "is not 4 rising numbers"),
        (("--stars", "5%,4%,6%,7%"), "is not 4 rising numbers"),
        (("--reject", "x"), "is not a number"),
        (("--output", "x.csv", "--resume"), "--resume"),
    ]:
        process = run("score", exported, photos, "--xmp", *words)
        assert process.returncode == 2 and text in process.stderr, process.stderr
