"""The same steps as `cskd bench step` (src/bench/engine_bench.cpp) in PyTorch DDP over Gloo; started by side_by_side.py through torchrun."""

import copy
import json
import sys
import time

import timm
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def time_steps(encoder, image_size, batch, steps):
    torch.manual_seed(1)
    network = timm.create_model(encoder, num_classes=192, **({"img_size": image_size} if encoder.startswith("vit") else {}))
    network = network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    model = DistributedDataParallel(network)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    images = torch.randn(batch, 3, image_size, image_size).to(memory_format=torch.channels_last)
    targets = torch.randn(batch, 192)
    tensors = [value for value in network.state_dict().values() if value.is_floating_point()]
    averages = [value for value in average.state_dict().values() if value.is_floating_point()]
    seconds = []
    for step in range(steps + 3):
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=False)
        torch.nn.functional.mse_loss(model(images), targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, tensors, 0.01)
        if step >= 3:
            seconds.append(time.perf_counter() - start)
    return seconds


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
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    if sys.argv[1] == "step":
        found = time_steps(sys.argv[2], *map(int, sys.argv[3:6]))
    else:
        found = time_all_reduce(*map(int, sys.argv[2:4]))
    if dist.get_rank() == 0:
        print(json.dumps({"seconds": found}))
    dist.destroy_process_group()
