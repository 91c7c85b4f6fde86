"""Lookup of agents by name: agents of installed packages, and the algorithms of Stable-Baselines3 and sb3-contrib.

A package registers an agent through the entry-point group `mtl_gym.agents`. The agent needs a constructor that takes
the environment (an SB3 `VecEnv`) and `seed`, `learn(total_timesteps, callback)`, and `predict(observation, state,
episode_start, deterministic)`. With `save(path)` and `load(path, env)` its finished runs can be evaluated again; if
`learn` calls its SB3 callbacks, its runs have progress and validation curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from mtl_gym.core.arguments import refuse_wrong, required_by
from mtl_gym.core.rows import Arguments
from mtl_gym.core.state.checkpoint import said
from mtl_gym.core.validation import did_you_mean
from mtl_gym.integrations.sb3 import DECISIONS_PER_STEP
from mtl_gym.lab.protocols import AgentFactory, ChoosesOptions, HasRole, HidesArguments, Learner, NeedsOptions
from mtl_gym.registration import AGENTS, SB3, load_location, registered_agents

ROLLOUT = 2048


CONTINUOUS = ("crossq", "ddpg", "sac", "td3", "tqc")
DISCRETE = ("dqn", "qr-dqn")
MASKED, RECURRENT = "maskable-ppo", "recurrent-ppo"
# Arguments that a run passes to its agent, and further ones that `make_sb3` passes.
OF_A_RUN, OF_SB3 = frozenset({"env", "seed"}), frozenset({"policy", "device"})


class UnknownAgentError(ValueError):
    """An agent name that is not registered."""


def agent_names() -> list[str]:
    """Return all agent names, sorted."""
    return sorted(_locations().keys() | SB3.keys())


def _locations() -> dict[str, EntryPoint]:
    """Return entry points of agents by name, from registered families and installed packages."""
    registered = {name: EntryPoint(name, location, AGENTS) for name, location in registered_agents().items()}
    return registered | {point.name: point for point in entry_points(group=AGENTS)}


def find_agent(name: str) -> AgentFactory:
    """Return the factory of an agent: called with (env, seed=...), it returns an object with `learn` and `predict`.

    Raises:
        UnknownAgentError: If no agent has that name.
        ImportError: If the location of the agent does not exist.
    """
    known = _locations()
    if name in known:
        return cast(AgentFactory, load_location(known[name].value, f"The agent {name!r}"))
    if name in SB3:
        return partial(make_sb3, name)
    near = did_you_mean(name, agent_names())
    raise UnknownAgentError(
        f"There is no agent {name!r}.{near} `mtl-gym list ENV` shows those that fit an environment."
    )


def role_of(name: str) -> str:
    """Return the role of an agent: "learner", "rule" or "control".

    Agents declare it as the class attribute `ROLE`; algorithms of SB3, and agents that declare none, are learners.

    Raises:
        UnknownAgentError: If no agent has that name.
    """
    factory = find_agent(name)
    return factory.ROLE if isinstance(factory, HasRole) else "learner"


def agents_by_role(skip: Callable[[str], object]) -> dict[str, list[str]]:
    """Return agent names by role, for "learner", "rule" and "control".

    Args:
        skip: Receives a message for each agent of another package that cannot be imported.
    """
    names: dict[str, list[str]] = {"learner": [], "rule": [], "control": []}
    for name in agent_names():
        role = _role_or_none(name, skip)
        if role is not None:
            names.setdefault(role, []).append(name)
    return names


def _role_or_none(name: str, skip: Callable[[str], object]) -> str | None:
    try:
        return role_of(name)
    except Exception as error:  # the code of another package
        skip(f"Agent {name!r} is left out ({said(error)}): repair or uninstall its package.")
        return None


def options_for(name: str, env_id: str) -> Arguments:
    """Return the options that an agent requires of an environment, from its `options_for` or its `ENV_KWARGS`."""
    agent = find_agent(name)
    if isinstance(agent, ChoosesOptions):
        return dict(agent.options_for(env_id))
    return dict(agent.ENV_KWARGS) if isinstance(agent, NeedsOptions) else {}


def check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    """Refuse keyword arguments that a run cannot pass to an agent.

    Raises:
        UnknownAgentError: If no agent has that name.
        ValueError: If an argument is unknown or missing, has an invalid value, or is set by the run itself.
    """
    factory = _algorithm(name) if name in SB3 else find_agent(name)
    own: frozenset[str] = factory.OWN if isinstance(factory, HidesArguments) else frozenset()
    given = OF_A_RUN | (OF_SB3 if name in SB3 else own)
    for argument in given.intersection(arguments):
        raise ValueError(f"Agent {name!r} receives {argument!r} from the run: leave it out.")
    refuse_wrong(f"Agent {name!r}", factory, arguments, given)
    missing = [argument for argument in needed_by(name) if argument not in arguments]
    if missing:
        raise ValueError(
            f"Agent {name!r} needs {', '.join(missing)}: give it as a keyword argument of the agent (agent_kwargs)."
        )


def needed_by(name: str) -> list[str]:
    """Return the keyword arguments without which an agent cannot be made; none for algorithms of SB3."""
    required = [] if name in SB3 else required_by(find_agent(name))
    return [argument for argument in required if argument not in OF_A_RUN]


def _algorithm(name: str) -> type:
    module, algorithm = SB3[name]
    return getattr(import_module(module), algorithm)


def make_sb3(
    name: str, env: VecEnv, *, seed: int | None = None, training: int = ROLLOUT, **arguments: object
) -> Learner:
    """Return an SB3 or sb3-contrib algorithm on `env` with its default arguments, except for the size of updates.

    SB3's defaults suit one environment. With a batch, rollouts would be `num_envs` times as large and updates as many
    times rarer. On-policy algorithms therefore collect 2,048 decisions over all rows, as PPO does on one environment,
    or the largest power of two up to `training` if that is smaller. A2C keeps its 5 steps. DQN and QR-DQN keep their
    one gradient step per 4 decisions. Algorithms run on the CPU, because their networks are small.

    Args:
        name: Name of the algorithm.
        env: The environment.
        seed: Seed of the algorithm.
        training: Number of decisions of the whole training.
        **arguments: Further arguments of the algorithm.

    Raises:
        ValueError: If the algorithm does not support the action or observation space.
    """
    _check_spaces(name, env)
    if name in ("ppo", "maskable-ppo", "trpo", RECURRENT):
        rollout = 1 << max(1, min(ROLLOUT, training).bit_length() - 1)
        steps = max(1, rollout // env.num_envs)
        arguments = {"n_steps": steps, "batch_size": _largest_divisor(steps * env.num_envs, 256)} | arguments
    if name in DISCRETE:
        rows = env.num_envs
        share = {"train_freq": max(1, DECISIONS_PER_STEP // rows), "gradient_steps": max(1, rows // DECISIONS_PER_STEP)}
        arguments = share | arguments
    return _algorithm(name)(_policy(name, env), env, seed=seed, device="cpu", **arguments)


def _policy(name: str, env: VecEnv) -> str | type:
    inputs = "MultiInput" if isinstance(env.observation_space, spaces.Dict) else "Mlp"
    if name != RECURRENT:
        return f"{inputs}Policy"
    policy: type = getattr(import_module("mtl_gym.integrations.recurrent_policies"), f"{inputs}LstmPolicy")
    return policy


def fits(name: str, env: VecEnv) -> bool:
    """Return whether an algorithm of `make_sb3` supports the spaces of an environment."""
    try:
        _check_spaces(name, env)
    except ValueError:
        return False
    return True


def _check_spaces(name: str, env: VecEnv) -> None:
    """Refuse spaces for which SB3 would raise an assertion error."""
    action, observation = env.action_space, env.observation_space
    needs = {**dict.fromkeys(CONTINUOUS, spaces.Box), **dict.fromkeys(DISCRETE, spaces.Discrete)}.get(name)
    if name == MASKED and isinstance(action, spaces.Box):
        raise ValueError(f"{name!r} chooses actions in discrete spaces only; this environment has {action}.")
    if needs is not None and not isinstance(action, needs):
        raise ValueError(f"{name!r} chooses actions in a {needs.__name__} space only; this environment has {action}.")
    if name in ("ars", "crossq") and isinstance(observation, spaces.Dict):
        raise ValueError(
            f"{name!r} takes flat observations only; this environment has {observation}: from Python, wrap it in "
            "Gymnasium's FlattenObservation."
        )


def _largest_divisor(number: int, limit: int) -> int:
    return max(size for size in range(1, min(number, limit) + 1) if number % size == 0)
