"""A CLIP tower with random weights, and a configuration of a small corpus that trains in seconds."""

import torch
from safetensors.torch import save_file


def random_tower(path, seed):
    """Weights in open_clip's names for ViT-demo-16."""
    generator = torch.Generator().manual_seed(seed)
    width, layers, mlp, tokens, patch = 192, 6, 768, 65, 16

    def random(*shape, scale=0.05):
        return (torch.randn(*shape, generator=generator) * scale).half()

    weights = {
        "visual.class_embedding": random(width),
        "visual.positional_embedding": random(tokens, width),
        "visual.conv1.weight": random(width, 3, patch, patch),
        "visual.proj": random(width, 128),
    }
    norms = ["ln_pre", "ln_post"]
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}"
        norms += [f"{block}.ln_1", f"{block}.ln_2"]
        weights[f"visual.{block}.attn.in_proj_weight"] = random(3 * width, width)
        weights[f"visual.{block}.attn.in_proj_bias"] = random(3 * width)
        for name, (rows, columns) in {
            "attn.out_proj": (width, width),
            "mlp.c_fc": (mlp, width),
            "mlp.c_proj": (width, mlp),
        }.items():
            weights[f"visual.{block}.{name}.weight"] = random(rows, columns)
            weights[f"visual.{block}.{name}.bias"] = random(rows)
    for norm in norms:
        weights[f"visual.{norm}.weight"] = 1 + random(width)
        weights[f"visual.{norm}.bias"] = random(width)
    save_file(weights, path)


TRAINING = """
[{stage}.training]
steps = {steps}
global_batch = 16
micro_batches = 4
learning_rate = 1e-3
warmup_steps = 2
checkpoint_every = 4
log_every = 2
"""

# A teacher in closed form, and a student that takes over its head and learns what it says of the same views.
HEIR = """
[ridge.tower]
from = "towers.clip"

[distill.heir]
from = "align.student"
teachers = ["ridge.tower"]
head = "teacher"
answers = "same_view"
consistency_weight = 0
labelled_batch = 4
rank.weight = 0.5
mix.weight = 0.5
attention_of = "towers.clip"
attention_weight = 0.5
mix.ramp = 0.5
supervised_weight = 0.25
feature_weight = 2
"""
HEIR += TRAINING.format(stage="distill.heir", steps=8)


def configuration(corpus, weights, folder, fraction=0.75, steps=8):
    text = f'[run]\nfolder = "{folder}"\nmin_free = 0\n'
    for name, kind in [
        ("coast", "folder"),
        ("city", "folder"),
        ("studio", "folder"),
        ("archive", "webdataset"),
        ("rated", "ava"),
    ]:
        text += f'\n[[sources]]\nname = "{name}"\nkind = "{kind}"\npath = "{corpus / name}"\n'
    text += f"""
[labels]
fraction = {fraction}

[packing]
max_samples = 32
max_fault_rate = 0.2

[towers.clip]
architecture = "ViT-demo-16"
weights = "{weights}"
views.count = 4

[encoders.mobile]
architecture = "mobilenetv3_small_100"
image_size = 64

[align.student]
encoder = "mobile"
towers = ["clip"]

[finetune.teacher]
from = "towers.clip"

[finetune.supervised]
from = "encoders.mobile"

[distill.student]
from = "align.student"
teachers = ["finetune.teacher"]

[evaluate]
resamples = 100

[compute]
precision = "fp32"
memory_format = "channels_last"
"""
    for stage in ("align.student", "finetune.teacher", "finetune.supervised", "distill.student"):
        text += TRAINING.format(stage=stage, steps=steps)
    return text
