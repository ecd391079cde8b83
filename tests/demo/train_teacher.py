"""Trains the demo teacher, configs/demo/teacher.safetensors, on pictures of a demo corpus and captions of their scenes.

    .venv/bin/python tests/demo/train_teacher.py runs/teacher

renders a corpus with a seed of its own (the pictures of the default one stay unseen), then trains a small CLIP: the
image tower of teacher_network.py and a small text tower, which is thrown away, so that a picture and its caption come
to lie close together. No rating is read. Takes about 50 minutes of two cores; run it again after a kill and it goes on.

A caption is a set of clauses, each true by itself; a clause is a bag of words. Captions share most of their facts, and
a few facts (the place, the colours) are enough to tell a whole caption from the others of a batch; so a picture is
matched with many random parts of its caption, most of them small. A small part is true of other pictures of the batch
too: all pairs that fit count as such, as in UniCL (Yang et al., arXiv 2204.03610).
"""

import argparse
import csv
import datetime
import io
import math
import os
import pathlib
import re
import subprocess
import tarfile
import time

import numpy as np
import torch
from safetensors.torch import save_file
from PIL import Image, ImageOps
from teacher_network import SHARED, SIDE, WEIGHTS, VisualTower, middle_of, normalised
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

PARTS = 16  # of its caption that each picture is matched with at a step
WARM_UP = 0.1  # of the steps


def render(folder, images, seed):
    program = os.environ.get("CSKD_BINARY", "build/release/cskd")
    subprocess.run(
        [program, "demo", folder, "--images", str(images), "--seed", str(seed)], check=True, stdout=subprocess.DEVNULL
    )


def both_views(file):
    """The middle of a picture, and the whole of it squeezed: [2, SIDE, SIDE, 3] bytes."""
    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    return np.stack([middle_of(image), np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))])


def read_corpus(folder):
    """Pictures [N, 2, SIDE, SIDE, 3] as bytes, and their captions. The pictures are kept beside the corpus."""
    with open(folder / "truth/captions.csv") as file:
        rows = list(csv.DictReader(file))
    captions = [row["caption"] for row in rows]
    kept = folder.with_name(f"{folder.name}.views-{SIDE}.npy")
    if kept.exists() and kept.stat().st_mtime > (folder / "corpus.json").stat().st_mtime:
        return np.load(kept, mmap_mode="r"), captions
    pixels = np.empty((len(rows), 2, SIDE, SIDE, 3), np.uint8)
    tars = {}
    for i, row in enumerate(rows):
        path, tar, member = row["path"].partition(".tar/")
        if not tar:
            pixels[i] = both_views(folder / path)
            continue
        if path not in tars:
            tars[path] = tarfile.open(folder / f"{path}.tar")
        pixels[i] = both_views(io.BytesIO(tars[path].extractfile(member).read()))
    np.save(kept, pixels)
    return pixels, captions


def places_of(captions):
    """The kind of place of each picture, numbered: its caption's first clause without the hour."""
    kinds = [re.sub(r" (at|by) \w+$", "", caption.split(", ")[0]) for caption in captions]
    numbers = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
    return torch.tensor([numbers[kind] for kind in kinds])


def mirrored(clause):
    return re.sub(r"\b(left|right)\b", lambda match: {"left": "right", "right": "left"}[match[0]], clause)


class Captions:
    """Every caption as a row of 0 and 1 over all clauses there are, and every clause as a row over all words."""

    def __init__(self, captions):
        clauses = {clause for caption in captions for clause in caption.split(", ")}
        clauses = sorted(clauses | {mirrored(clause) for clause in clauses})
        number = {clause: i for i, clause in enumerate(clauses)}
        words = sorted({word for clause in clauses for word in clause.split()})
        place = {word: i for i, word in enumerate(words)}
        self.words = torch.zeros(len(clauses), len(words))
        for clause, i in number.items():
            for word in clause.split():
                self.words[i, place[word]] = 1
        self.clauses = torch.zeros(len(captions), len(clauses), dtype=torch.bool)
        for row, caption in zip(self.clauses, captions):
            row[[number[clause] for clause in caption.split(", ")]] = True
        self.mirror = torch.tensor([number[mirrored(clause)] for clause in clauses])

    def parts(self, which, flipped, generator):
        """[PARTS, B, clauses] floats: of each caption random clauses, from one in twenty to all of them; and
        [PARTS, B, B]: whether all that a part says is true of each picture."""
        whole = self.clauses[which]
        whole = torch.where(flipped[:, None], whole[:, self.mirror], whole)
        share = 0.05 + 0.95 * torch.rand(PARTS, len(which), 1, generator=generator) ** 3
        parts = (whole & (torch.rand(PARTS, *whole.shape, generator=generator) < share)).float()
        return parts, parts @ (~whole).float().T == 0


class TextTower(nn.Module):
    """Words -> clauses -> captions: a caption is the mean of its clauses, a clause the mean of its words."""

    def __init__(self, words, width=256):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(words, width) * 0.5)
        self.clause = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.caption = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, SHARED)
        )

    def forward(self, words, clauses):
        bags = words @ self.embedding / words.sum(dim=1, keepdim=True).sqrt()
        bags = bags + self.clause(bags)
        return self.caption(clauses @ bags / clauses.sum(dim=-1, keepdim=True).clamp(min=1).sqrt())


def contrastive_loss(images, texts, fits, scale):
    """images [B, D] against each of texts [PARTS, B, D], both ways; fits [PARTS, B, B]: text i, picture j."""
    images = nn.functional.normalize(images.float(), dim=-1)
    texts = nn.functional.normalize(texts, dim=-1)
    logits = scale * texts @ images.T  # [PARTS, B, B]
    fits = fits.float()
    loss = 0
    for side in (1, 2):
        wanted = fits / fits.sum(dim=side, keepdim=True)
        loss = loss - (wanted * logits.log_softmax(dim=side)).sum(dim=side).mean() / 2
    return loss


class Training:
    def __init__(self, pixels, captions, options):
        self.pixels, self.captions, self.options = pixels, Captions(captions), options
        self.place = places_of(captions)
        self.generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(pixels), generator=self.generator)
        self.held_out, self.seen = order[: options.held_out], order[options.held_out :]
        self.visual, self.text = VisualTower(), TextTower(self.captions.words.shape[1])
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.done, self.order = 0, None
        self.half = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")
        # Muon turns the matrices of the blocks faster than AdamW, which has the rest.
        parameters = [*self.visual.named_parameters(), *self.text.named_parameters(), ("log_scale", self.log_scale)]
        in_blocks = [p for name, p in parameters if "resblocks" in name and p.ndim == 2]
        others = [p for name, p in parameters if not ("resblocks" in name and p.ndim == 2)]
        self.optimisers = [
            torch.optim.Muon(in_blocks, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(
                [
                    {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.05},
                    {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0},
                ],
                betas=(0.9, 0.98),
            ),
        ]

    def images_of(self, which, flipped, whole):
        images = normalised(self.pixels[which.numpy(), whole.long().numpy()])
        return torch.where(flipped[:, None, None, None], images.flip(3), images)

    def step(self, which, rate):
        flipped, whole = torch.rand(2, len(which), generator=self.generator) < 0.5
        with self.half, sdpa_kernel(SDPBackend.MATH):  # a quarter faster than the other kernels in bfloat16
            images = self.visual(self.images_of(which, flipped, whole))[1]
        parts, fits = self.captions.parts(which, flipped, self.generator)
        texts = self.text(self.captions.words, parts)
        loss = contrastive_loss(images, texts, fits, self.log_scale.exp().clamp(max=100))
        loss.backward()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        return loss.item()

    def state(self):
        return {
            "step": self.done,
            "order": self.order,
            "generator": self.generator.get_state(),
            "visual": self.visual.state_dict(),
            "text": self.text.state_dict(),
            "log_scale": self.log_scale.data,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state):
        self.done, self.order = state["step"], state["order"]
        self.generator.set_state(state["generator"])
        self.visual.load_state_dict(state["visual"])
        self.text.load_state_dict(state["text"])
        self.log_scale.data.copy_(state["log_scale"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(kept)

    def run(self, report):
        steps, batch = self.options.steps, self.options.batch
        epoch, warm_up = len(self.seen) // batch, max(1, round(WARM_UP * steps))
        for step in range(self.done, min(steps, self.options.until or steps)):
            if step % epoch == 0:
                self.order = self.seen[torch.randperm(len(self.seen), generator=self.generator)]
            cosine = 0.5 + 0.5 * math.cos(math.pi * max(0, step - warm_up) / (steps - warm_up))
            rate = self.options.rate * min(1, (step + 1) / warm_up) * cosine
            which = self.order[step % epoch * batch :][:batch]
            if step % 2:
                # Every other batch shows one kind of place: what tells its pictures apart then is light, colour and
                # composition.
                mates = self.seen[self.place[self.seen] == self.place[which[0]]]
                which = mates[torch.randperm(len(mates), generator=self.generator)[:batch]]
            loss = self.step(which, rate)
            self.done = step + 1
            report(step, loss)

    @torch.no_grad()
    def recall_at_1(self):
        """Share of the held-out pictures whose own whole caption, of all theirs, is the nearest."""
        flipped = torch.zeros(len(self.held_out), dtype=torch.bool)
        images = torch.cat(
            [self.visual(self.images_of(part, part < 0, part < 0))[1] for part in self.held_out.split(100)]
        )
        texts = self.text(self.captions.words, self.captions.clauses[self.held_out].float())
        nearest = (nn.functional.normalize(images, dim=1) @ nn.functional.normalize(texts, dim=1).T).argmax(dim=1)
        return (nearest == torch.arange(len(flipped))).float().mean().item()


def save(tower, path, facts):
    tensors = {f"visual.{name}": tensor.half().contiguous() for name, tensor in tower.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata=facts)
    partial.rename(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path, help="for the rendered corpus and the shrunk pictures")
    parser.add_argument("--out", type=pathlib.Path, default=WEIGHTS)
    parser.add_argument("--images", type=int, default=30000)
    parser.add_argument("--seed", type=int, default=1000, help="of the corpus; the default corpus has 1")
    parser.add_argument("--held-out", type=int, default=500, help="pictures, for R@1")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--until", type=int, help="stop after this step; the next call goes on")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    corpus = arguments.folder / "corpus"
    render(corpus, arguments.images, arguments.seed)
    training = Training(*read_corpus(corpus), arguments)
    print(
        f"{len(training.seen)} pictures to learn from, {len(training.held_out)} held out, "
        f"{training.captions.words.shape[0]} clauses of {training.captions.words.shape[1]} words",
        flush=True,
    )
    options = {
        name: getattr(arguments, name) for name in ("images", "seed", "held_out", "steps", "batch", "rate", "precision")
    }
    checkpoint = arguments.folder / "checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint)
        if kept["options"] != options:
            parser.error(f"{checkpoint} was made with {kept['options']}: remove it, or give the same")
        training.restore(kept["state"])
        print(f"goes on after step {training.done}", flush=True)
    start, first = time.monotonic(), training.done
    losses = []

    def report(step, loss):
        losses.append(loss)
        if (step + 1) % 200 and step + 1 not in (arguments.steps, arguments.until):
            return
        seconds = time.monotonic() - start
        print(
            f"step {step + 1}, {seconds:.0f} s: loss {np.mean(losses[-200:]):.3f}, "
            f"R@1 {training.recall_at_1():.3f}, {(step + 1 - first) * arguments.batch / seconds:.0f} images/s",
            flush=True,
        )
        torch.save({"options": options, "state": training.state()}, checkpoint.with_suffix(".partial"))
        checkpoint.with_suffix(".partial").rename(checkpoint)

    training.run(report)
    if training.done < arguments.steps:
        return
    told = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    save(
        training.visual,
        arguments.out,
        {
            "encoder": "ViT-demo-16",
            "trained_with": " ".join(["tests/demo/train_teacher.py", *told]),
            "captions": "truth/captions.csv of the demo corpus",
            "date": datetime.date.today().isoformat(),
            "held_out_recall_at_1": f"{training.recall_at_1():.3f}",
        },
    )


if __name__ == "__main__":
    main()
