"""The demo teacher: the image tower of a small CLIP with open_clip's names of parameters, and what it looks at."""

import pathlib

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import nn

WEIGHTS = pathlib.Path(__file__).resolve().parents[2] / "configs/demo/teacher.safetensors"
SIDE, PATCH, WIDTH, LAYERS, HEADS, MLP, SHARED = 128, 16, 192, 6, 3, 768, 128
MEAN = (0.48145466, 0.4578275, 0.40821073)
STDDEV = (0.26862954, 0.26130258, 0.27577711)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, eps=1e-5)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.ln_2 = nn.LayerNorm(WIDTH, eps=1e-5)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, MLP), "c_proj": nn.Linear(MLP, WIDTH)})

    def forward(self, x):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp.c_proj(nn.functional.gelu(self.mlp.c_fc(self.ln_2(x))))


class VisualTower(nn.Module):
    """[N, 3, SIDE, SIDE] normalised pixels -> class token after the last norm [N, WIDTH], projected [N, SHARED]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(WIDTH**-0.5 * torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(WIDTH**-0.5 * torch.randn((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre = nn.LayerNorm(WIDTH, eps=1e-5)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(Block() for _ in range(LAYERS))})
        self.ln_post = nn.LayerNorm(WIDTH, eps=1e-5)
        self.proj = nn.Parameter(WIDTH**-0.5 * torch.randn(WIDTH, SHARED))

    def forward(self, images):
        patches = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        for block in self.transformer.resblocks:
            x = block(x)
        pooled = self.ln_post(x[:, 0])
        return pooled, pooled @ self.proj


def load_teacher(path=WEIGHTS):
    tower = VisualTower()
    tower.load_state_dict({name.removeprefix("visual."): tensor.float() for name, tensor in load_file(path).items()})
    return tower.eval()


def middle_of(image):
    """The picture with a short side of SIDE pixels (bicubic), and of that the middle: [SIDE, SIDE, 3] bytes."""
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, int(length * scale)) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def pixels_of(file):
    """The middle of the picture in `file`, upright."""
    with Image.open(file) as image:
        return middle_of(ImageOps.exif_transpose(image).convert("RGB"))


def normalised(pixels):
    """[N, SIDE, SIDE, 3] bytes -> [N, 3, SIDE, SIDE] floats as the tower wants them."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STDDEV).view(3, 1, 1)


@torch.no_grad()
def pooled_features(tower, pixels):
    """[N, WIDTH] pooled features of [N, SIDE, SIDE, 3] bytes."""
    return torch.cat([tower(normalised(batch))[0] for batch in np.array_split(pixels, -(-len(pixels) // 100))]).numpy()
