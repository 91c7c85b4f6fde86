"""The device that counts reads sees every way to read."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.foreign import HOST, NAME, ForeignDevice, counted

READS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool((x > 0).all()),
    "index": lambda x: range(x.long()[0]),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "to like": lambda x: x.to(torch.zeros(1)),
    "copy_": lambda x: torch.zeros(3).copy_(x),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "into a mask": lambda x: x.index_put_((x >= 0,), x * 2),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "counts": lambda x: x.long().bincount(),
    "repeated": lambda x: x.repeat_interleave(x.long()),
    "formatted": lambda x: f"{x.sum():.2f}",
    "hook in backward": lambda x: hooked(x).sum().backward(),
    "vmap": lambda x: torch.func.vmap(lambda one: one * 2)(x).tolist(),
}
UPLOADS = {
    "to": lambda x, host: host.to(NAME),
    "to like": lambda x, host: host.to(x),
    "device of": lambda x, host: host.to(x.device),
    "as_tensor": lambda x, host: torch.as_tensor(host.numpy(), device=NAME),
    "tensor": lambda x, host: torch.tensor([1.0, 2.0], device=x.device),
    "copy_": lambda x, host: x.copy_(host),
    "indices": lambda x, host: x[np.array([0, 1])],
}
FREE = {
    "arithmetic": lambda x, host: (x * 2 + x.mean()).softmax(0),
    "numbers": lambda x, host: x * torch.tensor(2.0),
    "reads of the host": lambda x, host: (host.sum().item(), host.tolist(), host.numpy(), host[host > 0]),
    "without waiting": lambda x, host: host.to(NAME, non_blocking=True),
    "fill of a mask": lambda x, host: x.masked_fill_(x > 1, 0.0),
    "one number into a mask": lambda x, host: x.__setitem__(x > 1, 0.0),
    "dtype": lambda x, host: x.to(torch.float64) + x.double(),
    "places": lambda x, host: x[torch.zeros(2, dtype=torch.int64, device=x.device)],
    "made there": lambda x, host: torch.arange(3, device=x.device) + x + torch.zeros_like(x) + x.new_ones(3),
    "made in C++": lambda x, host: nn.functional.one_hot(x.long(), 5) * x[:, None],
    "functions in backward": lambda x, host: Squared.apply(x.clone().requires_grad_()).sum().backward(),
    "functions in a gradient": lambda x, host: gradient(Squared, x),
    "gradient": lambda x, host: x.clone().requires_grad_().log_softmax(0)[1:].square().sum().backward(),
}


class Squared(torch.autograd.Function):
    """A square whose backward moves a constant to the device of its gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * torch.full((3,), 2.0).to(grad.device, non_blocking=True) * grad


def gradient(function, x):
    """The gradient of the sum of a function."""
    copy = x.clone().requires_grad_()
    return torch.autograd.grad(function.apply(copy).sum(), copy)


def hooked(x):
    """A copy whose gradient is read in backward."""
    copy = x.clone().requires_grad_()
    copy.register_hook(lambda grad: grad.sum().item() and None)
    return copy * 2


def watched(action):
    """Return what an action on a tensor of the device and one of the host records."""
    with ForeignDevice() as device:
        x, host = torch.arange(3.0, device=NAME), torch.arange(3.0)
        device.record.clear()
        action(x, host)
    return device.record


@pytest.mark.parametrize("way", READS)
def test_a_read_is_counted(way):
    record = watched(lambda x, host: READS[way](x))
    assert record.reads and not record.uploads and not record.faults


@pytest.mark.parametrize("way", UPLOADS)
def test_an_upload_that_waits_is_counted(way):
    record = watched(UPLOADS[way])
    assert len(record.uploads) == 1 and not record.reads and not record.faults


@pytest.mark.parametrize("way", FREE)
def test_what_makes_nobody_wait_is_not_counted(way):
    record = watched(FREE[way])
    assert not record.reads and not record.uploads and not record.faults, counted(record.reads + record.faults)


@pytest.mark.parametrize("way", [lambda x, host: x + host, lambda x, host: x.numpy(), lambda x, host: np.asarray(x)])
def test_what_fails_on_a_gpu_is_a_fault(way):
    assert watched(way).faults


def test_a_network_trains_on_the_device_without_a_read():
    with ForeignDevice() as device:
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 2)).to(NAME)
        optimizer = torch.optim.Adam(net.parameters(), fused=True)
        x, label = torch.rand(5, 1, 4, 4, device=NAME), torch.zeros(5, dtype=torch.int64, device=NAME)
        device.record.clear()
        for _ in range(2):
            nn.functional.cross_entropy(net(x), label).backward()
            optimizer.step()
        record = device.record
        assert all(map(device.is_there, [*net.parameters(), *(p.grad for p in net.parameters())]))
        assert next(net.parameters()).device != HOST
    assert not record.reads and not record.uploads and not record.faults, counted(record.faults)


def test_an_event_names_the_line():
    (event,) = watched(lambda x, host: x.sum().item()).reads
    assert event.where.startswith("tests/core/test_foreign.py:")
