"""Learning rates of every step against torch.optim.lr_scheduler."""

import os
import subprocess

import pytest
import torch
from torch.optim import lr_scheduler

PROGRAM = os.path.join(os.environ["CSKD_BUILD_DIR"], "schedule_rates")
PEAK, STEPS = 0.3, 60


def ours(kind, final_share, warmup, falls=()):
    arguments = [kind, PEAK, final_share, warmup, STEPS, *falls]
    result = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return [float(line) for line in result.stdout.splitlines()]


def theirs(make_scheduler):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def rise(optimizer, warmup):
    return lr_scheduler.LinearLR(optimizer, 1 / warmup, 1, total_iters=max(1, warmup - 1))


@pytest.mark.parametrize("final_share", [0, 0.01, 1])
@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_cosine(final_share, warmup):
    def cosine(optimizer):
        return lr_scheduler.CosineAnnealingLR(optimizer, STEPS - warmup, final_share * PEAK)

    def both(optimizer):
        return lr_scheduler.SequentialLR(optimizer, [rise(optimizer, warmup), cosine(optimizer)], [warmup])

    assert ours("cosine", final_share, warmup) == pytest.approx(theirs(both if warmup else cosine), rel=1e-12)


def test_constant():
    assert ours("constant", 0.01, 0) == [PEAK] * STEPS
    assert ours("constant", 0.01, 7) == pytest.approx(theirs(lambda optimizer: rise(optimizer, 7)), rel=1e-12)


@pytest.mark.parametrize("falls", [[], [20], [40, 10, 25], [3, 30, 59], [30, 30]])
@pytest.mark.parametrize("warmup", [0, 7])
def test_falling(falls, warmup):
    def falling(optimizer):
        return lr_scheduler.MultiStepLR(optimizer, falls, 0.1)

    def both(optimizer):
        return lr_scheduler.ChainedScheduler([rise(optimizer, warmup), falling(optimizer)])

    found = ours("falling", 0.1, warmup, falls)
    assert found == pytest.approx(theirs(both if warmup else falling), rel=1e-12)
    assert len(set(found[warmup:])) == 1 + len({fall for fall in falls if fall > warmup})
