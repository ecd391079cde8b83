"""Packing: the shards hold exactly what the sources hold, whatever the number of ranks, and nothing that is faulty or leaks."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

import h5py
import numpy
import pytest
from conftest import configuration
from cskd_program import errors, mpirun, run
from PIL import Image, ImageOps


def contents(folder):
    """Relative path -> hash of every file, but for the record of the stage, which tells how long it took."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "complete.json"}


def shard_files(folder):
    return sorted((folder / "shards").glob("*.h5"))


def samples(folder):
    """(source, key) -> (split, bytes, histogram or None) of all shards."""
    found = {}
    for path in shard_files(folder):
        with h5py.File(path) as file:
            keys, ends, blob = file["key_bytes"][:].tobytes(), file["key_offset"][:], file["bytes"][:].tobytes()
            offsets = file["offset"][:]
            for row in range(len(offsets) - 1):
                key = keys[ends[row]:ends[row + 1]].decode()
                histogram = file["label/histogram"][row] if "label" in file else None
                source = file.attrs["source"].decode() if isinstance(file.attrs["source"], bytes) else file.attrs["source"]
                assert (source, key) not in found
                found[source, key] = (int(file["split"][row]), blob[offsets[row]:offsets[row + 1]], histogram)
    return found


def files_of(corpus):
    """(source, key) -> bytes of every picture file of the corpus, tar members included."""
    found = {}
    for source in ("coast", "city", "studio"):
        for path in (corpus / source).rglob("*"):
            if path.is_file():
                found[source, str(path.relative_to(corpus / source))] = path.read_bytes()
    for path in (corpus / "rated" / "images").iterdir():
        found["rated", path.name] = path.read_bytes()
    for path in (corpus / "archive").glob("*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                found["archive", f"{path.name}/{member.name}"] = archive.extractfile(member).read()
    return found


def test_shards_are_the_same_on_any_number_of_ranks(config):
    path_one, folder_one = config("one")
    path_two, folder_two = config("two")
    path_four, folder_four = config("four")
    assert run("shard", path_one).returncode == 0
    assert mpirun(2, "shard", path_two).returncode == 0
    assert mpirun(4, "shard", path_four).returncode == 0
    assert contents(folder_one / "shards") == contents(folder_two / "shards") == contents(folder_four / "shards")


def test_h5py_reads_what_the_sources_hold(cached, corpus):
    packed = samples(cached)
    originals = files_of(corpus)
    for key, (_, data, _) in packed.items():
        assert data == originals[key], key
    dropped = {(line["source"], line["key"]): line for name in ("quarantine.jsonl", "dropped.jsonl")
               for line in map(json.loads, (cached / "shards" / name).read_text().splitlines())}
    pictures = {key for key in originals if key[1].lower().endswith((".jpg", ".jpeg", ".png", ".webp"))}
    assert packed.keys() | dropped.keys() >= pictures
    assert not packed.keys() & dropped.keys()
    # Exact duplicates: each content is packed once.
    assert len({hashlib.sha256(data).digest() for _, data, _ in packed.values()}) == len(packed)


def test_exactly_what_was_planted_is_found(tmp_path):
    """On a corpus of 3,000 pictures, by two ranks: every planted duplicate, leak and fault, and nothing else."""
    corpus = tmp_path / "corpus"
    assert run("demo", corpus, "--images", 3000).returncode == 0
    path = tmp_path / "run.toml"
    path.write_text(configuration(corpus, "none", tmp_path / "run"))
    process = mpirun(2, "shard", path)
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for name in ("quarantine.jsonl", "dropped.jsonl")
             for line in (tmp_path / "run" / "shards" / name).read_text().splitlines()]
    found = {what: {f"{line['source']}/{line['key']}".replace("rated/", "rated/images/") for line in lines if line["what"] == what}
             for what in ("quarantined", "duplicate", "near_duplicate", "leaked", "nearly_leaked")}
    planted = json.loads((corpus / "planted.json").read_text())

    def of(kind, **fields):
        return {entry["path"] for entry in planted if entry["kind"] == kind and all(entry[name] == value for name, value in fields.items())}

    assert found["quarantined"] == (of("truncated") | of("empty") | of("garbage") | of("huge_header") | of("rated_missing")
                                    | of("rated_truncated"))
    assert found["leaked"] == of("leaked_test_image", note="the same bytes")
    assert found["nearly_leaked"] == of("leaked_test_image", note="JPEG quality 70")
    # Of two equal pictures either may be the one that stays: the first of its source does.
    originals = {entry["path"]: entry["original"] for entry in planted}
    for what, kinds in (("duplicate", ("exact_duplicate",)), ("near_duplicate", ("near_duplicate", "exif_orientation"))):
        pairs = [{path, originals[path]} for kind in kinds for path in of(kind)]
        hit = [pair for pair in pairs if pair & found[what]]
        wrong = found[what] - set().union(*pairs)
        assert all(len(pair & found[what]) == 1 for pair in hit), what
        if what == "duplicate":
            assert len(hit) == len(pairs) and not wrong
        else:
            assert len(hit) >= 0.95 * len(pairs) and len(wrong) <= 0.05 * len(found[what]), wrong
    facts = json.loads((tmp_path / "run" / "shards" / "complete.json").read_text())["facts"]
    assert facts["packed"] == len(samples(tmp_path / "run"))
    assert facts["leaked"] == len(found["leaked"]) + len(found["nearly_leaked"])
    assert f"{facts['packed']}" in process.stdout and "near duplicates" in process.stdout


def test_labels_and_splits_are_those_of_the_lists(cached, corpus):
    test_ids = set((corpus / "rated/aesthetics_image_lists/generic_test.jpgl").read_text().split())
    packed = samples(cached)
    checked = 0
    for line in (corpus / "rated/AVA.txt").read_text().splitlines():
        numbers = [int(number) for number in line.split()]
        key = ("rated", f"{numbers[1]}.jpg")
        if key not in packed:
            continue
        split, _, histogram = packed[key]
        counts = numpy.array(numbers[2:12], dtype=float)
        assert split == (3 if str(numbers[1]) in test_ids else 1)
        numpy.testing.assert_allclose(histogram, counts / counts.sum(), atol=1e-6)
        checked += 1
    assert checked > 30


def test_sizes_and_formats_are_what_pillow_says(cached):
    formats = {"JPEG": 1, "PNG": 2, "WEBP": 3}
    for path in shard_files(cached):
        with h5py.File(path) as file:
            blob, offsets = file["bytes"][:].tobytes(), file["offset"][:]
            for row in range(0, len(offsets) - 1, 5):
                image = Image.open(io.BytesIO(blob[offsets[row]:offsets[row + 1]]))
                assert formats[image.format] == file["format"][row]
                upright = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
                assert tuple(file["size"][row]) == upright.size


def test_killed_while_packing_then_again_gives_the_same(config):
    path, folder = config("killed")
    undisturbed_path, undisturbed = config("undisturbed")
    assert run("shard", path, env={"CSKD_FAIL_AT": "atomic_file.rename:3:kill"}).returncode == -9
    assert not (folder / "shards" / "manifest.cskd").exists()
    assert run("shard", path).returncode == 0
    assert run("shard", undisturbed_path).returncode == 0
    assert contents(folder / "shards") == contents(undisturbed / "shards")


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_full_disk_ends_the_job_and_leaves_nothing_half_written(config, ranks):
    path, folder = config(f"full{ranks}")
    process = mpirun(ranks, "shard", path, env={"CSKD_FAIL_AT": "hdf5_file.write:2:full"})
    assert process.returncode == 1
    assert "No space left on device" in process.stderr
    assert not (folder / "shards" / "manifest.cskd").exists()


def test_a_missing_and_an_empty_source_are_named(config, tmp_path):
    path, _ = config("bad")
    process = run("shard", path, "--set", f"sources[0].path={tmp_path}/nowhere")
    assert process.returncode == 3
    assert "source 'coast'" in process.stderr and "nowhere" in process.stderr
    (tmp_path / "void").mkdir()
    process = run("shard", path, "--set", f"sources[0].path={tmp_path}/void")
    assert process.returncode == 3
    assert "holds no picture" in process.stderr


def test_too_many_faults_fail_the_job(config):
    path, _ = config("faults")
    process = run("shard", path, "--set", "packing.max_fault_rate=0.001")
    assert process.returncode == 3
    assert "packing.max_fault_rate" in process.stderr


def test_a_truncated_tar_is_named(config, corpus, tmp_path):
    tar = sorted((corpus / "archive").glob("*.tar"))[0]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.tar").write_bytes(tar.read_bytes()[:100_000])
    path, _ = config("cut")
    process = run("shard", path, "--set", f"sources[3].path={tmp_path}/cut")
    assert process.returncode == 3
    assert "a.tar" in process.stderr and "is the tar archive whole?" in process.stderr


def test_a_damaged_shard_is_named_and_packed_again(cached, config, tmp_path):
    path, folder = config("damaged")
    shutil.copytree(cached, folder)
    shard = next(file for file in shard_files(folder) if "unlabelled" in file.name)
    with h5py.File(shard) as file:
        places = file["bytes"].id.get_offset() + file["offset"][1:] - 5
    data = bytearray(shard.read_bytes())
    for place in places:
        data[int(place)] ^= 1
    shard.write_bytes(data)
    process = run("align", path)
    assert process.returncode == 3, process.stderr
    assert re.search(rf"{shard.name} row \d+ \('.*'\) is damaged: CRC-32C", process.stderr), process.stderr
    assert errors(process)
    (folder / "shards" / "complete.json").unlink()
    assert run("shard", path).returncode == 0
    assert run("align", path).returncode == 0


def test_a_damaged_manifest_is_named(cached, config):
    path, folder = config("manifest")
    shutil.copytree(cached, folder)
    manifest = folder / "shards" / "manifest.cskd"
    data = bytearray(manifest.read_bytes())
    data[60] ^= 1
    manifest.write_bytes(data)
    process = run("align", path)
    assert process.returncode == 3
    assert "manifest.cskd is damaged" in process.stderr


def folder_config(tmp_path, sources, name="run", extra="", max_samples=8):
    """A configuration of (name, kind, path, more keys) sources whose run folder is tmp_path/name."""
    text = f'[run]\nfolder = "{tmp_path / name}"\nmin_free = 0\n[packing]\nmax_samples = {max_samples}\nmax_fault_rate = 0.5\n{extra}\n'
    for source, kind, path, more in sources:
        text += f'[[sources]]\nname = "{source}"\nkind = "{kind}"\npath = "{path}"\n{more}\n'
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return path


def photo(seed, size=(96, 64)):
    """A smooth random picture: no two seeds look alike."""
    grid = numpy.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=numpy.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def save_photos(folder, seeds, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        photo(seed).save(folder / f"{seed:04}.jpg", quality=90, **options)


def dropped(folder):
    lines = map(json.loads, (folder / "shards" / "dropped.jsonl").read_text().splitlines())
    return {(line["source"], line["key"]): line["what"] for line in lines}


def keys_in(folder):
    return {key for key in samples(folder)}


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
    assert keys_in(tmp_path / "run") == ({("a", f"{seed:04}.jpg") for seed in range(45)} | {("b", f"{seed:04}.jpg") for seed in range(100, 120)})
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
    for override, key in (("packing.max_samples=7", "packing.max_samples"), ("run.seed=2", "run.seed"),
                          ("sources[0].kind=webdataset", "sources.a.kind")):
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
        original = ImageOps.exif_transpose(Image.open(tmp_path / "a" / name)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        pressed = io.BytesIO()
        original.save(pressed, "JPEG", quality=80)
        assert numpy.array_equal(numpy.asarray(stored), numpy.asarray(Image.open(pressed)))
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
    save_photos(tmp_path / "a", range(10))
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    assert run("shard", path).returncode == 0
    shutil.rmtree(tmp_path / "a")
    process = run("run", path)
    assert "shard is complete already" in process.stderr
    process = run("shard", path)
    assert process.returncode == 3 and "source 'a'" in process.stderr


def test_headers_above_the_cap_are_refused_before_decoding(tmp_path):
    save_photos(tmp_path / "a", range(6))
    photo(50, (1200, 1000)).save(tmp_path / "a" / "big.jpg", quality=60)
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")], extra="max_megapixels = 1")
    assert run("shard", path).returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "shards" / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["key"], line["reason"]) for line in lines] == [("big.jpg", "1200 x 1000 pixels, at most 1 million are decoded")]


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
        assert "No space left" in process.stderr or "is the disk full?" in process.stderr or "free" in process.stderr, process.stderr
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
