"""The same steps as `cskd bench step` (src/bench/engine_bench.cpp) in PyTorch DDP over Gloo; started by side_by_side.py through torchrun."""

import copy
import json
import sys
import time

import timm
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel


def network_of(encoder, image_size):
    torch.manual_seed(1)
    return timm.create_model(
        encoder, num_classes=192, **({"img_size": image_size} if encoder.startswith("vit") else {})
    )


def write_weights(encoder, image_size, path):
    """The weights that steps start from, under the names of `cskd bench step --weights`."""
    network = network_of(encoder, image_size)
    head = network.pretrained_cfg["classifier"] + "."
    save_file(
        {
            name.replace(head, "projector.") if name.startswith(head) else name: tensor
            for name, tensor in network.state_dict().items()
        },
        path,
    )


def run_steps(encoder, image_size, batch, steps, memory_format):
    layout = getattr(torch, memory_format + ("_format" if memory_format == "contiguous" else ""))
    network = network_of(encoder, image_size).to(memory_format=layout)
    average = copy.deepcopy(network)
    model = DistributedDataParallel(network, gradient_as_bucket_view=True)
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=1e-3, fused=True
    )
    tensors = [value for value in network.state_dict().values() if value.is_floating_point()]
    averages = [value for value in average.state_dict().values() if value.is_floating_point()]
    seconds, losses = [], []
    for step in range(steps + 3):
        # As Note [Made-up batches] of src/bench/engine_bench.h.
        torch.manual_seed(step * dist.get_world_size() + dist.get_rank())
        images = torch.randn(batch, 3, image_size, image_size).to(memory_format=layout)
        targets = torch.randn(batch, 192)
        dist.barrier()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = torch.nn.functional.mse_loss(model(images), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, tensors, 0.01)
        if step >= 3:
            seconds.append(time.perf_counter() - start)
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(mean.item() / dist.get_world_size())
    return {"seconds": seconds, "losses": losses}


def time_all_reduce(numbers, repeats):
    tensor = torch.ones(numbers)
    seconds = []
    for repeat in range(repeats + 3):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(tensor)
        tensor.div_(dist.get_world_size())
        if repeat >= 3:
            seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    if sys.argv[1] == "weights":
        write_weights(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        sys.exit()
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    if sys.argv[1] == "step":
        found = run_steps(sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6])
    else:
        found = {"seconds": time_all_reduce(*map(int, sys.argv[2:4]))}
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()
