"""In which forms sources may come, and what is told of what they hold besides pictures."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile

import pytest
from changed_sources_test import facts, packs
from cskd_program import run
from packing_runs import folder_config, photo, samples, save_photos


def tar_of(names, start=0):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for number, name in enumerate(names):
            picture = io.BytesIO()
            photo(start + number).save(picture, "JPEG", quality=90)
            member = tarfile.TarInfo(name)
            member.size = picture.tell()
            picture.seek(0)
            archive.addfile(member, picture)
    return data.getvalue()


def test_joined_archives_and_capitals(tmp_path):
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "A.TAR").write_bytes(
        tar_of([f"{n}.jpg" for n in range(5)]) + tar_of([f"{n}.jfif" for n in range(5, 10)], 5)
    )
    path = folder_config(tmp_path, [("t", "webdataset", tmp_path / "tars", "")])
    packs(path)
    assert len(samples(tmp_path / "run")) == 10


def zstd_frame(data: bytes) -> bytes:
    """RFC 8878: one frame of blocks that are stored as they are."""
    blocks = [data[start : start + 100_000] for start in range(0, len(data), 100_000)]
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    for number, block in enumerate(blocks):
        frame += (len(block) << 3 | (number == len(blocks) - 1)).to_bytes(3, "little") + block
    return frame


@pytest.mark.parametrize("ranks", [1, 2])
def test_compressed_archives_are_packed_like_plain_ones(tmp_path, ranks):
    names = [f"{n}.jpg" for n in range(5)]
    packed = {}
    for form in ("plain", "compressed"):
        (tmp_path / form / "tars").mkdir(parents=True)
        for start, compress in enumerate((gzip.compress, bz2.compress, lzma.compress, zstd_frame)):
            data = tar_of(names, 5 * start)
            (tmp_path / form / "tars" / f"{start}.tar").write_bytes(data if form == "plain" else compress(data))
        path = folder_config(tmp_path / form, [("t", "webdataset", tmp_path / form / "tars", "")])
        packs(path, ranks)
        packed[form] = samples(tmp_path / form / "run")
        assert sorted(item.name for item in (tmp_path / form / "run" / "shards").iterdir() if item.is_dir()) == [
            "survey"
        ]
    assert len(packed["plain"]) == 20 and packed["plain"] == packed["compressed"]
    # Joined pieces, an ending that says so, and nothing new: no picture is packed again.
    (tmp_path / "plain" / "tars" / "4.TAR.GZ").write_bytes(
        gzip.compress(tar_of(["a.jpg"], 30)[:700]) + gzip.compress(tar_of(["a.jpg"], 30)[700:])
    )
    packs(tmp_path / "plain" / "run.toml", ranks)
    assert len(samples(tmp_path / "plain" / "run")) == 21 and facts(tmp_path / "plain" / "run")["added"] == 1
    whole = (tmp_path / "compressed" / "tars" / "0.tar").read_bytes()
    (tmp_path / "compressed" / "tars" / "0.tar").write_bytes(whole[: len(whole) // 2])
    process = run("shard", tmp_path / "compressed" / "run.toml")
    assert process.returncode == 3 and "0.tar cannot be unpacked: truncated gzip input" in process.stderr
    (tmp_path / "compressed" / "tars" / "0.tar").write_bytes(gzip.compress(bytes(80 << 20), 1, mtime=0))
    process = run("shard", tmp_path / "compressed" / "run.toml")
    assert process.returncode == 3 and "0.tar grows to more than" in process.stderr


def test_ratings_beside_pictures_are_those_of_a_table(tmp_path):
    scores = {f"{n}.jpg": round(1 + n * 0.37 % 9, 2) for n in range(12)}
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar.gz", "w:gz") as archive:
        for n, (name, score) in enumerate(scores.items()):
            picture = io.BytesIO()
            photo(n).save(picture, "JPEG", quality=90)
            for member, data in (
                (name, picture.getvalue()),
                (f"{n}.json", json.dumps({"rating": {"mean": score}}).encode()),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    keys = 'bins = [1.0, 4.0, 7.0, 10.0]\nsplit = "train"\n'
    path = folder_config(
        tmp_path, [("t", "webdataset", tmp_path / "tars", keys + 'columns = { mean = "/rating/mean" }\n')]
    )
    packs(path)
    process = run(
        "shard", path, "--set", f"run.folder={tmp_path}/misspelt", "--set", "sources[0].columns.mean=/rating/mea"
    )
    assert process.returncode == 3 and f"{tmp_path}/tars/a.tar.gz, unpacked\n" in process.stderr, process.stderr
    save_photos(tmp_path / "table" / "a.tar.gz", range(12))
    for n in range(12):
        (tmp_path / "table" / "a.tar.gz" / f"{n:04}.jpg").rename(tmp_path / "table" / "a.tar.gz" / f"{n}.jpg")
    table = "path,score\n" + "".join(f"{tmp_path}/table/a.tar.gz/{name},{score}\n" for name, score in scores.items())
    (tmp_path / "table" / "table.csv").write_text(table)
    keys += 'columns = { mean = "score" }\nabsolute_paths = true\n'
    path = folder_config(tmp_path / "table", [("t", "csv", tmp_path / "table" / "table.csv", keys)])
    packs(path)
    beside, listed = samples(tmp_path / "run"), samples(tmp_path / "table" / "run")
    assert len(beside) == 12
    for (_, key), (split, data, histogram) in beside.items():
        other = listed["t", f"{tmp_path}/table/{key}"]
        assert split == other[0] and data == other[1] and (histogram == other[2]).all()


def test_a_number_larger_than_any_in_a_sidecar_is_refused_by_file(tmp_path):
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as archive:
        picture = io.BytesIO()
        photo(1).save(picture, "JPEG", quality=90)
        for member, data in (("1.jpg", picture.getvalue()), ("1.json", b'{"score": 1e1000}')):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    keys = 'bins = [1.0, 4.0, 7.0, 10.0]\nsplit = "train"\ncolumns = { mean = "score" }\n'
    process = run("shard", folder_config(tmp_path, [("t", "webdataset", tmp_path / "tars", keys)]))
    assert (
        process.returncode == 3
        and "holds a number that is larger than any double" in process.stderr
        and "1.json" in process.stderr
    ), process.stderr


def test_the_list_of_what_was_passed_over(tmp_path):
    save_photos(tmp_path / "a", range(2))
    os.rename(tmp_path / "a" / "0000.jpg", tmp_path / "a" / "hashed")  # its bytes tell what it is
    (tmp_path / "a" / "notes.txt").write_text("x")
    odd = os.fsencode(tmp_path / "a") + b"/caf\xe9.heic"
    with open(odd, "wb") as file:
        file.write(b"x")
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "1.tar").write_bytes(
        tar_of([f"{n}.jpg" for n in range(3)], 5) + tar_of([f"{n}.gif" for n in range(20)])
    )
    (tmp_path / "tars" / "loose.jpg").write_bytes(b"x")
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", ""), ("t", "webdataset", tmp_path / "tars", "")])
    for ranks in (2, 1):
        packs(path, ranks)
        lines = [
            json.loads(line) for line in (tmp_path / "run" / "shards" / "passed_over.jsonl").read_text().splitlines()
        ]
        assert {line["what"] for line in lines} == {"passed_over"}
        found = {(line["source"], line.get("key_hex") or line["key"], line["reason"]) for line in lines}
        beside = ("t", "loose.jpg", ".jpg beside the archives")
        assert found == {("a", "notes.txt", ".txt"), ("a", b"caf\xe9.heic".hex(), ".heic"), beside} | {
            ("t", f"1.tar/{n}.gif", ".gif") for n in range(20)
        }
        assert len(samples(tmp_path / "run")) == 5
    (tmp_path / "a" / "notes.txt").rename(tmp_path / "a" / "other.txt")  # the same number of them
    packs(path)
    assert '"other.txt"' in (tmp_path / "run" / "shards" / "passed_over.jsonl").read_text()


def test_what_is_no_picture_is_counted_by_kind(tmp_path):
    save_photos(tmp_path / "a", range(6))
    for name in ("notes.txt", "b.TXT", "c.heic", "README"):
        (tmp_path / "a" / name).write_text("x")
    photo(9).save(tmp_path / "a" / "download.jfif", format="PNG")  # which format it is, its bytes tell
    path = folder_config(tmp_path, [("a", "folder", tmp_path / "a", "")])
    text = packs(path, 2)
    assert (
        "source 'a': 4 files were passed over, no pictures by their names: 1 .heic, 2 .txt, 1 no extension (see passed_over.jsonl)"
        in text
    )
    assert facts(tmp_path / "run")["passed_over"] == 4 and facts(tmp_path / "run")["packed"] == 7
    report = json.loads(run("inspect", tmp_path / "run", "--json").stdout)
    assert report["sources"][0]["passed_over"] == 4
