"""States of environments: saved, loaded completely or not at all, and used by forks, copies and pickles."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import nn
from typing_extensions import Self

from mtl_gym.core.errors import CheckpointError, MaskedChoice, TrainingDiverged
from mtl_gym.core.modes import enter_in_own_mode, in_own_mode
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import EnvOptions, differences, must_agree, shallow_dict
from mtl_gym.core.rows import Array, Info, Observation, Rows, State, clone
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import said
from mtl_gym.core.state.moments import OptimizerState
from mtl_gym.core.state.structure import Many, RandomState, TorchRandomState, Whole, check
from mtl_gym.core.validation import short

logger = logging.getLogger(__name__)


class Stateful(VectorEnv[Observation, Array, Array], ABC):
    """Base of batched environments that saves and loads states; `_state` and `_load_state` are the family's share."""

    # True if all rows share one network; it can then be loaded into an environment of another width, frozen or not.
    SHARED: ClassVar[bool] = True
    options: EnvOptions
    device: torch.device
    runs: int
    rows_per_run: int
    seed: int | None
    seeds: Rows
    updates: int
    randoms: list[np.random.Generator]
    generators: list[torch.Generator]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    _source: Self | None = None
    _shown: dict[int, Self]
    _diverged: TrainingDiverged | None = None
    _interrupted: BaseException | None = None
    _warned_restart = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a class train in its own mode of torch, whatever that of its caller; see `mtl_gym.core.modes`."""
        super().__init_subclass__(**kwargs)
        enter_in_own_mode(cls)

    @abstractmethod
    def _state(self) -> State:
        """Return the family's state for an exact continuation: tensors and plain values only."""

    @abstractmethod
    def _load_state(self, state: State) -> None:
        """Restore the result of `_state`."""

    def _model(self) -> State:
        """Return the model of `_state`, as `structure` has it; by default, what it is at the beginning."""
        return self._state()

    @abstractmethod
    def _build(self) -> None:
        """Rebuild network, optimizer, data order and counters; called with a seeded CPU generator of torch."""

    @abstractmethod
    def _begin(self, rows: Rows) -> None:
        """Begin an episode in each of `rows`; int64 [n]."""

    @abstractmethod
    def current(self) -> tuple[Observation, Info]:
        """Return the observation and the info of the running episodes."""

    def _refuse_if_diverged(self) -> None:
        if self._diverged is not None:
            raise self._diverged

    def _refuse_if_interrupted(self) -> None:
        if self._interrupted is not None:
            raise gym.error.ResetNeeded(
                f"The last step was interrupted ({said(self._interrupted)}): call reset() to begin new episodes; the "
                "network keeps what it has learned."
            )

    @contextmanager
    def _all_or_reset(self) -> Iterator[None]:
        """Remember an error within a step, after which rows are neither before the step nor behind it."""
        try:
            yield
        except TrainingDiverged as error:
            self._diverged = error
            raise
        except (gym.error.ResetNeeded, MaskedChoice):
            raise
        except BaseException as error:
            self._interrupted = error.with_traceback(None)
            raise

    def _given_weights(self) -> State | None:
        """Return the weights of a network given as an object; None if they are drawn from the seed."""
        return None

    def _warn_of_loss(self) -> None:
        if self.updates and self._kept() is None and not self._warned_restart:
            logger.warning("reset(seed=...) discards a network trained for %d updates.", self.updates)
            self._warned_restart = True

    def _restart(self, seed: int | Sequence[int] | None) -> None:
        seeds = seeds_of(seed, self.runs)
        self.randoms = [gym.utils.seeding.np_random(seed)[0] for seed in seeds]
        self._np_random, self.seed, self.seeds = self.randoms[0], seeds[0], np.array(seeds)
        self._np_random_seed = self.seed
        self.generators = [torch.Generator(self.device).manual_seed(seed % 2**63) for seed in seeds]
        kept = self._kept()
        self._diverged = None
        with seeded(self.seed % 2**63):
            self._build()
        self.updates = self.updates if kept else 0
        if kept:
            self.network.load_state_dict(kept)

    def _seeded_runs(self) -> Iterator[int]:
        """Seed torch's CPU generator for each run in turn."""
        for run, seed in enumerate(self.seeds.tolist()):
            torch.default_generator.manual_seed(seed % 2**63)
            yield run

    @property
    def generator(self) -> torch.Generator:
        """Generator of the first run, on the device."""
        return self.generators[0]

    def solo(self, run: int) -> Self:
        """Return a copy of one of the runs: an environment that continues exactly as that run.

        Args:
            run: Number of the run, from 0.

        Raises:
            ValueError: If there is no such run.
        """
        return self.of_run(run).fork()

    def of_run(self, run: int) -> Self:
        """Return an environment that shows one of the runs as it is now, with its network; do not step or reset it."""
        if not 0 <= run < self.runs:
            raise ValueError(f"run={short(run)} is not possible; choose a run from 0 to {self.runs - 1}.")
        if self.runs == 1:
            return self
        if self.seed is None:
            self.reset()
        if run not in self._shown:
            self._shown[run] = revive(type(self), self.rows_per_run, shallow_dict(self.options), None)
        shown = self._shown[run]
        shown.randoms, shown.generators = [self.randoms[run]], [self.generators[run]]
        shown.seed, shown.seeds, shown._np_random = int(self.seeds[run]), self.seeds[run : run + 1], self.randoms[run]
        shown.updates, shown._diverged = self.updates, self._diverged
        self._show(shown, run)
        return shown

    def _show(self, shown: Self, run: int) -> None:
        """Give the environment of one run its network, optimizer and share of the rows."""
        raise NotImplementedError

    def _join(self, solos: Sequence[Self]) -> None:
        """Take over what single runs have learned and what they are in the middle of."""
        raise NotImplementedError

    def _kept(self) -> State | None:
        """Return the weights that survive a restart: those of a shared network that is not trained."""
        if self.options.train or not self.SHARED or self._source is not None:
            return None
        return clone(dict(self.network.state_dict())) if "network" in vars(self) else self._given_weights()

    @property
    def signature(self) -> State:
        """Plain values that must be equal in a checkpoint for it to be loaded."""
        several = {} if self.runs == 1 else {"runs": self.runs}
        agree = must_agree(self.options)
        return {"environment": type(self).__name__, "num_envs": self.rows_per_run, **several, **agree}

    @in_own_mode
    def state_dict(self) -> State:
        """Return the complete state of this environment: tensors and plain values."""
        if self.seed is None:
            self.reset()
        if self.runs > 1:
            return {"signature": self.signature, "runs": [self.of_run(run).state_dict() for run in range(self.runs)]}
        return self._whole_state()

    def _whole_state(self) -> State:
        """Return the state of the only run, or that of all runs with the generators of the first."""
        return {
            "signature": self.signature,
            "seed": self.seed,
            "updates": self.updates,
            "np_random": self.np_random.bit_generator.state,
            "generator": self.generator.get_state(),
            "network": {key: value.clone() for key, value in self.network.state_dict().items()},
            "optimizer": clone(self.optimizer.state_dict()),
            "family": self._state(),
        }

    @in_own_mode
    def load_state_dict(self, state: State) -> None:
        """Load a result of `state_dict()` and continue from it exactly.

        An environment of another width, split or `train` loads network, optimizer and counters only, and begins new
        episodes. A view loads the weights without a change to its environment, and begins new episodes as well.

        Raises:
            CheckpointError: If the state is from a different environment, or is damaged; nothing is changed then.
        """
        before = dict(vars(self))
        weights = clone(dict(self.network.state_dict())) if self.seed is not None else None
        checkpoint.load_or_undo(state, self._load, lambda: self._undo(before, weights))

    def _undo(self, before: State, weights: State | None) -> None:
        vars(self).clear()
        vars(self).update(before)
        if weights is not None:
            put_back(self.network, weights)

    def _load(self, state: State) -> None:
        theirs = state.get("signature") if isinstance(state, dict) else None
        differ = differences(theirs, self.signature)
        free = {"num_envs", "split", "train"} if self.SHARED else {"train"}
        if differ is None or differ - free:
            raise CheckpointError(from_another(theirs, self.signature))
        if self._source is not None:
            self._look_at(state)
            return
        if self.runs > 1:
            self._load_runs_side_by_side(state, bool(differ))
            return
        check(state, {"seed": Whole(highest=None), "updates": Whole()})
        self._restart(int(state["seed"]))
        if not self.SHARED:
            self._begin(np.arange(self.num_envs))  # runs have all that their state is of only once they have begun
        anew = bool(differ) and self.SHARED
        check(state, self._learned_model() | ({} if anew else self._under_way_model()))
        self._load_learned(state)
        if anew:
            self._begin(np.arange(self.num_envs))
        else:
            self._load_under_way(state)
        self._interrupted = None
        self.current()  # raises if the state is damaged

    def _load_runs_side_by_side(self, state: State, anew: bool) -> None:
        check(state, {"runs": Many({})})
        if anew or len(state["runs"]) != self.runs:
            raise CheckpointError(
                f"the state of {self.runs} runs fits an environment of the same width, split and train only"
            )
        options = shallow_dict(self.options)
        solos = [revive(type(self), self.rows_per_run, options, one) for one in state["runs"]]
        self._restart([int(solo.seeds[0]) for solo in solos])
        self.updates = solos[0].updates
        self._join(solos)
        for mine, theirs in zip(self.randoms, (solo.randoms[0] for solo in solos), strict=True):
            mine.bit_generator.state = theirs.bit_generator.state
        for own, other in zip(self.generators, (solo.generators[0] for solo in solos), strict=True):
            own.set_state(other.get_state())
        self._interrupted = None
        self.current()

    def _learned_model(self) -> State:
        return {"network": dict(self.network.state_dict()), "optimizer": OptimizerState(self.optimizer)}

    def _under_way_model(self) -> State:
        random = {"np_random": RandomState(self.np_random), "generator": TorchRandomState(self.generator)}
        return {"family": self._model(), **random}

    def _load_learned(self, state: State) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(clone(state["optimizer"]))
        self.updates = int(state["updates"])

    def _load_under_way(self, state: State) -> None:
        self._load_state(state["family"])
        self.np_random.bit_generator.state = state["np_random"]
        self.generator.set_state(state["generator"].cpu())

    def _look_at(self: Self, state: State) -> None:
        """Become the view of an environment in the given state."""
        assert self._source is not None
        self.follow(revive(type(self), int(state["signature"]["num_envs"]), shallow_dict(self._source.options), state))
        self.reset()

    def follow(self, source: Self) -> None:
        """Become a view of another environment, whose network this one then uses from its next `reset`."""
        self._source = source

    @in_own_mode
    def fork(self) -> Self:
        """Return an independent copy of this running environment, to try different continuations.

        Raises:
            TypeError: If this is an evaluation view.
            TrainingDiverged: If the training has diverged.
        """
        make, arguments = self.__reduce__()
        return make(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        """Return class, options and state for pickle, from which an environment continues exactly."""
        if self._source is not None:
            raise TypeError(
                "An evaluation view cannot be copied or pickled: fork() its environment, and call evaluation_view() of "
                "the copy."
            )
        self._refuse_if_diverged()  # its state cannot be loaded
        state = None if self.seed is None else self.state_dict()
        several = {} if self.runs == 1 else {"runs": self.runs}
        return revive, (type(self), self.rows_per_run, shallow_dict(self.options) | several, state)

    def __copy__(self) -> Self:
        """Return a fork, because environments must not share a network that they train."""
        return self.fork()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return a fork; data and other immutable options are shared."""
        return self.fork()


def seeds_of(seed: int | Sequence[int] | None, runs: int) -> list[int]:
    """Return the seed of each run: consecutive ones from a single seed, and a random one in place of None.

    Raises:
        ValueError: If a seed is negative or no whole number, or there is not one for each run.

    Example:
        >>> seeds_of(7, 3), seeds_of([4, 2], 2)
        ([7, 8, 9], [4, 2])
    """
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    several = isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, str) and runs > 1
    seeds: list[Any] = list(seed) if several and not isinstance(seed, int) else [seed]
    if not all(isinstance(one, (int, np.integer)) and one >= 0 for one in seeds):
        raise ValueError(f"seed={short(seed)} is not possible: one seed >= 0 starts the whole batch of episodes.")
    if several and len(seeds) != runs:
        raise ValueError(f"seed={short(seed)} has {len(seeds)} seeds for {runs} runs: give one, or one for each run.")
    return [int(one) for one in seeds] if several else [int(seeds[0]) + run for run in range(runs)]


def put_back(network: nn.Module, weights: State) -> None:
    """Give a network the weights that it had, where they are others by now, as if it had always had them."""
    for key, value in network.state_dict().items():
        if not torch.equal(value, weights[key]):
            value.data.copy_(weights[key])  # `data`, because autograd would take graphs under way for outdated


def from_another(theirs: object, ours: State) -> str:
    """Return the message for a state of another environment, with the values that differ."""
    theirs = theirs if isinstance(theirs, Mapping) else {}
    keys = ["environment"] if theirs.get("environment") != ours["environment"] else {**ours, **theirs}
    differ = [key for key in keys if theirs.get(key) != ours.get(key)]
    there, here = (", ".join(f"{key}={short(values.get(key))}" for key in differ) for values in (theirs, ours))
    return (
        f"This state is from another environment: it has {there}, and here is {here}. Make the environment with the "
        "arguments it was saved under; nothing was changed."
    )


Revived = TypeVar("Revived", bound=Stateful)


def revive(kind: Callable[..., Revived], width: int, options: State, state: State | None) -> Revived:
    """Return an environment with the given options and state; with None it is not reset yet."""
    made = kind(width, **options)
    if state is not None:
        made.load_state_dict(state)
    return made
