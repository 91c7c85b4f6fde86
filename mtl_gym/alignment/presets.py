"""Which architecture fits which task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mtl_gym.data import TaskCollection, TaskData


@dataclass(frozen=True)
class Architecture:
    """An architecture as a template.

    Attributes:
        module: The module.
        keep: Names of its layers that stay as they are.
    """

    module: nn.Module
    keep: Sequence[str] = ()


class Linear(nn.Linear):
    """A linear model without bias, He normal at first.

    Source: MUiR, sections 3.2 and 4.1.
    """

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")


def architectures_for(data: TaskCollection, width: str) -> list[Architecture]:
    """One architecture for each task.

    Raises:
        ValueError: If none is known for a task.
    """
    return [_architecture_for(task, data.name) for task in data.tasks]


def _architecture_for(task: TaskData, name: str) -> Architecture:
    if task.kind == "regression" and len(task.input_shape) == 1:
        return Architecture(Linear(task.input_shape[0], task.outputs, bias=False))
    raise ValueError(
        f"No architecture is known for task {task.name!r} of {name!r}, {task}; give one module for each task in "
        "architectures."
    )
