import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from mtl_gym.families.scheduling.small_texts import small_reviews, small_tagging
from tests.families.scheduling.test_padding import data


def short(tagged):
    """Return texts whose words are int16, as those of files are; a whole text is labelled by whether word 2 occurs."""
    texts = data(tagged)
    splits = {
        name: dataclasses.replace(split, x=split.x.short(), y=split.y if tagged else (split.x == 2).any(1).long())
        for name, split in texts.splits.items()
    }
    return dataclasses.replace(texts, splits=splits)


@pytest.mark.parametrize(("network", "tagged"), [(small_reviews, False), (small_tagging, True)])
def test_small_networks_learn_texts(network, tagged):
    env = gym.make_vec(
        "MTLScheduling-Digits-v0",
        num_envs=2,
        data=short(tagged),
        network=network,
        updates=100,
        reference=None,
        hard_samples=5,
        learning_rate=0.05,
    )
    env.reset(seed=0)
    losses = [env.step(np.full(2, step % 2))[-1]["validation_loss"].mean() for step in range(99)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("network", "tagged"), [(small_reviews, False), (small_tagging, True)])
def test_small_networks_have_gradient_norms_of_each_task(network, tagged):
    options = {"control": "weights", "gradient_norms": True, "updates": 3, "reference": None, "hard_samples": 5}
    env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=2, data=short(tagged), network=network, **options)
    env.reset(seed=0)
    norms = env.step(np.ones((2, 2), np.float32))[-1]["gradient_norm"]
    assert norms.shape == (2, 2) and (norms > 0).all()


def test_texts_without_characters_are_refused_by_the_tagger():
    with pytest.raises(ValueError, match="has no characters"):
        gym.make_vec("MTLScheduling-Digits-v0", data=data(), network=small_tagging)


def test_data_without_texts_are_refused():
    with pytest.raises(ValueError, match="holds no texts"):
        gym.make_vec("MTLScheduling-Digits-v0", network=small_reviews)
