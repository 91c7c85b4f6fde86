"""QLS: deep Q-learning of task schedules, with annealed Boltzmann-Gumbel exploration.

Source: QLS ("Q-Learning Scheduler for Multi-Task Learning through the use of Histogram of Task Uncertainty").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from mtl_agents.sb3 import SB3Agent
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.ranges import COUNTS, PART, POSITIVE, SHARES, Range
from mtl_gym.core.rows import Array, State
from mtl_gym.integrations.sb3 import EnvLike, as_vec_env


class QLS(SB3Agent, DQN):
    """Q-network that chooses the task to train next from histograms of task uncertainty.

    During learning, an action is the argmax of Q / temperature + Gumbel noise, which is a draw from softmax(Q /
    temperature). The temperature decreases geometrically and ends at 0, where the action is the argmax of Q. The same
    holds for `deterministic=True`, as in `mtl_gym.evaluate`.

    Source: QLS, section 4.3; Cesa-Bianchi et al. 2017 for the exploration; Mnih et al. 2013 for DQN.

    Deviation: the paper specifies only gamma and the exploration. Q-values are learned in units of (1 - gamma) times
    the return, a discounted mean of future rewards, because a penalty of -10 at every step leads to returns of -1000,
    which a network learns slowly; the optimal policy is the same. The paper allows gamma = 1. Here gamma is below 1,
    because runs are truncated and never terminate, so that undiscounted returns are unbounded.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv` of scheduling with
            control="choice".
        initial_temperature: Initial temperature, in units of a mean reward.
        final_temperature: Temperature after `exploration_fraction` of the training; from then on it is 0.
        gamma: Discount factor, in [0, 1).
        seed: Seed of the agent and of the environment's next reset; SB3's global seeding is skipped.
        **arguments: Arguments of SB3's DQN; see `DEFAULTS`.

    Attributes:
        temperature: Current temperature of the exploration.

    Raises:
        ValueError: If actions are not discrete, observations are not flat, or an argument is invalid.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> env = make_vec_env("MTLScheduling-Digits-v0", 4, updates=20, reference=None)
        >>> agent = QLS(env, learning_starts=20, seed=0).learn(160)
        >>> agent.temperature, agent.gamma
        (0.0, 0.99)
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-4,
        "buffer_size": 100_000,
        "learning_starts": 500,
        "batch_size": 64,
        "train_freq": 1,
        "gradient_steps": 1,
        "target_update_interval": 1_000,
        "exploration_fraction": 0.9,
        "device": "cpu",
    }

    # Arguments of SB3 that the agent sets itself.
    OWN: ClassVar[frozenset[str]] = frozenset({"policy", "replay_buffer_class", "replay_buffer_kwargs"})

    RANGES: ClassVar[Mapping[str, Range]] = {
        "gamma": Range(0, 1, "most"),
        **dict.fromkeys(("initial_temperature", "final_temperature", "learning_rate", "max_grad_norm"), POSITIVE),
        **dict.fromkeys(("batch_size", "n_steps", "train_freq", "stats_window_size"), COUNTS),
        **dict.fromkeys(("buffer_size", "target_update_interval"), Range(1, 1_000_000_000)),
        "learning_starts": Range(0, 1_000_000_000),
        "gradient_steps": Range(-1, 1_000_000),  # -1: as many as steps of the environment
        **dict.fromkeys(("tau", "exploration_fraction"), PART),
        **dict.fromkeys(("exploration_initial_eps", "exploration_final_eps"), SHARES),
    }

    def __init__(
        self,
        env: EnvLike,
        *,
        initial_temperature: float = 1.0,
        final_temperature: float = 1e-3,
        gamma: float = 0.99,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        vec_env = as_vec_env(env)
        check_spaces(vec_env)
        if final_temperature > initial_temperature:
            raise ValueError(
                f"final_temperature={final_temperature} is not possible; it takes at most initial_temperature, "
                f"{initial_temperature}."
            )
        temperatures = {"initial_temperature": initial_temperature, "final_temperature": final_temperature}
        self.hyperparameters = {**temperatures, **arguments, "gamma": gamma}
        self.np_random = np.random.default_rng(seed)
        chosen = self.DEFAULTS | arguments | {"gamma": gamma}
        buffer = {"scale": 1 - gamma, "random": self.np_random}
        with seeded(int(self.np_random.integers(2**63))):
            super().__init__(
                "MlpPolicy",
                vec_env,
                seed=seed,
                replay_buffer_class=ScaledReplayBuffer,
                replay_buffer_kwargs=buffer,
                **chosen,
            )
        self.exploration_schedule = cooling(initial_temperature, final_temperature, self.exploration_fraction)
        self.exploration_rate = initial_temperature

    @property
    def temperature(self) -> float:
        """Temperature of the exploration, stored as DQN's exploration rate."""
        return self.exploration_rate

    def q_values(self, observation: Array) -> NDArray[np.float32]:
        """Return the values of the tasks, in units of a mean reward; [rows, width] -> [rows, tasks]."""
        tensor, _ = self.policy.obs_to_tensor(observation)
        with torch.no_grad():
            return self.q_net(tensor).cpu().numpy()

    def predict(  # type: ignore[override]
        self,
        observation: Array,
        state: tuple[Array, ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.int64], tuple[Array, ...] | None]:
        """Choose a task in each row, by highest value or with Boltzmann-Gumbel exploration.

        Args:
            observation: One observation or a batch of them.
            state: Returned unchanged.
            episode_start: Unused.
            deterministic: Choose the task of highest value, without exploration.
        """
        values = self.q_values(observation)
        choice = values.argmax(1) if deterministic else boltzmann_gumbel(values, self.temperature, self.np_random)
        return (choice if np.ndim(observation) == 2 else choice[0]), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw all actions from the agent's generator, unlike SB3, which draws the first ones from the space's."""
        if self.num_timesteps < learning_starts:
            action = self.np_random.integers(spaces.utils.flatdim(self.action_space), size=n_envs)
        else:
            action, _ = self.predict(np.asarray(self._last_obs))
        return action, action

    def _on_step(self) -> None:
        super()._on_step()
        self.logger.record("rollout/temperature", self.temperature)

    def _own_state(self) -> State:
        return {"temperature": self.temperature, "n_calls": self._n_calls}

    def _own_model(self) -> State:
        return {"temperature": 0.0, "n_calls": 0}

    def _load_own_state(self, state: State) -> None:
        self.exploration_rate, self._n_calls = float(state["temperature"]), int(state["n_calls"])


class ScaledReplayBuffer(ReplayBuffer):
    """Replay buffer with scaled rewards and its own generator.

    Args:
        *args: Arguments of SB3's buffer.
        scale: Factor of the rewards.
        random: Generator of the samples.
        **kwargs: Keyword arguments of SB3's buffer.
    """

    def __init__(self, *args: Any, scale: float, random: np.random.Generator, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale, self.random = scale, random

    def add(
        self, obs: Array, next_obs: Array, action: Array, reward: Array, done: Array, infos: list[dict[str, Any]]
    ) -> None:
        """Add one step of all rows."""
        super().add(obs, next_obs, action, self.scale * reward, done, infos)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw transitions with replacement; truncation by a time limit does not count as done."""
        step = self.random.integers(self.buffer_size if self.full else self.pos, size=batch_size)
        at = step, self.random.integers(self.n_envs, size=batch_size)
        done = self.dones[at] * (1 - self.timeouts[at])
        parts = (
            self._normalize_obs(self.observations[at], env),
            self.actions[at],
            self._normalize_obs(self.next_observations[at], env),
            done[:, None],
            self._normalize_reward(self.rewards[at][:, None], env),
        )
        return ReplayBufferSamples(*(self.to_torch(part) for part in parts))  # type: ignore[arg-type]


def boltzmann_gumbel(values: Array, temperature: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw from softmax(values / temperature) in each row, or the argmax at temperature 0.

    float [rows, actions] -> int64 [rows].

    Source: Cesa-Bianchi et al. 2017, section 3: the argmax of values / temperature with Gumbel noise added.

    Deviation: in the source each arm has its own temperature, which decreases with its number of draws. With a network,
    states do not recur, so there is a single temperature, annealed as in QLS.

    Example:
        >>> boltzmann_gumbel(np.array([[0.0, 1.0], [3.0, 2.0]]), 0.0, np.random.default_rng(0)).tolist()
        [1, 0]
    """
    return (values + temperature * random.gumbel(size=values.shape)).argmax(1)


def cooling(initial: float, final: float, fraction: float) -> Callable[[float], float]:
    """Return a schedule from the remaining share of the training to the temperature: geometric to `final`, then 0.

    Example:
        >>> temperature = cooling(1.0, 0.01, fraction=0.8)
        >>> [round(temperature(left), 6) for left in (1.0, 0.6, 0.21, 0.2, 0.0)]
        [1.0, 0.1, 0.010593, 0.0, 0.0]
    """

    def temperature(left: float) -> float:
        done = (1 - left) / fraction
        return initial * (final / initial) ** done if done < 1 - 1e-9 else 0.0

    return temperature


def check_spaces(env: VecEnv) -> None:
    """Reject environments whose actions do not choose a task.

    Raises:
        ValueError: If actions are not discrete, or observations are not flat.
    """
    observation, action = env.observation_space, env.action_space
    flat = isinstance(observation, spaces.Box) and len(observation.shape) == 1
    if not flat or not isinstance(action, spaces.Discrete):
        raise ValueError(
            f"QLS needs flat observations and discrete actions, but this environment has {observation} and {action}: "
            'use a MTLScheduling environment with control="choice".'
        )
