"""Plug-ins beside the PyTorch models that they were exported from: what plugin_test.py bounds and plugin_table.py shows."""

import os
import pathlib
import sys
import types

import safetensors.torch
import torch
from parity import run

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
from small_plugin import exporter  # noqa: E402

SOURCE = pathlib.Path(os.environ["CSKD_SOURCE_DIR"])
BATCHES = (1, 2, 7)


EXPORTER = exporter()


def draw_statistics(model, seed=3):
    """Statistics of batch normalisation that do something, although the model was never trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2, generator=generator)
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2, generator=generator)


def export_timm(name, folder, image_size=None):
    """The path of a plug-in with random weights, and its model."""
    torch.manual_seed(1)
    model, size, facts = EXPORTER.timm_encoder(name, image_size, False, None)
    without_randomness(model)
    draw_statistics(model)
    path = pathlib.Path(folder) / f"{name}.pt2"
    EXPORTER.export(model, path, image_size=size, name=name, **facts)
    return types.SimpleNamespace(path=path, model=model, size=size, skipped=facts.get("skipped_tokens") or 0)


def tokens_of(output, skipped):
    if output.dim() == 3:
        return output[:, skipped:]
    return output.flatten(2).transpose(1, 2) if output.shape[2] == output.shape[3] else output.flatten(1, 2)


def without_randomness(model):
    """Drop path, which the file does not have, and dropout, which draws other numbers here and there, off."""
    for module in model.modules():
        if isinstance(getattr(module, "drop_rate", None), float):
            module.drop_rate = 0.0
        if "DropPath" in type(module).__name__:
            module.drop_prob = 0.0
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def differences(exported, folder):
    """Largest differences of pooled features and tokens over batches, also folded for inference; of gradients."""
    generator = torch.Generator().manual_seed(5)
    images_file, output_file = pathlib.Path(folder) / "in.safetensors", pathlib.Path(folder) / "out.safetensors"
    forward = folded = 0.0
    for batch in BATCHES:
        images = torch.randn(batch, 3, exported.size, exported.size, generator=generator)
        safetensors.torch.save_file({"images": images}, images_file)
        found, facts = run(exported.path, 0, "eval", exported.path, images_file, output_file)
        with torch.no_grad():
            outputs = EXPORTER.tensors_of(exported.model.eval()(images))
        wanted = {"pooled": outputs[0]}
        if "tokens" in found:
            wanted["tokens"] = tokens_of(outputs[1], exported.skipped)
        for name, tensor in wanted.items():
            assert found[name].shape == tensor.shape, (name, found[name].shape, tensor.shape)
            scale = tensor.abs().max().clamp(min=1e-6)
            forward = max(forward, ((found[name] - tensor).abs().max() / scale).item())
            folded = max(folded, ((found[f"folded.{name}"] - tensor).abs().max() / scale).item())

    exported.model.train()
    images = torch.randn(4, 3, exported.size, exported.size, generator=generator)
    outputs = EXPORTER.tensors_of(exported.model(images))
    inputs = {"images": images, "drop_path": torch.tensor(0.0), "pooled_weight": torch.randn(outputs[0].shape)}
    loss = (outputs[0] * inputs["pooled_weight"]).sum()
    if "tokens" in found:
        tokens = tokens_of(outputs[1], exported.skipped)
        inputs["tokens_weight"] = torch.randn(tokens.shape)
        loss = loss + (tokens * inputs["tokens_weight"]).sum()
    loss.backward()
    safetensors.torch.save_file(inputs, images_file)
    trained, _ = run(exported.path, 0, "train", exported.path, images_file, output_file)
    gradient, compared = 0.0, 0
    for name, parameter in exported.model.named_parameters():
        if parameter.grad is None:
            assert f"gradient.{name}" not in trained
            continue
        norm = parameter.grad.norm()
        if norm > 1e-4:
            gradient = max(gradient, ((trained[f"gradient.{name}"] - parameter.grad).norm() / norm).item())
        compared += 1
    statistics = 0.0
    for name, buffer in exported.model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            statistics = max(statistics, (trained[name] - buffer).abs().max().item())
    return types.SimpleNamespace(
        forward=forward,
        folded=folded,
        gradient=gradient,
        statistics=statistics,
        parameters=compared,
        facts=facts,
        tokens="tokens" in found,
    )
