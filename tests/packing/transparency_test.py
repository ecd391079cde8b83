"""Transparent and blank pictures in packing."""

import io
import json

import numpy
import pytest
from changed_sources_test import facts, packs
from cskd_program import run
from packing_runs import folder_config, photo, samples
from PIL import Image


def transparent(number):
    picture = photo(number)
    ramp = numpy.tile(numpy.linspace(0, 255, picture.width).astype(numpy.uint8), (picture.height, 1))
    picture.putalpha(Image.fromarray(ramp))
    return picture


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo(0).save(folder / "plain.jpg", quality=95)
    photo(1).save(folder / "opaque.png")
    opaque = photo(2)
    opaque.putalpha(255)
    opaque.save(folder / "opaque_alpha.png")
    transparent(3).save(folder / "clear.png")
    transparent(4).save(folder / "clear.webp", lossless=True, exact=True)
    palette = photo(5).quantize(16)
    palette.save(folder / "palette.png", transparency=3)
    turned = Image.Exif()
    turned[0x0112] = 6
    transparent(6).save(folder / "turned.png", exif=turned)
    return folder


def stored(path):
    return {key: data for (_, key), (_, data, _) in samples(path).items()}


def over(picture, colour):
    canvas = Image.new("RGB", picture.size, colour)
    rgba = picture.convert("RGBA")
    canvas.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return canvas


@pytest.mark.parametrize("ranks", [1, 2])
def test_over_a_colour_as_pillow_does(tmp_path, folder, ranks):
    path = folder_config(tmp_path, [("p", "folder", folder, "")], extra='alpha = "#3060c0"')
    packs(path, ranks)
    found = stored(tmp_path / "run")
    assert len(found) == 7
    for name in ("plain.jpg", "opaque.png", "opaque_alpha.png"):
        assert found[name] == (folder / name).read_bytes()
    for name in ("clear.png", "clear.webp", "palette.png", "turned.png"):
        kept = Image.open(io.BytesIO(found[name]))
        assert kept.format == "PNG" and kept.mode == "RGB"
        expected = over(Image.open(folder / name), "#3060c0")
        if name == "turned.png":
            expected = expected.transpose(Image.Transpose.ROTATE_270)
        assert numpy.array_equal(numpy.asarray(kept), numpy.asarray(expected)), name


def test_dropped_by_default(tmp_path, folder):
    path = folder_config(tmp_path, [("p", "folder", folder, "")])
    packs(path)
    found = stored(tmp_path / "run")
    assert all(found[name] == (folder / name).read_bytes() for name in found) and len(found) == 7


def test_another_colour_packs_anew_what_it_changes(tmp_path, folder):
    path = folder_config(tmp_path, [("p", "folder", folder, "")], extra='alpha = "#ffffff"')
    packs(path)
    path = folder_config(tmp_path, [("p", "folder", folder, "")], extra='alpha = "#000000"')
    process = run("shard", path)
    assert process.returncode == 2 and "packing.alpha" in process.stderr


def test_a_colour_that_is_none_is_refused_at_the_start(tmp_path, folder):
    path = folder_config(tmp_path, [("p", "folder", folder, "")], extra='alpha = "white"')
    process = run("shard", path)
    assert process.returncode == 2, process.stderr
    assert 'packing.alpha is "white", expected "drop" or a colour like "#ffffff"' in process.stderr


def test_blank_pictures_are_quarantined(tmp_path, folder):
    Image.new("RGB", (40, 30), "#102030").save(folder / "grey.png")
    Image.new("RGB", (40, 30), "#ffffff").save(folder / "white.jpg", quality=95)
    drawing = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    drawing.putalpha(photo(9).resize((200, 100)).convert("L"))
    drawing.save(folder / "drawing.png")
    almost = Image.new("RGB", (40, 30), "#102030")
    almost.putpixel((39, 29), (16, 32, 49))
    almost.save(folder / "almost.png")
    path = folder_config(tmp_path, [("p", "folder", folder, "")])
    packs(path)
    lines = [json.loads(line) for line in (tmp_path / "run/shards/quarantine.jsonl").read_text().splitlines()]
    assert {line["key"]: line["reason"] for line in lines} == {
        "grey.png": "blank: all pixels are #102030",
        "white.jpg": "blank: all pixels are #ffffff",
        "drawing.png": "blank: all pixels are #000000",
    }
    assert facts(tmp_path / "run")["packed"] == 8
