"""Access to the environment behind SB3's interface: its options, its interfaces, or a stand-in for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, cast

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.interfaces import Interface
from mtl_gym.core.options import shallow_dict
from mtl_gym.core.rows import AnySpace
from mtl_gym.core.spaces import plain_space, space_of
from mtl_gym.core.wrappers import base_of, is_harmless
from mtl_gym.integrations.sb3 import BatchedVecEnv

T = TypeVar("T")


class StandIn(VecEnv):
    """Stand-in for the environment of an agent that is loaded only to predict: it has spaces, but no steps.

    Args:
        num_envs: Number of rows.
        observation_space: Observation space of one row.
        action_space: Action space of one row.
        runs: Number of runs side by side.
    """

    def __init__(self, num_envs: int, observation_space: AnySpace, action_space: AnySpace, runs: int = 1) -> None:
        self.num_envs, self.observation_space, self.action_space = num_envs, observation_space, action_space
        self.runs = runs
        self.render_mode = None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> StandIn:
        """Make a stand-in from a dictionary of `plain_spaces`."""
        return cls(
            int(plain["num_envs"]), space_of(plain["observation"]), space_of(plain["action"]), int(plain.get("runs", 1))
        )

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise ValueError("This agent was loaded without an environment: give it one with set_env(env).")

    reset = step_async = step_wait = close = set_attr = env_method = env_is_wrapped = _refuse

    def get_attr(self, attr_name: str, indices: object = None) -> NoReturn:
        """Raise `AttributeError`, because there is no environment."""
        raise AttributeError(attr_name)


def plain_spaces(env: VecEnv, runs: int = 1) -> dict[str, Any]:
    """Return an environment's numbers of rows and runs and its spaces as a JSON-able dictionary."""
    parts = {"observation": plain_space(env.observation_space), "action": plain_space(env.action_space)}
    return {"num_envs": env.num_envs, "runs": runs, **parts}


def behind(env: VecEnv) -> MultiTaskVectorEnv | None:
    """Return the (first) batched environment of this package behind `env`, or None."""
    return next(iter(all_behind(env)), None)


def all_behind(env: VecEnv) -> list[MultiTaskVectorEnv]:
    """Return all batched environments behind `env`, such as those of a `DummyVecEnv`; none if one is another's."""
    while isinstance(env, VecEnvWrapper):
        env = env.venv
    if isinstance(env, StandIn):
        return []
    try:
        return [base_of(env)] if isinstance(env, BatchedVecEnv) else list(map(base_of, env.get_attr("unwrapped")))
    except TypeError:
        return []


def runs_of(env: VecEnv) -> int:
    """Return the number of runs of the environment behind `env`; 1 for environments of other packages."""
    if isinstance(env, StandIn):
        return env.runs
    base = behind(env)
    return 1 if base is None else base.runs


def solo_env(env: VecEnv, run: int, runs: int) -> VecEnv:
    """Return a copy of the environment of one of several runs; a stand-in for environments of other packages.

    Raises:
        ValueError: If it has a wrapper that changes observations, actions or rewards, of which there is no copy.
    """
    base, around = behind(env), env
    while isinstance(around, VecEnvWrapper):
        if not is_harmless(around):
            raise ValueError(
                f"There is no copy of {type(around).__name__} for a single run: give the agent an environment of one "
                f"run with this wrapper, solo({run}, env)."
            )
        around = around.venv
    if base is None or base.runs != runs:
        return StandIn(env.num_envs // runs, env.observation_space, env.action_space)
    return BatchedVecEnv(base.solo(run))


def options_of(env: VecEnv) -> Mapping[str, Any]:
    """Return the options of the environment behind `env` by name; empty for environments of other packages."""
    base = behind(env)
    return {} if base is None else shallow_dict(base.options)


def declares(env: VecEnv, wanted: Interface[object]) -> bool:
    """Return whether the environment behind `env` declares an interface."""
    base = behind(env)
    return base is not None and wanted in base.INTERFACES


def interface(env: VecEnv, wanted: Interface[T], who: str) -> T:
    """Return the environment behind `env`, typed as an interface that it declares.

    Args:
        env: The environment.
        wanted: The interface.
        who: Name of the agent, for the error message.

    Raises:
        ValueError: If the environment does not declare the interface.
    """
    return _declared(env, behind(env), wanted, who)


def interfaces(env: VecEnv, wanted: Interface[T], who: str) -> list[T]:
    """Return all environments behind `env`, as `interface` returns the first; their rows follow one another."""
    return [_declared(env, base, wanted, who) for base in all_behind(env)] or [interface(env, wanted, who)]


def _declared(env: VecEnv, base: MultiTaskVectorEnv | None, wanted: Interface[T], who: str) -> T:
    if base is None or wanted not in base.INTERFACES:
        name = type(env if base is None else base).__name__
        there = sorted(one.name for one in base.INTERFACES) if base is not None else []
        raise ValueError(
            f"{who} needs an environment that {wanted.summary}; {name} declares {', '.join(there) or 'no interface'}. "
            f"Choose an environment whose INTERFACES have {wanted.name}, or another agent."
        )
    return cast(T, base)
