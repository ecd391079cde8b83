"""Packing again: what was added, withdrawn, damaged or lost, other settings, and disks that fill up."""

import io
import json
import os
import shutil
import subprocess

import numpy
import pytest
import small_run
from cskd_program import mpirun, run
from packing_runs import contents, dropped, folder_config, keys_in, photo, samples, save_photos, shard_files
from PIL import Image, ImageOps

pytestmark = pytest.mark.rotating(2)


def test_added_files_and_sources_only_write_new_shards(tmp_path):
    save_photos(tmp_path / "a", range(30))
    save_photos(tmp_path / "b", range(100, 120))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    before = contents(tmp_path / "run" / "shards")
    process = run("shard", path)
    assert process.returncode == 0, process.stderr
    assert contents(tmp_path / "run" / "shards") == before

    save_photos(tmp_path / "a", range(30, 45))
    photo(3).save(tmp_path / "a" / "again.jpg", quality=60)  # looks like a packed one
    path = folder_config(tmp_path, [("b", "folder", tmp_path / "b", ""), ("a", "folder", tmp_path / "a", "")])
    assert mpirun(2, "shard", path).returncode == 0
    after = contents(tmp_path / "run" / "shards")
    old = {name: value for name, value in before.items() if name.endswith(".h5")}
    assert old.items() <= after.items()
    assert all("-g1-" in name for name in after if name.endswith(".h5") and name not in old)
    assert keys_in(tmp_path / "run") == (
        {("a", f"{seed:04}.jpg") for seed in range(45)} | {("b", f"{seed:04}.jpg") for seed in range(100, 120)}
    )
    assert dropped(tmp_path / "run") == {("a", "again.jpg"): "near_duplicate"}
    assert run("shard", path).returncode == 0
    assert contents(tmp_path / "run" / "shards") == after


def test_rows_that_leak_into_a_later_test_set_are_withdrawn(tmp_path):
    save_photos(tmp_path / "a", range(30))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    old = {name: value for name, value in contents(tmp_path / "run" / "shards").items() if name.endswith(".h5")}
    (tmp_path / "t").mkdir()
    shutil.copy(tmp_path / "a" / "0004.jpg", tmp_path / "t" / "same.jpg")
    photo(9).save(tmp_path / "t" / "near.jpg", quality=70)
    save_photos(tmp_path / "t", [200])
    (tmp_path / "t" / "table.csv").write_text("path,score\nsame.jpg,2\nnear.jpg,3\n0200.jpg,4\n")
    rated = ("t", "csv", tmp_path / "t" / "table.csv", 'split = "test"\nbins = [1, 2, 3, 4, 5]\ncolumns.mean = "score"')
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", ""), rated])
    process = run("shard", path)
    assert process.returncode == 0, process.stderr
    now = contents(tmp_path / "run" / "shards")
    assert old.items() <= now.items()
    assert dropped(tmp_path / "run") == {("a", "0004.jpg"): "leaked", ("a", "0009.jpg"): "nearly_leaked"}
    facts = json.loads((tmp_path / "run" / "shards" / "complete.json").read_text())["facts"]
    assert facts["packed"] == 31 and facts["leaked"] == 2 and facts["added"] == 3
    # Nothing changes when it is looked at again, though both pictures are still in the source.
    assert run("shard", path).returncode == 0
    assert contents(tmp_path / "run" / "shards") == now


def test_other_settings_are_refused_by_name(tmp_path):
    save_photos(tmp_path / "a", range(10))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    before = contents(tmp_path / "run" / "shards")
    for override, key in (
        ("packing.max_samples=7", "packing.max_samples"),
        ("packing.seed=2", "packing.seed"),
        ("sources[0].kind=webdataset", "sources.a.kind"),
    ):
        process = run("shard", path, "--set", override)
        assert process.returncode == 2 and key in process.stderr, process.stderr
    save_photos(tmp_path / "b", range(50, 60))
    process = run("shard", folder_config(tmp_path, [("b", "folder", tmp_path / "b", "")]))
    assert process.returncode == 2 and "source 'a'" in process.stderr
    assert contents(tmp_path / "run" / "shards") == before


def test_larger_pictures_are_made_smaller_as_pillow_does(tmp_path):
    (tmp_path / "a").mkdir()
    photo(1, (400, 300)).save(tmp_path / "a" / "large.png")
    photo(2, (90, 300)).save(tmp_path / "a" / "tall.jpg", quality=95)
    turned = photo(3, (300, 200))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a" / "turned.jpg", quality=95, exif=exif)
    photo(4, (100, 80)).save(tmp_path / "a" / "small.webp", lossless=True)
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")], extra="max_side = 128\nquality = 80")
    assert run("shard", path).returncode == 0
    packed = samples(tmp_path / "run")
    assert packed["a", "small.webp"][1] == (tmp_path / "a" / "small.webp").read_bytes()
    for name, size in (("large.png", (128, 96)), ("tall.jpg", (38, 128)), ("turned.jpg", (85, 128))):
        stored = Image.open(io.BytesIO(packed["a", name][1]))
        assert stored.format == "JPEG" and stored.size == size
        original = (
            ImageOps.exif_transpose(Image.open(tmp_path / "a" / name))
            .convert("RGB")
            .resize(size, Image.Resampling.BICUBIC)
        )
        compressed = io.BytesIO()
        original.save(compressed, "JPEG", quality=80)
        assert numpy.array_equal(numpy.asarray(stored), numpy.asarray(Image.open(compressed)))
    # Their bytes come from the source again when the working file is gone.
    first = contents(tmp_path / "run" / "shards")
    (tmp_path / "run" / "shards" / "complete.json").unlink()
    shard_files(tmp_path / "run")[0].unlink()
    assert run("shard", path).returncode == 0
    assert contents(tmp_path / "run" / "shards") == first


def test_a_chunk_of_the_survey_that_is_damaged_is_made_again(tmp_path):
    save_photos(tmp_path / "a", range(10))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    first = contents(tmp_path / "run" / "shards")
    for chunk in (tmp_path / "run" / "shards" / "survey").rglob("*.chunk"):
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)
    assert run("shard", path).returncode == 0
    assert contents(tmp_path / "run" / "shards") == first


def test_run_does_not_need_the_sources_of_complete_shards(tmp_path):
    assert run("demo", tmp_path / "corpus", "--images", "200").returncode == 0
    small_run.random_tower(tmp_path / "tower.safetensors", seed=1)
    path = tmp_path / "run.toml"
    path.write_text(small_run.configuration(tmp_path / "corpus", tmp_path / "tower.safetensors", tmp_path / "run"))
    assert run("shard", path).returncode == 0
    shutil.rmtree(tmp_path / "corpus")
    process = run("run", path, env={"CSKD_FAIL_AT": "cache.next:term"})
    assert process.returncode == 75 and "shard is complete already" in process.stderr, process.stderr
    process = run("shard", path)
    assert process.returncode == 3 and "cannot be used" in process.stderr and "does not exist" in process.stderr


def test_headers_above_the_cap_are_refused_before_decoding(tmp_path):
    save_photos(tmp_path / "a", range(6))
    photo(50, (1200, 1000)).save(tmp_path / "a" / "big.jpg", quality=60)
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")], extra="max_megapixels = 1")
    assert run("shard", path).returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "shards" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["key"], line["reason"]) for line in lines] == [
        ("big.jpg", "1200 x 1000 pixels, at most 1 million are decoded")
    ]


def test_a_damaged_manifest_or_shard_is_restored(tmp_path):
    save_photos(tmp_path / "a", range(30))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    first = contents(tmp_path / "run" / "shards")
    random = numpy.random.default_rng(5)
    for file in [tmp_path / "run" / "shards" / "manifest.cskd", *shard_files(tmp_path / "run")]:
        whole = file.read_bytes()
        for damage in ("flip", "cut", "gone"):
            data = bytearray(whole)
            place = int(random.integers(0, len(data)))
            if damage == "gone":
                file.unlink()
            else:
                data[place] ^= 1 << int(random.integers(0, 8))
                file.write_bytes(data if damage == "flip" else data[:place])
            process = run("shard", path)
            assert process.returncode == 0, (file.name, damage, place, process.stderr)
            assert contents(tmp_path / "run" / "shards") == first, (file.name, damage, place)


def test_pictures_of_a_lost_shard_are_packed_again_beside_later_ones(tmp_path):
    save_photos(tmp_path / "a", range(20))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    save_photos(tmp_path / "a", range(20, 30))
    assert run("shard", path).returncode == 0
    shard_files(tmp_path / "run")[0].unlink()
    process = run("shard", path)
    assert process.returncode == 0 and "is missing or damaged" in process.stderr
    assert keys_in(tmp_path / "run") == {("a", f"{seed:04}.jpg") for seed in range(30)}
    assert any("-g2-" in file.name for file in shard_files(tmp_path / "run"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_leaves_earlier_shards_and_goes_on_later(tmp_path):
    save_photos(tmp_path / "a", range(60))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "none", disk], capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount a disk")
    try:
        text = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")]).read_text()
        path = tmp_path / "small.toml"
        path.write_text(text.replace(f'"{tmp_path / "run"}"', f'"{disk / "run"}"'))
        process = run("shard", path)
        assert process.returncode == 1
        assert "No space left" in process.stderr or "is the disk full?" in process.stderr or "free" in process.stderr, (
            process.stderr
        )
        assert not (disk / "run" / "shards" / "manifest.cskd").exists()
        assert not list(disk.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
        process = run("shard", path)
        assert process.returncode == 0, process.stderr
        undisturbed = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")], name="undisturbed")
        assert run("shard", undisturbed).returncode == 0
        assert contents(disk / "run" / "shards") == contents(tmp_path / "undisturbed" / "shards")
    finally:
        subprocess.run(["umount", disk], check=True)
