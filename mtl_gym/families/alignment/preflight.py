"""Test of architectures on samples of their tasks before training, for early error messages."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mtl_gym.core.nn.weights import seeded
from mtl_gym.data.collection import TaskData
from mtl_gym.families.alignment.joint import JointModel

ROWS = 2


def try_out(tasks: Sequence[TaskData], architectures: Sequence[nn.Module], joint: JointModel) -> None:
    """Call every architecture on samples of its task, alone and as part of the joint model.

    Networks that draw from torch's generator will run in turn, because stacked draws depend on the number of networks.

    Raises:
        ValueError: If a call fails, or an output does not fit its task.
    """
    with torch.no_grad(), seeded(0):
        for task, architecture in zip(tasks, architectures, strict=True):
            _alone(task, architecture)
        for kind, named in zip(joint.stacks, joint.weights(), strict=True):
            members = [tasks[member] for member in kind.members]
            x = torch.stack([task.splits["train"][0][:ROWS] for task in members])
            state = torch.get_rng_state()
            try:
                kind.run(named, x, np.zeros(joint.runs, np.int64))
            except Exception as error:
                raise ValueError(
                    f"task {members[0].name!r}: its architecture cannot be called with generated weights ({error}); "
                    "its control flow must not depend on values (no `if` on data, no .item())."
                ) from error
            kind.in_turn |= not torch.equal(state, torch.get_rng_state())


def _alone(task: TaskData, architecture: nn.Module) -> None:
    x, y = (part[:ROWS] for part in task.splits["train"])
    expected = [len(y), task.outputs] if task.kind == "regression" else [*y.shape, task.outputs]
    given = f"inputs {_named(x)}"
    try:
        answers = copy.deepcopy(architecture).to(x.device).eval()(x)
    except Exception as error:
        raise ValueError(f"task {task.name!r}: its architecture cannot take {given}: {error}") from error
    if not isinstance(answers, Tensor) or list(answers.shape) != expected or not answers.is_floating_point():
        raise ValueError(
            f"task {task.name!r}: its architecture returns {_named(answers)} for {given}; a {task.kind} with "
            f"{task.outputs} outputs needs float32 {expected}."
        )


def _named(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
