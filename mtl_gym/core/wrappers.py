"""Effects of wrappers on observations and actions between a policy and its environment, for whole batches.

An evaluation acts in an unwrapped view of the environment. This module applies the effects of the training wrappers to
it, with frozen statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium import spaces, wrappers
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from gymnasium.wrappers import vector
from numpy.typing import DTypeLike

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.rows import AnyEnv, AnySpace, Array, Observation, Rows

Change: TypeAlias = Callable[[Observation], Observation]
# A class of wrappers, and a function from such a wrapper to its effect.
Known: TypeAlias = tuple[type, Callable[[Any], "Effect"]]


@dataclass(frozen=True)
class Effect:
    """Effect of a wrapper on a batch of observations from the environment, and on a batch of actions to it."""

    observations: Change | None = None
    actions: Change | None = None


@dataclass(frozen=True)
class Layers:
    """An environment of this package and the effects of the wrappers around it.

    Attributes:
        base: The environment.
        effects: Effects of its wrappers, the outermost first.
    """

    base: MultiTaskVectorEnv
    effects: tuple[Effect, ...] = ()

    def observations(self, batch: Observation) -> Observation:
        """Convert a batch of the environment's observations to those of a policy."""
        for effect in reversed(self.effects):
            batch = batch if effect.observations is None else effect.observations(batch)
        return batch

    def actions(self, batch: Observation) -> Observation:
        """Convert a batch of a policy's actions to those of the environment."""
        for effect in self.effects:
            batch = batch if effect.actions is None else effect.actions(batch)
        return batch


def base_of(env: object) -> MultiTaskVectorEnv:
    """Return the batched environment of this package inside `env`.

    Raises:
        TypeError: If there is none, or several.
    """
    return _peel(env)[0]


def layers_of(env: object) -> Layers:
    """Return the batched environment of this package inside `env`, with the effects of its wrappers.

    Raises:
        TypeError: If there is none, or several.
        ValueError: If the effect of a wrapper on observations and actions is unknown.
    """
    base, around = _peel(env)
    return Layers(base, tuple(map(effect_of, around)))


def _peel(env: object) -> tuple[MultiTaskVectorEnv, list[object]]:
    around: list[object] = []
    while not isinstance(env, MultiTaskVectorEnv):
        inner = _wrapped(env)
        if inner is None:
            env = _inside(env)
        else:
            around.append(env)
            env = inner
    return env, around


def _wrapped(env: object) -> object:
    """Return the environment inside a wrapper of Gymnasium or Stable-Baselines3; None if `env` is not a wrapper."""
    if isinstance(env, (gym.Wrapper, gym.vector.VectorWrapper)):
        return env.env
    return _own(env).get("venv")


@runtime_checkable
class Unwrappable(Protocol):
    """A wrapper that knows the innermost environment, such as PettingZoo's."""

    @property
    def unwrapped(self) -> object:
        """Return the innermost environment."""
        ...


def _inside(env: object) -> object:
    """Return the environment inside an adapter, or the only environment of a batch of one."""
    own = _own(env)
    if "batched" in own:
        return own["batched"]
    envs = own.get("envs")
    if isinstance(envs, Sequence) and len(envs) == 1:
        return envs[0]
    if isinstance(env, Unwrappable) and env.unwrapped is not env:
        return env.unwrapped
    if not own.keys().isdisjoint(("envs", "remotes", "processes")):
        count = own.get("num_envs")
        raise TypeError(
            f"{env} has {count} environments, each with a network of its own (or in another process), and an "
            "evaluation needs a single network. Give one of them, such as env.envs[0], or train a batched environment: "
            f"make_vec_env(id, num_envs={count})."
        )
    raise TypeError(f"{env} is not an environment of mtl_gym; make one with gym.make(id) or gym.make_vec(id).")


def _own(env: object) -> dict[str, object]:
    """Return the attributes of an object itself, without those that adapters forward."""
    return vars(env) if hasattr(env, "__dict__") else {}


def effect_of(wrapper: object) -> Effect:
    """Return the effect of a wrapper on observations and actions.

    Raises:
        ValueError: If it is unknown.
    """
    for kind, effect in _known():
        if isinstance(wrapper, kind) and _as_in(wrapper, kind):
            return effect(wrapper)
    raise _unknown(wrapper)


def is_harmless(wrapper: object) -> bool:
    """Return whether a wrapper is known to change neither observations nor actions."""
    try:
        return effect_of(wrapper) == Effect()
    except ValueError:
        return False


def _unknown(wrapper: object) -> ValueError:
    name = type(wrapper).__name__
    return ValueError(
        f"An evaluation cannot reproduce the effect of the wrapper {name} on observations or actions, so the policy "
        "would see other observations than in training. Apply it in a function of the batched observation: "
        "evaluate(lambda obs: policy.predict(changed(obs), deterministic=True)[0], env)."
    )


_DECISIVE = ("reset", "step", "step_wait", "observation", "observations", "action", "actions", "normalize_obs")


def _as_in(wrapper: object, kind: type) -> bool:
    """Return whether a wrapper's class inherits the methods of `kind` that affect observations and actions."""
    return all(_definer(type(wrapper), name) is _definer(kind, name) for name in _DECISIVE)


def _definer(kind: type, name: str) -> type | None:
    """Return the class from which `kind` has the attribute `name`; None if it has none."""
    return next((base for base in kind.__mro__ if name in vars(base)), None)


@lru_cache(maxsize=1)
def _known() -> list[Known]:
    """Return the known wrapper classes with their effects, subclasses before their bases."""
    return [*_of_gymnasium(), *_of_vectors(), *_of_sb3()]


def _harmless(*kinds: type) -> Iterator[Known]:
    """Yield wrappers without an effect on an evaluation."""
    return ((kind, lambda w: Effect()) for kind in kinds)


def _refused(wrapper: object) -> Effect:
    raise _unknown(wrapper)


def _of_gymnasium() -> Iterator[Known]:
    yield wrappers.FlattenObservation, lambda w: Effect(lambda obs: flatten_rows(w.env.observation_space, obs))
    yield wrappers.NormalizeObservation, _normalising
    yield wrappers.FilterObservation, lambda w: Effect(w.func)  # this function and the next accept batches
    yield wrappers.RescaleObservation, lambda w: Effect(w.func)
    yield wrappers.AddRenderObservation, _refused  # its function depends on the environment
    yield wrappers.TransformObservation, lambda w: Effect(_row_by_row(w.func, w.env, w))
    yield wrappers.TransformAction, lambda w: Effect(actions=lambda rows: np.stack([w.func(row) for row in rows]))
    watching = (wrappers.PassiveEnvChecker, wrappers.OrderEnforcing, wrappers.TimeLimit, wrappers.Autoreset)
    recording = (wrappers.RecordEpisodeStatistics, wrappers.RecordVideo, wrappers.RenderCollection)
    others = (wrappers.HumanRendering, wrappers.NormalizeReward, gym.RewardWrapper, gym.Wrapper)
    yield from _harmless(*watching, *recording, *others)


def _of_vectors() -> Iterator[Known]:
    yield vector.NormalizeObservation, _normalising
    yield vector.TransformObservation, lambda w: Effect(w.func)
    yield vector.TransformAction, lambda w: Effect(actions=w.func)
    yield vector.VectorizeTransformObservation, lambda w: effect_of(w.wrapper)
    yield vector.VectorizeTransformAction, lambda w: effect_of(w.wrapper)
    recording = (vector.RecordEpisodeStatistics, vector.RecordVideo, vector.HumanRendering, vector.DictInfoToList)
    yield from _harmless(*recording, vector.NormalizeReward, gym.vector.VectorRewardWrapper, gym.vector.VectorWrapper)


def _of_sb3() -> Iterator[Known]:
    from stable_baselines3.common import monitor, vec_env

    yield vec_env.VecNormalize, lambda w: Effect(w.normalize_obs)
    yield vec_env.VecTransposeImage, lambda w: Effect(w.transpose_observations)
    yield vec_env.VecExtractDictObs, lambda w: Effect(itemgetter(w.key))
    yield from _harmless(monitor.Monitor, vec_env.VecMonitor, vec_env.VecCheckNan, vec_env.VecVideoRecorder)


def _normalising(wrapper: wrappers.NormalizeObservation | vector.NormalizeObservation) -> Effect:
    """Return the effect of Gymnasium's normalisation without an update of its statistics."""
    return Effect(lambda obs: np.float32((obs - wrapper.obs_rms.mean) / np.sqrt(wrapper.obs_rms.var + wrapper.epsilon)))


def _row_by_row(change: Change, before: AnyEnv, after: AnyEnv) -> Change:
    """Convert a function of one observation to one of a batch, between the spaces of two environments."""
    batched = lru_cache(maxsize=1)(lambda rows: batch_space(before.observation_space, rows))

    def of_batch(batch: Observation) -> Observation:
        rows = _count(batch)
        changed = tuple(map(change, iterate(batched(rows), batch)))
        room: Observation = create_empty_array(after.observation_space, rows)
        return concatenate(after.observation_space, changed, room)

    return of_batch


def _count(batch: Observation) -> int:
    while isinstance(batch, (dict, tuple)):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def flatten_rows(space: AnySpace, batch: Observation) -> Array:
    """Apply `gymnasium.spaces.flatten` to every row of a batch; [rows, flatdim].

    Example:
        >>> flatten_rows(spaces.MultiDiscrete([2, 3]), np.array([[0, 1], [1, 2]]))
        array([[1, 0, 0, 1, 0],
               [0, 1, 0, 0, 1]])
    """
    if isinstance(space, spaces.Dict):
        return np.concatenate([flatten_rows(part, batch[key]) for key, part in space.items()], 1)
    if isinstance(space, spaces.Tuple):
        return np.concatenate([flatten_rows(part, rows) for part, rows in zip(space.spaces, batch, strict=True)], 1)
    if isinstance(space, spaces.Discrete):
        return _one_hot((batch - space.start)[:, None], np.array([space.n]), space.dtype)
    if isinstance(space, spaces.MultiDiscrete):
        return _one_hot((batch - space.start).reshape(len(batch), -1), space.nvec.ravel(), space.dtype)
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        return np.asarray(batch, space.dtype).reshape(len(batch), -1)
    return np.stack(
        [np.asarray(spaces.flatten(space, row)) for row in iterate(batch_space(space, _count(batch)), batch)]
    )


def _one_hot(values: Rows, sizes: Rows, dtype: DTypeLike) -> Array:
    """Return concatenated one-hot encodings of numbers; int64 [rows, numbers] -> [rows, sum of sizes]."""
    hot = np.zeros((len(values), int(sizes.sum())), dtype)
    np.put_along_axis(hot, values + np.cumsum(sizes) - sizes, 1, 1)
    return hot
