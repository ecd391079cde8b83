"""What the tests of packing share: small sources, and what the shards made of them hold."""

import hashlib
import json

import h5py
import numpy
from PIL import Image


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
