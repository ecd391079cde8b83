"""`cskd inspect`: its figures are those that h5py and Pillow find, and every damage is named."""

import io
import json
import shutil
import subprocess

import h5py
import numpy
import pytest
from cskd_program import CSKD, errors, mpirun, run
from PIL import Image, ImageOps

SPLITS = ["unlabelled", "train", "validation", "test"]
CELL, GAP, BACKGROUND = 144, 6, 96


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A run folder with the shards of three sources; copy it before changing anything."""
    folder = tmp_path_factory.mktemp("inspect")
    process = run("demo", folder / "corpus", "--images", 300)
    assert process.returncode == 0, process.stderr
    text = f'[run]\nfolder = "{folder}/run"\nmin_free = 0\n[packing]\nmax_samples = 25\nmax_fault_rate = 0.5\n'
    text += "drop_near_duplicates = false\n"  # or else pictures with an EXIF orientation go, which are turned copies
    for name, kind in [("coast", "folder"), ("city", "folder"), ("rated", "ava")]:
        text += f'[[sources]]\nname = "{name}"\nkind = "{kind}"\npath = "{folder}/corpus/{name}"\n'
    (folder / "config.toml").write_text(text)
    process = run("shard", folder / "config.toml")
    assert process.returncode == 0, process.stderr
    return folder / "run"


@pytest.fixture
def copied(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "run")


def text_of(value):
    return value.decode() if isinstance(value, bytes) else value


def shards_of(folder):
    """What h5py reads: one dictionary for each shard, by file name."""
    found = {}
    for path in sorted((folder / "shards").glob("*.h5")):
        with h5py.File(path) as file:
            ends, keys, offset = file["key_offset"][:], file["key_bytes"][:].tobytes(), file["offset"][:]
            found[path.name] = {
                "source": text_of(file.attrs["source"]),
                "split": text_of(file.attrs["split"]),
                "keys": [keys[a:b].decode() for a, b in zip(ends, ends[1:])],
                "pictures": [file["bytes"][a:b].tobytes() for a, b in zip(offset, offset[1:])],
                "bytes_at": file["bytes"].id.get_offset() + offset,
                "size": file["size"][:],
                "format": file["format"][:],
                "orientation": file["orientation"][:],
                "mean": file["label/mean"][:] if "label" in file else None,
            }
    return found


def inspected(*arguments, code=0, ranks=0):
    process = mpirun(ranks, "inspect", *arguments, "--json") if ranks else run("inspect", *arguments, "--json")
    assert process.returncode == code, process.stdout + process.stderr

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(process.stdout, parse_constant=refuse)


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_figures_are_those_that_h5py_finds(packed):
    report = inspected(packed)
    shards = shards_of(packed)
    assert report["kind"] == "manifest" and report["shards"] == report["readable_shards"] == len(shards)
    assert report["faults"] == [] and report["generations"] == 1
    groups = {}
    for shard in shards.values():
        groups.setdefault((shard["source"], shard["split"]), []).append(shard)
    assert {(group["source"], group["split"]) for group in report["groups"]} == groups.keys()
    assert len(groups) >= 4 and any(len(group) > 1 for group in groups.values())
    for group in report["groups"]:
        members = groups[group["source"], group["split"]]
        sizes = numpy.concatenate([member["size"] for member in members])
        formats = numpy.concatenate([member["format"] for member in members])
        assert group["shards"] == len(members)
        assert group["samples"] == len(sizes) and group["withdrawn"] == 0
        assert group["bytes"] == sum(len(picture) for member in members for picture in member["pictures"])
        for side, name in enumerate(("width", "height")):
            ordered = sorted(sizes[:, side].tolist())
            assert group[name] == {"min": ordered[0], "median": ordered[(len(ordered) - 1) // 2], "max": ordered[-1]}
        assert [group["formats"][name] for name in ("other", "jpeg", "png", "webp")] == numpy.bincount(
            formats, minlength=4
        ).tolist()
        orientations = numpy.bincount(numpy.concatenate([member["orientation"] for member in members]))
        assert group["orientations"] == {
            str(value): count for value, count in enumerate(orientations.tolist()) if count
        }
        if members[0]["mean"] is None:
            assert group["bins"] == 0 and group["scores"] is None
            continue
        means = numpy.concatenate([member["mean"] for member in members]).astype(float)
        assert group["bins"] == 10 and group["scores"]["low"] == 1 and group["scores"]["high"] == 10
        assert group["scores"]["mean"] == pytest.approx(means.mean())
        assert group["scores"]["counts"] == numpy.histogram(means, bins=10, range=(1, 10))[0].tolist()
    sources = {source["name"]: source for source in report["sources"]}
    assert sources["rated"]["kind"] == "ava" and sources["rated"]["bin_centres"] == list(range(1, 11))
    assert sum(source["packed"] for source in sources.values()) == report["samples"]
    assert any(orientation > 1 for shard in shards.values() for orientation in shard["orientation"])


def test_a_run_a_folder_and_a_manifest_are_the_same(packed):
    report = inspected(packed)
    assert inspected(packed / "shards") == report
    assert inspected(packed / "shards" / "manifest.cskd") == report


def test_text_fits_a_terminal(packed):
    process = run("inspect", packed)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == str(packed / "shards" / "manifest.cskd")
    assert all(len(line) <= 100 for line in lines[1:])
    assert any(line.startswith("scores of rated, train: mean ") for line in lines)
    assert any(line.endswith("#") for line in lines) and "\x1b" not in process.stdout


def test_a_training_without_checkpoints(packed, copied):
    (copied / "align").mkdir()
    for folder in (f"{copied}/align", f"{copied}/align/"):
        process = run("inspect", folder)
        assert process.returncode == 3
        assert errors(process)[0].startswith(f"cskd: error: {folder} holds no checkpoint")


def test_a_shard_alone(packed):
    name, shard = next((name, shard) for name, shard in shards_of(packed).items() if shard["split"] == "test")
    report = inspected(packed / "shards" / name, "--verify")
    assert report["kind"] == "shard" and report["shards"] == 1
    assert report["groups"][0]["source"] == "rated" and report["groups"][0]["samples"] == len(shard["keys"])
    assert report["verification"]["pictures"] == len(shard["keys"])
    assert report["groups"][0]["scores"]["low"] == pytest.approx(min(shard["mean"]))


@pytest.mark.parametrize("ranks", [0, 2, 3])
def test_whole_shards_are_verified_on_any_number_of_ranks(packed, ranks):
    report = inspected(packed, "--verify", ranks=ranks)
    shards = shards_of(packed)
    assert report["verification"]["pictures"] == sum(len(shard["keys"]) for shard in shards.values())
    assert report["verification"]["bytes"] == sum((packed / "shards" / name).stat().st_size for name in shards)
    assert report["faults"] == []
    process = run("inspect", packed, "--verify")
    assert f"{len(shards)} shards, {report['verification']['pictures']} pictures, " in process.stdout.splitlines()[-1]


@pytest.mark.parametrize("ranks", [0, 2])
def test_damage_is_named(copied, ranks):
    shards = shards_of(copied)
    names = sorted(shards)
    damaged, missing, cut, other = names[0], names[1], names[-1], names[2]
    flip(copied / "shards" / damaged, int(shards[damaged]["bytes_at"][3]) + 10)
    (copied / "shards" / missing).unlink()
    data = (copied / "shards" / cut).read_bytes()
    (copied / "shards" / cut).write_bytes(data[:-100])
    with h5py.File(copied / "shards" / other) as file:
        place = file["phash"].id.get_offset()
    flip(copied / "shards" / other, place)  # no checksum of a row covers it
    report = inspected(copied, "--verify", code=3, ranks=ranks)
    faults = {}
    for fault in report["faults"]:
        faults.setdefault(fault["file"], []).append(fault)
    assert faults.keys() == {damaged, missing, cut, other}
    assert [fault["row"] for fault in faults[damaged]] == [None, 3]
    assert faults[damaged][1]["key"] == shards[damaged]["keys"][3] and "CRC-32C" in faults[damaged][1]["what"]
    assert "missing" in faults[missing][0]["what"] and "cut off" in faults[cut][0]["what"]
    assert len(faults[other]) == 1 and "XXH3-128 of the file" in faults[other][0]["what"]
    assert report["shards"] == len(shards) and report["readable_shards"] == len(shards) - 2
    assert report["verification"]["shards"] == len(shards) - 2
    process = run("inspect", copied, "--verify")
    assert process.returncode == 3
    assert f"{damaged} row 3 ('{shards[damaged]['keys'][3]}'): " in process.stdout
    assert process.stdout.splitlines()[-1].startswith("5 faults; ")


@pytest.mark.parametrize("ranks", [0, 2])
def test_keys_need_not_be_utf8_and_do_not_steer_the_terminal(copied, ranks):
    name, shard = sorted(shards_of(copied).items())[0]
    with h5py.File(copied / "shards" / name) as file:
        keys_at = file["key_bytes"].id.get_offset()
    data = bytearray((copied / "shards" / name).read_bytes())
    data[keys_at : keys_at + 3] = b"\xff\x1b["
    data[int(shard["bytes_at"][0])] ^= 1
    (copied / "shards" / name).write_bytes(data)
    fault = inspected(copied, "--verify", code=3, ranks=ranks)["faults"][1]
    assert fault["row"] == 0 and fault["key"] == "\ufffd\x1b[" + shard["keys"][0][3:]
    process = subprocess.run([CSKD, "inspect", copied, "--verify"], capture_output=True, timeout=240)  # bytes
    assert process.returncode == 3 and b"\xff?[" in process.stdout and b"\x1b" not in process.stdout


def test_without_verify_only_what_cannot_be_read_is_a_fault(copied):
    shards = shards_of(copied)
    names = sorted(shards)
    flip(copied / "shards" / names[0], int(shards[names[0]]["bytes_at"][0]))
    assert inspected(copied)["faults"] == []
    (copied / "shards" / names[1]).unlink()
    report = inspected(copied, code=3)
    assert [(fault["file"], fault["row"]) for fault in report["faults"]] == [(names[1], None)]
    assert report["samples"] == sum(len(shards[name]["keys"]) for name in names if name != names[1])


def test_many_faults_of_a_shard_are_counted(copied):
    name = sorted(shards_of(copied))[0]
    with h5py.File(copied / "shards" / name) as file:
        place, rows = file["crc32c"].id.get_offset(), len(file["crc32c"])
    assert rows > 20
    data = bytearray((copied / "shards" / name).read_bytes())
    for row in range(rows):
        data[place + 4 * row] ^= 255
    (copied / "shards" / name).write_bytes(data)
    report = inspected(copied, "--verify", code=3)
    assert len(report["faults"]) == 20 and report["verification"]["unlisted_faults"] == {name: rows - 19}
    process = run("inspect", copied, "--verify")
    assert f"{name}: {rows - 19} more" in process.stdout and f"{rows + 1} faults" in process.stdout


def cells_of(report, sheet):
    """(row, column, key, pixels of the cell) of every cell that has a picture."""
    pixels = numpy.asarray(Image.open(sheet))
    assert pixels.shape == (report["sheet"]["height"], report["sheet"]["width"], 3)
    for y, row in enumerate(report["sheet"]["rows"]):
        for x, key in enumerate(row["keys"]):
            top, left = GAP + y * (CELL + GAP), GAP + x * (CELL + GAP)
            yield row, x, key, pixels[top : top + CELL, left : left + CELL]


def test_the_contact_sheet_shows_the_pictures_as_pillow_does(packed, tmp_path):
    report = inspected(packed, "--sheet", tmp_path / "sheet.png")
    shards = shards_of(packed).values()
    pictures = {
        (shard["source"], shard["split"], key): data
        for shard in shards
        for key, data in zip(shard["keys"], shard["pictures"])
    }
    assert [(row["source"], row["split"]) for row in report["sheet"]["rows"]] == [
        (group["source"], group["split"]) for group in report["groups"]
    ]
    assert report["sheet"]["left_out"] == 0
    shown = 0
    for row, _, key, cell in cells_of(report, tmp_path / "sheet.png"):
        image = Image.open(io.BytesIO(pictures[row["source"], row["split"], key]))
        image = ImageOps.exif_transpose(image).convert("RGB")
        longer = max(image.size)
        if longer > CELL:
            image = image.resize(
                [max(1, (2 * side * CELL + longer) // (2 * longer)) for side in image.size], Image.BILINEAR
            )
        expected = numpy.full((CELL, CELL, 3), BACKGROUND, numpy.uint8)
        top, left = (CELL - image.height) // 2, (CELL - image.width) // 2
        expected[top : top + image.height, left : left + image.width] = numpy.asarray(image)
        numpy.testing.assert_array_equal(cell, expected, err_msg=key)
        shown += 1
    assert shown == sum(min(10, group["samples"]) for group in report["groups"])
    # At even distances: the pictures of a row come from all of its shards.
    for row in report["sheet"]["rows"]:
        members = [shard for shard in shards if (shard["source"], shard["split"]) == (row["source"], row["split"])]
        if len(members) <= 3:
            assert all(set(member["keys"]) & set(row["keys"]) for member in members if len(member["keys"]) == 25)


def test_withdrawn_rows_are_left_out(tmp_path):
    generator = numpy.random.default_rng(1)

    def save(path):
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), numpy.uint8))
        coarse.resize((160 + int(generator.integers(80)), 120), Image.BICUBIC).save(path, quality=90)

    for number in range(9):
        save(tmp_path / "photos" / f"{number}.jpg")
    config = f'[run]\nfolder = "{tmp_path}/run"\nmin_free = 0\n[[sources]]\nname = "photos"\nkind = "folder"\npath = "{tmp_path}/photos"\n'
    (tmp_path / "run.toml").write_text(config)
    assert run("shard", tmp_path / "run.toml").returncode == 0
    save(tmp_path / "rated" / "new.jpg")
    for number in (0, 3, 4):  # pictures of the first packing that a later test set holds
        shutil.copy(tmp_path / "photos" / f"{number}.jpg", tmp_path / "rated")
    (tmp_path / "rated" / "table.csv").write_text("path,score\nnew.jpg,4\n0.jpg,1\n3.jpg,2\n4.jpg,2.5\n")
    config += f'[[sources]]\nname = "rated"\nkind = "csv"\npath = "{tmp_path}/rated/table.csv"\nsplit = "test"\n'
    (tmp_path / "run.toml").write_text(config + 'bins = [1, 2, 3, 4, 5]\ncolumns.mean = "score"\n')
    process = run("shard", tmp_path / "run.toml")
    assert process.returncode == 0, process.stderr
    report = inspected(tmp_path / "run", "--verify", "--sheet", tmp_path / "sheet.png")
    photos, rated = report["groups"]
    kept = [f"{number}.jpg" for number in range(9) if number not in (0, 3, 4)]
    assert report["generations"] == 2 and report["withdrawn"] == 3
    assert photos["samples"] == 6 and photos["withdrawn"] == 3 and rated["samples"] == 4 and rated["withdrawn"] == 0
    assert photos["bytes"] == sum((tmp_path / "photos" / name).stat().st_size for name in kept)
    widths = sorted(Image.open(tmp_path / "photos" / name).width for name in kept)
    assert photos["width"] == {"min": widths[0], "median": widths[2], "max": widths[-1]}
    assert sorted(report["sheet"]["rows"][0]["keys"]) == kept
    assert report["verification"]["pictures"] == 13  # withdrawn rows are still there
    assert rated["scores"]["mean"] == pytest.approx((4 + 1 + 2 + 2.5) / 4)
    assert rated["scores"]["counts"] == numpy.histogram([4, 1, 2, 2.5], bins=10, range=(1, 5))[0].tolist()


def test_a_damaged_picture_leaves_its_cell_empty(copied, tmp_path):
    key = inspected(copied, "--sheet", tmp_path / "whole.png")["sheet"]["rows"][0]["keys"][2]
    name, row, place = next(
        (name, shard["keys"].index(key), int(shard["bytes_at"][shard["keys"].index(key)]))
        for name, shard in shards_of(copied).items()
        if key in shard["keys"] and shard["source"] == "coast"
    )
    flip(copied / "shards" / name, place + 5)
    report = inspected(copied, "--sheet", tmp_path / "sheet.png", code=3)
    assert [(fault["file"], fault["row"], fault["key"]) for fault in report["faults"]] == [(name, row, key)]
    assert report["sheet"]["rows"][0]["keys"][2] == ""
    both = inspected(copied, "--verify", "--sheet", tmp_path / "again.png", code=3)
    assert [fault["row"] for fault in both["faults"]] == [None, row]  # the file's hash, and the picture once
    cells = {
        x: cell for row, x, _, cell in cells_of(report, tmp_path / "sheet.png") if row is report["sheet"]["rows"][0]
    }
    assert (cells[2] == BACKGROUND).all() and not (cells[1] == BACKGROUND).all()


def test_the_contact_sheet_appears_whole_or_not_at_all(packed, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_text("before")
    process = run("inspect", packed, "--sheet", sheet, env={"CSKD_FAIL_AT": "atomic_file.write@sheet.png:full"})
    assert process.returncode == 1 and "No space left on device" in process.stderr
    assert sheet.read_text() == "before" and [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_paths_of_other_things_are_refused(packed, tmp_path):
    def refused(path, *texts, ranks=0):
        process = mpirun(ranks, "inspect", path) if ranks else run("inspect", path)
        assert process.returncode == 3, process.stdout + process.stderr
        for text in (str(path), *texts):
            assert text in errors(process)[0], process.stderr
        assert process.stdout == ""

    refused(tmp_path / "nowhere", "does not exist; expected a manifest (manifest.cskd)")
    refused(tmp_path / "nowhere", "does not exist", ranks=2)
    refused(tmp_path, "holds neither manifest.cskd nor shards/manifest.cskd", "'cskd shard'")
    (tmp_path / "run.txt").touch()
    refused(tmp_path / "run.txt", "expected a manifest")
    (tmp_path / "run.toml").touch()  # a configuration, which stands for its run folder
    process = run("inspect", tmp_path / "run.toml")
    assert process.returncode == 2 and "run.toml: is empty; a configuration has" in errors(process)[0]
    (tmp_path / "run.toml").write_text('[run]\nfolder = "here"\n')
    process = run("inspect", tmp_path / "run.toml")
    assert process.returncode == 3 and f"{tmp_path}/here does not exist" in errors(process)[0]
    (tmp_path / "text.h5").write_text("no HDF5")
    refused(tmp_path / "text.h5", "does not open as HDF5")
    with h5py.File(tmp_path / "other.h5", "w", libver="latest") as file:
        file.attrs["format"] = numpy.bytes_("cskd-other")
    refused(tmp_path / "other.h5", "'cskd-other'", "'cskd-image-shard'")
    data = bytearray((packed / "shards" / "manifest.cskd").read_bytes())
    data[60] ^= 1
    (tmp_path / "manifest.cskd").write_bytes(data)
    refused(tmp_path / "manifest.cskd", "is damaged")
    assert run("inspect").returncode == 2
