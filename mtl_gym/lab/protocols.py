"""Protocols of agents: training, and optional capabilities that the lab uses if an agent has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from mtl_gym.core.evaluation import Policy
from mtl_gym.core.rows import State


class Learner(Policy, Protocol):
    """An agent with SB3's `learn` and `predict`."""

    def learn(self, total_timesteps: int, callback: list[BaseCallback] | None = None, **more: object) -> object:
        """Train for `total_timesteps` decisions."""
        ...


AgentFactory: TypeAlias = Callable[..., Learner]


@runtime_checkable
class Loadable(Protocol):
    """A class of agents that loads files of `Saved.save`."""

    def load(self, path: Path, env: VecEnv) -> Learner:
        """Load an agent from a file."""
        ...


@runtime_checkable
class HasRole(Protocol):
    """A class of agents that declares its role: "learner", "rule" or "control"."""

    ROLE: str


@runtime_checkable
class ChoosesOptions(Protocol):
    """A class of agents that chooses options of the environment from its id."""

    def options_for(self, env: str) -> Mapping[str, object]:
        """Return the options."""
        ...


@runtime_checkable
class NeedsOptions(Protocol):
    """A class of agents that needs options of the environment."""

    ENV_KWARGS: Mapping[str, object]


@runtime_checkable
class HidesArguments(Protocol):
    """A class of agents that sets some arguments of its constructor itself, named in `OWN`."""

    OWN: frozenset[str]


@runtime_checkable
class Resumable(Protocol):
    """An agent that continues from a state of tensors and plain values."""

    def state_dict(self) -> State:
        """Return the state."""
        ...

    def load_state_dict(self, state: State) -> None:
        """Restore the state."""
        ...


@runtime_checkable
class Saved(Protocol):
    """An agent that saves itself."""

    def save(self, path: Path) -> object:
        """Write a file."""
        ...


@runtime_checkable
class Logged(Protocol):
    """An agent that accepts an SB3 logger."""

    def set_logger(self, logger: Logger) -> None:
        """Set the logger."""
        ...

    def learn(self, total_timesteps: int) -> object:
        """Learn."""
        ...


@runtime_checkable
class Tabular(Protocol):
    """An agent with a policy: a table [tasks, depth, choices], or a network."""

    policy: object


@runtime_checkable
class Diagnosed(Protocol):
    """An agent with figures of its policy: `policy_max` and `policy_entropy`."""

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """Means over the table, by name."""
        ...
