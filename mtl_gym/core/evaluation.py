"""How good is a policy on data that it never trained on? Per-task figures, the same way for every policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.wrappers import Layers, base_of, flatten_rows, layers_of

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


@runtime_checkable
class Policy(Protocol):
    """Anything that chooses actions as Stable-Baselines3 algorithms do."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions for a batch of observations, and the next recurrent state."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What a policy reached on one split.

    Attributes:
        split: The split.
        task_names: Names of the tasks.
        episodes: Evaluated episodes per task; int64 [tasks].
        accuracy: Share of right answers per task, or of the variance that a regression explains; NaN for a task without
            episodes. float64 [tasks].
        loss: Mean cross-entropy (or squared error) per task over episodes that ended with an answer; float64 [tasks].
        figures: The family's own figures; for routing `usage` and `blocks_used`.
    """

    split: str
    task_names: tuple[str, ...]
    episodes: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    figures: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def mean_accuracy(self) -> float:
        """Mean over tasks."""
        return float(np.nanmean(self.accuracy))

    @property
    def mean_loss(self) -> float:
        """Mean over tasks."""
        return float(np.nanmean(self.loss)) if np.isfinite(self.loss).any() else float("nan")

    @property
    def worst(self) -> tuple[str, float]:
        """The task with the lowest accuracy."""
        task = int(np.nanargmin(self.accuracy))
        return self.task_names[task], float(self.accuracy[task])

    @property
    def best(self) -> tuple[str, float]:
        """The task with the highest accuracy."""
        task = int(np.nanargmax(self.accuracy))
        return self.task_names[task], float(self.accuracy[task])


def evaluate(
    policy: Policy | Callable[[Any], Any],
    env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any] | VecEnv,
    split: str = "test",
    *,
    deterministic: bool = True,
    num_envs: int | None = None,
) -> Evaluation:
    """Let `policy` decide once for every sample of a split, over the network that `env` has trained so far.

    The network, its optimizer and the training data order are left as they are.

    An algorithm (one with `get_env`, or a policy of Stable-Baselines3) sees what it saw in training: the wrappers of
    its own environment, or of `env` where it has none, are applied to observations and actions, with the statistics of
    `VecNormalize` or `NormalizeObservation` as they are.

    Args:
        policy: An object with Stable-Baselines3's `predict`, or a function of the batched observation that gives
            actions. A `predict` that takes `action_masks` or, where runs are scheduled, `progress` is given them.
            Functions and objects of your own are given the environment's own observations.
        env: Any environment of this package, wrapped or not, or an SB3 `VecEnv` around it.
        split: "test", "validation" or "train".
        deterministic: Handed to `predict`.
        num_envs: Episodes side by side; by default 256, and for training runs as many as `env` has.

    Raises:
        TypeError: If `env` is not of this package, or has several networks.
        ValueError: If the split is unknown, or it is not known what a wrapper does to observations.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Digits-v0")
        >>> result = mtl_gym.evaluate(lambda obs: obs["task"], env)
        >>> result.episodes.sum()
        np.int64(3590)
    """
    trained = base_of(env)
    view = trained.evaluation_view(split, trained.EVALUATION_WIDTH if num_envs is None else num_envs)
    sums = roll_out(policy, view, deterministic, env)
    return Evaluation(split, view.task_names, *_means(*sums), view.evaluation_figures())


def roll_out(policy: Any, view: MultiTaskVectorEnv, deterministic: bool = True, env: Any = None) -> NDArray[np.float64]:
    """Let `policy` decide in an evaluation view until its pass is over.

    Args:
        policy: As for `evaluate`.
        view: The view.
        deterministic: Passed to `predict`.
        env: The training environment, whose wrappers apply to an algorithm without an environment of its own; None for
            no wrapper.

    Returns:
        Sums of `EpisodeResult.counts`; float64 [4, tasks].
    """
    act = _acting(policy, view, deterministic, _layers(policy, view if env is None else env))
    sums = np.zeros((4, len(view.task_names)))
    obs, _ = view.reset()
    start = np.ones(view.num_envs, bool)
    while not view.pass_over:
        obs, transition, _ = view.advance(act(obs, view.action_masks(), start))
        start = transition.done
        if transition.result is not None:
            sums += transition.result.counts(len(view.task_names))
    return sums


def _means(
    episodes: NDArray[np.float64], right: NDArray[np.float64], answered: NDArray[np.float64], loss: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Episodes, accuracy and loss per task, from sums."""
    with np.errstate(invalid="ignore"):
        return episodes.astype(np.int64), right / episodes, loss / answered


def _layers(policy: Any, env: Any) -> Layers:
    """What an algorithm was trained behind; nothing for a function and for other objects with `predict`.

    Raises:
        ValueError: If that cannot be done here.
    """
    own = policy.get_env() if hasattr(policy, "get_env") else None
    if own is not None:
        with suppress(TypeError):  # such as a stand-in, for an agent that was loaded to predict
            return layers_of(own)
    algorithm = hasattr(policy, "get_env") or _is_of_sb3(policy)
    return layers_of(env) if algorithm else Layers(base_of(env))


def _is_of_sb3(policy: Any) -> bool:
    homes = {kind.__module__.split(".")[0] for kind in type(policy).__mro__}
    return not homes.isdisjoint(("stable_baselines3", "sb3_contrib"))


def _acting(
    policy: Any, view: MultiTaskVectorEnv, deterministic: bool, layers: Layers
) -> Callable[[Any, Any, Any], Any]:
    if not hasattr(policy, "predict"):
        return lambda obs, masks, start: policy(obs)
    takes = inspect.signature(policy.predict).parameters
    state = None

    def act(obs: Any, masks: Any, start: Any) -> Any:
        nonlocal state
        extra = {"action_masks": masks} if "action_masks" in takes else {}
        if "progress" in takes and hasattr(view, "progress"):
            extra["progress"] = view.progress
        seen = _flat_if_wanted(policy, view, layers.observations(obs))
        actions, state = policy.predict(seen, state=state, episode_start=start, deterministic=deterministic, **extra)
        return layers.actions(actions)

    return act


def _flat_if_wanted(policy: Any, view: MultiTaskVectorEnv, obs: Any) -> Any:
    """The environment's own observation as one that was trained behind FlattenObservation wants it."""
    wanted = getattr(policy, "observation_space", None)
    flat = isinstance(obs, dict) and isinstance(wanted, gym.spaces.Box)
    return flatten_rows(view.single_observation_space, obs) if flat else obs
