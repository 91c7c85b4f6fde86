import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from mtl_gym.families.scheduling.word_windows import WindowEncoder, neighbour_vectors, small_tagging
from tests.families.scheduling.test_padding import data


def test_words_with_the_same_neighbours_have_the_same_vector():
    sentences = torch.tensor([[2, 3, 4, 0], [2, 5, 4, 0], [3, 2, 6, 4], [5, 2, 6, 4], [6, 6, 0, 0]])
    vectors = neighbour_vectors(sentences, sentences, width=3)
    torch.testing.assert_close(vectors[3], vectors[5])
    assert not torch.allclose(vectors[3], vectors[6], atol=0.1)


def test_vectors_of_tokens_have_mean_0_and_variance_1_and_that_of_padding_is_0():
    sentences = torch.randint(1, 20, (50, 9), generator=torch.Generator().manual_seed(0))
    sentences[:, 6:] = 0
    vectors = neighbour_vectors(sentences, sentences, width=4)
    tokens = vectors[sentences[sentences != 0]]
    torch.testing.assert_close(tokens.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens.square().mean(0), torch.ones(4))
    assert (vectors[0] == 0).all()


def test_an_encoder_of_few_words_has_finite_features_and_does_not_read_tags():
    encoder = WindowEncoder.of(data(tagged=True), hidden=6)
    x = data(tagged=True).inputs("test", torch.arange(5))
    assert encoder(x).shape == (5, 12, 6) and encoder(x).isfinite().all()
    assert [name for name, _ in encoder.named_parameters()] == ["layer.weight", "layer.bias"]


def test_features_depend_on_two_words_before_and_after():
    encoder = WindowEncoder.of(data(tagged=True))
    x = torch.full((1, 9, 3), 3)
    changed = x.clone()
    changed[0, 4] = 5
    differs = (encoder(x) != encoder(changed)).any(-1)[0]
    assert differs.tolist() == [2 <= place <= 6 for place in range(9)]


def short():
    """Return texts whose words are int16, as those of files are."""
    texts = data(tagged=True)
    splits = {name: dataclasses.replace(split, x=split.x.short()) for name, split in texts.splits.items()}
    return dataclasses.replace(texts, splits=splits)


def test_the_small_tagger_learns():
    options = {"updates": 100, "reference": None, "hard_samples": 5, "learning_rate": 0.05}
    env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=2, data=short(), network=small_tagging, **options)
    env.reset(seed=0)
    losses = [env.step(np.full(2, step % 2))[-1]["validation_loss"].mean() for step in range(99)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_small_tagger_has_gradient_norms_of_each_task():
    options = {"control": "weights", "gradient_norms": True, "updates": 3, "reference": None, "hard_samples": 5}
    env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=2, data=short(), network=small_tagging, **options)
    env.reset(seed=0)
    norms = env.step(np.ones((2, 2), np.float32))[-1]["gradient_norm"]
    assert norms.shape == (2, 2) and (norms > 0).all()


@pytest.mark.parametrize("given", [{"data": data()}, {}])
def test_the_small_tagger_refuses_data_without_characters(given):
    with pytest.raises(ValueError, match=r"has no texts with characters, .* choose data='tagging'"):
        gym.make_vec("MTLScheduling-Digits-v0", network=small_tagging, **given)
