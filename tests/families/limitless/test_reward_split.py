"""Rewards from held-out samples, through the networks that were built."""

import numpy as np
import pytest
import torch

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import Split
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.testing import CHECKS
from tests.families.limitless.pools import labyrinth, make, valid_actions

PATHS = [[0, 1, 2], [2, 0, 1]]


def contradicted():
    """The labyrinth, in which the held-out labels of task 1 are the other way round."""
    data, pool = labyrinth(PATHS)
    train = data.splits["train"]
    validation = Split(train.x, train.task, torch.where(train.task == 1, 1 - train.y, train.y))
    splits = {"train": train, "validation": validation, "test": train}
    return MultiTaskDataset("contradicted", splits, data.task_names, (("-", "+"),) * 2), pool


def test_the_validation_sample_of_the_task_pays():
    """By hand: the right network answers every sample as its input says, which only task 1's held-out labels deny."""
    data, pool = contradicted()
    env = LimitlessVectorEnv(
        8, data=data, network=pool, max_depth=3, reward="correct", bonus=False, reward_split="validation"
    )
    obs, _ = env.reset(seed=0)
    task = obs["task"]
    assert set(task) == {0, 1}
    for depth in range(3):
        _, reward, _, _, info = env.step(np.array(PATHS)[task, depth] + 3 * depth)
    assert reward.tolist() == np.where(task == 0, 1.0, -1.0).tolist()
    assert info["final_info"]["correct"].all()  # of the training samples


def test_weights_train_on_the_training_samples_to_the_bit():
    trained = []
    for split in ("train", "validation"):
        env = make(4, reward_split=split, train_batch=4, max_depth=3, bonus=False)
        env.reset(seed=0)
        rng, earned = np.random.default_rng(0), []
        while env.updates < 1:
            earned.append(env.step(valid_actions(env, rng))[1])
        trained.append((dict(env.network.state_dict()), np.concatenate(earned)))
    (own, paid), (held_out, paid_held_out) = trained
    assert all(torch.equal(value, held_out[name]) for name, value in own.items())
    assert len(paid) == len(paid_held_out) and (paid != paid_held_out).any()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_holds(check):
    check("MTLLimitless-Paths-v0", {"reward_split": "validation", "tasks": 2})


def test_test_samples_never_pay():
    with pytest.raises(ValueError, match=r"reward_split='test' .* 'train' or 'validation': test samples are for eval"):
        make(reward_split="test")
