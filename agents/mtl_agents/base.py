"""What all bundled agents share: Stable-Baselines3's face, the loop that acts, and files without code in them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import configure_logger, safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
from typing_extensions import Self

from mtl_gym.core.arguments import Checked
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting, to_arrays, to_tensors
from mtl_gym.integrations.sb3 import as_vec_env

Callback: TypeAlias = BaseCallback | list[BaseCallback] | Any | None


class Agent(Checked, ABC):
    """An algorithm with Stable-Baselines3's face, for environments of any family.

    The base class of a family gives `_sizes_of` and `_blank`. An agent gives `predict` and, if it learns, `_record`; it
    names what files must keep in `_STATE` (arrays; in `_PER_ROW` those with an axis of rows) and `_hyperparameters`
    (arguments), in `ENV_KWARGS` the environment's options that it cannot do without, and in `RANGES` which numbers its
    arguments take, which are checked before anything is made.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv`.
        seed: Seeds the agent and, with its next reset, the environment.
        verbose: 1 prints SB3's log tables.
        tensorboard_log: Folder for TensorBoard events, or None.

    Attributes:
        ROLE: "learner", "rule" (follows a rule, nothing is learned) or "control" (what others are compared with).
        sizes: What the agent's tables and networks are made for; an environment of other sizes is refused.

    Raises:
        ValueError: If the environment is of another family, or an argument has a value that is not allowed.
    """

    ROLE: ClassVar[str] = "learner"
    ENV_KWARGS: ClassVar[dict[str, Any]] = {}
    SIZES: ClassVar[str]
    _STATE: ClassVar[tuple[str, ...]] = ()
    _PER_ROW: ClassVar[tuple[str, ...]] = ()
    env: VecEnv
    sizes: tuple[int, ...]

    def __init__(
        self, env: Any, *, seed: int | None = None, verbose: int = 0, tensorboard_log: str | None = None
    ) -> None:
        self.seed, self.verbose, self.tensorboard_log = seed, verbose, tensorboard_log
        self.np_random = np.random.default_rng(seed)
        self.num_timesteps = self._total_timesteps = self._num_timesteps_at_start = self._steps = 0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=100)
        self._last_obs: Any = None
        self._logger: Logger | None = None
        self.set_env(env)
        if seed is not None:
            self.env.seed(seed)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Act in another environment of the same spaces from the next `learn` on."""
        vec_env = as_vec_env(env, **self.options_for(env))
        sizes = self._sizes_of(vec_env)
        if hasattr(self, "env") and sizes != self.sizes:
            raise ValueError(f"The agent knows {self.sizes} {self.SIZES}; this environment has {sizes}.")
        self.env, self.n_envs = vec_env, vec_env.num_envs
        self.observation_space, self.action_space = vec_env.observation_space, vec_env.action_space
        self.sizes = sizes
        self._check_options(vec_env)
        if force_reset:
            self._last_obs = None

    @classmethod
    def options_for(cls, env: Any) -> dict[str, Any]:
        """Return the options that an environment is made with, from its id."""
        return cls.ENV_KWARGS

    @classmethod
    @abstractmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        """The numbers that `SIZES` names, from an environment's spaces.

        Raises:
            ValueError: If the environment is of another family.
        """

    @classmethod
    def fits(cls, env: VecEnv) -> bool:
        """Whether the environment is of the agent's family."""
        try:
            cls._sizes_of(env)
        except ValueError:
            return False
        return True

    @classmethod
    @abstractmethod
    def _blank(cls, num_envs: int, *sizes: Any) -> Blank:
        """Stands for an environment with those sizes, then those of `_more_sizes`."""

    def _more_sizes(self) -> list[int | None]:
        """What else `_blank` takes."""
        return []

    def _check_options(self, vec_env: VecEnv) -> None:
        for name in self.ENV_KWARGS:
            if option(vec_env, name, True) in (None, False):
                raise ValueError(
                    f"{type(self).__name__} needs an environment that was made with {name}=..., such as "
                    f"gym.make(id, {name}={self.ENV_KWARGS[name]!r})."
                )

    def get_env(self) -> VecEnv:
        """The environment, as SB3's callbacks ask for it."""
        return self.env

    def get_vec_normalize_env(self) -> VecNormalize | None:
        """The `VecNormalize` around the environment, if there is one, as SB3's callbacks ask for it."""
        return unwrap_vec_normalize(self.env)

    @property
    def logger(self) -> Logger:
        """SB3's logger."""
        if self._logger is None:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, type(self).__name__)
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Log there from now on."""
        self._logger = logger

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Choose actions.

        Args:
            observation: One observation or a batch of them.
            state: What the last call gave, for agents that remember.
            episode_start: Rows in which an episode begins; bool [rows].
            deterministic: Take the likeliest choice instead of sampling.

        Returns:
            An action per row (or one for one observation), and the state.
        """

    def _act(self, obs: Any) -> NDArray[Any]:
        """The choices of all rows while learning."""
        return self.predict(obs)[0]

    def _record(self, obs: Any, actions: Any, rewards: Any, dones: Any) -> None:
        """Learn from one step of all rows; agents that do not learn leave it."""

    def _hyperparameters(self) -> dict[str, Any]:
        """The constructor's other arguments, JSON-able."""
        return {}

    def learn(
        self,
        total_timesteps: int,
        callback: Callback = None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Act for `total_timesteps` decisions, counted over all rows, learning meanwhile.

        Args:
            total_timesteps: Decisions to make, rounded up to whole steps of the batch.
            callback: SB3 callbacks.
            log_interval: Steps of the batch between two log tables.
            tb_log_name: Unused; there for SB3's signature.
            reset_num_timesteps: False goes on counting, and in the episodes under way.
            progress_bar: Show SB3's progress bar.
        """
        calls = self._begin(total_timesteps, callback, reset_num_timesteps, progress_bar)
        while self.num_timesteps < self._total_timesteps:
            calls.on_rollout_start()
            obs = self._last_obs
            actions = self._act(obs)
            new_obs, rewards, dones, infos = self.env.step(actions)
            self.num_timesteps += self.n_envs
            self._last_obs = new_obs
            self._record(obs, actions, rewards, dones)
            if dones.any():
                self.ep_info_buffer.extend(
                    infos[row]["episode"] for row in np.flatnonzero(dones) if "episode" in infos[row]
                )
            calls.update_locals(locals())
            if not calls.on_step():
                break
            self._steps += 1
            if self._steps % log_interval == 0:
                self._log()
        calls.on_training_end()
        return self

    def _begin(self, total_timesteps: int, callback: Callback, anew: bool, progress_bar: bool) -> BaseCallback:
        if anew:
            self.num_timesteps = self._steps = 0
        self._num_timesteps_at_start = self.num_timesteps
        self._total_timesteps = total_timesteps = total_timesteps + self.num_timesteps
        if anew or self._last_obs is None:
            self._last_obs = self.env.reset()
        calls = collect_callbacks(callback, progress_bar)
        calls.init_callback(self)  # type: ignore[arg-type]
        calls.on_training_start({**locals(), "total_timesteps": total_timesteps}, globals())
        return calls

    def _log(self) -> None:
        if self.ep_info_buffer:
            self.logger.record("rollout/ep_rew_mean", safe_mean([ep["r"] for ep in self.ep_info_buffer]))
            self.logger.record("rollout/ep_len_mean", safe_mean([ep["l"] for ep in self.ep_info_buffer]))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)

    def state_dict(self) -> dict[str, Any]:
        """What the future of this agent depends on: tensors and plain values."""
        tables = {name: torch.from_numpy(np.array(getattr(self, name))) for name in self._STATE}
        last, random = to_tensors(self._last_obs), self.np_random.bit_generator.state
        episodes = [{"r": episode["r"], "l": episode["l"]} for episode in self.ep_info_buffer]  # not their seconds
        counts = {"num_timesteps": self.num_timesteps, "steps": self._steps, "episodes": episodes}
        return {"tables": tables, "last_obs": last, "np_random": random, **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`.

        Raises:
            CheckpointError: If it was taken from an agent of other sizes, or is damaged. Nothing is changed then.
        """
        before = self.state_dict()
        checkpoint.load_or_undo(state, self._load_state, lambda: self._load_state(before))

    def _load_state(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`, as far as it gets with a damaged one; agents with more state add to it."""
        tables = {name: table.numpy().copy() for name, table in state["tables"].items()}
        for name in self._STATE:
            here = np.shape(getattr(self, name))
            if name not in tables or tables[name].shape != here:
                there = tables[name].shape if name in tables else None
                raise CheckpointError(f"The saved table {name!r} has shape {there}, this environment needs {here}.")
        for name in self._STATE:
            setattr(self, name, tables[name])
        self._last_obs = to_arrays(state["last_obs"])
        self.np_random.bit_generator.state = state["np_random"]
        self.num_timesteps, self._steps = int(state["num_timesteps"]), int(state.get("steps", 0))
        episodes = [{"r": float(episode["r"]), "l": int(episode["l"])} for episode in state.get("episodes", ())]
        self.ep_info_buffer = deque(episodes, maxlen=self.ep_info_buffer.maxlen)

    def save(self, path: str | Path) -> Path:
        """Write the agent to `path`: plain values and tensors, no code."""
        arguments = {"seed": self.seed, "verbose": self.verbose, "tensorboard_log": self.tensorboard_log}
        arguments = json.loads(json.dumps(arguments | self._hyperparameters()))
        sizes = [self.n_envs, *self.sizes, *self._more_sizes()]
        state = {"agent": type(self).__name__, "arguments": arguments, "sizes": sizes, "state": self.state_dict()}
        return checkpoint.save(state, path)

    @classmethod
    def load(cls, path: str | Path, env: Any = None) -> Self:
        """Read an agent that `save` wrote.

        Args:
            path: The file.
            env: The environment to act in; it may be as wide as the saved one or not, in which case the episodes that
                were under way are forgotten. None gives an agent that can `predict`.

        Raises:
            CheckpointError: If the file is damaged, or holds another agent, or one for an environment of other sizes.
        """
        saved = load_saved(path, cls.__name__)
        vec_env = None if env is None else as_vec_env(env, **cls.options_for(env))
        with fitting(path):
            there = cls._blank(*saved["sizes"]) if vec_env is None else vec_env
            return cls.__new__(cls, **saved["arguments"])._restore(saved, there)

    def _restore(self, saved: dict[str, Any], env: VecEnv) -> Self:
        arguments = saved["arguments"]
        seed = arguments.pop("seed")
        self.__init__(env, seed=None, **arguments)  # type: ignore[misc]
        self.seed = seed
        width, *sizes = saved["sizes"]
        known = sizes[: len(self.sizes)]
        if known != list(self.sizes):
            raise CheckpointError(
                f"The saved agent knows {known} {self.SIZES}; this environment has {list(self.sizes)}."
            )
        state = saved["state"]
        self.load_state_dict(state if env.num_envs == width else self._without_rows(state))
        return self

    def _without_rows(self, state: dict[str, Any]) -> dict[str, Any]:
        """A saved state for an environment of another width: the episodes under way are forgotten."""
        fresh = self.state_dict()["tables"]
        return state | {"tables": state["tables"] | {name: fresh[name] for name in self._PER_ROW}, "last_obs": None}

    def __repr__(self) -> str:
        """The agent and its hyperparameters."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self._hyperparameters().items())
        return f"{type(self).__name__}({arguments})"


def load_saved(path: str | Path, agent: str) -> dict[str, Any]:
    """Read the file of an agent.

    Raises:
        CheckpointError: If it is damaged, or holds another agent.
    """
    saved = checkpoint.load(path)
    if saved.get("agent") != agent:
        raise CheckpointError(f"{path} holds {saved.get('agent', 'no agent')}, not {agent}.")
    return saved


class Blank(VecEnv):
    """Stands for the environment of an agent that was loaded to predict: it has spaces and cannot be acted in."""

    def __init__(
        self, num_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], **attributes: Any
    ) -> None:
        self.num_envs, self.observation_space, self.action_space = num_envs, observation_space, action_space
        self.render_mode, self.attributes = None, attributes

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("This agent was loaded without an environment: give it one with set_env(env).")

    reset = step_async = step_wait = close = set_attr = env_method = env_is_wrapped = _refuse

    def get_attr(self, attr_name: str, indices: Any = None) -> Any:
        """One of those that it was made with; there is no environment to ask."""
        if attr_name not in self.attributes:
            raise AttributeError(attr_name)
        return [self.attributes[attr_name]] * self.num_envs


def option(env: VecEnv, name: str, default: Any) -> Any:
    """An option of the environment behind `env`; the default where it has none of that name."""
    try:
        return getattr(env.get_attr("options")[0], name, default)
    except AttributeError:
        return default


def collect_callbacks(callback: Callback, progress_bar: bool) -> BaseCallback:
    """One SB3 callback out of what `learn` was given."""
    calls = callback if isinstance(callback, list) else [callback] if callback is not None else []
    calls = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in calls]
    return CallbackList([*calls, ProgressBarCallback()] if progress_bar else calls)
