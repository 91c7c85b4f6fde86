"""Base of rule-based schedulers, which compute task weights from the progress of runs."""

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
from mtl_agents.environments import StandIn, declares, interface, options_of
from mtl_agents.runs import block_of
from mtl_gym.core.interfaces import RUNS, TARGETS
from mtl_gym.core.rows import Array, Rows, State
from mtl_gym.core.state.checkpoint import to_arrays, to_tensors
from mtl_gym.core.state.structure import Maybe
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import EnvLike

Floats: TypeAlias = NDArray[np.float64]
Memory: TypeAlias = dict[str, Floats]


class Scheduler(Agent[Array, Memory]):
    """Rule that computes the weight of each task from the progress of a run.

    With control="weights" it is the weight of the task's loss; with control="choice" the probability of the task is
    proportional to it. The memory of a rule (`_fresh`) is separate for every row and is reset when a run begins. It is
    the recurrent state of `predict`, so that evaluations do not affect the training runs.

    Deviation: weights are scaled so that the largest is 1, the upper bound of the action space. The step of Adam does
    not depend on a common scale of all losses.

    Args:
        env: An id, an environment, a batched environment or an SB3 `VecEnv` of scheduling.
        **arguments: Arguments of `Agent`.

    Raises:
        ValueError: If the environment is of another family, or lacks an option that the rule needs.
    """

    ROLE: ClassVar[str] = "rule"
    SIZES: ClassVar[str] = "tasks"
    STACKS: ClassVar[bool] = True
    _memory: Memory | None = None

    @property
    def chooses(self) -> bool:
        """True if an action is one task instead of one weight per task."""
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
            f"{cls.__name__} needs a MTLScheduling environment; this environment has {env.observation_space} and "
            f"{action}."
        )

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes from the next `learn` on; discard the memory of runs."""
        super().set_env(env, force_reset)
        (self.num_tasks,) = self._sizes_of(self.env)
        self._memory = None

    @abstractmethod
    def _weigh(self, progress: Progress, memory: Memory) -> Floats:
        """Return the weight of each task, 0 or more; float64 [runs, tasks].

        `memory` is the memory of the runs; updates are made in place.
        """

    def _fresh(self, progress: Progress) -> Memory:
        """Return the initial memory of runs; arrays [runs, ...]."""
        return {}

    def predict(
        self,
        observation: Array,
        state: Memory | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        progress: Progress | None = None,
    ) -> tuple[Array, Memory]:
        """Choose a task or weight all tasks in each row.

        Args:
            observation: One observation or a batch of them; only its number of rows is used.
            state: State returned by the last call.
            episode_start: Unused: runs without updates have just begun.
            deterministic: Unused: draws of tasks are part of the rule.
            progress: Progress of the runs, `env.unwrapped.progress`; `mtl_gym.evaluate` passes it.

        Returns:
            int64 [rows] or float32 [rows, tasks] (without rows for one observation), and the state.

        Raises:
            ValueError: If `progress` is missing or has another number of rows.
        """
        runs = len(np.atleast_2d(self._of_runs(observation)))
        if progress is None or len(progress.updates) != runs:
            given = "none" if progress is None else f"that of {len(progress.updates)}"
            raise ValueError(
                f"{type(self).__name__} needs the progress of {runs} runs, but was given {given}: call "
                "predict(obs, state, progress=env.unwrapped.progress), or use mtl_gym.evaluate."
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
        """Draw tasks in proportion to weights, or scale the largest weight to 1; weights of 0 only count as equal."""
        weights = np.where(weights.any(1, keepdims=True), weights, 1.0)
        if not self.chooses:
            return (weights / weights.max(1, keepdims=True)).astype(np.float32)
        cumulative = weights.cumsum(1)
        drawn = [random.random(len(weights) // self.runs) for random in self.randoms]
        threshold = np.concatenate(drawn) * cumulative[:, -1]
        return (cumulative <= threshold[:, None]).sum(1)

    def _act(self, obs: Array) -> Array:
        progress = joined(self.env.get_attr("progress"))
        actions, self._memory = self.predict(obs, self._memory, progress=progress)
        return actions

    def state_dict(self) -> State:
        """Return everything that determines the agent's future, as tensors and plain values."""
        return super().state_dict() | {"memory": to_tensors(self._memory)}

    def _state_of_run(self, run: int) -> State:
        state = super()._state_of_run(run)
        return state | {"memory": block_of(state["memory"], run, self.runs)}

    def _model(self) -> State:
        start = Progress.none_yet(self.n_envs, np.full(self.num_tasks, np.nan, np.float32))
        return super()._model() | {"memory": Maybe(to_tensors(self._fresh(start)))}

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self._memory = cast("Memory | None", to_arrays(state["memory"]))

    def without_rows(self, state: State) -> State:
        """Return a saved state without episodes under way and without the memory of their progress."""
        return super().without_rows(state) | {"memory": None}


def _column(rows: NDArray[np.bool_], like: Floats) -> NDArray[np.bool_]:
    return rows.reshape(-1, *[1] * (like.ndim - 1))


def joined(parts: Sequence[Progress]) -> Progress:
    """Join the progress of all rows from `get_attr`: the same batched one for every row, or one per environment."""
    distinct = list({id(part): part for part in parts}.values())
    if len(distinct) == 1:
        return distinct[0]
    names = [field.name for field in fields(Progress) if field.name != "reference"]
    rows = {name: np.concatenate([vars(part)[name] for part in distinct]) for name in names}
    return Progress(reference=distinct[0].reference, **rows)


def targets_of(env: VecEnv, who: str) -> Rows:
    """Return the numbers of the tasks that count; int64 [targets].

    Args:
        env: The environment.
        who: Name of the agent, for the error message.

    Raises:
        ValueError: If the environment does not tell, or all of its tasks count.
    """
    base = interface(env, TARGETS, who)
    if options_of(env).get("target_tasks") is None:
        raise ValueError(
            f"{who} needs to know which tasks count, but all tasks of {type(base).__name__} do: make it with "
            "target_tasks=[...], or choose another agent."
        )
    return base.targets


def known_losses(progress: Progress) -> Floats:
    """Return training losses, or validation losses of tasks not trained yet; float64 [runs, tasks]."""
    return np.where(np.isnan(progress.train_loss), progress.validation_loss, progress.train_loss).astype(float)
