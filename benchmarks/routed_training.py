"""Compare routed training through the environment with static training of the same network in a plain loop.

Routed: `RoutingVectorEnv` with one update per batch of episodes and a fixed random policy: forward, decisions,
backward, Adam. Routes are "per task" (one block per task and depth) or follow the named distribution over blocks.
Static: random rows, `dataset.inputs`, an `nn.Sequential` of the same trunk and three linear layers, cross-entropy,
backward, the same Adam. A second static loop, "heads", has three separate layers per task and loops over the tasks, as
multi-task code commonly does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import cycle

import numpy as np
import torch
from measuring import (
    SKEWS,
    Timing,
    alternate,
    begin,
    parser,
    percent,
    random_features,
    random_images,
    routes,
    table,
)
from torch import Tensor, nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing import RoutingVectorEnv, SimpleConvNet
from mtl_gym.lab.memory import keep_memory

WIDTH, DEPTH = 128, 3
AIMS = "Aims at batch 128 and 1024: 0.8 of the static path's samples/s, and 0.75 in the two comparisons after it."
DRAWN = 32
PER_TASK = "per task"
ONE_PATH, HEADS = ("static, one path", "-", "-"), ("static, heads", "-", "-")
TRUNKS = {
    "conv": "SimpleConvNet on 3x32x32, 20 tasks of 5 classes",
    "none": "no trunk, 128 features, 20 tasks of 5 classes",
}


def layers(classes: int) -> nn.Sequential:
    """Return the three layers of a route without choices."""
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes)
    )


class Heads(nn.Module):
    """Three separate layers per task, applied in a loop over tasks."""

    def __init__(self, tasks: int, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList([layers(classes) for _ in range(tasks)])
        self.classes = classes

    def forward(self, features: Tensor, task: Tensor) -> Tensor:
        """Return logits: float32 [rows, 128], int64 [rows] -> float32 [rows, classes]."""
        logits = features.new_empty(len(features), self.classes)
        for number, head in enumerate(self.heads):
            mask = task == number
            logits[mask] = head(features[mask])
        return logits


def static(data: MultiTaskDataset, batch: int, trunk: nn.Module, heads: bool) -> Callable[[], None]:
    """Return one update of a plain loop, as a function without arguments."""
    classes, train = data.max_classes, data.split("train")
    head = Heads(data.num_tasks, classes) if heads else layers(classes)
    network = nn.ModuleList([trunk, head]).to(train.x.device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def update() -> None:
        rows = torch.randint(len(train), (batch,), device=train.x.device)
        features = trunk(data.inputs("train", rows))
        logits = head(features, train.task[rows]) if heads else head(features)
        nn.functional.cross_entropy(logits, train.y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def routed(data: MultiTaskDataset, batch: int, blocks: int, kind: str, packed: bool) -> Callable[[], None]:
    """Return one update through the environment, by `step` with packed infos if `packed`, else by `advance`."""
    sizes = {"blocks": blocks, "hidden": WIDTH, "depth": DEPTH, "train_batch": batch}
    env = RoutingVectorEnv(batch, data=data, device=data.split("train").x.device, **sizes)
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


def ways_of(trunk: str, batch: int, arguments: argparse.Namespace) -> dict[tuple[str, str, str], Callable[[], None]]:
    """Return one update of every compared way at one batch size, by (way, blocks, routes)."""
    data = (random_images if trunk == "conv" else random_features)(arguments.rows).to(arguments.device)
    made = SimpleConvNet if trunk == "conv" else nn.Identity
    ways = {
        ONE_PATH: static(data, batch, made(3), heads=False),
        HEADS: static(data, batch, made(3), heads=True),
    }
    largest = max(arguments.blocks)
    cases = [(blocks, PER_TASK if trunk == "conv" else SKEWS[0]) for blocks in arguments.blocks]
    lopsided = [largest] if trunk == "conv" else arguments.blocks
    cases += [(blocks, kind) for blocks in lopsided for kind in SKEWS[1:]]
    for blocks, kind in cases:
        ways["advance()", str(blocks), kind] = routed(data, batch, blocks, kind, packed=False)
    return ways | {("step()", str(largest), PER_TASK): routed(data, batch, largest, PER_TASK, packed=True)}


def rows_of(batch: int, timings: dict[tuple[str, str, str], Timing]) -> list[list[object]]:
    """Return the lines of the table for one batch size."""
    one, heads = timings[ONE_PATH], timings[HEADS]
    return [
        [batch, *way, batch / t.median, percent(t.spread), t.speed_against(one), t.speed_against(heads)]
        for way, t in timings.items()
    ]


def verdict(batch: int, timings: dict[tuple[str, str, str], Timing]) -> str:
    """Return the results relevant to the aims, as sentences."""
    one = timings[ONE_PATH]
    taken = {(int(way[1]), way[2]): timing for way, timing in timings.items() if way[0] == "advance()"}
    against = [timing.speed_against(one) for timing in taken.values()]
    even = next(kind for _, kind in taken)
    fewest, most = min(blocks for blocks, _ in taken), max(blocks for blocks, _ in taken)
    more = taken[most, even].speed_against(taken[fewest, even])
    lopsided = min(
        timing.speed_against(taken[blocks, even]) for (blocks, kind), timing in taken.items() if kind != even
    )
    return (
        f"Batch {batch}: {min(against):.2f} to {max(against):.2f} of the static path's samples/s; {most} blocks have "
        f"{more:.2f} of those of {fewest}; lopsided routes have at least {lopsided:.2f} of those of routes {even!r}."
    )


def main(arguments: argparse.Namespace) -> None:
    """Measure and print one table per trunk."""
    kept = not arguments.system_allocator and keep_memory()
    memory = "kept by the process" if kept else "as the system's allocator has it"
    for trunk in arguments.trunk:
        begin(f"Routed against static training, {TRUNKS[trunk]}", arguments)
        print(f"Freed memory: {memory}.\n")
        rows, said = [], []
        for batch in arguments.batch:
            timings = alternate(ways_of(trunk, batch, arguments), arguments.rounds, arguments.seconds)
            rows += rows_of(batch, timings)
            said.append(f"- {verdict(batch, timings)}")
        print(table(["batch", "way", "blocks", "routes", "samples/s", "spread", "against path", "against heads"], rows))
        print("\n" + "\n".join(said))
        print(f"\n{AIMS}\n" if trunk == "conv" else "", flush=True)


TRUNKS = {
    "conv": "SimpleConvNet on 3x32x32, 20 tasks of 5 classes",
    "none": "no trunk, 128 features, 20 tasks of 5 classes",
}

if __name__ == "__main__":
    made = parser(__doc__, rounds=9, seconds=0.3)
    made.add_argument("--trunk", nargs="+", choices=TRUNKS, default=list(TRUNKS), help="trunks of the networks")
    made.add_argument("--batch", type=int, nargs="+", default=[10, 128, 1024], help="rows of an update")
    made.add_argument("--blocks", type=int, nargs="+", default=[3, 20, 40], help="blocks of each routed layer")
    made.add_argument("--rows", type=int, default=10_000, help="samples of the synthetic data")
    made.add_argument("--system-allocator", action="store_true", help="do not keep freed memory in the process")
    main(made.parse_args())
