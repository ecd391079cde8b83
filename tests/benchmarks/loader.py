"""Loading training pictures: cskd beside bare libjpeg-turbo, torchvision, WebDataset, MosaicML Streaming, NVIDIA DALI and FFCV, on the same pictures and
cores, in turns within one run. Every case delivers batches of 64 random resized crops (8 % of the area or more, ratio 3/4 to 4/3) of 224 x 224 pixels,
mirrored half of the time, as uint8 without normalisation.

  cmake --build build/release --target cskd decode_benchmark
  rm -rf build/peers
  .venv/bin/python -m pip install --no-deps --target build/peers -r tests/benchmarks/requirements.txt
  PYTHONPATH=build/peers .venv/bin/python tests/benchmarks/loader.py [--rounds 5] [--only NAME]... [--json FILE]
  .venv/bin/python tests/benchmarks/loader.py --memory     # cskd over ten epochs
  .venv/bin/python tests/benchmarks/loader.py --reading    # cskd without decoding, with these pictures and with small ones

FFCV is compiled when it is installed, which takes Debian's libopencv-dev and libturbojpeg0-dev. Where it isn't installed, its row is left out:

  .venv/bin/python -m pip install --no-deps --no-build-isolation --target build/peers ffcv==1.0.2 numba==0.68.1 llvmlite==0.50.0 \\
    opencv-python-headless==5.0.0.93 pytorch-pfn-extras==0.9.0 terminaltables==3.1.10 assertpy==1.1

A peer runs in a process of its own and delivers one long stream; its clock starts when the first epoch's images are there, so that no start of workers
and no gap between epochs is in its figure. Resizing is bicubic with antialiasing, but for FFCV, which has no other than OpenCV's INTER_AREA, decodes
every picture whole with libjpeg-turbo's fast transform, and can't read JPEG files as they are: its dataset is encoded anew, at the same quality.
"""

import argparse
import importlib.util
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from packing import make_pictures, time_cskd, time_writer, write_mds, write_webdataset

ROOT = pathlib.Path(__file__).parents[2]
HOME = ROOT / "runs/benchmark/loader"
PICTURES, WORKERS, BATCH, SIZE, AREA, RATIO = 2000, 2, 64, 224, (0.08, 1.0), (3 / 4, 4 / 3)
BARE = "libjpeg-turbo, crops alone"
CSKD = {
    "cskd fast, 2 threads": ("fast", "views", 2),
    "cskd exact, 2 threads": ("exact", "views", 2),
    "cskd fast, 1 thread": ("fast", "views", 1),
    "cskd exact, 1 thread": ("exact", "views", 1),
}


class Views:
    """Training views of a file or of its bytes: as torchvision's documentation shows it, with PIL, or faster, with torchvision's own decoder and tensors."""

    def __init__(self, pil):
        from torchvision.transforms import v2

        crop = v2.RandomResizedCrop(SIZE, AREA, RATIO, v2.InterpolationMode.BICUBIC, antialias=True)
        self.transform = v2.Compose([crop, v2.RandomHorizontalFlip(), *([v2.PILToTensor()] if pil else [])])
        self.decode = self.decode_with_pil if pil else self.decode_with_torchvision

    def decode_with_pil(self, source):
        from PIL import Image

        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            return picture.convert("RGB")

    def decode_with_torchvision(self, source):
        import numpy as np
        import torch
        from torchvision import io as images

        data = (
            torch.from_numpy(np.frombuffer(bytearray(source), np.uint8))
            if isinstance(source, bytes)
            else images.read_file(str(source))
        )
        return images.decode_jpeg(data, images.ImageReadMode.RGB)

    def __call__(self, source):
        return self.transform(self.decode(source))


class Folder:
    def __init__(self, folder, view):
        self.paths, self.view = sorted(folder.glob("*.jpg")), view

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.view(self.paths[index])


def torchvision_batches(epochs, pil):
    from torch.utils.data import DataLoader, RandomSampler

    dataset = Folder(HOME / "pictures", Views(pil))
    return DataLoader(
        dataset, BATCH, sampler=RandomSampler(dataset, num_samples=PICTURES * epochs), num_workers=WORKERS
    )


def webdataset_batches(epochs, pil):
    import webdataset

    shards = [str(path) for path in sorted((HOME / "webdataset").glob("*.tar"))]
    samples = (
        webdataset.WebDataset(shards, shardshuffle=len(shards))
        .shuffle(1000)
        .to_tuple("jpg")
        .map_tuple(Views(pil))
        .map(lambda sample: sample[0])
    )
    return webdataset.WebLoader(samples.repeat(epochs), batch_size=BATCH, num_workers=WORKERS)


def streaming_batches(epochs, pil):
    from streaming import Stream, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory
    from torch.utils.data import DataLoader

    class Dataset(StreamingDataset):
        view = Views(pil)

        def __getitem__(self, index):
            return self.view(super().__getitem__(index)["jpg"])

    clean_stale_shared_memory()
    streams = [Stream(local=str(HOME / "streaming" / str(worker))) for worker in range(WORKERS)]
    dataset = Dataset(streams=streams, batch_size=BATCH, shuffle=True, epoch_size=PICTURES * epochs)
    return DataLoader(dataset, BATCH, num_workers=WORKERS)


def dali_batches(_):
    import numpy as np
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=BATCH, num_threads=WORKERS, device_id=None)
    def pipeline():
        files, _ = fn.readers.file(file_root=str(HOME), dir_filters=["pictures"], random_shuffle=True)
        crops = fn.decoders.image_random_crop(
            files, device="cpu", random_area=list(AREA), random_aspect_ratio=list(RATIO)
        )
        resized = fn.resize(crops, size=(SIZE, SIZE), interp_type=types.INTERP_CUBIC, antialias=True)
        return fn.flip(resized, horizontal=fn.random.coin_flip())

    built = pipeline()
    built.build()
    return (np.asarray(built.run()[0].as_tensor()) for _ in itertools.count())


def write_ffcv(folder, target):
    from ffcv.fields import RGBImageField
    from ffcv.writer import DatasetWriter
    from PIL import Image

    writer = DatasetWriter(
        str(target / "pictures.beton"), {"image": RGBImageField("jpg", jpeg_quality=90)}, num_workers=WORKERS
    )
    writer.from_indexed_dataset(Folder(folder, lambda path: (Image.open(path),)))


def ffcv_batches(epochs):
    import numpy as np
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    decoder = RandomResizedCropRGBImageDecoder((SIZE, SIZE), AREA, RATIO)
    loader = Loader(
        str(HOME / "ffcv/pictures.beton"),
        BATCH,
        num_workers=WORKERS,
        os_cache=True,
        order=OrderOption.RANDOM,
        indices=np.tile(np.arange(PICTURES), epochs),
        pipelines={"image": [decoder, RandomHorizontalFlip(), ToTensor()]},
        drop_last=False,
    )
    return (batch for (batch,) in loader)


# What --only and --case call it: what the table calls it, what it reads under HOME, its batches.
PEERS = {
    "torchvision-pil": (
        "torchvision and PIL, 2 processes",
        "pictures",
        lambda epochs: torchvision_batches(epochs, pil=True),
    ),
    "torchvision": (
        "torchvision, tensors, 2 processes",
        "pictures",
        lambda epochs: torchvision_batches(epochs, pil=False),
    ),
    "webdataset-pil": (
        "WebDataset and PIL, 2 processes",
        "webdataset",
        lambda epochs: webdataset_batches(epochs, pil=True),
    ),
    "webdataset": (
        "WebDataset, tensors, 2 processes",
        "webdataset",
        lambda epochs: webdataset_batches(epochs, pil=False),
    ),
    "streaming-pil": (
        "MosaicML Streaming and PIL, 2 processes",
        "streaming",
        lambda epochs: streaming_batches(epochs, pil=True),
    ),
    "streaming": (
        "MosaicML Streaming, tensors, 2 processes",
        "streaming",
        lambda epochs: streaming_batches(epochs, pil=False),
    ),
    "dali": ("NVIDIA DALI on the CPU, 2 threads", "pictures", dali_batches),
    "ffcv": ("FFCV (INTER_AREA, fast DCT), 2 threads", "ffcv", ffcv_batches),
}
WRITERS = {
    "cskd": lambda folder, target: time_cskd(folder, target, []),
    "webdataset": lambda *places: time_writer(write_webdataset, *places),
    "streaming": lambda *places: time_writer(write_mds, *places),
    "ffcv": write_ffcv,
}


def proportional_bytes(process):
    rollup = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in rollup if line.startswith("Pss:"))


def run_peer(peer, epochs):
    """One stream of images: those of the first epoch are a warm-up, those of the others are counted."""
    import torch

    torch.set_num_threads(1)
    batches, delivered, start, warm = iter(PEERS[peer][2](epochs + 1)), 0, 0.0, 0
    while delivered < PICTURES * epochs:
        shape = tuple(next(batches).shape)
        if sorted(shape[1:]) != [3, SIZE, SIZE]:
            sys.exit(f"{peer}: a batch is {shape}")
        delivered += shape[0]
        if not warm and delivered >= PICTURES:
            start, warm = time.perf_counter(), delivered
    rate = (delivered - warm) / (time.perf_counter() - start)
    workers = multiprocessing.active_children()
    resident = sum(map(proportional_bytes, [os.getpid(), *(worker.pid for worker in workers)]))
    for worker in workers:
        worker.kill()
        worker.join()
    print(json.dumps({"images_per_second": rate, "resident_bytes": resident}), flush=True)
    os._exit(0)  # what loaders do at their end would wait for the workers


def make_small_pictures(folder):
    """20,000 JPEG files of 96 x 72 pixels and about 2 kB."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(list(folder.glob("*.jpg"))), 20000):
        shapes = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(shapes).resize((96, 72), Image.Resampling.BICUBIC).save(folder / f"{number:06}.jpg", quality=85)


def run_bare(threads):
    return json.loads(
        output_of([ROOT / "build/release/decode_benchmark", HOME / "pictures", str(threads), str(AREA[0])])
    )


def run_cskd(resize, work, threads, epochs, corpus="cskd"):
    result = json.loads(
        output_of(
            [
                ROOT / "build/release/cskd",
                "bench",
                "loader",
                HOME / corpus / "run",
                "--threads",
                str(threads),
                "--batch",
                str(BATCH),
                "--image-size",
                str(SIZE),
                "--view",
                "crop",
                "--resize",
                resize,
                "--work",
                work,
                "--epochs",
                str(epochs),
                "--min-area",
                str(AREA[0]),
                "--json",
            ]
        )
    )
    return {**result, "resident_bytes": result["epochs"][-1]["resident_bytes"]}


def output_of(command):
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")} | {
        "NUMBA_NUM_THREADS": str(WORKERS)
    }
    process = subprocess.run(
        command, env=os.environ | threads, capture_output=True, text=True, timeout=900, check=False
    )
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{process.stderr}")
    return process.stdout


def write(name, pictures="pictures", folder=None):
    """What one or more cases read, written anew."""
    target = HOME / (folder or name)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    WRITERS[name](HOME / pictures, target)


def table(heads, rows):
    for row in [heads, ["---"] * len(heads), *rows]:
        print(f"| {' | '.join(row)} |")


def compare(cases, rounds):
    """{name: [what the case measured in each round]}"""
    results = {name: [] for name in cases}
    for number in range(rounds):
        for name, measure in cases.items():
            results[name].append(measure())
            print(f"round {number + 1}, {name}: {results[name][-1]['images_per_second']:.0f} images/s", file=sys.stderr)
    return results


def print_comparison(results):
    rates = {name: statistics.median(result["images_per_second"] for result in each) for name, each in results.items()}
    rows = []
    for name, each in results.items():
        threads = "1 thread" if name.endswith("1 thread") else "2 threads"
        bare, fast = (rates.get(f"{case}, {threads}") for case in (BARE, "cskd fast"))
        memory = max(result.get("resident_bytes", 0) for result in each)
        rows.append(
            [
                name,
                f"{rates[name]:.0f}",
                f"{rates[name] / bare:.0%}" if bare else "",
                f"{fast / rates[name]:.2f}" if fast else "",
                " ".join(f"{result['images_per_second']:.0f}" for result in each),
                f"{memory >> 20}" if memory else "",
            ]
        )
    table(["", "images/s", "of crops alone", "cskd fast against it", "images/s of each round", "memory, MiB"], rows)


def print_memory(result):
    table(
        ["epoch", "images/s", "resident MiB"],
        [
            [str(number), f"{epoch['images_per_second']:.0f}", f"{epoch['resident_bytes'] / 2**20:.1f}"]
            for number, epoch in enumerate(result["epochs"], 1)
        ],
    )


def print_reading():
    make_small_pictures(HOME / "small")
    write("cskd")
    write("cskd", "small", "cskd-small")
    rows = []
    for corpus, work in (("cskd", "bytes"), ("cskd-small", "bytes"), ("cskd-small", "order")):
        result = run_cskd("exact", work, 1, 10, corpus)
        size, rate = result["encoded_bytes"] / result["images"], result["images_per_second"]
        rows.append(
            [
                f"{size / 1000:.1f} kB",
                "read and checked" if work == "bytes" else "order alone",
                f"{rate:,.0f}",
                f"{rate * size / 1e9:.2f}" if work == "bytes" else "",
            ]
        )
    table(["a picture", "work", "images/s", "GB/s"], rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="of 2,000 images; the first is a warm-up")
    parser.add_argument("--only", action="append", choices=["cskd", *PEERS], help="cskd or a peer; may be given again")
    parser.add_argument("--memory", action="store_true", help="cskd's memory after each of ten epochs instead")
    parser.add_argument("--reading", action="store_true", help="cskd on one thread without decoding instead")
    parser.add_argument("--json", type=pathlib.Path, help="writes what each case measured in each round to this file")
    parser.add_argument("--case", choices=PEERS, help="measures this peer in this process and prints JSON")
    arguments = parser.parse_args()
    if arguments.case:
        run_peer(arguments.case, arguments.epochs)
    make_pictures(HOME / "pictures", PICTURES)
    if arguments.reading:
        print_reading()
        return
    if arguments.memory:
        write("cskd")
        results = run_cskd("fast", "views", WORKERS, 10)
        print_memory(results)
    else:
        wanted = arguments.only or [
            "cskd",
            *(peer for peer in PEERS if peer != "ffcv" or importlib.util.find_spec("ffcv")),
        ]
        peers = [peer for peer in wanted if peer != "cskd"]
        for name in {PEERS[peer][1] for peer in peers} & set(WRITERS) | set(wanted) & {"cskd"}:
            write(name)
        cases = {f"{BARE}, 2 threads": lambda: run_bare(2), f"{BARE}, 1 thread": lambda: run_bare(1)}
        cases |= {
            name: lambda case=case: run_cskd(*case, arguments.epochs) for name, case in CSKD.items() if "cskd" in wanted
        }
        command = [sys.executable, __file__, "--epochs", str(arguments.epochs), "--case"]
        cases |= {
            PEERS[peer][0]: lambda peer=peer: json.loads(output_of([*command, peer]).splitlines()[-1]) for peer in peers
        }
        results = compare(cases, arguments.rounds)
        print_comparison(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
