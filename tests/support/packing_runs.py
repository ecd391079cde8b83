"""What the tests of packing share: small sources, and what the shards made of them hold."""

import hashlib
import json

import h5py
import numpy
from PIL import Image


SEALED_HEADER = 40  # bytes before the message, src/runtime/sealed_file.h


def contents(folder):
    """Relative path -> hash of every file, but for the record of the stage, which tells how long it took."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "complete.json"
    }


def shard_files(folder):
    return sorted((folder / "shards").glob("*.h5"))


def varint(data, at):
    """The number at `at`, and where it ends."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at += 1
        shift += 7
        if data[at - 1] < 0x80:
            return number, at


def fields(data):
    """Number and value of each field of a protobuf message: a number, or the bytes of a message, text or list."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = {1: 8, 5: 4}[tag & 7]
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def withdrawn(folder):
    """File name -> rows that no one may use, of all shards of the manifest (shards/manifest.proto)."""
    rows = {}
    for number, shard in fields((folder / "shards" / "manifest.cskd").read_bytes()[SEALED_HEADER:]):
        if number != 2:
            continue
        parts = list(fields(shard))
        [name] = [value.decode() for part, value in parts if part == 1]
        rows[name] = set()
        for data in (value for part, value in parts if part == 13):
            at = 0
            while at < len(data):
                row, at = varint(data, at)
                rows[name].add(row)
    return rows


def samples(folder):
    """(source, key) -> (split, bytes, histogram or None) of all rows of all shards that may be used."""
    found = {}
    out = withdrawn(folder)
    assert set(out) == {path.name for path in shard_files(folder)}
    for path in shard_files(folder):
        with h5py.File(path) as file:
            keys, ends, blob = file["key_bytes"][:].tobytes(), file["key_offset"][:], file["bytes"][:].tobytes()
            offsets = file["offset"][:]
            for row in range(len(offsets) - 1):
                if row in out[path.name]:
                    continue
                key = keys[ends[row] : ends[row + 1]].decode(errors="surrogateescape")
                histogram = file["label/histogram"][row] if "label" in file else None
                source = (
                    file.attrs["source"].decode() if isinstance(file.attrs["source"], bytes) else file.attrs["source"]
                )
                assert (source, key) not in found
                found[source, key] = (int(file["split"][row]), blob[offsets[row] : offsets[row + 1]], histogram)
    return found


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
