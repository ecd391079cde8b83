"""The demo tower and the pictures of a run, by open_clip, Pillow and h5py."""

import io

import h5py
import numpy
import torch
from open_clip.transformer import VisionTransformer
from PIL import Image, ImageOps

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def transformer(state, pixels):
    """ViT-demo-16 with the weights of a file of cskd or open_clip; it gives pooled features and tokens."""
    model = VisionTransformer(
        image_size=pixels, patch_size=16, width=192, layers=6, heads=3, mlp_ratio=4, output_dim=128, output_tokens=True
    )
    state = {name.removeprefix("visual."): value.float() for name, value in state.items()}
    model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()}, strict=False)
    model.proj = None
    return model.eval()


def batch_of(images, side):
    """Whole pictures, squeezed into a square, as the tower takes them."""
    pixels = numpy.stack([numpy.asarray(image.resize((side, side), Image.BICUBIC)) for image in images])
    tensor = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
    return (tensor - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def rows_of(folder, wanted=lambda file: True):
    """Upright picture, and the open shard with its row, of every row of the shards whose file name is wanted."""
    for path in sorted((folder / "shards").glob("*.h5")):
        if not wanted(path.name):
            continue
        with h5py.File(path) as shard:
            blob, offsets = shard["bytes"][:].tobytes(), shard["offset"][:]
            for row in range(len(offsets) - 1):
                image = Image.open(io.BytesIO(blob[offsets[row] : offsets[row + 1]]))
                yield ImageOps.exif_transpose(image).convert("RGB"), shard, row


def is_learnt_from(file):
    """Whether trainings see the pictures of a shard."""
    return "-test-" not in file and "-validation-" not in file


def whole_pictures(folder, use=0, wanted=is_learnt_from):
    """Pictures as view 1 or 2: the whole of it, mirrored at each second use, at the first one where its hash is odd."""
    images = []
    for image, shard, row in rows_of(folder, wanted):
        number = int.from_bytes(shard["hash"][row].tobytes()[:8], "big")
        images.append(image.transpose(Image.FLIP_LEFT_RIGHT) if (number + use) % 2 else image)
    return images
