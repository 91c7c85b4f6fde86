"""The base of schedulers that follow a rule: from the progress of the runs to the weight of each task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import ClassVar, TypeAlias, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from mtl_agents.base import Agent
from mtl_agents.environments import StandIn, declares
from mtl_gym.core.interfaces import RUNS
from mtl_gym.core.rows import Array, State
from mtl_gym.core.state.checkpoint import to_arrays, to_tensors
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike

Floats: TypeAlias = NDArray[np.float64]
Memory: TypeAlias = dict[str, Floats]


class Scheduler(Agent[Array, Memory]):
    """A rule from the progress of each run to the weight of each task in the next decision.

    With control="weights" that is the weight of its loss, with control="choice" the task is drawn in proportion. Every
    row is a run of its own: what a rule remembers of it (`_fresh`) begins anew with the run, and is the recurrent
    state of `predict`, so that an evaluation does not disturb the runs of the training.

    Deviation: weights are scaled so that the largest is 1, the action space's highest. The step of Adam does not depend
    on the scale of all losses together.

    Args:
        env: An id, an environment, a batched environment or an SB3 `VecEnv` of scheduling.
        **arguments: Of `Agent`.

    Raises:
        ValueError: If the environment is of another family, or was made without an option that the rule needs.
    """

    ROLE: ClassVar[str] = "rule"
    SIZES: ClassVar[str] = "tasks"
    _memory: Memory | None = None

    @property
    def chooses(self) -> bool:
        """Whether an action is one task instead of a weight for each."""
        return isinstance(self.action_space, spaces.Discrete)

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        action = env.action_space
        known = isinstance(env, StandIn) or declares(env, RUNS)
        if known and isinstance(action, spaces.Discrete):
            return (int(action.n),)
        if known and isinstance(action, spaces.Box) and len(action.shape) == 1:
            return action.shape
        raise ValueError(
            f"{cls.__name__} schedules tasks, as the MTLScheduling environments let it; this environment has "
            f"{env.observation_space} and {action}."
        )

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes from the next `learn` on; the memory of runs is forgotten."""
        super().set_env(env, force_reset)
        (self.num_tasks,) = self._sizes_of(self.env)
        self._memory = None

    @abstractmethod
    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        """Return the weight of each task, 0 or more; [runs, tasks].

        `memory` holds what is remembered of these runs; changes of it are remembered.
        """

    def _fresh(self, progress: Progress) -> Memory:
        """Return the memory of runs that begin; arrays [runs, ...]."""
        return {}

    def predict(
        self,
        observation: Array,
        state: Memory | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        progress: Progress | None = None,
    ) -> tuple[Array, Memory]:
        """Choose a task, or weigh all, in each row.

        Args:
            observation: One observation or a batch of them; rules do not look at it.
            state: The state that the last call returned.
            episode_start: Unused: a run begins where it has had no updates.
            deterministic: Unused: where tasks are drawn, drawing is the rule.
            progress: How far the runs of those rows are: `env.unwrapped.progress`. `mtl_gym.evaluate` gives it.

        Returns:
            int64 [rows] or float32 [rows, tasks] (without rows for one observation), and the state.

        Raises:
            ValueError: If there is no `progress`, or it is of another number of rows.
        """
        runs = len(np.atleast_2d(observation))
        if progress is None or len(progress.updates) != runs:
            there = "none" if progress is None else f"that of {len(progress.updates)}"
            raise ValueError(
                f"{type(self).__name__} looks at how far the {runs} runs are, and was given {there}: call "
                "predict(obs, state, progress=env.unwrapped.progress), or mtl_gym.evaluate, which does."
            )
        memory = self._remembered(progress, state)
        actions = self._actions(self._weigh(progress, memory))
        return (actions if np.ndim(observation) == 2 else actions[0]), memory

    def _remembered(self, progress: Progress, state: Memory | None) -> Memory:
        fresh = self._fresh(progress)
        if state is None:
            return fresh
        begins = progress.updates == 0
        return {name: np.where(_column(begins, new), new, state[name]) for name, new in fresh.items()}

    def _actions(self, weights: Floats) -> Array:
        """Draw tasks in proportion, or scale weights to a largest of 1; all tasks count where none does."""
        weights = np.where(weights.any(1, keepdims=True), weights, 1.0)
        if not self.chooses:
            return (weights / weights.max(1, keepdims=True)).astype(np.float32)
        cumulative = weights.cumsum(1)
        threshold = self.np_random.random(len(weights)) * cumulative[:, -1]
        return (cumulative <= threshold[:, None]).sum(1)

    def _act(self, obs: Array) -> Array:
        progress = joined(self.env.get_attr("progress"))
        actions, self._memory = self.predict(obs, self._memory, progress=progress)
        return actions

    def state_dict(self) -> State:
        """Return all that the agent's future depends on: tensors and plain values."""
        return super().state_dict() | {"memory": to_tensors(self._memory)}

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self._memory = cast("Memory | None", to_arrays(state["memory"]))

    def _without_rows(self, state: State) -> State:
        return super()._without_rows(state) | {"memory": None}


def _column(rows: NDArray[np.bool_], like: Floats) -> NDArray[np.bool_]:
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def joined(parts: Sequence[Progress]) -> Progress:
    """Return the progress of all rows, from `get_attr`: the batch's once per row, or one of each environment."""
    distinct = list({id(part): part for part in parts}.values())
    if len(distinct) == 1:
        return distinct[0]
    names = [field.name for field in fields(Progress) if field.name != "reference"]
    rows = {name: np.concatenate([vars(part)[name] for part in distinct]) for name in names}
    return Progress(reference=distinct[0].reference, **rows)


def known_losses(progress: Progress) -> Floats:
    """Return training losses, and validation losses of tasks that were not trained yet; [runs, tasks]."""
    return np.where(np.isnan(progress.train_loss), progress.validation_loss, progress.train_loss).astype(float)
