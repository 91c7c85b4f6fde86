"""Router of MT-RMN: policy networks with binary decisions, trained by the gradient of a softmax.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Self, Unpack

from mtl_agents.base import AgentArguments, Parts
from mtl_agents.environments import behind
from mtl_agents.recurrent.controls import Bits, ConnectionAgent
from mtl_gym.core.nn.adam import MaskedAdam
from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.ranges import POSITIVE, Range
from mtl_gym.core.ranges import SIZES as WIDTHS
from mtl_gym.core.rows import Rows, State, clone
from mtl_gym.core.spaces import part_of
from mtl_gym.core.state.moments import OptimizerState
from mtl_gym.core.state.structure import Numbers, TorchRandomState, weights_like
from mtl_gym.families.recurrent.env import RecurrentVectorEnv
from mtl_gym.families.recurrent.network import GatesOf
from mtl_gym.families.recurrent.policies import Decided, gumbel
from mtl_gym.integrations.sb3 import EnvLike


class StraightThroughRouter(ConnectionAgent):
    """Gumbel straight-through policy networks, trained together with the environment's network.

    Policy networks score the outputs of the previous layer for a sub-encoder, and those of the sub-encoders for a task.
    Decisions are made layer by layer, which requires the environment's network. The environment's updates train the
    policy networks as well: decisions are kept, with the gradient of the softmax.

    Pending episodes from another policy train with a noise-free softmax gradient.

    Args:
        env: As for `Agent`, with a recurrent routing environment.
        temperature: Initial tau, which is halved after every pass over the training data.
        final_temperature: Lower bound of tau.
        hidden: Width of the hidden layer of the policy networks.
        learning_rate: Learning rate of Adam, which decays as that of the environment.
        log_odds: Initial log odds of a connection, added to the scores of untrained policy networks.
        per_connection: Whether each connection has a policy network of its own; False for one per sub-encoder and one
            per task, as in the paper.
        **arguments: Keyword arguments of `Agent`.

    Attributes:
        PAPER: The paper's settings, where the defaults differ.

    Raises:
        ValueError: If an argument is invalid, or the network has no connections.

    Source: MT-RMN, eqs. 2, 3 and 6 to 9; "we set its value as 100 initially and divided the value by 2 at each epoch".
    The environment adds the sparsity penalties (eqs. 10 and 11).

    Deviation: `final_temperature` bounds tau, which in the paper leaves the range of float32 after 150 epochs.

    Deviation: by default, a policy network scores one connection. The paper's networks score all sources alike, by
    their outputs: if these are distributed alike, as in MTLRecurrent-Switching, no decision can tell its source.

    Deviation: the default learning rate is 30 times the paper's, for runs of a hundred updates rather than thousands.

    Example:
        >>> agent = StraightThroughRouter("MTLRecurrent-BrainSeries-v0", seed=0).learn(28)
        >>> agent.tau
        100.0
    """

    SIZES: ClassVar[str] = "tasks, steps, connections and units"
    PAPER: ClassVar[Mapping[str, Any]] = {"per_connection": False, "learning_rate": 1e-3}
    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("temperature", "final_temperature", "learning_rate"), POSITIVE),
        "hidden": WIDTHS,
    }

    batched: RecurrentVectorEnv

    def __init__(
        self,
        env: EnvLike,
        *,
        temperature: float = 100.0,
        final_temperature: float = 1e-3,
        hidden: int = 16,
        learning_rate: float = 0.03,
        log_odds: float = 0.0,
        per_connection: bool = True,
        **arguments: Unpack[AgentArguments],
    ) -> None:
        if final_temperature > temperature:
            raise ValueError(f"{temperature=} must be at least {final_temperature=}.")
        self.temperature, self.final_temperature = temperature, final_temperature
        self.hidden, self.learning_rate, self.log_odds = hidden, learning_rate, log_odds
        self.per_connection = per_connection
        super().__init__(env, **arguments)
        with seeded(int(self.np_random.integers(2**31))):
            self.policies = self.batched.policy_networks(hidden, log_odds, per_connection)
        self.optimizer = MaskedAdam(self.policies.parameters(), learning_rate)
        self.generator = torch.Generator(self.batched.device).manual_seed(int(self.np_random.integers(2**31)))
        self._forget()

    def _hyperparameters(self) -> dict[str, object]:
        temperatures: dict[str, object] = {"temperature": self.temperature, "final_temperature": self.final_temperature}
        policies: dict[str, object] = {"hidden": self.hidden, "per_connection": self.per_connection}
        return temperatures | policies | {"learning_rate": self.learning_rate, "log_odds": self.log_odds}

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        units = part_of(env.observation_space, "units", spaces.Box)
        return *super()._sizes_of(env), 0 if units is None else int(units.shape[0])

    def _check_env(self, env: VecEnv) -> None:
        super()._check_env(env)
        batched = _batched(env)
        if self.sizes is not None and batched.scored != self.batched.scored:
            raise ValueError(
                f"The agent fits units of widths {self.batched.scored} (sub-network, task-specific LSTM); this "
                f"environment has {batched.scored}."
            )
        self.batched = batched

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Use another environment of the same sizes for the next `learn`."""
        super().set_env(env, force_reset)
        self._forget()

    def _forget(self) -> None:
        """Reset the noise of unfinished episodes."""
        self._noise = torch.zeros(self.n_envs, self.steps, self.batched.layout.size, 2, device=self.batched.device)

    @property
    def tau(self) -> float:
        """Current temperature."""
        return max(self.final_temperature, self.temperature * 0.5 ** int(self.batched.epoch))

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn as `Agent.learn`, while the environment's updates also train the policy networks."""
        self.batched.router = self
        try:
            return super().learn(
                total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
            )
        finally:
            self.batched.router = None

    def predict(
        self,
        observation: Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Bits, object]:
        """Choose connections, using the sub-encoders of the environment's network.

        Args:
            observation: One observation or a batch of observations.
            state: Returned unchanged.
            episode_start: Unused.
            deterministic: Decide without Gumbel noise.

        Returns:
            int8 [rows, connections] (or [connections] for one observation), and `state`.
        """
        single = np.ndim(observation["task"]) == 0
        batch = {key: np.asarray(value)[None] for key, value in observation.items()} if single else observation
        shape = len(batch["task"]), self.batched.layout.size, 2
        gates = self._decide(batch, None if deterministic else gumbel(shape, self.generator))
        return gates[0] if single else gates, state

    def _decide(self, obs: Parts, noise: Tensor | None) -> Bits:
        batched = self.batched
        units = torch.from_numpy(obs["units"]).to(batched.device)
        shared, memory, own = units.split(list(batched.parts.values()), 1)
        groups = Dispatch.of(obs["task"], self.num_tasks, batched.device)
        with torch.no_grad():
            on = batched.network.choose(shared, own, memory, groups, Decided(self.policies, noise))
        return on.to(torch.int8).cpu().numpy()

    def _act(self, obs: Parts) -> Bits:
        noise = gumbel((self.n_envs, self.batched.layout.size, 2), self.generator)
        self._noise[np.arange(self.n_envs), obs["step"]] = noise
        return self._decide(obs, noise)

    def ended(self, rows: Rows) -> Tensor:
        """Return the noise of the decisions, as `GradientRouter.ended`; float32 [n, steps, connections, 2]."""
        noise = self._noise[rows].clone()
        self._noise[rows] = 0
        return noise

    def gates(self, actions: Tensor, kept: Sequence[tuple[int, Tensor | None]]) -> GatesOf:
        """Return the decisions with their gradient, as `GradientRouter.gates`."""
        others = self._noise.new_zeros(1, *self._noise.shape[1:])
        noise = torch.cat([others.expand(count, -1, -1, -1) if own is None else own for count, own in kept])
        noise, taken = noise[:, : actions.shape[1]].flatten(0, 1), actions.flatten(0, 1)
        tau = self.tau
        if self.batched.transferring:
            self.policies.encoder.requires_grad_(False)
        return lambda at: Decided(self.policies, noise[at], taken[at], tau)

    def descend(self) -> None:
        """Take an optimizer step, as `GradientRouter.descend`."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * self.batched.options.lr_decay ** int(self.batched.epoch)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> State:
        """Return the complete state of the agent as tensors and plain values."""
        networks = {
            "policies": clone(dict(self.policies.state_dict())),
            "optimizer": clone(self.optimizer.state_dict()),
        }
        noise = {"noise": self._noise.clone(), "generator": self.generator.get_state()}
        return super().state_dict() | networks | noise

    def _model(self) -> State:
        networks = {"policies": weights_like(self.policies), "optimizer": OptimizerState(self.optimizer)}
        noise = {"noise": Numbers(self._noise, free=1), "generator": TorchRandomState(self.generator)}
        return super()._model() | networks | noise

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self.policies.load_state_dict(state["policies"])
        self.optimizer.load_state_dict(clone(state["optimizer"]))
        self.generator.set_state(state["generator"].cpu())
        self._forget()
        if len(state["noise"]) == self.n_envs:
            self._noise = state["noise"].to(self.batched.device, copy=True)

    @classmethod
    def load(cls, path: str | Path, env: EnvLike | None = None) -> Self:
        """Load an agent written by `save`, as `Agent.load`, for a given environment.

        Raises:
            ValueError: If `env` is None.
            CheckpointError: If the file is damaged, contains another agent, or does not match the sizes of `env`.
        """
        if env is None:
            raise ValueError(
                "StraightThroughRouter needs the sub-encoders of an environment's network: call load(path, env)."
            )
        return super().load(path, env)


def _batched(env: VecEnv) -> RecurrentVectorEnv:
    """Return the batched environment behind `env`.

    Raises:
        ValueError: If there is not exactly one recurrent environment behind `env`.
    """
    base = behind(env)
    if not isinstance(base, RecurrentVectorEnv) or base.num_envs != env.num_envs:
        raise ValueError(
            f"StraightThroughRouter needs exactly one MTLRecurrent environment; {env} has none or several. Make it "
            "with gym.make_vec(id, num_envs=...)."
        )
    return base
