"""Our encoders run on the weights of others: the differences that encoder_test.py bounds and encoder_table.py writes down."""

import os
import subprocess

import safetensors
import safetensors.torch
import torch

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "encoder_features")


def is_constant(tensor):
    # Rounding gives a constant a standard deviation.
    return tensor.min() == tensor.max()


def randomise(model, generator):
    """Changes every tensor that starts as a constant, so that none can be left out unseen."""
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if name.endswith("num_batches_tracked"):
                tensor.fill_(7)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif not tensor.is_floating_point() or (name in dict(model.named_buffers()) and "running" not in name):
                continue
            elif name == "patch_embed.proj.weight":
                tensor.mul_(0.01)
            elif name in ("cls_token", "reg_token", "pos_embed", "patch_embed.proj.bias"):
                # So small that the first LayerNorm's epsilon is seen.
                tensor.normal_(0, 0.005, generator=generator)
            elif name.endswith("running_mean") or name.endswith("bias"):
                tensor.normal_(0, 0.2, generator=generator)
            elif tensor.dim() == 1 and not tensor.any():
                # A norm that starts a branch at zero: a shallow one, as trained networks have it, or the rounding of a
                # hundred branches adds up.
                tensor.uniform_(0.1, 0.5, generator=generator)
            elif name.endswith("gamma") or (tensor.dim() == 1 and (name.endswith("weight") or is_constant(tensor))):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.startswith("stages") or (
                name.startswith(("blocks", "transformer", "layers")) and tensor.dim() == 2
            ):
                # Sharper attention than a fresh model's, in which every token is much alike; convolutions that let
                # images differ.
                tensor.normal_(0, 2 * tensor[0].numel() ** -0.5, generator=generator)
            elif tensor.numel() > 1 and is_constant(tensor):
                tensor.normal_(0, 0.2, generator=generator)


def run(*arguments):
    result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    with safetensors.safe_open(arguments[-1], "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def calibrate(model, side, generator):
    """Gives each norm running statistics near, not at, those of what it gets from the norms before it.

    With others the differences of images fade layer by layer. The mean lies low, so that most places are active: norms
    that centre noise in front of rectifiers make any difference grow from layer to layer, and that of rounding with it.
    """

    def take(norm, inputs):
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        shift = torch.empty_like(mean).normal_(-1, 0.3, generator=generator)
        norm.running_mean.copy_(mean + shift * variance.sqrt())
        norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.5, 2, generator=generator))

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(take) for norm in norms]
    if norms:
        with torch.no_grad():
            model.eval()(torch.randn(8, 3, side, side, generator=generator))
    for hook in hooks:
        hook.remove()


def difference(name, found, wanted, least_scale=0.0):
    """The greatest difference as a part of the greatest value."""
    assert found.shape == wanted.shape, name
    scale = max(wanted.abs().max().item(), least_scale)
    assert scale > 0, name
    return (found - wanted).abs().max().item() / scale


def own_image_size(model):
    size = model.image_size[0] if hasattr(model, "image_size") else model.default_cfg["input_size"][1]
    return int(size)


def ours(name, image_size, mode, weights, inputs, folder):
    """What encoder_features makes of tensors that are saved for it, and what it says of the file."""
    safetensors.torch.save_file(
        {key: tensor.contiguous() for key, tensor in weights.items()}, folder / "weights.safetensors"
    )
    safetensors.torch.save_file(inputs, folder / "input.safetensors")
    return run(
        name,
        image_size or 0,
        mode,
        folder / "weights.safetensors",
        folder / "input.safetensors",
        folder / "output.safetensors",
    )


def differences(variant, folder):
    """{"pooled", "tokens", "folded.*", "alone.pooled", "attention.L": greatest difference}, the shape."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    model = variant.model(variant.image_size).eval()
    randomise(model, generator)
    side = variant.image_size or own_image_size(model)
    images = torch.randn(2, 3, side, side, generator=generator)
    calibrate(model, side, generator)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    if variant.double:
        model, images = model.double(), images.double()
    if variant.half:
        # The home computes with the same rounded weights.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.half())
        weights = {f"visual.{key}": tensor.half() for key, tensor in model.state_dict().items()}
    with torch.no_grad():
        pooled, tokens = variant.outputs(model, images)
        attention = variant.attention(model, images)
    # What differs from image to image and from place to place must be seen, not a constant that all share.
    assert pooled.std(dim=0).mean() > 0.01 * pooled.std()
    assert tokens.shape[1] == 1 or tokens.std(dim=1).mean() > 0.01 * tokens.std()

    found, shape = ours(variant.name, variant.image_size, "eval", weights, {"images": images}, folder)
    wanted = {
        "pooled": pooled,
        "tokens": tokens,
        "folded.pooled": pooled,
        "folded.tokens": tokens,
        "alone.pooled": pooled,
    }
    wanted |= {f"attention.{layer}": maps for layer, maps in attention.items()}
    assert set(found) == set(wanted)
    assert found["pooled"].shape == (2, int(shape["pooled_width"]))
    assert found["tokens"].shape == (2, int(shape["grid"]) ** 2, int(shape["token_width"]))
    return {key: difference(key, found[key], theirs) for key, theirs in wanted.items()}, shape


def foreign_differences(foreign, folder):
    """As differences(), of a model of another library; and what was said of its file."""
    torch.manual_seed(3)
    generator = torch.Generator().manual_seed(3)
    model = foreign.build().eval()
    randomise(model, generator)
    side = foreign.image_size or own_image_size(model)
    images = torch.randn(2, 3, side, side, generator=generator)
    with torch.no_grad():
        pooled, tokens = foreign.features(model, images)
    found, report = ours(foreign.encoder, foreign.image_size, "eval", foreign.state(model), {"images": images}, folder)
    wanted = {key: theirs for key, theirs in (("pooled", pooled), ("tokens", tokens)) if theirs is not None}
    return {key: difference(key, found[key], theirs) for key, theirs in wanted.items()}, report
