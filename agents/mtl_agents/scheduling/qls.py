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
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor, nn

from mtl_agents.sb3 import SB3Agent
from mtl_agents.scheduling.q_network import SharedPolicy, SharedQNetwork
from mtl_agents.scheduling.replay import ScaledReplayBuffer
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.ranges import COUNTS, PART, POSITIVE, SHARES, Range
from mtl_gym.core.rows import Array, State
from mtl_gym.core.state.structure import Maybe
from mtl_gym.integrations.sb3 import DECISIONS_PER_STEP, EnvLike, as_vec_env


class QLS(SB3Agent, DQN):
    """Q-network that chooses the task to train next.

    The network is shared over tasks (`SharedQNetwork`): every task has the same small network, and sees the mean over
    tasks. With task_numbers=False it knows tasks by what is observed of them alone, so that a scheduler serves
    instances that it was not trained on. During learning, an action is the argmax of Q / temperature + Gumbel noise,
    which is a draw from softmax(Q / temperature). The temperature is in units of the standard deviation of a row's
    values; it decreases geometrically and ends at 0, where the action is the argmax of Q. The same holds for
    `deterministic=True`, as in `mtl_gym.evaluate`. `PaperQLS` has the network and the settings of the paper.

    Source: QLS, section 4.3; Cesa-Bianchi et al. 2017 for the exploration; Mnih et al. 2013 for DQN; van Hasselt
    et al. 2016 for the double estimate of next values; Sutton 1988 for returns over several steps.

    Deviation: the paper has one network over the histograms of all tasks, in an unspecified form, and specifies only
    gamma and the exploration. Here the network is shared, and sees the progress of runs (`observation="progress"`)
    instead of histograms. Target values sum the rewards of `n_steps` decisions. Rewards are divided by the standard
    deviation of their discounted sums over the decisions before learning starts, and the temperature is in units of
    the values' own deviation, so that one set of defaults serves rewards of any scale. The paper allows gamma = 1. Here
    gamma is below 1, because runs that are truncated never terminate, so that undiscounted returns are unbounded.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv` of scheduling with
            control="choice". An id is made with the options of `ENV_KWARGS`.
        initial_temperature: Initial temperature, in units of the standard deviation of the values.
        final_temperature: Temperature after `exploration_fraction` of the training; from then on it is 0.
        gamma: Discount factor, in [0, 1).
        n_steps: Decisions whose rewards a target value sums.
        gradient_steps: Gradient steps after every step of all rows; None for one per 4 decisions.
        task_numbers: Whether the network receives a task embedding.
        seed: Seed of the agent and of the environment's next reset; SB3's global seeding is skipped.
        **arguments: Arguments of SB3's DQN; see `DEFAULTS`.

    Attributes:
        temperature: Current temperature of the exploration.

    Raises:
        ValueError: If actions are not discrete, observations are not flat or have no equal number of features per task,
            or an argument is invalid.

    Example:
        >>> from mtl_gym.integrations.sb3 import make_vec_env
        >>> env = make_vec_env("MTLScheduling-Digits-v0", 4, updates=20, reference=None, observation="progress")
        >>> agent = QLS(env, learning_starts=20, seed=0).learn(160)
        >>> agent.temperature, agent.gamma
        (0.0, 0.99)
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        "learning_rate": 1e-3,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "batch_size": 64,
        "train_freq": 1,
        "target_update_interval": 500,
        "exploration_fraction": 0.9,
        "device": "cpu",
    }
    ENV_KWARGS: ClassVar[Mapping[str, Any]] = {"observation": "progress"}

    # Arguments of SB3 that the agent sets itself.
    OWN: ClassVar[frozenset[str]] = frozenset(
        {"policy", "policy_kwargs", "replay_buffer_class", "replay_buffer_kwargs"}
    )

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

    POLICY: ClassVar[type[DQNPolicy]] = SharedPolicy
    # Whether temperatures are in units of the standard deviation of a row's values, instead of a mean reward.
    RELATIVE: ClassVar[bool] = True

    def __init__(
        self,
        env: EnvLike,
        *,
        initial_temperature: float = 3.0,
        final_temperature: float = 0.03,
        gamma: float = 0.99,
        n_steps: int = 8,
        gradient_steps: int | None = None,
        task_numbers: bool = True,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        vec_env = as_vec_env(env, **self.ENV_KWARGS)
        check_spaces(vec_env)
        if final_temperature > initial_temperature:
            raise ValueError(
                f"final_temperature={final_temperature} is not possible; it takes at most initial_temperature, "
                f"{initial_temperature}."
            )
        temperatures = {"initial_temperature": initial_temperature, "final_temperature": final_temperature}
        own: dict[str, object] = {"gamma": gamma, "n_steps": n_steps, "gradient_steps": gradient_steps}
        own |= {"task_numbers": task_numbers}
        self.hyperparameters = {**temperatures, **arguments, **own}
        self.np_random = np.random.default_rng(seed)
        # Factor of rewards; None until learning starts.
        self._scale: float | None = None
        steps = max(1, vec_env.num_envs // DECISIONS_PER_STEP) if gradient_steps is None else gradient_steps
        policy = dict(arguments.get("policy_kwargs") or {})
        # One operation of Adam for all parameters of a small network; equal to the bit.
        policy["optimizer_kwargs"] = {"foreach": True} | (policy.get("optimizer_kwargs") or {})
        if issubclass(self.POLICY, SharedPolicy):
            policy["numbers"] = task_numbers
        chosen = self.DEFAULTS | arguments | {"gamma": gamma, "gradient_steps": steps, "policy_kwargs": policy}
        buffer = {"random": self.np_random, "steps": n_steps, "gamma": gamma}
        with seeded(int(self.np_random.integers(2**63))):
            super().__init__(
                self.POLICY,
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
        """Return the values of the tasks; [rows, width] -> [rows, tasks]."""
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
        if self.RELATIVE:
            values = values / np.maximum(values.std(1, keepdims=True), 1e-8)
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

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        """Begin as SB3 does; where it resets the environment, returns of stored decisions end before the reset."""
        before = self._last_obs
        begun = super()._setup_learn(*args, **kwargs)
        if self._last_obs is not before:
            self._scaled_buffer.cut()
        return begun

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps; the first call sets the units of rewards and of features."""
        if self._scale is None:
            self._set_units()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for samples in self._scaled_buffer.samples(gradient_steps, batch_size, self._vec_normalize_env):
            with torch.no_grad():
                targets = self.q_net_target(torch.cat([sample.next_observations for sample in samples]))
            for sample, target in zip(samples, targets.split(batch_size), strict=True):
                losses.append(self._gradient_step(sample, target))
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(torch.stack(losses).mean()))

    def _gradient_step(self, sample: ReplayBufferSamples, target: Tensor) -> Tensor:
        """Take one gradient step of Huber's loss on replayed decisions; return the loss.

        Args:
            sample: Decisions.
            target: Target network's values after them; float32 [rows, tasks].
        """
        self._standardise(sample.observations)
        with torch.no_grad():
            assert sample.discounts is not None
            bootstrapped = (1 - sample.dones) * sample.discounts * self._next_values(sample.next_observations, target)
        values = self.q_net(sample.observations).gather(1, sample.actions.long())
        loss = nn.functional.smooth_l1_loss(values, sample.rewards + bootstrapped)
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.detach()

    def _next_values(self, observations: Tensor, target: Tensor) -> Tensor:
        """Return the target network's value, from [rows, tasks], of the network's best action; [rows, 1]."""
        return target.gather(1, self.q_net(observations).argmax(1, keepdim=True))

    def _set_units(self) -> None:
        """Measure rewards and features on the decisions so far."""
        buffer = self._scaled_buffer
        self._rescale(1 / buffer.spread())
        filled = buffer.buffer_size if buffer.full else buffer.pos
        seen = buffer.to_torch(buffer.observations[:filled]).flatten(0, 1)
        for network in (self.q_net, self.q_net_target):
            assert isinstance(network, SharedQNetwork)
            network.standardise(seen, weight=1.0)

    def _standardise(self, observations: Tensor) -> None:
        """Let the mean and deviation of features follow a minibatch; float32 [rows, width]."""
        assert isinstance(self.q_net, SharedQNetwork)
        self.q_net.standardise(observations)

    def _rescale(self, scale: float) -> None:
        self._scale = self._scaled_buffer.scale = scale

    @property
    def _scaled_buffer(self) -> ScaledReplayBuffer:
        assert isinstance(self.replay_buffer, ScaledReplayBuffer)
        return self.replay_buffer

    def _on_step(self) -> None:
        super()._on_step()
        self.logger.record("rollout/temperature", self.temperature)

    def _own_state(self) -> State:
        return {"temperature": self.temperature, "n_calls": self._n_calls, "scale": self._scale}

    def _own_model(self) -> State:
        return {"temperature": 0.0, "n_calls": 0, "scale": Maybe(0.0)}

    def _load_own_state(self, state: State) -> None:
        self.exploration_rate, self._n_calls = float(state["temperature"]), int(state["n_calls"])
        if state["scale"] is not None:
            self._rescale(float(state["scale"]))


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
