"""Agent files, which hold plain values and tensors but no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from mtl_agents.environments import plain_spaces
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.rows import Array, State
from mtl_gym.core.state import checkpoint

Tables: TypeAlias = dict[str, Array]


def write_agent(
    path: str | Path, name: str, arguments: Mapping[str, object], env: VecEnv, state: State, runs: int = 1
) -> Path:
    """Write an agent to `path`.

    Args:
        path: Path of the file.
        name: Name of the agent's class.
        arguments: Constructor arguments of the agent, JSON-able.
        env: Environment of the agent; the file holds its spaces.
        state: Result of the agent's `state_dict()`.
        runs: Number of runs that the agent learns in.
    """
    plain = json.loads(json.dumps(arguments))
    return checkpoint.save({"agent": name, "arguments": plain, "env": plain_spaces(env, runs), "state": state}, path)


def read_agent(path: str | Path, name: str) -> State:
    """Read a file of `write_agent`.

    Raises:
        CheckpointError: If the file is damaged, holds another agent, or was written by an earlier version.
    """
    saved = checkpoint.load(path)
    if saved.get("agent") != name:
        raise CheckpointError(
            f"{path} holds {saved.get('agent', 'no agent')}, not {name}: load it with the class that saved it."
        )
    if "env" not in saved:
        raise CheckpointError(
            f"{path} does not hold the agent's spaces: it is damaged or was saved by an earlier version of mtl_agents. "
            "Train the agent again, or load it with the version that saved it."
        )
    return saved


def load_tables(own: Tables, saved: Mapping[str, Tensor]) -> None:
    """Copy saved arrays into an agent's arrays.

    Raises:
        CheckpointError: If an array is missing, or has another shape or kind of dtype; nothing is then written.
    """
    for name, table in own.items():
        there = saved.get(name)
        if there is None or tuple(there.shape) != table.shape or there.numpy().dtype.kind != table.dtype.kind:
            found = None if there is None else f"{tuple(there.shape)} of {there.dtype}"
            raise CheckpointError(
                f"The saved table {name!r} has shape {found}, this environment needs {table.shape} of {table.dtype}."
            )
    for name, table in own.items():
        table[...] = saved[name].numpy()
