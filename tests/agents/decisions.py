"""Decisions as they come out of finished routes, made by hand."""

import numpy as np
from mtl_agents.routes import Decisions


def decisions(task, choice, returns, depth=None, *, reward=None, last=None, earlier=None, value=None, steps=1):
    task = np.asarray(task)
    return Decisions(
        task=task,
        depth=np.zeros_like(task) if depth is None else np.asarray(depth),
        earlier=np.full((len(task), steps), -1) if earlier is None else np.asarray(earlier),
        value=np.zeros((len(task), 0), np.float32) if value is None else np.asarray(value, np.float32),
        choice=np.asarray(choice),
        reward=np.asarray(returns if reward is None else reward, float),
        returns=np.asarray(returns, float),
        last=np.ones(len(task), bool) if last is None else np.asarray(last),
    )
