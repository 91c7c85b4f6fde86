import torch

from mtl_gym.families.scheduling.word_windows import WindowEncoder, neighbour_vectors
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
