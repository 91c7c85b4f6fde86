"""MUiR's decomposed evolutionary algorithm, and its running time for linear scores.

Source: MUiR (Meyerson, Miikkulainen 2019), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Unpack

from mtl_agents.alignment.controls import AlignmentAgent, Index, chosen_locations
from mtl_agents.base import AgentArguments
from mtl_agents.environments import StandIn, interface
from mtl_gym.core.interfaces import SUBMAPPINGS
from mtl_gym.core.ranges import PART, Range
from mtl_gym.core.rows import State
from mtl_gym.integrations.sb3 import EnvLike

CHALLENGERS = 4
SAMPLINGS = ("proportional", "uniform")
# Below this probability, drawing the resampled locations is faster than a draw for every location.
SELDOM = 0.02


class DecomposedEA(AlignmentAgent):
    """K-valued (1 + lambda)-EA, decomposed into the submappings of the environment.

    It resamples elements of the best mapping; the environment trains the competing mappings and keeps the best one of
    every submapping (its option `decomposition` is D, its option `challengers` lambda). Modules are drawn in proportion
    to their use, which favours modules that have proved general, or uniformly.

    Source: MUiR, algorithm 1 and section 3.3.

    Deviation: with `share`, as in the authors' program, every generation draws that share of the locations and
    resamples all challengers there. None is the paper's algorithm: every challenger resamples each location with
    probability D / L, which for D = L means all locations.

    Args:
        env: As for `AlignmentAgent`; an id is made with four challengers, unless its registration sets their number.
        share: Share of the locations, or None.
        sampling: "proportional" or "uniform".
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> agent = DecomposedEA("MTLAlignment-Linear-v0", seed=0)
        >>> agent.sizes
        (30, 30, 4)
        >>> proposed = agent.predict({"assignment": np.zeros(30, int)})[0].reshape(30, 4)
        >>> [(proposed == module).all(1).sum() for module in (0, 30)]
        [np.int64(15), np.int64(15)]
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"share": PART}

    def __init__(
        self,
        env: EnvLike,
        *,
        share: float | None = 0.5,
        sampling: str = "proportional",
        **arguments: Unpack[AgentArguments],
    ) -> None:
        super().__init__(env, **arguments)
        if sampling not in SAMPLINGS:
            raise ValueError(f"sampling={sampling!r} is unknown; use one of {SAMPLINGS}.")
        self.share, self.sampling, self._submappings = share, sampling, 1

    @classmethod
    def options_for(cls, env: EnvLike) -> Mapping[str, object]:
        """Return four challengers, as in the authors' synthetic benchmark, unless the id's registration sets them."""
        spec = gym.registry.get(env) if isinstance(env, str) else None
        return {} if spec is not None and "challengers" in spec.kwargs else {"challengers": CHALLENGERS}

    def _hyperparameters(self) -> dict[str, object]:
        return {"share": self.share, "sampling": self.sampling}

    @property
    def submappings(self) -> int:
        """Number D of submappings, which are selected independently."""
        if isinstance(self.env, StandIn):
            return self._submappings
        return int(interface(self.env, SUBMAPPINGS, "DecomposedEA").unit.max()) + 1

    def state_dict(self) -> State:
        """Return everything that determines the agent's future, as tensors and plain values."""
        return super().state_dict() | {"submappings": self.submappings}

    def _model(self) -> State:
        return super()._model() | {"submappings": 0}

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self._submappings = int(state["submappings"])

    @property
    def probability(self) -> float:
        """Probability D / L of resampling a location without `share`."""
        return self.submappings / self.locations

    def _propose(self, assignment: Index) -> Index:
        random, shape = self.np_random, (*assignment.shape, self.challengers)
        drawn = sampled(random, assignment, self.modules, self.challengers, self.sampling)
        if self.share is not None:
            there = chosen_locations(random, assignment, self.share)[..., None]
        else:
            there = random.random(shape) < self.probability
        return np.where(there, drawn, self.none)


def sampled(random: np.random.Generator, assignment: Index, modules: int, count: int, sampling: str) -> Index:
    """Draw modules for every location, uniformly or in proportion to their use; int64 [rows, locations, count].

    Source: MUiR, algorithm 1, line 7, and section 3.3 on proportional sampling.
    """
    rows, locations = assignment.shape
    if sampling == "uniform":
        return random.integers(modules, size=(rows, locations, count))
    whose = random.integers(locations, size=(rows, locations * count))
    return np.take_along_axis(assignment, whose, 1).reshape(rows, locations, count)


def generations_to_optimum(
    locations: int,
    submappings: int,
    sampling: str = "proportional",
    *,
    runs: int = 20,
    limit: int = 100_000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the generations until the decomposed (1 + 1)-EA assigns the first module to all locations.

    It begins with one module per location, as the paper suggests. Scores are linear with weights of 1: h_d counts the
    locations of a submapping that have the first module.

    Args:
        locations: Number L of locations, and K of modules.
        submappings: Number D of submappings, a divisor of L.
        sampling: "proportional" or "uniform".
        runs: Independent runs.
        limit: Maximum number of generations.
        seed: Seed of all draws.

    Returns:
        float64 [runs]; NaN for runs that reach the limit.

    Raises:
        ValueError: If D does not divide L, or the sampling is unknown.

    Source: MUiR, algorithm 1, theorems 3.1 and 3.2.

    Example:
        >>> generations_to_optimum(64, 64).mean() < generations_to_optimum(64, 1).mean() / 10
        np.True_
    """
    if submappings < 1 or locations % submappings:
        raise ValueError(f"submappings={submappings} is not possible; it takes a divisor of the {locations} locations.")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling={sampling!r} is unknown; use one of {SAMPLINGS}.")
    random = np.random.default_rng(seed)
    taken = np.full(runs, np.nan)
    active, mapping = np.arange(runs), np.tile(np.arange(locations), (runs, 1))
    for generation in range(1, limit + 1):
        mapping = _next_generation(random, mapping, submappings, sampling)
        done = (mapping == 0).all(1)
        if done.any():
            taken[active[done]] = generation
            active, mapping = active[~done], mapping[~done]
        if not len(active):
            break
    return taken


def _next_generation(random: np.random.Generator, mapping: Index, submappings: int, sampling: str) -> Index:
    """Select between every submapping and its offspring, with ties to the parent; int64 [runs, locations]."""
    runs, locations = mapping.shape
    row, place = _resampled(random, runs, locations, submappings)
    if sampling == "uniform":
        drawn = random.integers(locations, size=len(row))
    else:
        drawn = mapping[row, random.integers(locations, size=len(row))]
    gain = (drawn == 0).astype(np.int64) - (mapping[row, place] == 0)
    part = row * submappings + place // (locations // submappings)
    better = np.bincount(part, gain, minlength=runs * submappings)[part] > 0
    offspring = mapping.copy() if submappings > 1 else mapping
    offspring[row[better], place[better]] = drawn[better]
    return offspring


def _resampled(random: np.random.Generator, runs: int, locations: int, submappings: int) -> tuple[Index, Index]:
    """Draw the runs and locations to resample, each location with probability D / L; int64 [n] each."""
    everywhere, probability = runs * locations, submappings / locations
    if probability > SELDOM:
        flat = np.flatnonzero(random.random(everywhere) < probability)
    else:
        flat = _distinct(random, everywhere, random.binomial(everywhere, probability))
    return flat // locations, flat % locations


def _distinct(random: np.random.Generator, below: int, count: int) -> Index:
    """Draw `count` distinct numbers uniformly, by rejection, for few numbers out of many; int64 [count]."""
    while True:
        drawn = random.integers(below, size=count)
        if len(np.unique(drawn)) == count:
            return drawn
