#!/usr/bin/env python3
"""Exports a PyTorch image encoder as a plug-in of cskd: a .pt2 file that cskd trains, aligns and scores with.

Needs PyTorch 2.11 where it runs, and timm or torchvision for their models; cskd itself needs no Python. From a program:

    from export_encoder import export
    export(model, "encoder.pt2", image_size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

The model takes images [N, 3, S, S] and returns pooled features [N, D], or tokens ([N, L, D], [N, D, S, S],
[N, S, S, D]), or a tuple of both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import types
from pathlib import Path

import torch

BATCHES = (1, 2, 7)  # on which the result is compared with the model
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def make_plain(model: torch.nn.Module) -> None:
    """Gives every parameter and buffer memory of its own, contiguous and in float32."""
    with torch.no_grad():
        for module in model.modules():
            for name, tensor in list(module.named_parameters(recurse=False)):
                tensor.data = tensor.detach().to(torch.float32).contiguous().clone()
            for name, tensor in list(module.named_buffers(recurse=False)):
                plain = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
                module._buffers[name] = plain.contiguous().clone()


def tensors_of(outputs) -> list[torch.Tensor]:
    return [outputs] if torch.is_tensor(outputs) else list(outputs)


def require_features(outputs) -> None:
    ok = torch.is_tensor(outputs) or (isinstance(outputs, (tuple, list)) and all(map(torch.is_tensor, outputs)))
    if not ok or not any(tensor.dim() in (2, 3, 4) for tensor in tensors_of(outputs)):
        raise ValueError(
            "the model must return pooled features [N, D], tokens ([N, L, D], [N, D, S, S], [N, S, S, D]) or a tuple of "
            f"both, not {type(outputs).__name__}; wrap it in a module whose forward() does"
        )


@torch.no_grad()
def largest_difference(model: torch.nn.Module, exported: torch.nn.Module, image_size: int) -> float:
    generator = torch.Generator().manual_seed(1)
    largest = 0.0
    for batch in BATCHES:
        images = torch.randn(batch, 3, image_size, image_size, generator=generator)
        for expected, got in zip(tensors_of(model(images)), tensors_of(exported(images)), strict=True):
            largest = max(largest, (expected - got).abs().max().item())
    return largest


def export(
    model: torch.nn.Module,
    path: str | Path,
    *,
    image_size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: str = "encoder",
    licence: str = "",
    pooled_output: int | None = None,
    token_output: int | None = None,
    skipped_tokens: int | None = None,
) -> float:
    """Writes `model` to `path`. Returns the largest difference between the file's outputs and the model's.

    name: letters, digits, `.`, `_` and `-`; what cskd calls it. skipped_tokens: class token and registers, which stand
    before the tokens of the grid. Raises ValueError for a model that returns something else than features.
    """
    model = model.eval()
    make_plain(model)
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        require_features(model(images))
    model.train().eval()  # some models keep in evaluation mode what they computed of parameters, which would be exported
    program = torch.export.export(
        model, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65535)},), strict=False
    )
    description = {
        "name": re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100],
        "licence": licence,
        "mean": list(mean),
        "stddev": list(std),
        "pooled_output": pooled_output,
        "token_output": token_output,
        "skipped_tokens": skipped_tokens,
    }
    torch.export.save(program, path, extra_files={"cskd.json": json.dumps(description)})
    return largest_difference(model, torch.export.load(path).module(), image_size)


def timm_encoder(name: str, image_size: int | None, pretrained: bool, weights: str | None):
    import timm

    options = {"pretrained": pretrained, "num_classes": 0}
    if weights:
        options["checkpoint_path"] = weights
    try:
        model = timm.create_model(name, **options, **({"img_size": image_size} if image_size else {}))
    except TypeError:  # one that takes any size, and has no such argument
        model = timm.create_model(name, **options)
    config = timm.data.resolve_data_config({}, model=model)
    size = image_size or config["input_size"][-1]
    model.eval()
    with torch.no_grad():
        features = model.forward_features(torch.zeros(1, 3, size, size))
    returns_tokens = torch.is_tensor(features) and features.dim() in (3, 4)

    def forward(self, images):
        features = self.forward_features(images)
        pooled = self.forward_head(features, pre_logits=True)
        return (pooled, features) if returns_tokens else pooled

    model.forward = types.MethodType(forward, model)
    skipped = getattr(model, "num_prefix_tokens", 0) if returns_tokens and features.dim() == 3 else None
    facts = {"mean": config["mean"], "std": config["std"], "skipped_tokens": skipped}
    licence = ((model.pretrained_cfg or {}).get("license") or "") if pretrained else ""  # of published weights
    return model, size, {**facts, "licence": f"{licence}, as timm says" if licence else ""}


def torchvision_encoder(name: str, image_size: int | None, pretrained: bool, weights: str | None):
    import torchvision

    model = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    if weights:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    # Features are what the last linear layer, the classifier, would see.
    last = [path for path, module in model.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    parent, _, attribute = last.rpartition(".")
    setattr(model.get_submodule(parent), attribute, torch.nn.Identity())
    return model, image_size or 224, dict(IMAGENET)


def own_encoder(place: str, image_size: int | None):
    file, _, function = place.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None or not Path(file).exists():
        raise SystemExit(f"export_encoder.py: there is no Python file {file!r}; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(file).resolve().parent))
    spec.loader.exec_module(module)
    return getattr(module, function)(), image_size or 224, dict(IMAGENET)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Exports a PyTorch image encoder as a plug-in of cskd.",
        epilog="examples: export_encoder.py fastvit_t8 --pretrained -o fastvit.pt2; "
        "export_encoder.py regnet_y_400mf --library torchvision; export_encoder.py mine.py:make_model --image-size 96",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="name of a timm or torchvision model, or FILE.py:FUNCTION that returns a module"
    )
    parser.add_argument("-o", "--output", help="the file (MODEL.pt2)")
    parser.add_argument("--library", choices=("timm", "torchvision"), default="timm")
    parser.add_argument("--image-size", type=int, help="pixels a side, the only size that it will take (its own)")
    parser.add_argument("--pretrained", action="store_true", help="with published weights, which the library fetches")
    parser.add_argument("--weights", help="with the weights of this file")
    parser.add_argument("--mean", type=float, nargs=3, help="of the training pictures, pixels from 0 to 1")
    parser.add_argument("--std", type=float, nargs=3)
    arguments = parser.parse_args()
    if re.search(r"\.py:\w+$", arguments.model):
        model, size, facts = own_encoder(arguments.model, arguments.image_size)
        name = arguments.model.rpartition(":")[2]
    else:
        make = timm_encoder if arguments.library == "timm" else torchvision_encoder
        model, size, facts = make(arguments.model, arguments.image_size, arguments.pretrained, arguments.weights)
        name = arguments.model
    facts |= {key: tuple(value) for key, value in (("mean", arguments.mean), ("std", arguments.std)) if value}
    path = Path(arguments.output or f"{name}.pt2")
    difference = export(model, path, image_size=size, name=name, **facts)
    print(
        f"{path}: {name} at {size} pixels, {path.stat().st_size / 1e6:.1f} MB; outputs for batches of "
        f"{', '.join(map(str, BATCHES))} differ from the model's by {difference:.2g} at most"
    )


if __name__ == "__main__":
    main()
