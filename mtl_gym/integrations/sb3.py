"""Stable-Baselines3 `VecEnv` of a batched environment, without a loop over environments in the step."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter, methodcaller
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import Transition
from mtl_gym.core.rows import AnyEnv, AnyVectorEnv, Array, Flags, Info, Observation, Rows, State, rows_of
from mtl_gym.core.wrappers import is_harmless

logger = logging.getLogger(__name__)

# Decisions of all rows to one gradient step, in SB3's DQN by default.
DECISIONS_PER_STEP = 4

EnvLike: TypeAlias = str | AnyEnv | AnyVectorEnv | VecEnv


class BatchedVecEnv(VecEnv):
    """SB3 `VecEnv` of a batched environment.

    Infos are empty until an episode ends; then they hold `terminal_observation`, `TimeLimit.truncated`, the return,
    length and time of the episode under `episode` (as from SB3's `Monitor`), and the environment's own figures.

    Args:
        batched: The environment, which must return NumPy arrays.

    Raises:
        TypeError: If `batched` is not a batched environment of this package.
        ValueError: If it was made with `tensors=True`, or has a wrapper whose effect would be lost.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> vec_env = BatchedVecEnv(gym.make_vec("MTLRouting-Digits-v0", num_envs=8))
        >>> vec_env.seed(0)[:2]
        [0, None]
        >>> vec_env.reset()["value"].shape
        (8, 64)
    """

    def __init__(self, batched: AnyVectorEnv) -> None:
        base = batched.unwrapped
        if not isinstance(base, MultiTaskVectorEnv):
            raise TypeError(f"{batched} is not a batched environment of mtl_gym; make it with gym.make_vec(id).")
        if base.options.tensors:
            raise ValueError("Stable-Baselines3 works on NumPy arrays: make the environment without tensors=True.")
        _refuse_lost_wrappers(batched)
        self.batched = base
        self.render_mode = base.render_mode
        super().__init__(base.num_envs, base.single_observation_space, base.single_action_space)
        self.metadata = base.metadata
        self._begin_statistics()

    def _begin_statistics(self) -> None:
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, np.int64)
        self._start = time.perf_counter()

    def take_statistics(self, whole: BatchedVecEnv, run: int) -> None:
        """Take over returns and lengths of the episodes under way in one of several runs."""
        part = slice(run * self.num_envs, (run + 1) * self.num_envs)
        self._returns, self._lengths = whole._returns[part].copy(), whole._lengths[part].copy()

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed the next reset, with one seed for the whole batch, because the batch shares one network."""
        self._seeds = [seed, *[None] * (self.num_envs - 1)]
        return self._seeds

    def reset(self) -> VecEnvObs:
        """Begin an episode in every row.

        A seed restarts an untrained environment only: SB3 passes one whenever an agent is made, loaded or seeded, which
        must not discard a trained network. Call `vec_env.batched.reset(seed=...)` to restart a trained environment.
        """
        seed = None if keeps_network(self.batched, self._seeds[0]) else self._seeds[0]
        obs, _ = self.batched.reset(seed=seed, options=next(filter(None, self._options), None))
        self._reset_seeds()
        self._reset_options()
        self._begin_statistics()
        return obs

    def step_async(self, actions: Array) -> None:
        """Store the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take one step in every row."""
        obs, transition, final_obs = self.batched.advance(self._actions)
        self._returns += transition.reward
        self._lengths += 1
        seconds = round(time.perf_counter() - self._start, 6)
        infos = Infos(transition, final_obs, self._returns.copy(), self._lengths.copy(), seconds)
        self._returns[transition.done], self._lengths[transition.done] = 0, 0
        # SB3's type is a list; what it does with it, a sequence can.
        return obs, transition.reward, transition.done, infos  # type: ignore[return-value]

    def state_dict(self) -> State:
        """Return the complete state of the environment and of the statistics of its episodes."""
        figures = {"returns": self._returns.tolist(), "lengths": self._lengths.tolist()}
        return {"batched": self.batched.state_dict(), **figures}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`; the time of episodes is measured from here.

        Raises:
            CheckpointError: If the state is from a different environment.
        """
        self.batched.load_state_dict(state["batched"])
        self._returns, self._lengths = np.array(state["returns"], np.float64), np.array(state["lengths"], np.int64)

    def close(self) -> None:
        """Close the environment."""
        self.batched.close()

    def action_masks(self) -> Flags:
        """Return the valid choices of all rows; bool [num_envs, actions]."""
        return self.batched.action_masks()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the shared environment, once per row."""
        value = attrgetter(attr_name)(self.batched)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: object, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the shared environment."""
        self.batched.__setattr__(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: object, indices: VecEnvIndices = None, **method_kwargs: object
    ) -> list[Any]:
        """Call a method of the shared environment once; return rows of `action_masks`, else the same result per row."""
        result = methodcaller(method_name, *method_args, **method_kwargs)(self.batched)
        rows = self._get_indices(indices)
        return [result[row] for row in rows] if method_name == "action_masks" else [result for _ in rows]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Return False for each row, because rows are not wrapped separately."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[Array | None]:
        """Return one image of the whole batch."""
        return [self.batched.render()]


class Infos(Sequence[Info]):
    """Infos of all rows of a step, made when they are asked for: all at once where one goes through them.

    Args:
        transition: Outcome of the step.
        final_obs: Last observations of all rows, or None where no row ended.
        returns: Return of each episode so far; float64 [rows].
        lengths: Decisions of each; int64 [rows].
        seconds: Seconds since the beginning.
    """

    def __init__(
        self,
        transition: Transition,
        final_obs: Observation | None,
        returns: NDArray[np.float64],
        lengths: Rows,
        seconds: float,
    ) -> None:
        self.transition, self.final_obs = transition, final_obs
        self._returns, self._lengths, self._seconds = returns, lengths, seconds
        self._made: dict[int, Info] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.transition.done)

    def __iter__(self) -> Iterator[Info]:
        """Go through the infos of all rows."""
        return iter(self[:])

    @overload
    def __getitem__(self, row: int) -> Info: ...
    @overload
    def __getitem__(self, row: slice) -> list[Info]: ...
    def __getitem__(self, row: int | slice) -> Info | list[Info]:
        """Return the info of a row, the same one each time, or a list of several."""
        if isinstance(row, slice):
            wanted = range(len(self))[row]
            self._make([one for one in wanted if one not in self._made])
            return [self._made[one] for one in wanted]
        place = range(len(self))[row]
        if place not in self._made:
            self._make([place])
        return self._made[place]

    def of(self, rows: Rows) -> list[Info]:
        """Return the infos of some rows; int64 [n]."""
        self._make([row for row in rows.tolist() if row not in self._made])
        return [self._made[row] for row in rows.tolist()]

    def _make(self, wanted: list[int]) -> None:
        self._made.update((row, {}) for row in wanted)
        done = self.transition.done
        rows = np.array([row for row in wanted if done[row]], np.int64)
        if not len(rows):
            return
        cut = (self.transition.truncated & ~self.transition.terminated)[rows].tolist()
        figures = known_rows(self.transition.final_info, rows)
        statistics = zip(self._returns[rows].tolist(), self._lengths[rows].tolist(), strict=True)
        parts = (rows.tolist(), figures, statistics, rows_of(self.final_obs, rows), cut)
        for row, info, (total, length), terminal, truncated in zip(*parts, strict=True):
            info["episode"] = {"r": total, "l": length, "t": self._seconds}
            info["terminal_observation"], info["TimeLimit.truncated"] = terminal, truncated
            self._made[row] = info


class LoneVecEnv(DummyVecEnv):
    """SB3's wrapper of one environment, in which a seed does not discard a trained network."""

    def reset(self) -> VecEnvObs:
        """Begin an episode, with seeds as in `BatchedVecEnv.reset`."""
        if keeps_network(self.envs[0].unwrapped, self._seeds[0]):
            self._reset_seeds()
        return super().reset()


@runtime_checkable
class Trainable(Protocol):
    """An environment that counts the updates of its network."""

    updates: int


def keeps_network(env: object, seed: int | None) -> bool:
    """Return whether a reset with a library's seed keeps the network, because it has been trained."""
    if seed is None or not isinstance(env, Trainable) or not env.updates:
        return False
    logger.info(
        "Keeping the network trained for %d updates; only the environment's own reset(seed=%s) restarts it.",
        env.updates,
        seed,
    )
    return True


def make_vec_env(env_id: str, num_envs: int = 1, seed: int | None = None, **kwargs: object) -> BatchedVecEnv:
    """Make a batched environment of this package for any Stable-Baselines3 algorithm.

    Args:
        env_id: A registered id.
        num_envs: Number of parallel episodes, of each run.
        seed: Seed of the first reset; with several runs, that of the first.
        **kwargs: Keyword arguments of the environment, and `runs`, the number of independent runs side by side.

    Raises:
        ValueError: If an argument is unknown or invalid.

    Example:
        >>> from stable_baselines3 import PPO
        >>> env = make_vec_env("MTLRouting-Digits-v0", num_envs=16, seed=0)
        >>> model = PPO("MultiInputPolicy", env, n_steps=6, batch_size=96, seed=0).learn(96)
    """
    import mtl_gym  # noqa: F401 (registers the ids)

    if "n_envs" in kwargs:
        raise ValueError(f"make_vec_env has no n_envs={kwargs['n_envs']!r}, as SB3's own has: use num_envs.")
    batched = gym.make_vec(env_id, num_envs, "vector_entry_point", vector_kwargs=None, wrappers=None, **kwargs)
    vec_env = BatchedVecEnv(batched)
    vec_env.seed(seed)
    return vec_env


def masks_of(env: VecEnv) -> Flags:
    """Return the valid choices of all rows; bool [num_envs, actions]."""
    return env.action_masks() if isinstance(env, BatchedVecEnv) else np.stack(env.env_method("action_masks"))


def has_masks(env: VecEnv) -> bool:
    """Return whether an environment tells which choices are valid."""
    return env.has_attr("action_masks")


def _refuse_lost_wrappers(env: AnyVectorEnv) -> None:
    """Refuse wrappers that change observations, actions or rewards: the adapter steps the environment inside."""
    while isinstance(env, gym.vector.VectorWrapper):
        pays = isinstance(env, (gym.vector.VectorRewardWrapper, gym.wrappers.vector.NormalizeReward))
        if pays or not is_harmless(env):
            raise ValueError(
                f"The effect of {type(env).__name__} would be lost: give Stable-Baselines3 the environment without it, "
                "and wrap the VecEnv of mtl_gym.make_vec_env in a VecEnvWrapper."
            )
        env = env.env


def as_vec_env(env: EnvLike, num_envs: int = 1, **kwargs: object) -> VecEnv:
    """Return an SB3 `VecEnv` from an id (with keyword arguments), an environment, a batched one, or a `VecEnv`.

    Raises:
        TypeError: If `env` is none of these.
    """
    if isinstance(env, VecEnv):
        return env
    if isinstance(env, str):
        return make_vec_env(env, num_envs, None, **kwargs)
    if isinstance(env, gym.vector.VectorEnv):
        return BatchedVecEnv(env)
    if isinstance(env, gym.Env):
        return LoneVecEnv([lambda: env])
    raise TypeError(f"{env!r} is not an environment: give an id, a Gymnasium environment or an SB3 VecEnv.")


def known_rows(final_info: Info, rows: Rows) -> list[Info]:
    """Return for each row a dictionary of its valid figures."""
    keys = [key for key in final_info if key[0] != "_"]
    infos = rows_of({key: final_info[key] for key in keys}, rows)
    for key in keys:
        for position in np.flatnonzero(~final_info[f"_{key}"][rows]):
            del infos[position][key]
    return infos
