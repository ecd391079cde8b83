"""Stage II as a PyTorch script does it: a student in DDP over Gloo learns labels, and what a ridge on a frozen open_clip tower says of the unlabelled
pictures that the student sees. Started by distillation.py through torchrun; prints JSON.

  distillation_peer.py UNLABELLED LABELLED TOWER RIDGE STEPS BATCH LABELLED_BATCH

UNLABELLED, LABELLED: folders of files; TOWER: weights with open_clip's names of ViT-B-16's image tower; RIDGE: model.safetensors of a ridge stage.
"""

import argparse
import itertools
import json
import time

import timm
import torch
import torch.distributed as dist
from alignment_peer import IMAGENET, MEAN, STD, Pictures, normalised, tower_of
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

BINS = 10


class Student(nn.Module):
    def __init__(self, name, bins, **options):
        super().__init__()
        self.encoder = timm.create_model(name, num_classes=0, **options)
        self.head = nn.Linear(self.encoder.head_hidden_size, bins)

    def forward(self, images):
        return self.head(self.encoder(images))


class Teacher(nn.Module):
    """A ridge's distribution over bins, of the whitened features of its tower."""

    def __init__(self, tower, ridge):
        super().__init__()
        self.tower = tower
        state = load_file(ridge)
        self.head = nn.Linear(*reversed(state["score_head.weight"].shape))
        self.head.load_state_dict({part: state[f"score_head.{part}"] for part in ("weight", "bias")})

    def forward(self, images):
        features = self.tower(images)
        features = features[0] if isinstance(features, tuple) else features
        return torch.softmax(self.head(nn.functional.layer_norm(features, features.shape[-1:])), 1)


def own_names(state):
    """cskd's names of a student's tensors as this script's."""
    return {
        name.replace("score_head.", "head.") if name.startswith("score_head.") else f"encoder.{name}": tensor
        for name, tensor in state.items()
    }


def squared_emd(distributions, expected):
    """[n]; r = 2 of arXiv 1709.05424."""
    return (distributions.cumsum(1) - expected.cumsum(1)).square().mean(1)


def batches(folder, batch):
    """Without end, each epoch in an order of its own."""
    data = Pictures(folder)
    sampler = torch.utils.data.DistributedSampler(data)
    loader = torch.utils.data.DataLoader(
        data, batch, sampler=sampler, num_workers=1, persistent_workers=True, drop_last=True
    )
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        yield from loader


def main():
    parser = argparse.ArgumentParser()
    for name in ("unlabelled", "labelled", "tower", "ridge"):
        parser.add_argument(name)
    for name in ("steps", "batch", "labelled_batch"):
        parser.add_argument(name, type=int, help="of each rank")
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    teacher = Teacher(tower_of(arguments.tower), arguments.ridge).eval().to(memory_format=torch.channels_last)
    student = Student("mobilenetv3_large_100", BINS).to(memory_format=torch.channels_last)
    model = DistributedDataParallel(student, gradient_as_bucket_view=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)
    unlabelled = batches(arguments.unlabelled, arguments.batch)
    labelled = batches(arguments.labelled, arguments.labelled_batch)
    # What people said does not matter for the time.
    labels = torch.softmax(torch.randn(arguments.labelled_batch, BINS), 1)
    seconds = []
    start = time.perf_counter()
    for _ in range(arguments.steps):
        pixels = next(unlabelled)
        with torch.inference_mode():
            answers = teacher(normalised(pixels, MEAN, STD))
        images = normalised(torch.cat([next(labelled), pixels]), *IMAGENET)
        expected = torch.cat([labels, answers.clone()])
        loss = squared_emd(torch.softmax(model(images), 1), expected).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
        optimiser.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    if dist.get_rank() == 0:
        print(json.dumps({"seconds": seconds[2:]}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
