"""Measure forward and backward passes of one routed layer: seven ways to send every row through its block.

The layer has linear blocks 128 x 128. Each way takes rows, float32 [rows, 128], and the block of each row, a NumPy
array int64 [rows] like an environment's actions, and returns float32 [rows, 128] with gradients for the rows and the
used blocks. The last columns evaluate the rule of the package, `BlockStack.pays`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

import numpy as np
import torch
from measuring import SKEWS, Timing, alternate, begin, parser, percent, routes, table
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.stacks import BlockStack
from mtl_gym.families.routing import RoutedLayer

Choices = NDArray[np.int64]
Way = Callable[[RoutedLayer, Tensor, Choices], Tensor]
WIDTH = 128
CLOSE = 1.25


class OneStack(BlockStack):
    """Stack that pads the rows of all blocks to one length."""

    @staticmethod
    def pays(counts: Choices) -> bool:
        """Return True."""
        return True


class SeveralStacks(BlockStack):
    """Stack that puts blocks of unlike numbers of rows into stacks of their own."""

    @staticmethod
    def pays(counts: Choices) -> bool:
        """Return False."""
        return False


def loop_over_samples(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply the blocks row by row, as a network that routes one input at a time."""
    return torch.stack([layer.blocks[block](row) for block, row in zip(choices, x, strict=True)])


def loop_over_blocks(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply each block to the rows in a boolean mask."""
    on_device, y = torch.from_numpy(choices).to(x.device), x.new_empty(len(x), WIDTH)
    for number, block in enumerate(layer.blocks):
        mask = on_device == number
        if mask.any():
            y[mask] = block(x[mask])
    return y


def all_and_pick(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply every block to every row, and keep one result per row."""
    on_device = torch.from_numpy(choices).to(x.device)
    return torch.stack([block(x) for block in layer.blocks])[on_device, torch.arange(len(x), device=x.device)]


def sort_and_split(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Sort rows by block, and call each used block once, with plain autograd."""
    order = torch.from_numpy(np.argsort(choices, kind="stable")).to(x.device)
    counts = np.bincount(choices, minlength=len(layer.blocks))
    parts = x[order].split(counts[counts > 0].tolist())
    used = [layer.blocks[block] for block in np.flatnonzero(counts)]
    y = torch.cat([block(part) for block, part in zip(used, parts, strict=True)])
    return y[torch.argsort(order)]


@cache
def stack_of(kind: type[BlockStack], layer: RoutedLayer) -> BlockStack:
    """Return the blocks of a layer as a stack, the same one each time."""
    return kind(list(layer.blocks))


def one_stack(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply the package's stack for even routes."""
    return stack_of(OneStack, layer)(x, Dispatch.of(choices, device=x.device), runs=1)


def several_stacks(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply the package's stacks for skewed routes."""
    return stack_of(SeveralStacks, layer)(x, Dispatch.of(choices, device=x.device), runs=1)


def package(layer: RoutedLayer, x: Tensor, choices: Choices) -> Tensor:
    """Apply the dispatch that the package selects."""
    return layer(x, choices)


WAYS: dict[str, Way] = {
    "loop over samples": loop_over_samples,
    "loop over blocks": loop_over_blocks,
    "all, pick": all_and_pick,
    "sort, split": sort_and_split,
    "one stack": one_stack,
    "several stacks": several_stacks,
    "package": package,
}


def trained(way: Way, layer: RoutedLayer, batch: int, choices: Choices) -> Callable[[], None]:
    """Return a forward and backward pass of `way`, as a function without arguments."""
    device = next(layer.parameters()).device
    x, towards = torch.randn(batch, WIDTH, device=device, requires_grad=True), torch.randn(batch, WIDTH, device=device)
    parameters = [x, *layer.parameters()]

    def run() -> None:
        way(layer, x, choices).backward(towards)
        for parameter in parameters:
            parameter.grad = None

    return run


def agree(layer: RoutedLayer, choices: Choices) -> None:
    """Raise an AssertionError unless all ways return equal values."""
    x = torch.randn(len(choices), WIDTH, device=next(layer.parameters()).device)
    with torch.no_grad():
        wanted = loop_over_samples(layer, x, choices)
        for way in WAYS.values():
            torch.testing.assert_close(way(layer, x, choices), wanted, rtol=1e-4, atol=1e-5)


def measure(batch: int, blocks: int, skew: str, arguments: argparse.Namespace) -> dict[str, Timing]:
    """Measure forward and backward of every way."""
    layer = RoutedLayer([nn.Linear(WIDTH, WIDTH) for _ in range(blocks)]).to(arguments.device)
    choices = routes(skew, blocks, (batch,), np.random.default_rng(0))
    agree(layer, choices)
    ways = {name: trained(way, layer, batch, choices) for name, way in WAYS.items()}
    return alternate(ways, arguments.rounds, arguments.seconds)


def times_the_best(timings: dict[str, Timing], name: str, others: Sequence[str]) -> float:
    """Return the time of `name` relative to the fastest of `others`."""
    best = min(others, key=lambda other: timings[other].median)
    return 1 / timings[name].speed_against(timings[best])


def picked(batch: int, blocks: int, skew: str) -> str:
    """Return the name of the way that the package selects."""
    dispatch = Dispatch.of(routes(skew, blocks, (batch,), np.random.default_rng(0)))
    return "one stack" if BlockStack.pays(dispatch.counts) else "several stacks"


def main(arguments: argparse.Namespace) -> None:
    """Print a line per batch size, number of blocks and skew, and the quality of the package's selection."""
    begin("Dispatch: forward + backward of one routed layer, ms", arguments)
    rows, against_all, against_two = [], [], []
    for batch, blocks, skew in product(arguments.batch, arguments.blocks, arguments.routes):
        timings, pick = measure(batch, blocks, skew, arguments), picked(batch, blocks, skew)
        against_all.append(times_the_best(timings, "package", [name for name in WAYS if name != "package"]))
        against_two.append(times_the_best(timings, pick, ["one stack", "several stacks"]))
        ms = [timing.median * 1e3 for timing in timings.values()]
        rows.append([batch, blocks, skew, *ms, pick, against_two[-1], against_all[-1]])
    header = ["rows", "blocks", "routes", *WAYS, "pick", "pick / better of two", "package / best of all"]
    print(table(header, rows), end="\n\n")
    print(f"The rule's pick takes at most {CLOSE} times the better of one and several stacks in {count(against_two)}.")
    print(f"The package takes at most {CLOSE} times the best of all ways in {count(against_all)}.")


def count(ratios: Sequence[float]) -> str:
    """Return the number of ratios close to 1 as text."""
    close = sum(ratio <= CLOSE for ratio in ratios)
    return f"{close} of {len(ratios)} cases ({percent(close / len(ratios))}), at worst {max(ratios):.2f} times"


if __name__ == "__main__":
    made = parser(__doc__, rounds=9, seconds=0.02)
    made.add_argument("--batch", type=int, nargs="+", default=[10, 128, 1024], help="rows of a batch")
    made.add_argument("--blocks", type=int, nargs="+", default=[3, 20, 40], help="blocks of the layer")
    made.add_argument(
        "--routes", nargs="+", choices=SKEWS, default=list(SKEWS), help="distribution of rows over blocks"
    )
    main(made.parse_args())
