"""Measure milliseconds per task and training step of alignment, and the cost of generated weights by number of blocks.

The first table measures a generation of the synthetic benchmark as in `DecomposedEA`, with four challengers at half of
the locations; it excludes the measurement of losses between generations.

The second table measures one training step (forward, backward and Adam) of a network of square dense layers on 128
rows: with its own weights, or with weights that hypermodules generate in blocks of 16 x 16 with contexts of 4, one
random module per location, with or without a challenger at every location.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import alternate, begin, parser, percent, table
from torch import nn

from mtl_gym.families.alignment import AlignmentVectorEnv, Form, JointModel
from mtl_gym.families.alignment.competition import Competition

ROWS, BLOCK, CONTEXT = 128, 16, 4
ITERATIONS = 10
# Layers and units of a network, by approximate number of blocks.
NETWORKS = {30: (3, 48), 300: (3, 160), 3_000: (3, 512), 12_000: (3, 1024)}


def generation(runs: int, device: torch.device) -> tuple[Callable[[], object], int]:
    """Return a generation on the synthetic benchmark, and its number of tasks times gradient steps."""
    env = AlignmentVectorEnv(runs, data="generated-linear", block=(20, 1), context=1, challengers=4, device=device)
    env.reset(seed=0)
    random = np.random.default_rng(0)
    challengers = random.integers(30, size=(runs, 30, 4))
    challengers[:, ::2] = env.network.num_modules
    competition = Competition.between(env.assignment, challengers, env.network.num_modules, env.unit)
    return lambda: env.training.generation(competition, ITERATIONS), runs * 30 * ITERATIONS


def plain(layers: int, units: int) -> nn.Module:
    """Return a network of square layers."""
    return nn.Sequential(*[part for _ in range(layers) for part in (nn.Linear(units, units), nn.ReLU())])


def plain_step(layers: int, units: int, device: torch.device) -> Callable[[], object]:
    """Return a training step of the plain network."""
    net = plain(layers, units).to(device)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    x = torch.randn(ROWS, units, device=device)

    def step() -> None:
        net(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def generated_step(layers: int, units: int, slots: int, device: torch.device) -> tuple[Callable[[], object], int]:
    """Return a training step of the network with generated weights, and its number of blocks."""
    joint = JointModel([plain(layers, units)], Form((BLOCK, BLOCK), CONTEXT)).to(device)
    optimizer = torch.optim.Adam(joint.parameters(), fused=True)
    x = torch.randn(1, ROWS, units, device=device)
    modules = torch.randint(joint.num_modules, (1, joint.num_locations, slots), device=device)
    scores = torch.zeros(modules.shape, device=device, requires_grad=True)
    kind, taken = joint.stacks[0], joint.mixture(modules)

    def step() -> None:
        belief = scores.softmax(-1) if slots > 1 else None
        kind.run(joint.weights(joint.blocks(taken, belief))[0], x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scores.grad = None

    return step, joint.num_locations


def linear_table(args: argparse.Namespace) -> str:
    """Return the table of milliseconds per task and training step by number of parallel runs."""
    made = {runs: generation(runs, args.device) for runs in args.runs}
    timings = alternate({runs: call for runs, (call, _) in made.items()}, args.rounds, args.seconds)
    rows = [(runs, 1e3 * timings[runs].median / made[runs][1], percent(timings[runs].spread)) for runs in args.runs]
    return table(("runs side by side", "ms per task and step", "spread"), rows)


def network_table(args: argparse.Namespace) -> str:
    """Return the table of milliseconds per training step, plain and generated, by number of blocks."""
    rows = []
    for size in args.blocks:
        shape = NETWORKS[size]
        alone, blocks = generated_step(*shape, 1, args.device)
        contested, _ = generated_step(*shape, 2, args.device)
        ways = {"plain": plain_step(*shape, args.device), "generated": alone, "contested": contested}
        timings = alternate(ways, args.rounds, args.seconds)
        times = [1e3 * timings[way].median for way in ways]
        ratios = [1 / timings[way].speed_against(timings["plain"]) for way in ("generated", "contested")]
        rows.append((blocks, shape[1], *times, *ratios))
    head = ("blocks", "units", "plain, ms", "generated, ms", "with challengers, ms", "generated / plain", "challengers")
    return table(head, rows)


def main(arguments: argparse.Namespace) -> None:
    """Print both tables."""
    begin("Alignment", arguments)
    print(f"### On linear regressions\n\n{linear_table(arguments)}\n", flush=True)
    print(f"### Against plain networks\n\n{network_table(arguments)}", flush=True)


if __name__ == "__main__":
    made = parser(__doc__, rounds=5, seconds=0.3)
    made.add_argument("--runs", type=int, nargs="+", default=[1, 5, 20], help="parallel runs")
    made.add_argument("--blocks", type=int, nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    main(made.parse_args())
