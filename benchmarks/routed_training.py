"""Routed training through the environment against the same network trained statically in a plain loop.

Routed: `RoutingVectorEnv` of one batch width, one update per batch of episodes, driven by a cheap policy that was drawn
at random once: forward, decisions, backward, Adam. Static: random rows, `dataset.inputs`, an `nn.Sequential` of the same
trunk and three linear layers, cross-entropy, backward, the same Adam. A second static loop, "heads", gives every task
three layers of its own and loops over the tasks, as multi-task code commonly does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import cycle

import numpy as np
import torch
from measuring import SKEWS, Timing, alternate, begin, parser, random_features, random_images, routes, table
from torch import Tensor, nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.routing.blocks import SimpleConvNet
from mtl_gym.routing.env import RoutingVectorEnv

WIDTH, DEPTH = 128, 3
AIM, AIM_ACROSS = 0.8, 1.25
DRAWN = 32
PER_TASK = "per task"


def layers(classes: int) -> nn.Sequential:
    """The three layers that a route passes, without any choice."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes)
    )


class Heads(nn.Module):
    """Three layers per task, applied in a loop over tasks."""

    def __init__(self, tasks: int, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList([layers(classes) for _ in range(tasks)])
        self.classes = classes

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """float32 [rows, 128], int64 [rows] -> float32 [rows, classes]."""
        logits = features.new_empty(len(features), self.classes)
        for number, head in enumerate(self.heads):
            mask = task == number
            logits[mask] = head(features[mask])
        return logits


def static(data: MultiTaskDataset, batch: int, trunk: nn.Module, heads: bool) -> Callable[[], None]:
    """One update of a plain loop, as a call without arguments."""
    classes, train = data.max_classes, data.split("train")
    head = Heads(data.num_tasks, classes) if heads else layers(classes)
    network = nn.ModuleList([trunk, head]).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def update() -> None:
        rows = torch.randint(len(train), (batch,))
        features = trunk(data.inputs("train", rows))
        logits = head(features, train.task[rows]) if heads else head(features)
        nn.functional.cross_entropy(logits, train.y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def routed(data: MultiTaskDataset, batch: int, blocks: int, kind: str, packed: bool) -> Callable[[], None]:
    """One update through the environment; `packed` takes `step`, which packs Gymnasium's infos, instead of `advance`."""
    env = RoutingVectorEnv(batch, data=data, blocks=blocks, hidden=WIDTH, depth=DEPTH, train_batch=batch, device="cpu")
    observations = [env.reset(seed=0)[0]]
    random = np.random.default_rng(0)
    by_task = random.integers(blocks, size=(data.num_tasks, DEPTH))
    drawn = cycle(routes(kind, blocks, (DRAWN, batch), random) if kind != PER_TASK else [None])
    act = env.step if packed else env.advance

    def update() -> None:
        for _ in range(DEPTH):
            seen = observations.pop()
            chosen = next(drawn)
            observations.append(act(by_task[seen["task"], seen["depth"]] if chosen is None else chosen)[0])

    return update


def ways_of(trunk: str, batch: int, arguments: argparse.Namespace) -> dict[str, tuple[str, Callable[[], None]]]:
    """All that is compared at one batch size: its blocks, and one update."""
    data = (random_images if trunk == "conv" else random_features)(arguments.rows)
    made = SimpleConvNet if trunk == "conv" else nn.Identity
    ways = {
        "static, one path": ("-", static(data, batch, made(3), heads=False)),
        "static, heads": ("-", static(data, batch, made(3), heads=True)),
    }
    for blocks in arguments.blocks:
        for kind in [PER_TASK] if trunk == "conv" else SKEWS:
            way = routed(data, batch, blocks, kind, packed=False)
            ways[f"routed, {blocks} blocks, {kind}"] = (str(blocks), way)
    largest = max(arguments.blocks)
    packed = routed(data, batch, largest, PER_TASK, packed=True)
    return ways | {f"routed by step(), {largest} blocks, {PER_TASK}": (str(largest), packed)}


def compare(trunk: str, batch: int, arguments: argparse.Namespace) -> tuple[list[list[object]], dict[str, Timing]]:
    """Rows of the table, and the timings, of one batch size."""
    ways = ways_of(trunk, batch, arguments)
    timings = alternate({name: way for name, (_, way) in ways.items()}, arguments.rounds, arguments.seconds)
    one, heads = timings["static, one path"], timings["static, heads"]
    rows: list[list[object]] = []
    for name, timing in timings.items():
        rate = batch / timing.median
        rows.append([batch, name, rate, f"{timing.spread:.0%}", timing.speed_against(one), timing.speed_against(heads)])
    return rows, {name: timing for name, timing in timings.items() if name.startswith("routed,")}


def verdict(batch: int, timings: dict[str, Timing], one: list[float]) -> str:
    """What the aims ask for, in words."""
    medians = [timing.median for timing in timings.values()]
    across = max(medians) / min(medians)
    aim = f" (aim {AIM})" if batch >= 128 else ""
    return (
        f"Batch {batch}: {min(one):.2f} to {max(one):.2f} of the static path's samples/s{aim}; "
        f"the fastest has {across:.2f} times the samples/s of the slowest (aim {AIM_ACROSS})."
    )


def main(arguments: argparse.Namespace) -> None:
    """Print one table per trunk."""
    for trunk in arguments.trunk:
        begin(f"Routed against static training, {TRUNKS[trunk]}", arguments)
        rows, verdicts = [], []
        for batch in arguments.batch:
            new, timings = compare(trunk, batch, arguments)
            rows += new
            verdicts.append(verdict(batch, timings, [row[4] for row in new if row[1] in timings]))
        print(table(["batch", "way", "samples/s", "spread", "against one path", "against heads"], rows))
        print("\n" + "\n".join(f"- {line}" for line in verdicts) + "\n", flush=True)


TRUNKS = {
    "conv": "SimpleConvNet on 3x32x32, 20 tasks of 5 classes",
    "none": "no trunk, 128 features, 20 tasks of 5 classes",
}

if __name__ == "__main__":
    made = parser(__doc__, rounds=9, seconds=0.3)
    made.add_argument("--trunk", nargs="+", choices=TRUNKS, default=list(TRUNKS), help="which networks")
    made.add_argument("--batch", type=int, nargs="+", default=[10, 128, 1024], help="rows of an update")
    made.add_argument("--blocks", type=int, nargs="+", default=[3, 20, 40], help="blocks of each routed layer")
    made.add_argument("--rows", type=int, default=10_000, help="rows of the synthetic data")
    main(made.parse_args())
