"""Hand-made progress of runs, and small scheduling environments."""

import numpy as np

from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.stand_ins import scheduling as blank

__all__ = ["DIGITS", "SMALL", "blank", "decide", "progress", "rows"]

DIGITS = "MTLScheduling-Digits-v0"
SMALL = {"updates": 20, "reference": 0.5, "validation_samples": 20, "minibatch": 4}


def progress(updates=1, **figures):
    """Make progress from figures [tasks] or [runs, tasks]; other figures are NaN, or 0 for `trained`."""
    rows = {name: np.atleast_2d(np.asarray(value, np.float32)) for name, value in figures.items()}
    shape = next(iter(value for name, value in rows.items() if name != "reference")).shape
    nan = np.full(shape, np.nan, np.float32)
    given = dict.fromkeys(("train_loss", "validation_loss", "validation_accuracy", "gradient_norm"), nan)
    given |= {"trained": np.zeros(shape, np.float32), "reference": nan[:1]} | rows
    given["reference"] = given["reference"][0]
    return Progress(**given, updates=np.broadcast_to(updates, shape[0]).astype(np.int64))


def decide(agent, now, state=None):
    """Return actions and state of the agent for runs of the given progress."""
    return agent.predict(np.zeros((len(now.updates), agent.num_tasks), np.float32), state, progress=now)


def rows(num_envs=4, **options):
    return make_vec_env(DIGITS, num_envs, **SMALL | options)
