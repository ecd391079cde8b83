"""Packing photos into shards: cskd beside bare JPEG decoding, WebDataset's ShardWriter and MosaicML Streaming's MDSWriter, on the same
pictures and cores, in turns within one run.

  cmake --build build/release --target decode_benchmark
  .venv/bin/python -m pip install --no-deps --target build/peers -r tests/benchmarks/requirements.txt
  PYTHONPATH=build/peers .venv/bin/python tests/benchmarks/packing.py [--pictures 12000] [--rounds 5] [--target FOLDER]

Every writer decodes each picture once, so that no corrupt one gets in. cskd also hashes bytes and pixels, looks for equal and nearly equal
pictures, and reads back and verifies every file that it writes; the others do not. Bare decoding reads and decodes, and does nothing else.
"""

import argparse
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
WORKERS = 2


def make_pictures(folder, count):
    """JPEG files of 500 x 375 pixels and about 50 kB, no two alike: coarse shapes, fine texture, noise."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).normal(0, 3, (375, 500, 3)).astype(np.float32)
    for number in range(len(list(folder.glob("*.jpg"))), count):
        random = np.random.default_rng(number)
        layers = [
            np.asarray(
                Image.fromarray(random.integers(0, 255, (size * 3 // 4, size, 3), dtype=np.uint8)).resize(
                    (500, 375), Image.Resampling.BICUBIC
                ),
                dtype=np.float32,
            )
            for size in (6, 40, 160)
        ]
        picture = 0.6 * layers[0] + 0.25 * layers[1] + 0.15 * layers[2] + np.roll(noise, number * 7919, axis=(0, 1))
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=90)


def pictures_of(folder, worker):
    for path in sorted(folder.glob("*.jpg"))[worker::WORKERS]:
        data = path.read_bytes()
        Image.open(io.BytesIO(data)).load()
        yield path.stem, data


def write_webdataset(folder, target, worker):
    import webdataset

    with webdataset.ShardWriter(
        str(target / f"{worker}-%05d.tar"), maxcount=16384, maxsize=512 << 20, verbose=0
    ) as writer:
        for key, data in pictures_of(folder, worker):
            writer.write({"__key__": key, "jpg": data})


def write_mds(folder, target, worker):
    from streaming import MDSWriter

    with MDSWriter(
        out=str(target / str(worker)), columns={"key": "str", "jpg": "bytes"}, hashes=["xxh3_64"], size_limit=512 << 20
    ) as writer:
        for key, data in pictures_of(folder, worker):
            writer.write({"key": key, "jpg": data})


def time_writer(write, folder, target):
    start = time.perf_counter()
    workers = [multiprocessing.Process(target=write, args=(folder, target, worker)) for worker in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            sys.exit(f"{write.__name__} failed")
    os.sync()
    return time.perf_counter() - start


def time_cskd(folder, target, command):
    config = target / "config.toml"
    config.write_text(
        f'[run]\nfolder = "{target}/run"\n[compute]\nloader_threads = {WORKERS if not command else 1}\n'
        f'[[sources]]\nname = "photos"\nkind = "folder"\npath = "{folder}"\n'
    )
    environment = {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_mpi_yield_when_idle": "1",
    }
    start = time.perf_counter()
    process = subprocess.run(
        [*command, ROOT / "build/release/cskd", "shard", config],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(process.stderr)
    facts = json.loads((target / "run/shards/complete.json").read_text())["facts"]
    if facts["packed"] != len(list(folder.glob("*.jpg"))):
        sys.exit(f"cskd packed {facts}")
    return seconds


def time_decoding(folder, target):
    process = subprocess.run(
        [ROOT / "build/release/decode_benchmark", folder, str(WORKERS)], capture_output=True, text=True, check=True
    )
    return json.loads(process.stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=12000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--target",
        type=pathlib.Path,
        default=ROOT / "runs/benchmark/target",
        help="where shards are written; on a tmpfs, no disk is waited for",
    )
    arguments = parser.parse_args()
    folder = ROOT / "runs/benchmark/pictures"
    make_pictures(folder, arguments.pictures)
    megabytes = sum(path.stat().st_size for path in folder.glob("*.jpg")) / 1e6
    mpirun = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(WORKERS)]
    cases = {
        "bare decoding, 2 threads": time_decoding,
        "cskd shard, 2 threads": lambda *places: time_cskd(*places, []),
        "cskd shard, 2 ranks": lambda *places: time_cskd(*places, mpirun),
        "WebDataset, 2 processes": lambda *places: time_writer(write_webdataset, *places),
        "MDSWriter, 2 processes": lambda *places: time_writer(write_mds, *places),
    }
    seconds = {name: [] for name in cases}
    for _ in range(arguments.rounds):
        for name, measure in cases.items():
            target = arguments.target.resolve()
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            seconds[name].append(measure(folder, target))
    shutil.rmtree(arguments.target)
    bare = statistics.median(seconds["bare decoding, 2 threads"])
    print(f"{len(list(folder.glob('*.jpg')))} pictures, {megabytes:.0f} MB; medians of {arguments.rounds} rounds")
    print(f"{'':<28} {'seconds':>8} {'images/s':>9} {'of bare decoding':>17}   images/s of each round")
    for name, values in seconds.items():
        median = statistics.median(values)
        each = " ".join(f"{arguments.pictures / value:.0f}" for value in values)
        print(f"{name:<28} {median:>8.2f} {arguments.pictures / median:>9.0f} {bare / median:>16.0%}    {each}")


if __name__ == "__main__":
    main()
