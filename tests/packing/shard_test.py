"""Packing: the shards hold exactly what the sources hold, whatever the number of ranks, and nothing that is faulty or leaks."""

import hashlib
import io
import json
import re
import shutil
import tarfile

import h5py
import numpy
import pytest
from small_run import configuration
from cskd_program import errors, mpirun, run
from packing_runs import contents, samples, shard_files
from PIL import Image, ImageOps


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
    dropped = {
        (line["source"], line["key"]): line
        for name in ("quarantine.jsonl", "dropped.jsonl")
        for line in map(json.loads, (cached / "shards" / name).read_text().splitlines())
    }
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
    lines = [
        json.loads(line)
        for name in ("quarantine.jsonl", "dropped.jsonl")
        for line in (tmp_path / "run" / "shards" / name).read_text().splitlines()
    ]
    found = {
        what: {
            f"{line['source']}/{line['key']}".replace("rated/", "rated/images/")
            for line in lines
            if line["what"] == what
        }
        for what in ("quarantined", "duplicate", "near_duplicate", "leaked", "nearly_leaked")
    }
    planted = json.loads((corpus / "planted.json").read_text())

    def of(kind, **fields):
        return {
            entry["path"]
            for entry in planted
            if entry["kind"] == kind and all(entry[name] == value for name, value in fields.items())
        }

    assert found["quarantined"] == (
        of("truncated") | of("empty") | of("garbage") | of("huge_header") | of("rated_missing") | of("rated_truncated")
    )
    assert found["leaked"] == of("leaked_test_image", note="the same bytes")
    assert found["nearly_leaked"] == of("leaked_test_image", note="JPEG quality 70")
    # Of two equal pictures either may be the one that stays: the first of its source does.
    originals = {entry["path"]: entry["original"] for entry in planted}
    for what, kinds in (
        ("duplicate", ("exact_duplicate",)),
        ("near_duplicate", ("near_duplicate", "exif_orientation")),
    ):
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
                image = Image.open(io.BytesIO(blob[offsets[row] : offsets[row + 1]]))
                assert formats[image.format] == file["format"][row]
                upright = ImageOps.exif_transpose(image) if image.format == "JPEG" else image
                assert tuple(file["size"][row]) == upright.size


def test_killed_while_packing_then_again_gives_the_same(config):
    path, folder = config("killed")
    undisturbed_path, undisturbed = config("undisturbed")
    assert run("shard", path, env={"CSKD_FAIL_AT": "atomic_file.rename@shards/*.h5:2:kill"}).returncode == -9
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
