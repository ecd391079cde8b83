"""Scoring photos from JPEG files to scores, in turns within one run on the same cores: `cskd score`, PyTorch with Pillow, ONNX Runtime with Pillow.
Above 1: cskd is faster.

All score the same exported student. PyTorch: timm's model in channels last under torch.inference_mode(), photos from a DataLoader with as many workers
as cores, or read by the main process, whichever is faster; ONNX Runtime: model.onnx, photos decoded by as many threads as cores (Pillow releases the
interpreter). Start-up is left out for both peers, and counted for cskd. The network alone is timed before, for one image and for sixteen; at the end
one large photo, decoded whole or not, and a raw file.

  build/release/cskd export configs/demo.toml student
  .venv/bin/python tests/benchmarks/scoring.py runs/demo/export/student [--photos runs/demo/corpus/coast] [--rounds 3] [--megapixels 12]
"""

import argparse
import concurrent.futures
import csv
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime
import timm
import torch
from PIL import Image, ImageOps
from safetensors import safe_open

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))

import small_raw  # noqa: E402

CSKD = ROOT / "build/release/cskd"
BATCH = 16
PARTS = ("latency", "demo", "large", "one")


def read(file, side):
    photo = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    return numpy.asarray(photo.resize((side, side), Image.Resampling.BICUBIC))


def is_sound(file):
    try:
        read(file, 1)
    except OSError:
        return False
    return True


class Student:
    """timm's network with the exported weights."""

    def __init__(self, folder):
        with safe_open(folder / "model.safetensors", "pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.side = int(metadata["image_size"])
        self.mean, self.std = (torch.tensor([float(x) for x in metadata[key].split(",")]) for key in ("mean", "std"))
        self.centres = torch.tensor([float(x) for x in metadata["bin_centres"].split(",")])
        weight, bias = (tensors.pop(f"score_head.{part}") for part in ("weight", "bias"))
        self.encoder = timm.create_model(metadata["encoder"], num_classes=0)
        self.encoder.load_state_dict(
            {name: tensors.get(name, value) for name, value in self.encoder.state_dict().items()}
        )
        self.encoder = self.encoder.eval().to(memory_format=torch.channels_last)
        self.head = torch.nn.Linear(*reversed(weight.shape))
        self.head.load_state_dict({"weight": weight, "bias": bias})

    def score(self, pixels):
        images = ((torch.as_tensor(pixels).float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return torch.softmax(self.head(self.encoder(images)), 1) @ self.centres


class Files(torch.utils.data.Dataset):
    def __init__(self, files, side):
        self.files, self.side = files, side

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        return torch.from_numpy(read(self.files[index], self.side).copy())


def torch_scores(student, files, workers):
    loader = torch.utils.data.DataLoader(Files(files, student.side), batch_size=BATCH, num_workers=workers)
    return torch.cat([student.score(pixels) for pixels in loader]).numpy()


def onnx_scores(session, student, files, threads):
    scores = []
    mean, std = student.mean.numpy() * 255, student.std.numpy() * 255
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        read_ahead = pool.map(lambda file: read(file, student.side), files)
        for first in range(0, len(files), BATCH):
            pixels = numpy.stack([next(read_ahead) for _ in files[first : first + BATCH]])
            images = ((pixels - mean) / std).transpose(0, 3, 1, 2)
            scores.append(session.run(["score"], {"pixels": images.astype(numpy.float32)})[0])
    return numpy.concatenate(scores)


def our_scores(folder, files, threads, *words):
    process = subprocess.run(
        [CSKD, "score", folder, "-", "--format", "csv", "--threads", str(threads), *words],
        input="".join(f"{file}\n" for file in files),
        capture_output=True,
        text=True,
        check=True,
    )
    return numpy.array([float(row["score"]) for row in csv.DictReader(io.StringIO(process.stdout))])


def enlarged(files, megapixels, folder):
    """The first photos as large JPEGs with a sensor's noise, as cameras write them."""
    noise = numpy.random.default_rng(0).normal(0, 4, (4096, 4096, 3)).astype(numpy.float32)
    for file in files:
        photo = Image.open(file).convert("RGB")
        width = int((megapixels * 1e6 * photo.width / photo.height) ** 0.5)
        pixels = numpy.asarray(photo.resize((width, int(megapixels * 1e6 / width)), Image.Resampling.BICUBIC))
        height, width, _ = pixels.shape
        grain = numpy.tile(noise, (-(-height // 4096), -(-width // 4096), 1))[:height, :width]
        Image.fromarray(numpy.clip(pixels + grain, 0, 255).astype(numpy.uint8)).save(folder / file.name, quality=90)
    return sorted(folder.iterdir())


def compare(name, ways, files, rounds):
    seconds = {way: [] for way in ways}
    scores = {}
    for _ in range(rounds):
        for way, work in ways.items():
            begin = time.perf_counter()
            scores[way] = work(files)
            seconds[way].append(time.perf_counter() - begin)
    first = next(iter(ways))
    for way in ways:
        ratios = [other / own for own, other in zip(seconds[first], seconds[way], strict=True)]
        difference = abs(scores[way] - scores[first]).max()
        print(
            f"| {name} | {way} | {len(files) / statistics.median(seconds[way]):,.0f} | {statistics.median(ratios):.2f} | "
            f"{' '.join(f'{ratio:.2f}' for ratio in ratios)} | {difference:.2g} |",
            flush=True,
        )


def milliseconds(arguments, files, *words):
    """Of a photo on one thread, without the start: the time of all less that of the first."""
    seconds = []
    for some in (files[:1], files):
        begin = time.perf_counter()
        our_scores(arguments.export, some, 1, *words)
        seconds.append(time.perf_counter() - begin)
    return 1e3 * (seconds[1] - seconds[0]) / (len(files) - 1)


def time_photos(arguments, photos, photo, folder):
    """From file to score: large JPEGs decoded whole and at a lower resolution, and raw files with a preview of the size of `photo`."""
    width, height = Image.open(photo).size
    raw = small_raw.dng(photo.read_bytes(), width, height, side=3500)
    raws = [folder / f"{number}.dng" for number in range(41)]
    for file in raws:
        file.write_bytes(raw)
    ways = {
        f"JPEG of {arguments.megapixels:g} megapixels, decoded whole (--exact)": (photos, ["--exact"]),
        f"JPEG of {arguments.megapixels:g} megapixels": (photos, []),
        f"JPEG of 24 megapixels, {photo.stat().st_size / 1e6:.1f} MB": (41 * [photo], []),
        f"raw file of {len(raw) / 1e6:.0f} MB with that JPEG as its preview": (raws, []),
    }
    print("\n| one photo, one thread | ms | rounds |\n| -- | -- | -- |")
    for name, (files, words) in ways.items():
        found = [milliseconds(arguments, files, *words) for _ in range(arguments.rounds)]
        print(f"| {name} | {statistics.median(found):.1f} | {' '.join(f'{each:.1f}' for each in found)} |", flush=True)


def onnx_median(session, images, side, repeats):
    pixels = numpy.random.default_rng(0).standard_normal((images, 3, side, side), numpy.float32)
    seconds = []
    for number in range(repeats + repeats // 10):
        begin = time.perf_counter()
        session.run(["score"], {"pixels": pixels})
        if number >= repeats // 10:
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def compare_latencies(arguments, session, side):
    """Medians of 300 runs of the network alone: cskd from uint8 pixels, ONNX Runtime from normalised ones."""
    print("| images at once | cskd | ONNX Runtime | ratio | rounds |\n| -- | -- | -- | -- | -- |")
    for images in (1, 16):
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            command = [CSKD, "bench", "latency", arguments.export, "--json", "--repeats", "300", "--batch", str(images),
                       "--threads", str(arguments.threads)]  # fmt: skip
            figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            ours.append(figures["batches"][0]["seconds"]["median"])
            theirs.append(onnx_median(session, images, side, 300))
        ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
        print(
            f"| {images} | {statistics.median(ours) * 1e3:.2f} ms | {statistics.median(theirs) * 1e3:.2f} ms | "
            f"{statistics.median(ratios):.2f} | {' '.join(f'{ratio:.2f}' for ratio in ratios)} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=pathlib.Path)
    parser.add_argument("--photos", type=pathlib.Path, default=ROOT / "runs/demo/corpus/coast")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--large", type=int, default=50, help="of so many megapixels, each of them scored four times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=PARTS, help="parts of it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    student = Student(arguments.export)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(arguments.export / "model.onnx", options, providers=["CPUExecutionProvider"])
    exact = {
        "cskd, --exact": lambda files: our_scores(arguments.export, files, arguments.threads, "--exact"),
        "cskd": lambda files: our_scores(arguments.export, files, arguments.threads),
        "PyTorch, Pillow, workers": lambda files: torch_scores(student, files, arguments.threads),
        "PyTorch, Pillow, one process": lambda files: torch_scores(student, files, 0),
        "ONNX Runtime, Pillow": lambda files: onnx_scores(session, student, files, arguments.threads),
    }
    parts = arguments.only or PARTS
    files = [file for file in sorted(arguments.photos.rglob("*.jpg"))[: arguments.count] if is_sound(file)]
    if "latency" in parts:
        compare_latencies(arguments, session, student.side)
    if "demo" in parts or "large" in parts:
        print(
            "\n| photos | way | photos/s | time beside the first | rounds | greatest difference of a score to the first |\n| -- | -- | -- | -- | -- | -- |"
        )
        torch_scores(student, files[:BATCH], 0)
    if "demo" in parts:
        compare(f"{len(files)} of the demo", exact, files, arguments.rounds)
    if "large" not in parts and "one" not in parts:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for part in ("large", "largest"):
            (folder / part).mkdir()
        large = enlarged(files[: arguments.large], arguments.megapixels, folder / "large")
        if "large" in parts:
            compare(f"{4 * len(large)} of {arguments.megapixels:g} megapixels", exact, 4 * large, arguments.rounds)
        if "one" in parts:
            time_photos(arguments, large, enlarged(files[:1], 24, folder / "largest")[0], folder)


if __name__ == "__main__":
    main()
