"""Measure sequences per second of recurrent routing by number of tasks and length, relative to plain LSTMs.

The data are noise in the shape of brain-series. "environment" acts and learns through `RecurrentVectorEnv` with random
connections, a decision at a time; "open loop" plays whole sequences with such connections; "network" is the forward and
backward pass of the same network on whole batches, without environment; "plain LSTMs" is an `nn.LSTM` with an output
layer per task in a plain loop, with about as many parameters.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import torch
from measuring import alternate, begin, parser, percent, table
from torch import nn

from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.recurrent import Given, RecurrentVectorEnv

Call = Callable[[], object]

FEATURES, CLASSES = 10, 3


def noise(tasks: int, steps: int, rows: int = 512) -> MultiTaskDataset:
    """Return series of noise: float32 [rows, steps, FEATURES]."""
    generator = torch.Generator().manual_seed(0)
    number = torch.arange(rows)
    part = Split(torch.randn(rows, steps, FEATURES, generator=generator), number % tasks, number // tasks % CLASSES)
    names = tuple(f"task {task}" for task in range(tasks))
    classes = (tuple("abc"),) * tasks
    return MultiTaskDataset("noise", dict.fromkeys(("train", "validation", "test"), part), names, classes)


def environment(
    data: MultiTaskDataset, width: int, hidden: int, device: torch.device
) -> tuple[Call, RecurrentVectorEnv]:
    """Return whole episodes with random connections and one update, as a function."""
    env = RecurrentVectorEnv(width, data=data, hidden=hidden, train_batch=width, device=device)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(2, size=(16, width, env.connections))

    def run() -> None:
        for step in range(env._split.steps):
            env.advance(actions[step % 16])

    return run, env


def open_loop(env: RecurrentVectorEnv) -> Call:
    """Return whole sequences with random connections, in one call, and one update, as a function."""
    plan = np.random.default_rng(0).integers(2, size=(env.num_envs, env.steps, env.connections))
    return lambda: env.play(plan)


def network(env: RecurrentVectorEnv) -> Call:
    """Return one update of the environment's network on a batch, without the environment, as a function."""
    samples = np.arange(env.num_envs)
    x, sequences = env._split.inputs(samples), env._split.sequences(samples)
    on = torch.randint(0, 2, (x.shape[0] * x.shape[1], env.layout.size), device=x.device).float()
    label = torch.from_numpy(env._split.label[samples]).to(x.device)
    optimizer = torch.optim.Adam(env.network.parameters(), 1e-3)

    def run() -> None:
        outcome = env.network.run(x, sequences, lambda at: Given(env.layout, on[at]))
        nn.functional.cross_entropy(outcome.logits, label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


class PlainLSTMs(nn.Module):
    """An LSTM with an output layer per task."""

    def __init__(self, tasks: int, hidden: int) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(nn.LSTM(FEATURES, hidden, batch_first=True) for _ in range(tasks))
        self.heads = nn.ModuleList(nn.Linear(hidden, CLASSES) for _ in range(tasks))

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits of the rows of every task, concatenated by task."""
        ways = zip(parts, self.lstms, self.heads, strict=True)
        return torch.cat([head(lstm(part)[0][:, -1]) for part, lstm, head in ways])


def size(model: nn.Module) -> int:
    """Return the number of parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def plain(data: MultiTaskDataset, width: int, parameters: int, device: torch.device) -> tuple[Call, int]:
    """Return one update of plain LSTMs with about the given number of parameters, and their exact number."""
    hidden = next(h for h in range(4, 4096) if size(PlainLSTMs(data.num_tasks, h)) >= parameters)
    model, split = PlainLSTMs(data.num_tasks, hidden).to(device), data.to(device).split("train")
    parts = [split.x[:width][split.task[:width] == task] for task in range(data.num_tasks)]
    label = torch.cat([split.y[:width][split.task[:width] == task] for task in range(data.num_tasks)])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def run() -> None:
        nn.functional.cross_entropy(model(parts), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run, size(model)


def measure(arguments: argparse.Namespace, tasks: int, steps: int) -> list[object]:
    """Measure one line of the table."""
    data, width = noise(tasks, steps), arguments.wide
    through, env = environment(data, width, arguments.hidden, arguments.device)
    bare, parameters = plain(data, width, size(env.network), arguments.device)
    ways = {"environment": through, "open loop": open_loop(env), "network": network(env)}
    timings = alternate(ways | {"plain": bare}, arguments.rounds, arguments.seconds)
    speeds = [width / timings[name].median for name in timings]
    against = [timings[name].speed_against(timings["plain"]) for name in ways]
    spread = percent(timings["environment"].spread)
    return [tasks, steps, size(env.network), parameters, *speeds, spread, *against]


def main(arguments: argparse.Namespace) -> None:
    """Measure all cases and print the table."""
    begin(f"Recurrent routing, {arguments.wide} sequences side by side, hidden width {arguments.hidden}", arguments)
    header = ["tasks", "steps", "parameters", "of plain LSTMs", "environment, sequences/s", "open loop", "network"]
    header += ["plain LSTMs", "spread", "environment / plain", "open loop / plain", "network / plain"]
    cases = [(arguments.tasks[0], steps) for steps in arguments.lengths]
    cases += [(tasks, arguments.lengths[0]) for tasks in arguments.tasks[1:]]
    print(table(header, [measure(arguments, *case) for case in cases]))


if __name__ == "__main__":
    made = parser(__doc__, rounds=5, seconds=0.5)
    made.add_argument("--tasks", type=int, nargs="+", default=[4, 8, 16], help="numbers of tasks")
    made.add_argument("--lengths", type=int, nargs="+", default=[28, 56, 112], help="time steps")
    made.add_argument("--wide", type=int, default=64, help="parallel episodes, and sequences of a batch")
    made.add_argument("--hidden", type=int, default=16, help="width of LSTMs and sub-networks")
    main(made.parse_args())
