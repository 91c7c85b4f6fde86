"""Base of agents that subclass Stable-Baselines3 algorithms, for environments, seeds and files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback, ProgressBarCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from mtl_agents.environments import StandIn
from mtl_agents.files import read_agent, write_agent
from mtl_gym.core.arguments import Checked
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.extras import require
from mtl_gym.core.modes import in_own_mode
from mtl_gym.core.ranges import COUNTS, out_of_range
from mtl_gym.core.rows import State, clone
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting, to_arrays, to_tensors
from mtl_gym.core.state.moments import OptimizerState
from mtl_gym.core.state.structure import Maybe, Observed, RandomState, weights_like
from mtl_gym.core.validation import complaint
from mtl_gym.integrations.sb3 import EnvLike, as_vec_env

# Methods of agents that make tensors or train networks.
ENTRANCES = ("__init__", "learn", "predict", "state_dict", "load_state_dict")


class SB3Agent(BaseAlgorithm, metaclass=Checked):
    """Base class to combine with an SB3 algorithm: `class Mine(SB3Agent, PPO)`.

    It accepts the same environments as `Agent`, does not seed global generators, and saves plain values and tensors.

    Attributes:
        ROLE: As for `Agent`.
        ENV_KWARGS: Options that an id is made with.
        OWN: Arguments of SB3 that the agent sets itself.
        hyperparameters: Constructor arguments except the seed, JSON-able.
        np_random: Generator of the agent.
    """

    ROLE: ClassVar[str] = "learner"
    ENV_KWARGS: ClassVar[Mapping[str, Any]] = {}
    OWN: ClassVar[frozenset[str]]
    hyperparameters: Mapping[str, object]
    np_random: np.random.Generator

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a class train in its own mode of torch, whatever that of its caller; see `mtl_gym.core.modes`."""
        super().__init_subclass__(**kwargs)
        for name in ENTRANCES:
            setattr(cls, name, in_own_mode(getattr(cls, name)))

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the environment's next reset; the constructor seeds the agent's own generators."""
        if seed is not None and self.env is not None and not isinstance(self.env, StandIn):
            self.env.seed(seed)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same spaces from the next `learn` on."""
        super().set_env(as_vec_env(env, **self.ENV_KWARGS), force_reset)

    @abstractmethod
    def _own_state(self) -> State:
        """Return the agent's additional state for `state_dict`."""

    @abstractmethod
    def _own_model(self) -> State:
        """Return the model of `_own_state`, as `mtl_gym.core.state.structure` has it."""

    @abstractmethod
    def _load_own_state(self, state: State) -> None:
        """Restore the result of `_own_state`."""

    def state_dict(self) -> State:
        """Return everything that determines the agent's future except replay buffers, as tensors and plain values."""
        networks = {
            "policy": clone(dict(self.policy.state_dict())),
            "optimizer": clone(self.policy.optimizer.state_dict()),
        }
        counts = {"num_timesteps": self.num_timesteps, "n_updates": self._n_updates}
        random = self.np_random.bit_generator.state
        return {**networks, "last_obs": to_tensors(self._last_obs), "np_random": random, **counts, **self._own_state()}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`.

        Raises:
            CheckpointError: If the state does not fit the agent, which is then unchanged.
        """
        before = self.state_dict()
        checkpoint.load_or_undo(state, self._load_state, lambda: self._load_state(before), self._model)

    def _model(self) -> State:
        networks = {"policy": weights_like(self.policy), "optimizer": OptimizerState(self.policy.optimizer)}
        random = {"np_random": RandomState(self.np_random), "num_timesteps": 0, "n_updates": 0}
        last = {"last_obs": Maybe(Observed(self.observation_space, self.n_envs))}
        return {**networks, **last, **random, **self._own_model()}

    def _load_state(self, state: State) -> None:
        self._load_own_state(state)
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(clone(state["optimizer"]))
        self._last_obs = to_arrays(state["last_obs"])
        self.np_random.bit_generator.state = state["np_random"]
        self.num_timesteps, self._n_updates = int(state["num_timesteps"]), int(state["n_updates"])

    def save(self, path: str | Path, *args: object, **kwargs: object) -> None:  # type: ignore[override]
        """Write the agent to `path`, as plain values and tensors without code; SB3's other arguments are ignored."""
        arguments = {**self.hyperparameters, "seed": self.seed}
        write_agent(path, type(self).__name__, arguments, self._vec_env(), self.state_dict())

    @classmethod
    def load(  # type: ignore[override]
        cls, path: str | Path, env: EnvLike | None = None, *args: object, **kwargs: object
    ) -> Self:
        """Read an agent from a file of `save`.

        Args:
            path: Path of the file.
            env: Environment to act in; if its number of rows differs from the saved one, episodes under way are
                discarded. None returns an agent that can only `predict`.
            *args: Unused; part of SB3's signature.
            **kwargs: Unused; part of SB3's signature.

        Raises:
            CheckpointError: If the file is damaged, holds another agent, or the spaces differ.
        """
        saved = read_agent(path, cls.__name__)
        given = None if env is None else as_vec_env(env, **cls.ENV_KWARGS)
        with fitting(path):
            there = StandIn.of(saved["env"])
            here = there if given is None else given
            cls._check_known(there, here)
            make: Callable[..., Self] = cls  # agents have other constructor arguments than SB3's algorithms
            agent = make(here, **saved["arguments"] | {"seed": None})
            agent.seed = saved["arguments"]["seed"]
            agent.load_state_dict(agent.fitted(saved["state"], there))
        return agent

    @classmethod
    def _check_known(cls, there: VecEnv, here: VecEnv) -> None:
        """Reject an environment whose spaces differ from the saved agent's.

        Raises:
            CheckpointError: If the spaces differ.
        """
        known, spaces = ((env.observation_space, env.action_space) for env in (there, here))
        if known != spaces:
            raise CheckpointError(
                f"The saved agent needs {known[0]} and {known[1]}; this environment has {spaces[0]} and {spaces[1]}."
            )

    def fitted(self, state: State, there: VecEnv) -> State:
        """Return a saved state, without episodes under way if the number of rows differs."""
        return state if self.n_envs == there.num_envs else state | {"last_obs": None}

    def _vec_env(self) -> VecEnv:
        assert self.env is not None
        return self.env


def log_episodes(logger: Logger, episodes: Collection[Mapping[str, Any]], decisions: int) -> None:
    """Log the means of the last episodes, as SB3's algorithms do, and write the table."""
    if episodes:
        logger.record("rollout/ep_rew_mean", safe_mean([episode["r"] for episode in episodes]))
        logger.record("rollout/ep_len_mean", safe_mean([episode["l"] for episode in episodes]))
    logger.record("time/total_timesteps", decisions, exclude="tensorboard")
    logger.dump(decisions)


def refuse_wrong_training(total_timesteps: object, log_interval: object) -> None:
    """Refuse arguments of `learn` before anything is trained.

    Raises:
        ValueError: If one is not a number, or `log_interval` is below 1.
    """
    for wrong in (
        complaint("total_timesteps", total_timesteps, float),
        complaint("log_interval", log_interval, int) or out_of_range("log_interval", log_interval, int, COUNTS),
    ):
        if wrong is not None:
            raise ValueError(wrong)


def checked_folder(folder: str | None) -> str | None:
    """Return a folder for TensorBoard events unchanged.

    Raises:
        MissingExtraError: If a folder is given and TensorBoard is not installed.
    """
    if folder is not None:
        require("TensorBoard logging", "tensorboard")
    return folder


def collect_callbacks(callback: MaybeCallback, progress_bar: bool) -> BaseCallback:
    """Join the callbacks of `learn` into one SB3 callback.

    Raises:
        MissingExtraError: If a progress bar is requested and rich or tqdm is not installed.
    """
    calls = callback if isinstance(callback, list) else [callback] if callback is not None else []
    calls = [c if isinstance(c, BaseCallback) else ConvertCallback(c) for c in calls]
    if progress_bar:
        require("A progress bar", "rich", "tqdm")
        calls.append(ProgressBarCallback())
    return CallbackList(calls)
