"""How much memory packing takes for corpora of growing size: WebDataset archives of tiny pictures, two threads.

.venv/bin/python tests/benchmarks/packing_memory.py [--sizes 10000 100000 1000000]
"""

import argparse
import io
import os
import pathlib
import shutil
import subprocess
import tarfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
ARCHIVE = 10_000  # pictures


def make_archives(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, ARCHIVE):
        path = folder / f"{first // ARCHIVE:05}.tar"
        if path.exists():
            continue
        random = np.random.default_rng(first)
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, pixels in enumerate(
                random.integers(0, 255, (min(ARCHIVE, count - first), 12, 16, 3), dtype=np.uint8)
            ):
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
                member = tarfile.TarInfo(f"{first + number:08}.jpg")
                member.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(member, buffer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    arguments = parser.parse_args()
    base = ROOT / "runs/benchmark/memory"
    print(f"{'pictures':>10} {'seconds':>8} {'images/s':>9} {'peak memory':>12}")
    for size in arguments.sizes:
        make_archives(base / str(size), size)
        shutil.rmtree(base / "run", ignore_errors=True)
        config = base / "config.toml"
        config.write_text(
            f'[run]\nfolder = "{base}/run"\n[compute]\nloader_threads = 2\n'
            f'[[sources]]\nname = "tiny"\nkind = "webdataset"\npath = "{base / str(size)}"\n'
        )
        start = time.perf_counter()
        process = subprocess.Popen(
            [ROOT / "build/release/cskd", "shard", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            raise SystemExit(f"cskd ended with {status}")
        print(f"{size:>10} {seconds:>8.1f} {size / seconds:>9.0f} {usage.ru_maxrss / 1024:>8.0f} MiB", flush=True)
        shutil.rmtree(base / "run")


if __name__ == "__main__":
    main()
