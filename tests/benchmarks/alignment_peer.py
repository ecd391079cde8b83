"""Stage I as a PyTorch script does it: Feature Distillation's online recipe (arXiv 2205.14141) in DDP over Gloo, a frozen open_clip tower that
computes the targets of the pictures that the student sees. Started by alignment.py through torchrun; prints JSON.

  alignment_peer.py PICTURES TOWER STEPS BATCH

PICTURES: a folder of files; TOWER: weights with open_clip's names of ViT-B-16's image tower.
"""

import argparse
import io
import json
import pathlib
import time

import timm
import torch
import torch.distributed as dist
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torchvision.transforms import v2

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224


class Pictures(torch.utils.data.Dataset):
    """Random crops of a third of the area or more, mirrored or not; their files are in memory."""

    def __init__(self, folder):
        self.files = [path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())]
        self.view = v2.Compose(
            [
                v2.RandomResizedCrop(SIDE, (0.35, 1), interpolation=v2.InterpolationMode.BICUBIC),
                v2.RandomHorizontalFlip(),
                v2.PILToTensor(),
            ]
        )

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        return self.view(Image.open(io.BytesIO(self.files[number])).convert("RGB"))


def normalised(pixels, mean, std):
    images = pixels.to(memory_format=torch.channels_last).float() / 255
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


class Student(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.encoder = timm.create_model(name, num_classes=0)
        self.projector = nn.Linear(self.encoder.head_hidden_size, 768)

    def forward(self, images):
        return self.projector(self.encoder(images))


def tower_of(path):
    tower = VisionTransformer(
        image_size=SIDE, patch_size=16, width=768, layers=12, heads=12, mlp_ratio=4, output_dim=512
    )
    tower.load_state_dict({name.removeprefix("visual."): value for name, value in load_file(path).items()})
    tower.proj = None
    return tower.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures")
    parser.add_argument("tower")
    parser.add_argument("steps", type=int)
    parser.add_argument("batch", type=int, help="of each rank")
    arguments = parser.parse_args()
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    tower = tower_of(arguments.tower)
    student = Student("mobilenetv3_large_100").to(memory_format=torch.channels_last)
    model = DistributedDataParallel(student, gradient_as_bucket_view=True)
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(
        [
            {"params": [each for each in parameters if each.dim() > 1], "weight_decay": 0.05},
            {"params": [each for each in parameters if each.dim() <= 1], "weight_decay": 0},
        ],
        lr=1e-3,
        fused=True,
    )
    data = Pictures(arguments.pictures)
    sampler = torch.utils.data.DistributedSampler(data)
    loader = torch.utils.data.DataLoader(
        data, arguments.batch, sampler=sampler, num_workers=1, persistent_workers=True, drop_last=True
    )
    seconds, step, epoch = [], 0, 0
    start = time.perf_counter()
    while step < arguments.steps:
        sampler.set_epoch(epoch)
        epoch += 1
        for pixels in loader:
            with torch.inference_mode():
                target = tower(normalised(pixels, MEAN, STD))
                target = nn.functional.layer_norm(target, target.shape[-1:])
            predicted = model(normalised(pixels, *IMAGENET))
            target = target.clone()
            loss = nn.functional.smooth_l1_loss(predicted, target, beta=2.0)
            loss = loss + (1 - nn.functional.cosine_similarity(predicted, target)).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 3.0)
            optimiser.step()
            loss.item()
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            step += 1
            if step == arguments.steps:
                break
    if dist.get_rank() == 0:
        print(json.dumps({"seconds": seconds[2:]}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
