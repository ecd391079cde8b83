"""Steps of every optimiser against torch.optim's and timm's, and across a stop between two steps."""

import os
import subprocess

import pytest
import safetensors.torch
import timm.optim
import torch

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "optimizer_steps")
STEPS = 20
PEAK = {"adamw": 0.01, "sgd": 0.1, "lamb": 0.02, "lars": 5.0}
SHAPES = {
    "matrix": (17, 9),
    "bias": (9,),
    "scalar": (),
    "convolution": (8, 4, 3, 3),
    "depthwise": (8, 1, 5, 5),
    "from_zero": (6, 11),
    "from_zero_bias": (11,),
    "still": (5, 7),
    "still_bias": (7,),
    "still_at_zero": (4, 3),
    "late": (7, 5),
    "frozen": (3, 4),
    "tiny": (12, 6),
    "huge": (12, 6),
    "large": (300, 70),
}
RATES = {"matrix": 0.25, "bias": 0.25, "large": 0.5, "still": 0.7, "frozen": 0.0}
GRADIENT_SCALES = {"tiny": 1e-12, "huge": 1e4}


def problem():
    generator = torch.Generator().manual_seed(11)
    starts, gradients = {}, {}
    for name, shape in SHAPES.items():
        starts[name] = torch.randn(shape, generator=generator)
        gradients[name] = torch.randn((STEPS, *shape), generator=generator) * GRADIENT_SCALES.get(name, 0.3)
    for name in SHAPES:
        if "zero" in name:
            starts[name].zero_()
        if name.startswith("still"):
            gradients[name].zero_()
    gradients["late"][:7] = 0
    return starts, gradients


def options(algorithm, **changes):
    return {"algorithm": algorithm, "momentum": 0.9, "beta2": 0.95, "weight_decay": 0.1, "decays_all": 0, **changes}


def learning_rates(algorithm):
    return PEAK[algorithm] * torch.linspace(1, 0.1, STEPS, dtype=torch.float64)


def run(folder, chosen, starts, gradients, rates, state=None):
    """Parameters and state after the steps, as the program says."""
    tensors = {"learning_rates": rates.clone()}
    for name in starts:
        tensors[f"start.{name}"] = starts[name].contiguous()
        tensors[f"gradients.{name}"] = gradients[name].contiguous()
        tensors[f"rate.{name}"] = torch.tensor([RATES.get(name, 1.0)], dtype=torch.float64)
    tensors |= {f"state.{name}": tensor for name, tensor in (state or {}).items()}
    metadata = {key: str(value) for key, value in chosen.items()}
    safetensors.torch.save_file(tensors, folder / "input.safetensors", metadata)
    result = subprocess.run(
        [PROGRAM, folder / "input.safetensors", folder / "output.safetensors"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    output = safetensors.torch.load_file(folder / "output.safetensors")
    return tuple(
        {key.removeprefix(prefix): tensor for key, tensor in output.items() if key.startswith(prefix)}
        for prefix in ("parameter.", "state.")
    )


def home_optimizer(chosen, groups):
    momentum, betas = chosen["momentum"], (chosen["momentum"], chosen["beta2"])
    if chosen["algorithm"] == "adamw":
        return torch.optim.AdamW(groups, betas=betas, foreach=False)
    if chosen["algorithm"] == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, foreach=False)
    if chosen["algorithm"] == "lamb":
        return timm.optim.Lamb(groups, betas=betas, max_grad_norm=None, foreach=False)
    return timm.optim.Lars(groups, momentum=momentum, foreach=False)


def home(chosen, starts, gradients, rates):
    """Parameters and state after the steps, as torch and timm say."""
    parameters = {name: start.clone().requires_grad_() for name, start in starts.items()}
    decays = {name: chosen["decays_all"] or start.ndim > 1 for name, start in starts.items()}
    groups = [
        {"params": [parameter], "weight_decay": chosen["weight_decay"] if decays[name] else 0.0, "name": name}
        for name, parameter in parameters.items()
    ]
    optimizer = home_optimizer(chosen, groups)
    for step, rate in enumerate(rates.tolist()):
        for group in optimizer.param_groups:
            group["lr"] = rate * RATES.get(group["name"], 1.0)
            group["params"][0].grad = gradients[group["name"]][step].clone()
        optimizer.step()
    state = {
        f"{kind}.{name}": tensor
        for name, parameter in parameters.items()
        for kind, tensor in optimizer.state[parameter].items()
        if kind != "step" and tensor is not None
    }
    return {name: parameter.detach() for name, parameter in parameters.items()}, state


def difference(ours, theirs):
    """The greatest one of two tensors, as a part of the greatest value."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()


CASES = [
    options(algorithm, **changes)
    for algorithm in PEAK
    for changes in ({}, {"decays_all": 1}, {"weight_decay": 0.0}, {"momentum": 0.0})
]


@pytest.mark.parametrize("chosen", CASES, ids=lambda chosen: "-".join(map(str, chosen.values())))
def test_steps_are_those_of_its_home(chosen, tmp_path):
    starts, gradients = problem()
    rates = learning_rates(chosen["algorithm"])
    parameters, state = run(tmp_path, chosen, starts, gradients, rates)
    expected, expected_state = home(chosen, starts, gradients, rates)
    errors = {name: difference(parameters[name], expected[name]) for name in expected}
    assert max(errors.values()) <= 1e-6, errors
    counted = {"step"} if chosen["algorithm"] in ("adamw", "lamb") else set()
    assert set(state) == set(expected_state) | counted
    state_errors = {name: difference(state[name], expected_state[name]) for name in expected_state}
    assert max(state_errors.values(), default=0) <= 1e-6, state_errors
    assert not counted or state["step"].tolist() == [STEPS]
    assert not any(torch.equal(parameters[name], starts[name]) for name in ("matrix", "bias", "from_zero", "late"))
    assert torch.equal(parameters["frozen"], starts["frozen"])
    assert torch.equal(parameters["still_at_zero"], starts["still_at_zero"])


@pytest.mark.parametrize("algorithm", PEAK)
def test_a_stop_between_two_steps_is_not_seen(algorithm, tmp_path):
    starts, gradients = problem()
    rates = learning_rates(algorithm)
    chosen = options(algorithm)
    parameters, state = run(tmp_path, chosen, starts, gradients, rates)
    half = {name: gradients[name][:8] for name in gradients}
    rest = {name: gradients[name][8:] for name in gradients}
    stopped, stopped_state = run(tmp_path, chosen, starts, half, rates[:8])
    resumed, resumed_state = run(tmp_path, chosen, stopped, rest, rates[8:], stopped_state)
    assert all(torch.equal(resumed[name], parameters[name]) for name in parameters)
    assert resumed_state.keys() == state.keys()
    assert all(torch.equal(resumed_state[name], state[name]) for name in state)
    # The state matters: without it the rest goes elsewhere.
    forgetful, _ = run(tmp_path, chosen, stopped, rest, rates[8:])
    assert not torch.equal(forgetful["matrix"], parameters["matrix"])
