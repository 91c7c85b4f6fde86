"""Agents by name: those that packages announce, and every algorithm of Stable-Baselines3 and sb3-contrib.

A package announces an agent through the entry-point group `mtl_gym.agents`; it needs no more than a constructor that
takes the environment (an SB3 `VecEnv`) and `seed`, `learn(total_timesteps, callback)`, and `predict(observation, state,
episode_start, deterministic)`. With `save(path)` and `load(path, env)` its runs can be evaluated again later, and if
`learn` calls its SB3 callbacks they show progress and validation curves.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeAlias

from gymnasium import spaces

GROUP = "mtl_gym.agents"
AgentFactory: TypeAlias = Callable[..., Any]

SB3: dict[str, tuple[str, str]] = {
    "a2c": ("stable_baselines3", "A2C"),
    "ddpg": ("stable_baselines3", "DDPG"),
    "dqn": ("stable_baselines3", "DQN"),
    "ppo": ("stable_baselines3", "PPO"),
    "sac": ("stable_baselines3", "SAC"),
    "td3": ("stable_baselines3", "TD3"),
    "ars": ("sb3_contrib", "ARS"),
    "crossq": ("sb3_contrib", "CrossQ"),
    "maskable-ppo": ("sb3_contrib", "MaskablePPO"),
    "qr-dqn": ("sb3_contrib", "QRDQN"),
    "recurrent-ppo": ("sb3_contrib", "RecurrentPPO"),
    "tqc": ("sb3_contrib", "TQC"),
    "trpo": ("sb3_contrib", "TRPO"),
}
ROLLOUT = 2048


CONTINUOUS = ("crossq", "ddpg", "sac", "td3", "tqc")
DISCRETE = ("dqn", "qr-dqn")


class UnknownAgentError(ValueError):
    """No agent has that name."""


def agent_names() -> list[str]:
    """All names that `find_agent` knows, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)} | set(SB3))


def find_agent(name: str) -> AgentFactory:
    """The agent of that name: called with (env, seed=...), it gives an object with `learn` and `predict`.

    Raises:
        UnknownAgentError: If no agent has that name.
    """
    announced = {point.name: point for point in entry_points(group=GROUP)}
    if name in announced:
        return announced[name].load()
    if name in SB3:
        return partial(make_sb3, name)
    known = agent_names()
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownAgentError(f"There is no agent {name!r}.{hint} Known: {', '.join(known)}.")


def make_sb3(name: str, env: Any, *, seed: int | None = None, **arguments: Any) -> Any:
    """An SB3 or sb3-contrib algorithm on `env`, with its own defaults but for the size of rollouts.

    SB3's defaults are for one environment. Behind a batch they would fill rollouts `num_envs` times as large and learn
    as many times less often, so on-policy algorithms collect 2,048 decisions in all, as PPO does on one environment
    (A2C keeps its 5 steps). Algorithms on the CPU: their networks are small.
    """
    _check_spaces(name, env)
    algorithm = getattr(import_module(SB3[name][0]), SB3[name][1])
    recurrent = name == "recurrent-ppo"
    policy = "MultiInput" if isinstance(env.observation_space, spaces.Dict) else "Mlp"
    if name in ("ppo", "maskable-ppo", "trpo", "recurrent-ppo"):
        steps = max(1, ROLLOUT // env.num_envs)
        arguments = {"n_steps": steps, "batch_size": _largest_divisor(steps * env.num_envs, 256)} | arguments
    return algorithm(f"{policy}{'Lstm' * recurrent}Policy", env, seed=seed, device="cpu", **arguments)


def _check_spaces(name: str, env: Any) -> None:
    """Refuse what SB3 would refuse with an assertion."""
    action, observation = env.action_space, env.observation_space
    needs = {**dict.fromkeys(CONTINUOUS, spaces.Box), **dict.fromkeys(DISCRETE, spaces.Discrete)}.get(name)
    if needs is not None and not isinstance(action, needs):
        raise ValueError(f"{name!r} chooses actions in a {needs.__name__} space only; this environment has {action}.")
    if name in ("ars", "crossq") and isinstance(observation, spaces.Dict):
        raise ValueError(
            f"{name!r} takes flat observations only; this environment has {observation}: behind Gymnasium's "
            "FlattenObservation it can be used from Python."
        )


def _largest_divisor(number: int, limit: int) -> int:
    return max(size for size in range(1, min(number, limit) + 1) if number % size == 0)
