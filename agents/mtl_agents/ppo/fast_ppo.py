"""FastPPO: proximal policy optimisation of many runs as one computation.

Source: Schulman et al. 2017, with the implementation details of Huang et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Unpack

from mtl_agents.base import Agent, AgentArguments, Parts
from mtl_agents.ppo.actions import action_kind
from mtl_agents.ppo.features import Features
from mtl_agents.ppo.learner import Learner, Settings
from mtl_agents.ppo.rollout import Rollout
from mtl_agents.runs import rows_in
from mtl_agents.sb3 import collect_callbacks
from mtl_gym.core.ranges import COUNTS, NOT_NEGATIVE, POSITIVE, SHARES, Range
from mtl_gym.core.rows import Array, Flags, Info, State
from mtl_gym.integrations.sb3 import EnvLike, Infos, has_masks, masks_of

# Decisions of a run in a rollout, as in SB3's PPO.
ROLLOUT = 2048


class FastPPO(Agent[Array | Parts, object]):
    """PPO as in SB3, with masks, for one run or for many runs at once, each with weights and draws of its own.

    The rows of an environment with several runs (`env.runs`) are blocks, one for each run. Run r is the agent that
    `FastPPO(env_of_that_run, seed=seed + r)` would be; `solo(r)` returns it. They are equal to the bit with one thread
    of torch where rows, `batch_size` and `width` are multiples of 16, else within float32's precision of each sum.

    Decisions of `learn` are those of each run. Updates take place after whole rollouts; steps after the last one wait
    for the next `learn`.

    Masked choices have probability 0 while acting and learning, as in sb3-contrib's MaskablePPO.

    Source: Schulman et al. 2017, algorithm 1.

    Deviation: defaults are those of SB3's PPO but for `n_steps` and `batch_size`, which suit an environment that is a
    batch and are those of the agent `ppo`. Not in it are SB3's convolutional network, clipping of the value loss, early
    stopping by `target_kl`, schedules, and state-dependent exploration.

    Args:
        env: As for `Agent`, with Discrete, MultiDiscrete, MultiBinary or Box actions, and observations of these kinds
            or a Dict of them.
        learning_rate: Learning rate of Adam.
        n_steps: Steps of all rows between two updates; None for as many as make 2,048 decisions of a run, or fewer if
            `learn` is to make fewer.
        batch_size: Decisions of a run in a minibatch; the last one may be smaller.
        n_epochs: Passes over a rollout.
        gamma: Discount factor.
        gae_lambda: Lambda of generalised advantage estimation.
        clip_range: Clipping range of the probability ratio.
        ent_coef: Coefficient of the entropy bonus.
        vf_coef: Coefficient of the value loss.
        max_grad_norm: Largest norm of a run's gradient.
        width: Units of each of the two hidden layers.
        device: Device of networks and rollouts.
        **arguments: Arguments of `Agent`.

    Attributes:
        learner: Networks of all runs and their optimizer.

    Raises:
        ValueError: If spaces are of other kinds, or an argument is invalid.

    Example:
        >>> agent = FastPPO("MTLRouting-Digits-v0", n_steps=30, batch_size=15, seed=0).learn(60)
        >>> agent.runs, agent.learner.updates
        (1, 40)
    """

    STACKS: ClassVar[bool] = True
    SIZES: ClassVar[str] = "features, and choices of each number of an action (0: a real number)"
    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("learning_rate", "clip_range", "max_grad_norm"), POSITIVE),
        **dict.fromkeys(("n_steps", "batch_size", "n_epochs"), COUNTS),
        **dict.fromkeys(("gamma", "gae_lambda"), SHARES),
        **dict.fromkeys(("ent_coef", "vf_coef"), NOT_NEGATIVE),
        "width": Range(1, 10_000),
    }

    def __init__(
        self,
        env: EnvLike,
        *,
        learning_rate: float = 3e-4,
        n_steps: int | None = None,
        batch_size: int = 256,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        width: int = 64,
        device: str = "cpu",
        **arguments: Unpack[AgentArguments],
    ) -> None:
        self.n_steps, self.device = n_steps, device
        self.settings = Settings(
            learning_rate=learning_rate,
            batch_size=batch_size,
            n_epochs=n_epochs,
            gamma=gamma,
            gae_lambda=gae_lambda,
            clip_range=clip_range,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            width=width,
        )
        super().__init__(env, **arguments)
        generators = [torch.Generator().manual_seed(int(random.integers(2**63))) for random in self.randoms]
        self.learner = Learner(self.features.width, self.kind, self.settings, generators, device)
        self._rollout = self._new_rollout(self._steps_per_update(ROLLOUT))

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes and as many runs from the next `learn` on."""
        super().set_env(env, force_reset)
        self.features, self.kind = Features(self.observation_space), action_kind(self.action_space)

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        return Features(env.observation_space).width, *action_kind(env.action_space).sizes

    def _steps_per_update(self, decisions: int) -> int:
        """Return the steps of a rollout, for a training of so many decisions of each run."""
        return self.n_steps or max(1, min(ROLLOUT, decisions) * self.runs // self.n_envs)

    def _new_rollout(self, steps: int) -> Rollout:
        shape = steps, self.runs, self.n_envs // self.runs
        return Rollout(shape, self.features.width, self.kind, self.device)

    def _hyperparameters(self) -> dict[str, object]:
        return asdict(self.settings) | {"n_steps": self.n_steps, "device": self.device}

    def predict(
        self,
        observation: Array | Parts,
        state: object = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Flags | None = None,
    ) -> tuple[Array, object]:
        """Choose actions.

        Args:
            observation: One observation or a batch of them; with several runs all rows of their environment.
            state: Returned unchanged.
            episode_start: Unused.
            deterministic: Choose the likeliest action instead of sampling.
            action_masks: Valid choices of all numbers of an action, two of a binary one; bool [rows, choices], or None
                if all are valid.

        Raises:
            ValueError: If there are several runs and other rows.
        """
        one = rows_in(self._of_runs(observation), self.observation_space) is None
        batch = _as_batch(observation) if one else observation
        masks = None if action_masks is None else np.atleast_2d(action_masks)
        actions = self.learner.choose(self._features(batch), self._by_run(masks), deterministic)
        chosen = self.kind.to_env(actions.flatten(0, 1).cpu().numpy())
        return (chosen[0] if one else chosen), state

    def _features(self, observation: Array | Parts) -> Tensor:
        """Return features of a batch; float32 [runs, rows, inputs]."""
        return self.features(observation, self.device).unflatten(0, (self.runs, -1))

    def _by_run(self, masks: Flags | None) -> Tensor | None:
        """Return masks of all rows by run, or None if everything is valid."""
        if masks is None or self.kind.deviations or masks.all():
            return None
        return torch.as_tensor(masks, device=self.device).unflatten(0, (self.runs, -1))

    def _act(self, obs: Array | Parts) -> Array:
        masks = self._by_run(masks_of(self.env) if has_masks(self.env) else None)
        self._decisions = self.learner.decide(self._features(obs), masks)
        return self.kind.to_env(self._decisions.actions.flatten(0, 1).cpu().numpy())

    def _begin(self, total_timesteps: int, callback: MaybeCallback, anew: bool, progress_bar: bool) -> BaseCallback:
        """Begin as all agents do; where the environment is reset, the rollout begins anew."""
        if anew or self._last_obs is None:
            self._rollout = self._new_rollout(self._steps_per_update(total_timesteps))
        calls = [Steps(self._learn_from), collect_callbacks(callback, progress_bar)]
        return super()._begin(total_timesteps, calls, anew, progress_bar=False)

    def _learn_from(self, rewards: Array, dones: Flags, infos: list[Info]) -> None:
        """Keep a step of all rows; update the networks if that completes the rollout."""
        paid = torch.as_tensor(rewards, dtype=torch.float32, device=self.device)
        paid = paid + self._bootstrapped(dones, infos)
        self._rollout.add(self._decisions, paid, torch.as_tensor(dones, device=self.device))
        if self._rollout.full:
            self._train()

    def _bootstrapped(self, dones: Flags, infos: list[Info]) -> Tensor | float:
        """Return discounted values of the last observations of truncated episodes, else 0; float32 [rows]."""
        if isinstance(infos, Infos) and not infos.transition.truncated.any():
            return 0.0
        cut = [row for row in np.flatnonzero(dones).tolist() if infos[row].get("TimeLimit.truncated", False)]
        if not cut:
            return 0.0
        rows = torch.tensor(cut, device=self.device)
        seen = self.features(_joined([infos[row]["terminal_observation"] for row in cut]), self.device)
        features = seen.new_zeros(self.n_envs, self.features.width).index_copy_(0, rows, seen)
        values = self.learner.values(features.unflatten(0, (self.runs, -1))).flatten()
        return self.settings.gamma * torch.zeros_like(values).index_copy_(0, rows, values[rows])

    def _train(self) -> None:
        assert self._last_obs is not None
        figures = self.learner.train(self._rollout, self.learner.values(self._features(self._last_obs)))
        self._rollout.clear()
        for name, value in figures.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self.learner.updates, exclude="tensorboard")

    def _state_of_run(self, run: int) -> State:
        state, one = super()._state_of_run(run), slice(run, run + 1)
        optimizer = dict(state["optimizer"])
        optimizer["state"] = {
            place: {name: value[one] if value.ndim else value for name, value in moments.items()}
            for place, moments in optimizer["state"].items()
        }
        rollout = {name: None if array is None else array[:, one] for name, array in state["rollout"].items()}
        own = {"weights": state["weights"][one], "generators": state["generators"][one], "rollout": rollout}
        return state | own | {"optimizer": optimizer}

    def state_dict(self) -> State:
        """Return everything that determines the agent's future, as tensors and plain values."""
        rollout = {"rollout": self._rollout.state_dict(), "rollout_steps": self._rollout.steps}
        return super().state_dict() | self.learner.state_dict() | rollout

    def _model(self) -> State:
        rollout = {"rollout": self._rollout.model(), "rollout_steps": 0}
        return super()._model() | self.learner.model() | rollout

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self.learner.load_state_dict(state)
        self._rollout = self._new_rollout(int(state["rollout_steps"]))
        self._rollout.load_state_dict(state["rollout"])

    def without_rows(self, state: State) -> State:
        """Return a saved state without episodes under way, for another number of rows."""
        own = self.state_dict()
        return super().without_rows(state) | {name: own[name] for name in ("rollout", "rollout_steps")}


class Steps(BaseCallback):
    """Callback that passes each step on with its infos, which `Agent._record` does not receive."""

    def __init__(self, receive: Callable[[Array, Flags, list[Info]], None]) -> None:
        super().__init__()
        self._receive = receive

    def _on_step(self) -> bool:
        self._receive(*(self.locals[name] for name in ("rewards", "dones", "infos")))
        return True


def _as_batch(observation: Array | Parts) -> Array | Parts:
    """Return one observation as a batch of one."""
    if isinstance(observation, Mapping):
        return {name: np.asarray(part)[None] for name, part in observation.items()}
    return np.asarray(observation)[None]


def _joined(observations: list[Any]) -> Array | Parts:
    """Return observations as a batch."""
    if isinstance(observations[0], Mapping):
        return {name: np.stack([one[name] for one in observations]) for name in observations[0]}
    return np.stack(observations)
