"""The loss curve of a plug-in student beside that of the same model in PyTorch: Stage I on a demo corpus for ten epochs, from the same weights, with
the same pictures in the same order, squeezed whole and mirrored at each second use. AdamW, warm-up, cosine and clipping are written here anew.
Prints the greatest relative difference of the losses over the first 50 steps, and both means of each epoch.

  cmake --build build/release --target cskd order_benchmark
  .venv/bin/python tests/benchmarks/plugin_curve.py [--model regnety_002] [--pixels 64] [--images 2500] [--epochs 10]
"""

import argparse
import collections
import json
import math
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
os.environ.setdefault("CSKD_SOURCE_DIR", str(ROOT))
os.environ.setdefault("CSKD_BINARY", str(ROOT / "build/release/cskd"))
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "launch")]

import export_encoder  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from programs import cskd, output_of  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch_tower import batch_of, rows_of, transformer, whole_pictures  # noqa: E402

BATCH, RATE, DECAY, CLIP, FINAL, THREADS = 64, 1e-3, 0.05, 3.0, 0.01, 2
TOWER = ROOT / "configs/demo/teacher.safetensors"
SOURCES = ("city", "coast", "studio")

CONFIGURATION = """
[run]
folder = "{folder}"

{sources}
[packing]
max_samples = 256

[towers.clip]
architecture = "ViT-demo-16"
weights = "{tower}"
views = {{count = 0, whole = 1}}

[encoders.plugged]
plugin = "{plugin}"

[align.student]
encoder = "plugged"
towers = ["clip"]

[align.student.training]
steps = {steps}
global_batch = {batch}
micro_batches = 1
learning_rate = {rate}
warmup_steps = {warmup}
weight_decay = {decay}
clip_norm = {clip}
final_rate = {final}
ema_decay = 0
log_every = 1
checkpoint_every = 100000

[compute]
precision = "fp32"
memory_format = "channels_last"
threads = {threads}
"""


def configure(work, name, plugin, steps, rate, warmup):
    """The configuration's path, and the run's folder, in which shards are packed."""
    folder, path = work / name, work / f"{name}.toml"
    sources = "".join(
        f'[[sources]]\nname = "{each}"\nkind = "folder"\npath = "{work}/corpus/{each}"\n\n' for each in SOURCES
    )
    path.write_text(
        CONFIGURATION.format(
            folder=folder, sources=sources, tower=TOWER, plugin=plugin, steps=steps, batch=BATCH, rate=rate,
            warmup=warmup, decay=DECAY, clip=CLIP, final=FINAL, threads=THREADS,
        )
    )  # fmt: skip
    cskd("shard", path, ranks=1)
    return path, folder


def order_of(folder, epochs):
    """The samples that a run with seed 1 uses, one after the other."""
    rows = collections.Counter()
    for _, shard, _ in rows_of(folder):
        rows[pathlib.Path(shard.filename).name] += 1
    groups = [
        "+".join(f"1x{count}" for file, count in sorted(rows.items()) if file.startswith(source + "-"))
        for source in SOURCES
    ]
    lines = output_of([ROOT / "build/release/order_benchmark", "--uses", 1 << 18, 1, epochs, *groups]).splitlines()
    return [int(line.split()[3]) for line in lines]


def losses_of(folder):
    lines = (folder / "align/student/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines]


def learn(model, start, folder, order, steps, warmup, pixels, facts):
    """The losses of PyTorch's run."""
    model.load_state_dict({name: start[name] for name in model.state_dict() if name in start}, strict=False)
    projector = torch.nn.Linear(*reversed(start["projector.weight"].shape))
    projector.load_state_dict({part: start[f"projector.{part}"] for part in ("weight", "bias")})
    tower = transformer(load_file(TOWER), 128)
    mean, std = (torch.tensor(facts[name]).view(3, 1, 1) for name in ("mean", "std"))
    inputs, targets = [], []
    for use in (0, 1):
        images = whole_pictures(folder, use)
        resized = [numpy.asarray(image.resize((pixels, pixels), Image.BICUBIC)) for image in images]
        inputs.append((torch.tensor(numpy.stack(resized)).permute(0, 3, 1, 2).float() / 255 - mean) / std)
        with torch.no_grad():
            features = torch.cat([tower(batch_of(images[at : at + 64], 128))[0] for at in range(0, len(images), 64)])
            targets.append(torch.nn.functional.layer_norm(features, features.shape[1:]))
    parameters = [*model.parameters(), *projector.parameters()]
    decayed = [each for each in parameters if each.dim() > 1]
    others = [each for each in parameters if each.dim() <= 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}])
    model.train()
    uses, losses = collections.Counter(), []
    for step in range(steps):
        done = max(0, step - warmup) / (steps - warmup)
        share = (step + 1) / warmup if step < warmup else FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * done))
        for group in optimiser.param_groups:
            group["lr"] = RATE * share
        samples = order[step * BATCH : (step + 1) * BATCH]
        views = [uses[sample] % 2 for sample in samples]
        uses.update(samples)
        batch = torch.stack([inputs[view][sample] for view, sample in zip(views, samples, strict=True)])
        target = torch.stack([targets[view][sample] for view, sample in zip(views, samples, strict=True)])
        predicted = projector(model(batch.to(memory_format=torch.channels_last))[0])
        loss = torch.nn.functional.smooth_l1_loss(predicted, target, beta=2.0)
        loss = loss + (1 - torch.nn.functional.cosine_similarity(predicted, target)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        losses.append(loss.item())
    return losses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="regnety_002")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--images", type=int, default=2500, help="of the demo corpus")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        cskd("demo", work / "corpus", "--images", arguments.images, ranks=1)
        torch.manual_seed(1)
        model, pixels, facts = export_encoder.timm_encoder(arguments.model, arguments.pixels, False, None)
        plugin = work / "plugged.pt2"
        export_encoder.export(model, plugin, image_size=pixels, name=arguments.model, **facts)
        # A step too small to change a weight: what both begin with.
        path, folder = configure(work, "start", plugin, 1, 1e-30, 0)
        cskd("align", path, ranks=1)
        start = load_file(folder / "align/student/model.safetensors")
        order = order_of(folder, arguments.epochs)
        pictures = len(order) // arguments.epochs
        epoch = pictures // BATCH
        steps, warmup = arguments.epochs * epoch, epoch
        path, folder = configure(work, "run", plugin, steps, RATE, warmup)
        cskd("align", path, ranks=1)
        ours = losses_of(folder)
        theirs = learn(model, start, folder, order, steps, warmup, pixels, facts)
    difference = max(abs(one - other) / other for one, other in zip(ours[:50], theirs[:50], strict=True))
    print(f"{arguments.model}, {pixels} pixels, {pictures} pictures, batches of {BATCH}, {steps} steps")
    print(f"greatest relative difference of the losses of the first {min(50, steps)} steps: {difference:.1e}\n")
    print("| epoch | cskd | PyTorch | difference |\n|---|---|---|---|")
    for number in range(arguments.epochs):
        one, other = (sum(losses[number * epoch : (number + 1) * epoch]) / epoch for losses in (ours, theirs))
        print(f"| {number + 1} | {one:.4f} | {other:.4f} | {100 * (one / other - 1):+.2f} % |")


if __name__ == "__main__":
    main()
