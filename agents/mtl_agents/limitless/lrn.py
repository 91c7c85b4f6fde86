"""LRN: masked PPO with a transformer router as its policy, and the paper's rewards over its batch.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Self

from mtl_agents.base import Blank, load_saved
from mtl_agents.limitless.policy import RouterPolicy
from mtl_agents.limitless.rollout import BonusRolloutBuffer
from mtl_gym.core.arguments import Checked
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.ranges import COUNTS, NOT_NEGATIVE, PART, POSITIVE, SHARES, SIZES, Range
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting
from mtl_gym.integrations.sb3 import as_vec_env

EPISODES = 128
KEYS = ("image", "task", "chosen", "depth")


class LRN(Checked, MaskablePPO):
    """The paper's agent: PPO over valid modules, on rollouts of at least 128 episodes.

    Every time step of an episode earns the episode's final reward plus the bonus of its module (eq. 7). PASS is no
    module and has no bonus.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv` of limitless routing.
        bonus: Weight of the diversity bonus (eq. 6), counted over the episodes of each rollout; None takes what the
            environment was made with. The environment's own running version is turned off.
        lr_decay: The router's learning rate is multiplied with this after every pass over the training data.
        d_model: Width of all embeddings.
        heads: Attention heads.
        feed_forward: Width of the transformer's feed-forward layers.
        seed: Seeds the agent and, with its next reset, the environment. SB3's global seeding is left out.
        **arguments: Of MaskablePPO. Defaults are the paper's: learning rate 1e-4, minibatches of 64, one epoch, gamma
            0.99, lambda 0.95; `n_steps` is such that a rollout holds 128 episodes or more.

    Raises:
        ValueError: If the environment is of another kind, or an argument has a value that is not allowed.

    Source: LRN, sections 4 and 5.1.

    Example:
        >>> agent = LRN("MTLLimitless-Digits-v0", d_model=16, feed_forward=32, n_steps=64, seed=0).learn(64)
        >>> agent.n_steps, agent.bonus
        (64, 1.0)
    """

    ROLE: ClassVar[str] = "learner"
    PAPER: ClassVar[dict[str, Any]] = {"learning_rate": 1e-4, "batch_size": 64, "n_epochs": 1, "device": "cpu"}

    # Arguments of SB3's that it sets itself.
    OWN: ClassVar[frozenset[str]] = frozenset(
        {"policy", "policy_kwargs", "rollout_buffer_class", "rollout_buffer_kwargs"}
    )

    RANGES: ClassVar[Mapping[str, Range]] = {
        "bonus": Range(0, 10),
        "lr_decay": PART,
        **dict.fromkeys(("d_model", "heads", "feed_forward"), SIZES),
        **dict.fromkeys(("n_steps", "batch_size", "n_epochs", "stats_window_size"), COUNTS),
        **dict.fromkeys(("learning_rate", "clip_range", "clip_range_vf", "max_grad_norm", "target_kl"), POSITIVE),
        **dict.fromkeys(("gamma", "gae_lambda"), SHARES),
        **dict.fromkeys(("ent_coef", "vf_coef"), NOT_NEGATIVE),
    }

    def __init__(
        self,
        env: Any,
        *,
        bonus: bool | float | None = None,
        lr_decay: float = 0.97,
        d_model: int = 256,
        heads: int = 4,
        feed_forward: int = 512,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        vec_env = as_vec_env(env)
        check_spaces(vec_env)
        self.lr_decay, self.bonus = lr_decay, _weight(bonus, vec_env)
        self.hyperparameters = {"bonus": self.bonus, "lr_decay": lr_decay, "d_model": d_model, "heads": heads}
        self.hyperparameters |= {"feed_forward": feed_forward, **arguments}
        self.np_random, self.generator = np.random.default_rng(seed), torch.Generator()
        depth = vec_env.observation_space["chosen"].shape[0]  # type: ignore[index]
        policy: dict[str, Any] = {"d_model": d_model, "heads": heads, "feed_forward": feed_forward}
        buffer = {"bonus": self.bonus, "random": self.np_random}
        chosen = self.PAPER | {"n_steps": depth * -(-EPISODES // vec_env.num_envs)} | arguments
        super().__init__(
            RouterPolicy,
            vec_env,
            seed=seed,
            policy_kwargs=policy | {"generator": self.generator},
            rollout_buffer_class=BonusRolloutBuffer,
            rollout_buffer_kwargs=buffer,
            **chosen,
        )
        _silence(vec_env)

    def _setup_model(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(self.np_random.integers(2**63)))
            super()._setup_model()

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the agent's own generators, and the environment's next reset."""
        self.generator.manual_seed(int(self.np_random.integers(2**63)))
        if seed is not None and self.env is not None and not isinstance(self.env, Blank):
            self.env.seed(seed)

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Act in another environment of the same spaces from the next `learn` on."""
        vec_env = as_vec_env(env)
        super().set_env(vec_env, force_reset)
        _silence(vec_env)

    def train(self) -> None:
        """Update the policy, unless no episode has ended yet."""
        if self.rollout_buffer.trained.sum() > 1:  # type: ignore[attr-defined]
            super().train()

    def _update_learning_rate(self, optimizers: Any) -> None:
        super()._update_learning_rate(optimizers)
        assert self.env is not None
        epoch = int(_attribute(self.env, "epoch", 0))
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                group["lr"] *= self.lr_decay**epoch

    def save(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Write the agent to `path`: plain values and tensors, no code."""
        arguments = json.loads(json.dumps(self.hyperparameters | {"seed": self.seed}))
        space: Any = self.observation_space
        modules, depth = int(space["chosen"].nvec[0]) - 1, len(space["chosen"].nvec)
        sizes = {"image": list(space["image"].shape), "tasks": int(space["task"].n), "modules": modules, "depth": depth}
        kinds = _attribute(self.env, "kinds", None) if self.env is not None else None
        state = {"sizes": sizes, "num_envs": self.n_envs, "kinds": None if kinds is None else list(map(int, kinds))}
        checkpoint.save({"agent": "LRN", "arguments": arguments, **state, "state": self.state_dict()}, Path(path))

    def state_dict(self) -> dict[str, Any]:
        """What the future of this agent depends on: tensors and plain values."""
        obs: Any = self._last_obs
        last = None if obs is None else {key: torch.from_numpy(obs[key].copy()) for key in KEYS}
        starts = None if last is None else torch.from_numpy(np.array(self._last_episode_starts))
        return {
            "policy": {key: value.clone() for key, value in self.policy.state_dict().items()},
            "optimizer": self.policy.optimizer.state_dict(),
            "last_obs": last,
            "starts": starts,
            "carried": self.rollout_buffer.state(),  # type: ignore[attr-defined]
            "np_random": self.np_random.bit_generator.state,
            "generator": self.generator.get_state(),
            "counts": {"num_timesteps": self.num_timesteps, "n_updates": self._n_updates},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`.

        Raises:
            CheckpointError: If it does not fit. Nothing is changed then.
        """
        before = self.state_dict()
        checkpoint.load_or_undo(state, self._load_state, lambda: self._load_state(before))

    def _load_state(self, state: dict[str, Any]) -> None:
        last: Any = state["last_obs"]
        self.rollout_buffer.load(None if last is None else state.get("carried"))  # type: ignore[attr-defined]
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        self._last_obs = None if last is None else {key: value.numpy().copy() for key, value in last.items()}
        self._last_episode_starts = None if last is None else state["starts"].numpy().copy()
        self.np_random.bit_generator.state = state["np_random"]
        self.generator.set_state(state["generator"])
        self.num_timesteps, self._n_updates = state["counts"]["num_timesteps"], state["counts"]["n_updates"]

    @classmethod
    def load(cls, path: Any, env: Any = None, *args: Any, **kwargs: Any) -> Self:
        """Read an agent that `save` wrote.

        Args:
            path: The file.
            env: The environment to act in. It may be of another width, and its pool may be longer than the saved one:
                modules that came after start out as the mean of those of their kind, the optimizer anew. None gives
                an agent that can `predict`.
            *args: Unused; there for SB3's signature.
            **kwargs: Unused.

        Raises:
            CheckpointError: If the file is damaged, holds another agent, or one for other inputs, tasks or depths, or
                for a pool that does not begin this one.
        """
        saved = load_saved(path, "LRN")
        vec_env = None if env is None else as_vec_env(env)
        with fitting(path):
            seed = saved["arguments"].pop("seed")
            blank = BlankLimitless(saved["num_envs"], **saved["sizes"])
            agent = cls(blank if vec_env is None else vec_env, **saved["arguments"])
            agent.seed = seed
            agent.load_state_dict(_fitted(saved, agent))
            return agent


class BlankLimitless(Blank):
    """Stands for the environment of an agent that was loaded to predict."""

    def __init__(self, num_envs: int, image: list[int], tasks: int, modules: int, depth: int) -> None:
        space = spaces.Dict(
            image=spaces.Box(0, 1, tuple(image), np.float32),
            task=spaces.Discrete(tasks),
            chosen=spaces.MultiDiscrete([modules + 1] * depth),
            depth=spaces.Discrete(depth),
        )
        super().__init__(num_envs, space, spaces.Discrete(modules + 1))


def check_spaces(env: VecEnv) -> None:
    """Refuse environments of another kind.

    Raises:
        ValueError: If observations lack one of the four parts, or actions are not discrete.
    """
    observation, action = env.observation_space, env.action_space
    known = isinstance(observation, spaces.Dict) and set(KEYS) <= set(observation.spaces)
    if not known or not isinstance(action, spaces.Discrete):
        raise ValueError(
            f"LRN needs a Dict observation with {', '.join(KEYS)} and a Discrete action, as the MTLLimitless "
            f"environments have; this environment has {observation} and {action}."
        )


def _attribute(env: VecEnv, name: str, default: Any) -> Any:
    try:
        return env.get_attr(name)[0]
    except AttributeError:
        return default


def _weight(bonus: bool | float | None, env: VecEnv) -> float:
    if bonus is None:
        bonus = getattr(_attribute(env, "options", None), "bonus", False)
    return float(bonus)


def _silence(env: VecEnv) -> None:
    """Have the environment leave the bonus to the agent."""
    if not isinstance(env, Blank) and _attribute(env, "pay_bonus", None) is not None:
        env.env_method("pay_bonus", False)


def _fitted(saved: dict[str, Any], agent: LRN) -> dict[str, Any]:
    """The saved state, made to fit the environment that `agent` was made for."""
    space: Any = agent.observation_space
    modules, depth = int(space["chosen"].nvec[0]) - 1, len(space["chosen"].nvec)
    here = {"image": list(space["image"].shape), "tasks": int(space["task"].n), "modules": modules, "depth": depth}
    there, state = saved["sizes"], saved["state"]
    if {**here, "modules": 0} != {**there, "modules": 0} or modules < there["modules"]:
        raise CheckpointError(f"The saved agent knows {there}; this environment has {here}.")
    if agent.n_envs != saved["num_envs"]:
        state = state | {"last_obs": None}
    if modules == there["modules"]:
        return state
    assert agent.env is not None
    kinds = np.array(_attribute(agent.env, "kinds", np.zeros(modules)))
    if saved["kinds"] is None or kinds[: there["modules"]].tolist() != saved["kinds"]:
        raise CheckpointError(f"The pool does not begin with the {there['modules']} modules that the agent knows.")
    policy = state["policy"] | {"router.module.weight": _extended(state["policy"]["router.module.weight"], kinds)}
    return state | {"policy": policy, "optimizer": agent.policy.optimizer.state_dict(), "last_obs": None}


def _extended(known: Tensor, kinds: NDArray[np.int64]) -> Tensor:
    """Embeddings of all modules: new ones start as the mean of those of their kind, or of all if it is a new kind."""
    old = kinds[: len(known)]
    new = [known[torch.from_numpy((old == kind) | ~(old == kind).any())].mean(0) for kind in kinds[len(known) :]]
    return torch.stack([*known, *new])
