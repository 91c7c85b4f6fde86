"""One name for an agent of every family, where each family has a class of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mtl_agents.alignment.controls import RandomAlignment
from mtl_agents.base import Agent
from mtl_agents.recurrent.controls import RandomConnections, RandomFixedConnections
from mtl_agents.routing.controls import Random, RandomFixed
from mtl_agents.scheduling.rules import RandomSchedule
from mtl_gym.core.arguments import refuse_wrong
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.integrations.sb3 import as_vec_env


class ByFamily:
    """Makes the one of several agents that fits the environment.

    Args:
        *kinds: Agents, each of another family.

    Example:
        >>> random("MTLRouting-Digits-v0"), random("MTLScheduling-Digits-v0")
        (Random(), RandomSchedule())
    """

    ROLE: ClassVar[str] = "control"

    def __init__(self, *kinds: type[Agent]) -> None:
        self.kinds = kinds

    def __call__(self, env: Any, **arguments: Any) -> Agent:
        """The agent in that environment, made with those arguments.

        Raises:
            ValueError: If no agent fits it, or that which does takes no such argument.
        """
        vec_env = as_vec_env(env)
        fitting = [kind for kind in self.kinds if kind.fits(vec_env)]
        if not fitting:
            names = " and ".join(kind.__name__ for kind in self.kinds)
            raise ValueError(f"{names} are of other families than this environment: {vec_env.observation_space}.")
        refuse_wrong(fitting[0].__name__, fitting[0], arguments, frozenset({"env"}))
        return fitting[0](vec_env, **arguments)

    def load(self, path: str | Path, env: Any = None) -> Agent:
        """As `Agent.load`, of whichever agent the file holds.

        Raises:
            CheckpointError: If the file is damaged, or holds none of them.
        """
        name, kinds = checkpoint.load(path).get("agent"), {kind.__name__: kind for kind in self.kinds}
        if name not in kinds:
            raise CheckpointError(f"{path} holds {name or 'no agent'}, none of {', '.join(kinds)}.")
        return kinds[name].load(path, env)


random = ByFamily(Random, RandomConnections, RandomSchedule, RandomAlignment)
random_fixed = ByFamily(RandomFixed, RandomFixedConnections)
