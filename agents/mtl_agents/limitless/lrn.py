"""LRN: masked PPO with a transformer router as policy and rewards computed over each batch.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.optim import Optimizer

from mtl_agents.environments import behind, declares, options_of
from mtl_agents.limitless.policy import RouterPolicy
from mtl_agents.limitless.rollout import BonusRolloutBuffer
from mtl_agents.sb3 import SB3Agent
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.interfaces import POOL
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.ranges import COUNTS, NOT_NEGATIVE, PART, POSITIVE, SHARES, SIZES, Range
from mtl_gym.core.rows import State
from mtl_gym.core.spaces import part_of
from mtl_gym.core.state.structure import Many, Maybe, Numbers, TorchRandomState, Unneeded
from mtl_gym.integrations.sb3 import EnvLike, as_vec_env

EPISODES = 128
KEYS = ("image", "task", "chosen", "depth")


class LRN(SB3Agent, MaskablePPO):
    """Agent of the paper: PPO over valid modules, on rollouts of at least 128 episodes.

    Every time step earns the final reward of its episode plus the bonus of its module (eq. 7). PASS earns no bonus.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv` of limitless routing.
        bonus: Weight of the diversity bonus (eq. 6), counted over the episodes of each rollout; None for the weight
            of the environment. The running bonus of the environment is turned off.
        lr_decay: Factor of the router's learning rate after every pass over the training data.
        d_model: Width of all embeddings.
        heads: Number of attention heads.
        feed_forward: Width of the transformer's feed-forward layers.
        seed: Seed of the agent and of the environment's next reset; global generators are not seeded.
        **arguments: Keyword arguments of MaskablePPO. Defaults are those of `DEFAULTS`, and gamma 0.99, lambda 0.95;
            `n_steps` is chosen so that a rollout holds 128 episodes or more.

    Attributes:
        PAPER: Arguments of the paper: `LRN(env, **LRN.PAPER)`.
        DEFAULTS: Defaults of the keyword arguments of MaskablePPO.

    Raises:
        ValueError: If the environment is not limitless routing, or an argument is invalid.

    Source: LRN, sections 4 and 5.1.

    Deviation: the defaults are a smaller transformer, a higher learning rate, two epochs and an entropy bonus. With
    them digits leave chance within an epoch; the paper trains for 100.

    Example:
        >>> agent = LRN("MTLLimitless-Digits-v0", d_model=16, feed_forward=32, n_steps=64, seed=0).learn(64)
        >>> agent.n_steps, agent.bonus
        (64, 1.0)
    """

    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-3,
        "batch_size": 128,
        "n_epochs": 2,
        "ent_coef": 0.05,
        "device": "cpu",
    }
    PAPER: ClassVar[Mapping[str, Any]] = {
        "d_model": 256,
        "heads": 4,
        "feed_forward": 512,
        "learning_rate": 1e-4,
        "batch_size": 64,
        "n_epochs": 1,
        "ent_coef": 0.0,
    }

    # Kinds of the modules of the saved pool, for an agent that has no environment to ask.
    _kinds_in_file: list[int] | None = None
    # SB3 arguments that LRN sets itself.
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
        env: EnvLike,
        *,
        bonus: bool | float | None = None,
        lr_decay: float = 0.97,
        d_model: int = 64,
        heads: int = 4,
        feed_forward: int = 128,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        vec_env = as_vec_env(env)
        check_spaces(vec_env)
        self.lr_decay, self.bonus = lr_decay, _weight(bonus, vec_env)
        network = {"d_model": d_model, "heads": heads, "feed_forward": feed_forward}
        self.hyperparameters = {"bonus": self.bonus, "lr_decay": lr_decay, **network, **arguments}
        self.np_random, self.generator = np.random.default_rng(seed), torch.Generator()
        buffer = {"bonus": self.bonus, "random": self.np_random}
        depth = pool_sizes(vec_env)["depth"]
        chosen = {**self.DEFAULTS, "n_steps": depth * -(-EPISODES // vec_env.num_envs), **arguments}
        with seeded(int(self.np_random.integers(2**63))):
            super().__init__(
                RouterPolicy,
                vec_env,
                seed=seed,
                policy_kwargs={**network, "generator": self.generator},
                rollout_buffer_class=BonusRolloutBuffer,
                rollout_buffer_kwargs=buffer,
                **chosen,
            )
        _silence(vec_env)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed the generator of actions and the environment's next reset."""
        self.generator.manual_seed(int(self.np_random.integers(2**63)))
        super().set_random_seed(seed)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Use another environment of the same spaces for the next `learn`."""
        super().set_env(env, force_reset)
        _silence(self._vec_env())

    def train(self) -> None:
        """Update the policy if the rollout has more than one step of ended episodes."""
        if self._rollout.trained.sum() > 1:
            super().train()

    @property
    def _rollout(self) -> BonusRolloutBuffer:
        assert isinstance(self.rollout_buffer, BonusRolloutBuffer)
        return self.rollout_buffer

    def _update_learning_rate(self, optimizers: list[Optimizer] | Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        base = behind(self._vec_env())
        epoch = 0 if base is None else int(base.epoch)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                group["lr"] *= self.lr_decay**epoch

    def _own_state(self) -> State:
        starts = None if self._last_obs is None else torch.from_numpy(np.array(self._last_episode_starts))
        return {
            "starts": starts,
            "carried": self._rollout.state(),
            "generator": self.generator.get_state(),
            "kinds": _kinds(self._vec_env()) or self._kinds_in_file,
        }

    def _own_model(self) -> State:
        starts = Numbers(torch.zeros(self.n_envs, dtype=torch.bool), free=1)
        random = {"generator": TorchRandomState(self.generator)}
        return {"starts": Maybe(starts), "carried": Unneeded(Maybe({})), "kinds": Maybe(Many(0)), **random}

    def _load_own_state(self, state: State) -> None:
        under_way = state["last_obs"] is not None
        if under_way and (state["starts"] is None or len(state["starts"]) != self.n_envs):
            raise CheckpointError("what is observed and where episodes start are of different numbers of rows")
        self._kinds_in_file = state["kinds"]
        self._rollout.load(state.get("carried") if under_way else None)
        self._last_episode_starts = state["starts"].numpy().copy() if under_way else None
        self.generator.set_state(state["generator"])

    @classmethod
    def _check_known(cls, there: VecEnv, here: VecEnv) -> None:
        check_spaces(here)
        known, sizes = pool_sizes(there), pool_sizes(here)
        if {**sizes, "modules": 0} != {**known, "modules": 0} or sizes["modules"] < known["modules"]:
            raise CheckpointError(f"The saved agent fits {known}; this environment has {sizes}.")

    def fitted(self, state: State, there: VecEnv) -> State:
        """Return a saved state adapted to this environment, whose pool may extend the saved one.

        Embeddings of new modules start as the mean of those of their kind, and the optimizer is reset.
        """
        state, known = super().fitted(state, there), pool_sizes(there)["modules"]
        if known == pool_sizes(self._vec_env())["modules"]:
            return state
        kinds = _kinds(self._vec_env())
        if kinds is None or state["kinds"] is None or kinds[:known] != state["kinds"]:
            raise CheckpointError(f"The pool does not begin with the {known} modules of the saved agent.")
        weights = {"router.module.weight": _extended(state["policy"]["router.module.weight"], np.array(kinds))}
        anew = {"optimizer": self.policy.optimizer.state_dict(), "last_obs": None}
        return state | anew | {"policy": state["policy"] | weights}


def check_spaces(env: VecEnv) -> None:
    """Check that an environment has the spaces of limitless routing.

    Raises:
        ValueError: If observations lack one of `KEYS`, or actions are not discrete.
    """
    observation, action = env.observation_space, env.action_space
    known = isinstance(observation, spaces.Dict) and set(KEYS) <= set(observation.spaces)
    if not known or not isinstance(action, spaces.Discrete):
        raise ValueError(
            f"LRN needs a Dict observation with {', '.join(KEYS)} and a Discrete action; this environment has "
            f"{observation} and {action}. Use an MTLLimitless environment."
        )


def pool_sizes(env: VecEnv) -> dict[str, Any]:
    """Return the image shape and the numbers of tasks, modules and decisions, from checked spaces."""
    image, task = (part_of(env.observation_space, *part) for part in (("image", spaces.Box), ("task", spaces.Discrete)))
    chosen = part_of(env.observation_space, "chosen", spaces.MultiDiscrete)
    assert image is not None and isinstance(task, spaces.Discrete) and chosen is not None
    sizes = {"tasks": int(task.n), "modules": int(chosen.nvec[0]) - 1, "depth": len(chosen.nvec)}
    return {"image": list(image.shape), **sizes}


def _kinds(env: VecEnv) -> list[int] | None:
    """Return the kind of each module of the environment's pool; None without a pool."""
    return list(map(int, env.get_attr("kinds")[0])) if declares(env, POOL) else None


def _weight(bonus: bool | float | None, env: VecEnv) -> float:
    return float(options_of(env).get("bonus", False) if bonus is None else bonus)


def _silence(env: VecEnv) -> None:
    """Turn off the running bonus of the environment."""
    if declares(env, POOL):
        env.env_method("pay_bonus", False)


def _extended(known: Tensor, kinds: NDArray[np.int64]) -> Tensor:
    """Return embeddings of all modules; new ones are the mean over their kind, or over all for a new kind."""
    old = kinds[: len(known)]
    new = [known[torch.from_numpy((old == kind) | ~(old == kind).any())].mean(0) for kind in kinds[len(known) :]]
    return torch.stack([*known, *new])
