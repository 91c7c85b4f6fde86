"""How good is a policy on data that it never trained on? Per-task figures, the same way for every policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mtl_gym.vector import MultiTaskVectorEnv

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

    The network, its optimiser and the training data order are left as they are.

    Args:
        policy: An object with Stable-Baselines3's `predict`, or a function of the batched observation that gives
            actions. A `predict` that takes `action_masks` or, where runs are scheduled, `progress` is given them.
        env: Any environment of this package, wrapped or not, or an SB3 `VecEnv` around it.
        split: "test", "validation" or "train".
        deterministic: Handed to `predict`.
        num_envs: Episodes side by side; by default 256, and for training runs as many as `env` has.

    Raises:
        TypeError: If `env` is not of this package.
        ValueError: If the split is unknown.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Digits-v0")
        >>> result = mtl_gym.evaluate(lambda obs: obs["task"], env)
        >>> result.episodes.sum()
        np.int64(3590)
    """
    trained = _batched(env)
    view = trained.evaluation_view(split, num_envs or trained.EVALUATION_WIDTH)
    sums = roll_out(policy, view, deterministic)
    return Evaluation(split, view.task_names, *_means(*sums), view.evaluation_figures())


def roll_out(policy: Any, view: MultiTaskVectorEnv, deterministic: bool = True) -> NDArray[np.float64]:
    """Let `policy` decide in an evaluation view until its pass is over; `evaluation_counts` added up, [4, tasks]."""
    act = _acting(policy, view, deterministic)
    sums = np.zeros((4, len(view.task_names)))
    obs, info = view.reset()
    start = np.ones(view.num_envs, bool)
    while not view.pass_over:
        obs, _, terminated, truncated, info = view.step(act(obs, info["action_mask"], start))
        start = terminated | truncated
        if start.any():
            sums += view.evaluation_counts(info["final_info"])
    return sums


def _means(
    episodes: NDArray[np.float64], right: NDArray[np.float64], answered: NDArray[np.float64], loss: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Episodes, accuracy and loss per task, from sums."""
    with np.errstate(invalid="ignore"):
        return episodes.astype(np.int64), right / episodes, loss / answered


def _batched(env: Any) -> MultiTaskVectorEnv:
    base = env.unwrapped
    if len(getattr(base, "envs", ())) == 1:  # SB3's DummyVecEnv around a single environment
        base = base.envs[0].unwrapped
    base = getattr(base, "batched", base)
    if not isinstance(base, MultiTaskVectorEnv):
        raise TypeError(f"{env} is not an environment of mtl_gym; its figures are not known here.")
    return base


def _acting(policy: Any, view: MultiTaskVectorEnv, deterministic: bool) -> Callable[[Any, Any, Any], Any]:
    if not hasattr(policy, "predict"):
        return lambda obs, masks, start: policy(obs)
    prepare = _flattening(policy, view)
    takes = inspect.signature(policy.predict).parameters
    state = None

    def act(obs: Any, masks: Any, start: Any) -> Any:
        nonlocal state
        extra = {"action_masks": masks} if "action_masks" in takes else {}
        if "progress" in takes and hasattr(view, "progress"):
            extra["progress"] = view.progress
        actions, state = policy.predict(
            prepare(obs), state=state, episode_start=start, deterministic=deterministic, **extra
        )
        return actions

    return act


def _flattening(policy: Any, view: MultiTaskVectorEnv) -> Callable[[Any], Any]:
    """Agents trained behind Gymnasium's FlattenObservation want flat observations here as well."""
    space = view.single_observation_space
    wanted = getattr(policy, "observation_space", space)
    if not (isinstance(wanted, gym.spaces.Box) and isinstance(space, gym.spaces.Dict)):
        return lambda obs: obs
    return lambda obs: np.concatenate([_flat(obs[key], part) for key, part in space.items()], axis=1)


def _flat(values: NDArray[Any], space: gym.Space[Any]) -> NDArray[np.float32]:
    if isinstance(space, gym.spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[values - space.start]
    return values.reshape(len(values), -1).astype(np.float32)
