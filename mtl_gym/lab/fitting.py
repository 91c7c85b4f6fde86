"""Agents that fit an environment: those that can be made on it with their default arguments."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

from mtl_gym.core.state.checkpoint import said
from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.agents import agents_by_role
from mtl_gym.lab.protocols import Learner
from mtl_gym.lab.records import RunSettings

logger = logging.getLogger(__name__)


def suits(run: RunSettings) -> bool:
    """Return whether an agent can be made on an environment, with its default arguments.

    Agents of other packages may raise anything on spaces that they do not expect; a warning names errors other than
    ValueError.
    """
    small = replace(run, num_envs=2, agent_kwargs={})
    try:
        small.check()
        small.make_agent(small.make_env())
    except ValueError:
        return False
    except Exception as error:
        logger.warning("%s cannot be made on %s: %s", run.agent, run.env_id, said(error))
        return False
    return True


@cache
def fitting(env_id: str) -> dict[str, list[str]]:
    """Return the names of the agents that fit an environment by role: "learner", "rule", "control"."""
    base = RunSettings(env_id, "", 1)
    roles = agents_by_role(lambda message: None)
    found = {role: [name for name in names if suits(replace(base, agent=name))] for role, names in roles.items()}
    return {role: names for role, names in found.items() if names}


def fitted(run: RunSettings, env: BatchedVecEnv) -> Learner:
    """Return the agent of a run on its environment.

    Raises:
        ValueError: If an argument is invalid, or the agent does not fit; then the message names those that do.
    """
    try:
        return run.make_agent(env)
    except ValueError as error:
        if suits(run):
            raise
        found = "; ".join(f"{role}s {', '.join(names)}" for role, names in fitting(run.env_id).items())
        raise ValueError(f"{error} Agents that fit {run.env_id}: {found}.") from error
