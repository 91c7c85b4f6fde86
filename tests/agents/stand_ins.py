"""Environments with spaces only."""

import numpy as np
from gymnasium import spaces
from mtl_agents.environments import StandIn


def routing(num_envs, tasks, depth, actions, width=0, agents=None):
    value = spaces.Box(-np.inf, np.inf, (width,), np.float32)
    space = spaces.Dict(value=value, task=spaces.Discrete(tasks), depth=spaces.Discrete(depth))
    if agents is not None:
        space["agent"] = spaces.Discrete(agents + 1)
    return StandIn(num_envs, space, spaces.Discrete(actions))


def scheduling(tasks, runs=1, chooses=False):
    action = spaces.Discrete(tasks) if chooses else spaces.Box(0, 1, (tasks,), np.float32)
    return StandIn(runs, spaces.Box(0, 1, (tasks,), np.float32), action)
