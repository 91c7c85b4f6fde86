"""Interfaces of environments beside acting and training: declared in `INTERFACES`, and required by agents."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.episode import Transition
from mtl_gym.core.rows import Array

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Interface(Generic[T_co]):
    """Name an interface; the type parameter is its protocol.

    Attributes:
        name: As messages write it.
        summary: What the environment has, for messages.
    """

    name: str
    summary: str


class DrawsRoutes(Protocol):
    """Protocol of `ROUTES`."""

    def random_routes(self, count: int, random: np.random.Generator) -> Array:
        """Return random valid routes: integers [count, decisions], or [count, *action] of one action throughout."""
        ...


class HasLayers(Protocol):
    """Protocol of `LAYERS`."""

    masks: NDArray[np.bool_]


class HasPool(Protocol):
    """Protocol of `POOL`."""

    kinds: NDArray[np.int64]

    def pay_bonus(self, pays: bool) -> None:
        """Pay the diversity bonus as part of the reward, or leave it to the agent."""
        ...


class HasRuns(Protocol):
    """Protocol of `RUNS`."""

    @property
    def progress(self) -> object:
        """The progress of every row's run."""
        ...


class HasSubmappings(Protocol):
    """Protocol of `SUBMAPPINGS`."""

    unit: NDArray[np.int64]


@runtime_checkable
class HasOracle(Protocol):
    """Protocol of `ORACLE`."""

    def best_actions(self) -> Array:
        """Return the best action of every row now; [num_envs, *action], as in the action space."""
        ...


class HasGains(Protocol):
    """Protocol of `GAINS`."""

    def next_gains(self, accuracy: Array) -> Array:
        """Return what training each task next adds to the mean accuracy, from accuracies now; [rows, tasks] of both."""
        ...


class HasMix(Protocol):
    """Protocol of `MIX`."""

    def best_mix(self) -> Array:
        """Return the best constant share of each task in the training; float64 [tasks], summing to 1."""
        ...


class HasTargets(Protocol):
    """Protocol of `TARGETS`."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """Numbers of the tasks that count; int64 [targets]."""
        ...


class PlaysPlans(Protocol):
    """Protocol of `OPEN_LOOP`."""

    tasks: NDArray[np.int64]
    steps: int

    @property
    def in_step(self) -> bool:
        """True if `play` is possible: all episodes take `steps` decisions, and none is under way."""
        ...

    def play(self, plans: object) -> tuple[NDArray[np.float32], Transition]:
        """Carry out whole episodes, given the actions of all their steps; [num_envs, steps, *action].

        Returns:
            Rewards of all steps, float32 [steps, num_envs], and the last transition.
        """
        ...

    def unseen(self) -> AbstractContextManager[None]:
        """Let observations have zeros in place of what takes time to compute, for policies that do not look."""
        ...


ROUTES = Interface[DrawsRoutes]("ROUTES", "draws random valid routes (random_routes)")
OPEN_LOOP = Interface[PlaysPlans]("OPEN_LOOP", "plays whole episodes from plans (play)")
LAYERS = Interface[HasLayers]("LAYERS", "has layers of blocks, each valid whatever was chosen before (masks)")
POOL = Interface[HasPool]("POOL", "has a pool of modules of several kinds (kinds, pay_bonus)")
RUNS = Interface[HasRuns]("RUNS", "tells the progress of training runs (progress)")
SUBMAPPINGS = Interface[HasSubmappings]("SUBMAPPINGS", "maps locations to modules in submappings (unit)")
ORACLE = Interface[HasOracle]("ORACLE", "knows its best decisions (best_actions)")
GAINS = Interface[HasGains]("GAINS", "knows what the next decision gains (next_gains)")
MIX = Interface[HasMix]("MIX", "knows the best constant shares of its tasks (best_mix)")
TARGETS = Interface[HasTargets]("TARGETS", "tells which tasks count (targets)")
