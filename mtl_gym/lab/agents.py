"""Agents by name: those that packages announce, and every algorithm of Stable-Baselines3 and sb3-contrib.

A package announces an agent through the entry-point group `mtl_gym.agents`; it needs no more than a constructor that
takes the environment (an SB3 `VecEnv`) and `seed`, `learn(total_timesteps, callback)`, and `predict(observation, state,
episode_start, deterministic)`. With `save(path)` and `load(path, env)` its runs can be evaluated again later, and if
`learn` calls its SB3 callbacks they show progress and validation curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from mtl_gym.core.arguments import refuse_wrong
from mtl_gym.core.rows import Arguments
from mtl_gym.core.validation import did_you_mean
from mtl_gym.lab.protocols import AgentFactory, ChoosesOptions, HasRole, HidesArguments, Learner, NeedsOptions
from mtl_gym.registration import registered_agents

GROUP = "mtl_gym.agents"

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
# Arguments that a run gives its agent, and those that `make_sb3` gives.
OF_A_RUN, OF_SB3 = frozenset({"env", "seed"}), frozenset({"policy", "device"})


class UnknownAgentError(ValueError):
    """No agent has that name."""


def agent_names() -> list[str]:
    """Return all names that `find_agent` knows, sorted."""
    return sorted(_locations().keys() | SB3.keys())


def _locations() -> dict[str, EntryPoint]:
    """Return where agents are, by name: those of registered families, and those that packages announce."""
    registered = {name: EntryPoint(name, location, GROUP) for name, location in registered_agents().items()}
    return registered | {point.name: point for point in entry_points(group=GROUP)}


def find_agent(name: str) -> AgentFactory:
    """The agent of that name: called with (env, seed=...), it gives an object with `learn` and `predict`.

    Raises:
        UnknownAgentError: If no agent has that name.
    """
    known = _locations()
    if name in known:
        factory: AgentFactory = known[name].load()
        return factory
    if name in SB3:
        return partial(make_sb3, name)
    names = agent_names()
    raise UnknownAgentError(f"There is no agent {name!r}.{did_you_mean(name, names)} Known: {', '.join(names)}.")


def role_of(name: str) -> str:
    """Return the role of an agent: "learner", "rule" or "control".

    Agents declare it as the class attribute `ROLE`; algorithms of SB3, and agents that declare none, are learners.

    Raises:
        UnknownAgentError: If no agent has that name.
    """
    factory = find_agent(name)
    return factory.ROLE if isinstance(factory, HasRole) else "learner"


def options_for(name: str, env_id: str) -> Arguments:
    """Return the options that an agent needs of an environment of that id: its own answer, or its `ENV_KWARGS`."""
    agent = find_agent(name)
    if isinstance(agent, ChoosesOptions):
        return dict(agent.options_for(env_id))
    return dict(agent.ENV_KWARGS) if isinstance(agent, NeedsOptions) else {}


def check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    """Refuse keyword arguments that a run cannot give the agent of that name.

    Raises:
        UnknownAgentError: If no agent has that name.
        ValueError: If the agent does not take one of them or its value, or gets it without being told.
    """
    factory = _algorithm(name) if name in SB3 else find_agent(name)
    own: frozenset[str] = factory.OWN if isinstance(factory, HidesArguments) else frozenset()
    given = OF_A_RUN | (OF_SB3 if name in SB3 else own)
    for argument in given.intersection(arguments):
        raise ValueError(f"Agent {name!r} is given {argument!r} already: leave it out.")
    refuse_wrong(f"Agent {name!r}", factory, arguments, given)


def _algorithm(name: str) -> type:
    module, algorithm = SB3[name]
    return getattr(import_module(module), algorithm)


def make_sb3(
    name: str, env: VecEnv, *, seed: int | None = None, training: int = ROLLOUT, **arguments: object
) -> Learner:
    """An SB3 or sb3-contrib algorithm on `env`, with its own defaults but for the size of rollouts.

    SB3's defaults are for one environment. Behind a batch they would fill rollouts `num_envs` times as large and learn
    as many times less often, so on-policy algorithms collect 2,048 decisions in all, as PPO does on one environment
    (A2C keeps its 5 steps), or what a power of two has of the `training` decisions that there will be, if these are
    fewer. Algorithms on the CPU: their networks are small.

    Raises:
        ValueError: If the algorithm cannot act in such spaces.
    """
    _check_spaces(name, env)
    recurrent = name == "recurrent-ppo"
    policy = "MultiInput" if isinstance(env.observation_space, spaces.Dict) else "Mlp"
    if name in ("ppo", "maskable-ppo", "trpo", "recurrent-ppo"):
        rollout = 1 << max(1, min(ROLLOUT, training).bit_length() - 1)
        steps = max(1, rollout // env.num_envs)
        arguments = {"n_steps": steps, "batch_size": _largest_divisor(steps * env.num_envs, 256)} | arguments
    return _algorithm(name)(f"{policy}{'Lstm' * recurrent}Policy", env, seed=seed, device="cpu", **arguments)


def _check_spaces(name: str, env: VecEnv) -> None:
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
