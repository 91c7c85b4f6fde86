"""Use your own data, blocks and reward: three tables of scikit-learn as three tasks.

Iris, wine and breast cancer have 4, 13 and 30 features and 3, 3 and 2 classes. One network serves them all. Its second
layer offers blocks of different kinds, and the router learns the best kind for each task.

    python examples/own_data_and_blocks.py
    python examples/own_data_and_blocks.py --epochs 100 --picture map.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import torch
from mtl_agents import WPL
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from torch import Tensor, nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.routing import RoutedLayer, RoutedNetwork, RoutingVectorEnv, routing_map


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    epochs: Annotated[int, "Passes over the training samples of all tasks."] = 40
    hidden: Annotated[int, "Width of the hidden layers."] = 32
    rho: Annotated[float, "Weight of the collaboration reward, which favours shared blocks."] = 0.0
    num_envs: Annotated[int, "Parallel episodes; also the minimum number of episodes per update."] = 16
    seed: Annotated[int, "Seed of the network, the data order and the router."] = 0
    picture: Annotated[Path, "File of the routing map."] = Path("routing_map.png")


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


class Residual(nn.Module):
    """A residual MLP. It uses layer norm, because batch norm cannot train on a single row, which a block may get."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Transform float32 [rows, width] into float32 [rows, width]."""
        return x + self.change(x)


class Gated(nn.Module):
    """A linear map with sigmoid gates on its outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values_and_gates = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform float32 [rows, width] into float32 [rows, width]."""
        return nn.functional.glu(self.values_and_gates(x))


def network(features: int, hidden: int, classes: int) -> RoutedNetwork:
    """Return a network of linear blocks, blocks of three kinds (or PASS, as all keep the width), and linear blocks."""
    first = RoutedLayer([nn.Linear(features, hidden) for _ in range(3)], activation=nn.ReLU())
    kinds = RoutedLayer([nn.Linear(hidden, hidden), Residual(hidden), Gated(hidden)], in_shape=(hidden,))
    last = RoutedLayer([nn.Linear(hidden, classes) for _ in range(3)])
    return RoutedNetwork(None, [first, kinds, last], input_shape=(features,))


def probability_of_the_label(logits: Tensor, label: Tensor, task: Tensor) -> Tensor:
    """Return a reward from -1 to 1, like the built-in "correct" but graded by confidence; float32 [rows]."""
    return 2 * torch.softmax(logits, 1).gather(1, label[:, None])[:, 0] - 1


args = from_command_line()
tables = {"iris": load_iris(), "wine": load_wine(), "breast cancer": load_breast_cancer()}
data = MultiTaskDataset.from_tasks(
    "three-tables",
    {name: (table.data, table.target) for name, table in tables.items()},
    class_names={name: [str(label) for label in table.target_names] for name, table in tables.items()},
)
print(data)

env = RoutingVectorEnv(
    args.num_envs,
    data=data,
    network=network(data.input_shape[0], args.hidden, data.max_classes),
    reward=probability_of_the_label,
    rho=args.rho,
    decay_epochs=args.epochs,  # The paper's 10 epochs are for data sets 100 times as large.
)
router = WPL(env, seed=args.seed)
router.learn(args.epochs * len(data.split("train")) * env.routed_depth)
result = mtl_gym.evaluate(router, env, split="test")

print(f"\n{'task':<15}{'test rows':>10}{'accuracy %':>12}{'loss':>8}   route (PASS is {env.num_blocks})")
for task, name in enumerate(result.task_names):
    figures = f"{result.episodes[task]:>10}{100 * result.accuracy[task]:>12.1f}{result.loss[task]:>8.3f}"
    print(f"{name:<15}{figures}   {result.figures['usage'][task].argmax(-1).tolist()}")

routing_map(result.figures["usage"], result.task_names, f"three tables, {args.epochs} epochs").savefig(args.picture)
print(f"\nThe blocks at depth 1: 0 linear, 1 residual, 2 gated. Wrote {args.picture}")
