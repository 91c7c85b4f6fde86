"""Evaluation of policies on held-out data, with figures per task, in the same way for every policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import Transition
from mtl_gym.core.interfaces import OPEN_LOOP, HasOracle, PlaysPlans
from mtl_gym.core.measure import Measure
from mtl_gym.core.rows import AnyEnv, AnySpace, AnyVectorEnv, Array, Flags, Info, Observation, Rows
from mtl_gym.core.validation import class_advice, short
from mtl_gym.core.wrappers import Layers, base_of, flatten_rows, layers_of

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

# State of a recurrent policy between two steps: each policy has its own.
Memory: TypeAlias = Any
Act: TypeAlias = Callable[[Observation, Flags, Flags], object]


@runtime_checkable
class Policy(Protocol):
    """Interface of Stable-Baselines3 algorithms for choosing actions."""

    def predict(
        self,
        observation: Observation,
        state: Memory = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
    ) -> tuple[object, Memory]:
        """Return actions for a batch of observations, and the next recurrent state."""
        ...


class Planner(Protocol):
    """A policy that does not look: its actions depend on the task and the step alone.

    It is recognised by the names of the parameters of `plan`, because other policies plan as well.
    """

    def plan(self, task: Rows, steps: int) -> Array:
        """Return the actions of whole episodes of the given tasks, int64 [rows]; [rows, steps, *action]."""
        ...


@runtime_checkable
class HasEnv(Protocol):
    """An algorithm that knows the environment it trains in."""

    def get_env(self) -> object:
        """Return the environment, or None."""
        ...


@runtime_checkable
class HasRuns(Protocol):
    """An algorithm that learns in several runs at once."""

    runs: int


@runtime_checkable
class HasObservationSpace(Protocol):
    """A policy that knows the observations it takes."""

    observation_space: AnySpace


Chooser: TypeAlias = Policy | Callable[[Observation], object]


@dataclass(frozen=True)
class Evaluation:
    """Results of a policy on one split.

    Attributes:
        split: The split.
        task_names: Names of the tasks.
        episodes: Number of evaluated episodes of each task; int64 [tasks].
        accuracy: Share of correct answers of each task, or of variance explained by a regression; NaN for a task
            without episodes. float64 [tasks].
        loss: Mean cross-entropy (or squared error) of each task over episodes that ended with an answer; float64
            [tasks].
        figure: The figure by which policies are compared, in the unit of `measure`.
        measure: What it is, and which way is up.
        figures: Figures specific to the family, such as `usage` and `blocks_used` for routing.
    """

    split: str
    task_names: tuple[str, ...]
    episodes: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    figure: float
    measure: Measure
    figures: Info = field(default_factory=dict, repr=False)

    @property
    def mean_accuracy(self) -> float:
        """Mean accuracy over tasks."""
        return float(np.nanmean(self.accuracy))

    @property
    def mean_loss(self) -> float:
        """Mean loss over tasks; NaN if no task has a finite loss."""
        return float(np.nanmean(self.loss)) if np.isfinite(self.loss).any() else float("nan")

    @property
    def worst(self) -> tuple[str, float]:
        """Name and accuracy of the task with the lowest accuracy."""
        task = int(np.nanargmin(self.accuracy))
        return self.task_names[task], float(self.accuracy[task])

    @property
    def best(self) -> tuple[str, float]:
        """Name and accuracy of the task with the highest accuracy."""
        task = int(np.nanargmax(self.accuracy))
        return self.task_names[task], float(self.accuracy[task])


def evaluate(
    policy: Chooser,
    env: AnyEnv | AnyVectorEnv | VecEnv,
    split: str = "test",
    *,
    deterministic: bool = True,
    num_envs: int | None = None,
) -> Evaluation:
    """Evaluate `policy` on every sample of a split once, with the network that `env` has trained so far.

    The network, its optimizer and the order of training data are not changed.

    An algorithm (one with `get_env`, or a policy of Stable-Baselines3) sees the same observations as in training: the
    wrappers of its own environment, or of `env` if it has none, are applied to observations and actions, with frozen
    statistics of `VecNormalize` or `NormalizeObservation`.

    Args:
        policy: An object with Stable-Baselines3's `predict`, or a function from a batched observation to actions. A
            `predict` with the parameters `action_masks` or, if the view has them, `progress` or `best_actions` receives
            them. Functions and other objects receive the environment's unwrapped observations. One with
            `plan(task, steps)`, as `Planner` has it, plays whole episodes in environments that declare `OPEN_LOOP`.
        env: Any environment of this package, wrapped or not, or an SB3 `VecEnv` around it.
        split: "test", "validation" or "train".
        deterministic: Passed to `predict`.
        num_envs: Number of parallel episodes; by default 256, or that of `env` if its episodes are training runs.

    Raises:
        TypeError: If `env` is not of this package, or has several networks.
        ValueError: If the split, or the effect of a wrapper on observations, is unknown.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Digits-v0")
        >>> result = mtl_gym.evaluate(lambda obs: obs["task"], env)
        >>> result.episodes.sum()
        np.int64(3590)
    """
    if isinstance(policy, HasRuns) and policy.runs > 1:
        raise ValueError(f"The policy is that of {policy.runs} runs: evaluate policy.solo(0), and so on.")
    trained = base_of(env)
    view = trained.evaluation_view(split, trained.EVALUATION_WIDTH if num_envs is None else num_envs)
    sums = roll_out(policy, view, deterministic, env)
    episodes, accuracy, loss = _means(*sums)
    figure = view.figure(accuracy, loss)
    return Evaluation(split, view.task_names, episodes, accuracy, loss, figure, view.measure, view.evaluation_figures())


def roll_out(
    policy: Chooser, view: MultiTaskVectorEnv, deterministic: bool = True, env: object = None
) -> NDArray[np.float64]:
    """Run `policy` in an evaluation view until its pass is over.

    Args:
        policy: As for `evaluate`.
        view: The view.
        deterministic: Passed to `predict`.
        env: The training environment, whose wrappers apply to an algorithm without an environment of its own; None for
            no wrapper.

    Returns:
        Sums of `EpisodeResult.counts`; float64 [4, tasks].
    """
    sums = np.zeros((4, len(view.task_names)))
    for transition in _transitions(policy, view, deterministic, view if env is None else env):
        if transition.result is not None:
            sums += transition.result.counts(len(view.task_names))
    return sums


def _transitions(policy: Chooser, view: MultiTaskVectorEnv, deterministic: bool, env: object) -> Iterator[Transition]:
    act = _acting(policy, view, deterministic, env)
    obs, _ = view.reset()
    plan = _plan_of(policy)
    if plan is not None and OPEN_LOOP in view.INTERFACES and not _layers(policy, env).effects:
        stage = cast(PlaysPlans, view)
        while stage.in_step and not view.pass_over:
            yield stage.play(plan(stage.tasks, stage.steps))[1]
    start = np.ones(view.num_envs, bool)
    while not view.pass_over:
        obs, transition, _ = view.advance(act(obs, view.action_masks(), start))
        start = transition.done
        yield transition


def _plan_of(policy: Chooser) -> Callable[[Rows, int], Array] | None:
    """Return the method `plan` of a `Planner`, None for other policies."""
    plan = getattr(policy, "plan", None)
    if not (inspect.ismethod(plan) or inspect.isfunction(plan)):
        return None
    return plan if list(inspect.signature(plan).parameters) == ["task", "steps"] else None


def _means(
    episodes: NDArray[np.float64], right: NDArray[np.float64], answered: NDArray[np.float64], loss: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return episodes, accuracy and loss per task, from sums."""
    with np.errstate(invalid="ignore"):
        return np.rint(episodes).astype(np.int64), right / episodes, loss / answered


def _layers(policy: Chooser, env: object) -> Layers:
    """Return the wrapper effects of an algorithm's training; none for a function or another object with `predict`.

    Raises:
        ValueError: If the effect of a wrapper is unknown.
    """
    own = policy.get_env() if isinstance(policy, HasEnv) else None
    if own is not None:
        with suppress(TypeError):  # an agent loaded for prediction has a stand-in
            return layers_of(own)
    algorithm = isinstance(policy, HasEnv) or _is_of_sb3(policy)
    return layers_of(env) if algorithm else Layers(base_of(env))


def _is_of_sb3(policy: object) -> bool:
    homes = {kind.__module__.split(".")[0] for kind in type(policy).__mro__}
    return not homes.isdisjoint(("stable_baselines3", "sb3_contrib"))


def _acting(policy: Chooser, view: MultiTaskVectorEnv, deterministic: bool, env: object) -> Act:
    if isinstance(policy, type) or not (isinstance(policy, Policy) or callable(policy)):
        raise TypeError(
            f"policy={short(policy)} is not possible; it takes an object with predict, or a function of observations."
            f"{class_advice(policy)}"
        )
    if not isinstance(policy, Policy):
        return lambda obs, masks, start: policy(obs)
    layers = _layers(policy, env)
    takes = inspect.signature(policy.predict).parameters
    state: Memory = None

    def act(obs: Observation, masks: Flags, start: Flags) -> object:
        nonlocal state
        extra = {"action_masks": masks} if "action_masks" in takes else {}
        if "progress" in takes and hasattr(view, "progress"):
            extra["progress"] = view.progress
        if "best_actions" in takes and isinstance(view, HasOracle):
            extra["best_actions"] = view.best_actions()
        seen = _flat_if_wanted(policy, view, layers.observations(obs))
        _refuse_other_parts(policy, seen)
        actions, state = policy.predict(seen, state=state, episode_start=start, deterministic=deterministic, **extra)
        return layers.actions(actions)

    return act


def _refuse_other_parts(policy: Policy, seen: Observation) -> None:
    """Refuse observations without a part that the policy was trained with."""
    space = policy.observation_space if isinstance(policy, HasObservationSpace) else None
    wanted = set(space) if isinstance(space, gym.spaces.Dict) else set()
    given = set(seen) if isinstance(seen, dict) else set()
    if not wanted <= given:
        raise ValueError(
            f"The policy takes observations with {sorted(wanted)}, but those here have {sorted(given)}: evaluate it in "
            "an environment of the kind that it was trained in."
        )


def _flat_if_wanted(policy: Policy, view: MultiTaskVectorEnv, obs: Observation) -> Observation:
    """Flatten the environment's observation for a policy trained with FlattenObservation."""
    wanted = policy.observation_space if isinstance(policy, HasObservationSpace) else None
    flat = isinstance(obs, dict) and isinstance(wanted, gym.spaces.Box)
    return flatten_rows(view.single_observation_space, obs) if flat else obs
