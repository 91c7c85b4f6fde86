"""The smallest environment of every family, and what a user may give it by mistake."""

import gymnasium as gym
import numpy as np
import torch

SMALLEST = {
    "MTLRouting-Digits-v0": {"hidden": 2, "depth": 2, "train_batch": 2},
    "MTLLimitless-Digits-v0": {"filters": 2, "hidden": 2, "train_batch": 2},
    "MTLRecurrent-BrainSeries-v0": {"hidden": 2, "train_batch": 2},
    "MTLScheduling-Digits-v0": {"updates": 4, "reference": None, "hard_samples": 1, "validation_samples": 4},
    "MTLAlignment-Linear-v0": {"iterations": 1, "generations": 2, "final_generations": 0},
}
RAGGED = [[0, 1], [0]]
# Values that some option takes and others do not; numbers that are far too large stand for all that need memory.
HOSTILE = (
    *(None, True, -1, 0, 1.5, float("nan"), float("inf"), -1e308, 2**63, 10**40),
    *("", "text", "1e-3", b"bytes", [], [[]], RAGGED, {}, {"a": 1}, (), 1j, object(), int, len),
    *(np.zeros(3), np.float64("nan"), np.array("text"), torch.zeros(2, 2), torch.tensor(1.0, requires_grad=True)),
)
ACTIONS = (
    *(
        None,
        "0",
        "",
        b"0",
        [],
        [[]],
        RAGGED,
        [None],
        ["a"],
        {},
        {"action": 0},
        {0},
        object(),
        1j,
        -1,
        2**31,
        2**63,
        2**80,
    ),
    *(0.5, float("nan"), float("inf"), np.datetime64("2020-01-01"), np.zeros((2, 3, 4, 5), int), np.array([[0]] * 7)),
    *(torch.tensor([0.5, 0.5], requires_grad=True), torch.tensor([1 + 1j]), torch.zeros(0), range(1000)),
)


def smallest(env_id, num_envs=2, **changes):
    """A batched environment that is made in milliseconds."""
    return gym.make_vec(env_id, num_envs=num_envs, **(SMALLEST[env_id] | changes))


def equal(one, other):
    """Whether two states hold the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one.nan_to_num(), other.nan_to_num()) if one.is_floating_point() else torch.equal(one, other)
    return one == other or one != one
