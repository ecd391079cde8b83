"""HEIC, AVIF, JPEG XL, the previews of raw files, transparency and blank photos, beside the same pixels as PNG."""

import csv
import io
import subprocess

import numpy
import pytest
from cskd_program import run
from PIL import Image, ImageOps
from small_raw import dng


@pytest.fixture(scope="session")
def picture(model, corpus):
    """A test picture whose score lies far from the ends of the scale, where much has the same."""
    name = min(model[1], key=lambda name: abs(model[1][name] - 5.5))
    return Image.open(corpus / "rated/images" / name).convert("RGB")


def tool(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True, timeout=60)


def scores(model, *arguments):
    process = run("score", model[0], *arguments, "--exact")
    rows = {row["photo"].rsplit("/", 1)[-1]: row for row in csv.DictReader(io.StringIO(process.stdout))}
    return process, rows


def test_other_formats_score_as_the_same_pixels_do(model, picture, tmp_path):
    picture.save(tmp_path / "whole.png")
    tool("cjxl", tmp_path / "whole.png", tmp_path / "exact.jxl", "-d", "0")
    tool("cjxl", tmp_path / "whole.png", tmp_path / "lossy.jxl", "-d", "1")
    tool("heif-enc", "-q", "95", tmp_path / "whole.png", "-o", tmp_path / "lossy.heic")
    tool("heif-enc", "-A", "-q", "95", tmp_path / "whole.png", "-o", tmp_path / "lossy.AVIF")
    process, rows = scores(model, tmp_path)
    assert process.returncode == 0, process.stderr
    whole = float(rows["whole.png"]["score"])
    assert set(rows) == {"whole.png", "exact.jxl", "lossy.jxl", "lossy.heic", "lossy.AVIF"}
    assert float(rows["exact.jxl"]["score"]) == whole
    for name in ("lossy.jxl", "lossy.heic", "lossy.AVIF"):
        assert float(rows[name]["score"]) == pytest.approx(whole, abs=0.05), name
        assert float(rows[name]["score"]) != whole


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_raw_previews_are_turned_as_the_camera_was(model, picture, tmp_path, turn):
    upright = {
        1: picture,
        3: picture.rotate(180),
        6: picture.rotate(90, expand=True),
        8: picture.rotate(270, expand=True),
    }
    encoded = io.BytesIO()
    upright[turn].save(encoded, "JPEG", quality=95)
    (tmp_path / "shot.dng").write_bytes(dng(encoded.getvalue(), *upright[turn].size, orientation=turn))
    exif = Image.Exif()
    exif[0x0112] = turn
    upright[turn].save(tmp_path / "shot.jpg", "JPEG", quality=95, exif=exif)
    assert (
        numpy.abs(
            numpy.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "shot.jpg"))).astype(int)
            - numpy.asarray(picture)
        ).mean()
        < 4
    )
    # What a file is, its first bytes tell.
    (tmp_path / "named.cr2").write_bytes((tmp_path / "shot.jpg").read_bytes())
    process, rows = scores(model, tmp_path)
    assert process.returncode == 0, process.stderr
    assert rows["shot.dng"]["score"] == rows["shot.jpg"]["score"] == rows["named.cr2"]["score"] != ""


def damaged(path, target):
    data = path.read_bytes()
    target.write_bytes(data[: len(data) // 3])


def test_damaged_files_are_rows_with_an_error(model, picture, tmp_path):
    picture.save(tmp_path / "whole.png")
    tool("cjxl", tmp_path / "whole.png", tmp_path / "a.jxl", "-d", "1")
    tool("heif-enc", tmp_path / "whole.png", "-o", tmp_path / "b.heic")
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG")
    (tmp_path / "c.dng").write_bytes(dng(encoded.getvalue(), *picture.size))
    for name in ("a.jxl", "b.heic", "c.dng"):
        damaged(tmp_path / name, tmp_path / f"cut_{name}")
    noise = numpy.random.default_rng(1)
    for name in ("n.cr2", "n.nef", "n.arw", "n.heic", "n.avif", "n.jxl"):
        (tmp_path / name).write_bytes(noise.bytes(4096))
    (tmp_path / "text.cr3").write_text("no photo")
    (tmp_path / "empty.orf").touch()
    process, rows = scores(model, tmp_path)
    assert process.returncode == 0, process.stderr
    assert "corrupted" not in process.stderr
    for name, row in rows.items():
        assert bool(row["error"]) == (name not in {"whole.png", "a.jxl", "b.heic", "c.dng"}), (name, row)


def test_bytes_that_are_changed_at_random_never_end_the_program(model, picture, tmp_path):
    small = picture.resize((96, 72))
    small.save(tmp_path / "small.png")
    tool("cjxl", tmp_path / "small.png", tmp_path / "a.jxl", "-d", "2")
    tool("heif-enc", tmp_path / "small.png", "-o", tmp_path / "b.heic")
    tool("heif-enc", "-A", tmp_path / "small.png", "-o", tmp_path / "c.avif")
    encoded = io.BytesIO()
    small.save(encoded, "JPEG")
    (tmp_path / "d.dng").write_bytes(dng(encoded.getvalue(), *small.size))
    generator = numpy.random.default_rng(7)
    folder = tmp_path / "changed"
    folder.mkdir()
    for path in [tmp_path / name for name in ("a.jxl", "b.heic", "c.avif", "d.dng")]:
        for number in range(60):
            data = bytearray(path.read_bytes())
            for place in generator.integers(0, len(data), size=1 + number % 5):
                data[place] = generator.integers(256)
            (folder / f"{number:02}{path.name}").write_bytes(data)
    small.save(folder / "whole.png")
    process, rows = scores(model, folder)
    assert process.returncode == 0, process.stderr
    assert len(rows) == 241 and rows["whole.png"]["score"]


def test_transparency(model, picture, tmp_path):
    alpha = Image.fromarray(numpy.tile(numpy.linspace(0, 255, picture.width).astype(numpy.uint8), (picture.height, 1)))
    transparent = picture.copy()
    transparent.putalpha(alpha)
    transparent.save(tmp_path / "clear.png")
    transparent.save(tmp_path / "clear.webp", lossless=True, exact=True)
    canvas = Image.new("RGB", picture.size, "#804020")
    canvas.paste(picture, mask=alpha)
    canvas.save(tmp_path / "over.png")
    picture.save(tmp_path / "dropped.png")
    _, rows = scores(model, tmp_path)
    assert rows["clear.png"]["score"] == rows["clear.webp"]["score"] == rows["dropped.png"]["score"]
    process, rows = scores(model, tmp_path, "--alpha", "#804020")
    assert process.returncode == 0, process.stderr
    assert rows["clear.png"]["score"] == rows["clear.webp"]["score"] == rows["over.png"]["score"]
    assert rows["over.png"]["score"] != rows["dropped.png"]["score"]
    assert run("score", model[0], tmp_path, "--alpha", "white").returncode == 2


def test_a_drawing_in_the_alpha_channel_is_blank(model, picture, tmp_path):
    drawing = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    drawing.putalpha(picture.convert("L"))
    drawing.save(tmp_path / "drawing.png")
    picture.save(tmp_path / "whole.png")
    _, rows = scores(model, tmp_path)
    assert rows["drawing.png"]["error"].startswith("blank") and not rows["drawing.png"]["score"]
    _, rows = scores(model, tmp_path, "--alpha", "#ffffff")
    assert rows["drawing.png"]["score"] and not rows["drawing.png"]["error"]
