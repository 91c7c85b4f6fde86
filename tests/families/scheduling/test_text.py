import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from mtl_gym.core.nn.weights import renewed
from mtl_gym.families.scheduling import crf
from mtl_gym.families.scheduling.lstm import LSTM
from mtl_gym.families.scheduling.text import (
    CRFHead,
    ReviewEncoder,
    SpellingEncoder,
    TaggingEncoder,
    TokenEmbedding,
    longest,
)
from mtl_gym.families.scheduling.word_windows import WindowEncoder

RUNS, ROWS, STEPS, CHARACTERS = 3, 4, 6, 5


def texts(*shape, steps=STEPS, known=9, seed=0):
    """Draw random token ids, padded after random lengths; int64 [*shape, steps]."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, steps + 1, (*shape, 1), generator=generator)
    return torch.randint(1, known, (*shape, steps), generator=generator) * (torch.arange(steps) < lengths)


def spelled(*shape, seed=0):
    """Draw random words and their characters; int64 [*shape, steps, 1 + characters]."""
    words = texts(*shape, seed=seed)
    letters = texts(*shape, STEPS, steps=CHARACTERS, seed=seed + 1) * (words != 0).unsqueeze(-1)
    return torch.cat([words.unsqueeze(-1), letters], -1)


def review_encoder(**changes):
    return ReviewEncoder(9, embedding=4, hidden=5, **changes)


def tagging_encoder(**changes):
    return TaggingEncoder(9, 9, embedding=4, hidden=5, **changes)


def window_encoder():
    words, endings, kinds = (
        torch.randn(9, 4, generator=torch.Generator().manual_seed(seed)).index_fill(0, torch.tensor(0), 0)
        for seed in range(3)
    )
    return WindowEncoder(words, torch.arange(9**3) % 9, endings, kinds, hidden=5)


ENCODERS = pytest.mark.parametrize(("make", "draw"), [(review_encoder, texts), (tagging_encoder, spelled)])
ALL_ENCODERS = pytest.mark.parametrize(
    ("make", "draw"),
    [(review_encoder, texts), (tagging_encoder, spelled), (window_encoder, spelled)],
)


def loss_of(module):
    def loss(parameters, x):
        return functional_call(module, parameters, (x,)).square().sum()

    return loss


def test_the_lstm_equals_torchs():
    ours, theirs = LSTM(3, 5), nn.LSTM(3, 5, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 3)
    assert torch.equal(ours(x), theirs(x)[0])


def test_the_lstm_starts_uniform_with_an_open_forget_gate():
    lstm = LSTM(30, 20)
    bound = math.sqrt(6 / 50)
    assert bound * 0.95 < lstm.weight_ih_l0.abs().max() <= bound
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).view(4, 20)  # input, forget, cell, output
    assert bias.mean(1).tolist() == [0, 1, 0, 0]


@ALL_ENCODERS
@pytest.mark.parametrize("inside", [False, True])
def test_stacked_runs_equal_single_ones_with_gradients_inside_or_outside_vmap(make, draw, inside):
    modules = [make() for _ in range(RUNS)]
    x = draw(RUNS, ROWS)
    stacked, _ = stack_module_state(modules)
    loss = loss_of(modules[0])
    if inside:
        found = vmap(grad(loss))(stacked, x)
    else:
        found = dict(
            zip(stacked, torch.autograd.grad(vmap(loss)(stacked, x).sum(), list(stacked.values())), strict=True)
        )
    for run, module in enumerate(modules):
        module(x[run]).square().sum().backward()
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(found[name][run], parameter.grad)


@ALL_ENCODERS
def test_runs_can_share_inputs_or_parameters(make, draw):
    module, x = make(), draw(RUNS, ROWS)
    alone = torch.stack([module(rows) for rows in x])
    shared = vmap(lambda rows: functional_call(module, dict(module.named_parameters()), (rows,)))(x)
    torch.testing.assert_close(shared, alone)
    stacked, _ = stack_module_state([module] * 2)
    twice = vmap(lambda parameters: functional_call(module, parameters, (x[0],)))(stacked)
    torch.testing.assert_close(twice, alone[:1].expand(2, *alone[0].shape))


@ALL_ENCODERS
def test_nested_runs_and_gradients_of_all_runs_at_once(make, draw):
    module, x = make(), draw(RUNS, ROWS)
    parameters = dict(module.named_parameters())
    nested = vmap(vmap(lambda rows: functional_call(module, parameters, (rows.unsqueeze(0),))[0]))(x)
    torch.testing.assert_close(nested, torch.stack([module(rows) for rows in x]))
    outside = grad(lambda parameters: vmap(loss_of(module), in_dims=(None, 0))(parameters, x).sum())(parameters)
    total = torch.autograd.grad(sum(module(rows).square().sum() for rows in x), list(module.parameters()))
    torch.testing.assert_close(list(outside.values()), list(total))


def test_second_derivatives_are_rejected_with_a_message():
    lstm, x = LSTM(2, 2), torch.randn(1, 3, 2)

    def slope(x):
        return grad(lambda x: lstm(x).sum())(x).sum()

    with pytest.raises(NotImplementedError, match="first derivatives only"):
        grad(slope)(x)


@ALL_ENCODERS
def test_outputs_do_not_depend_on_padding_or_other_rows(make, draw):
    module, x = make(), draw(ROWS)
    words = x if x.ndim == 2 else x[..., 0]
    whole = module(x)
    for row in range(ROWS):
        length = longest(words[row : row + 1])
        alone = module(x[row : row + 1, :length])[0]
        torch.testing.assert_close(alone, whole[row] if x.ndim == 2 else whole[row, :length])


def test_the_features_of_a_text_are_the_state_at_its_last_word():
    module = review_encoder()
    x = torch.tensor([[3, 4, 5, 0, 0]])
    states = module.lstm(module.words(x))
    assert torch.equal(module(x)[0], states[0, 2])


def test_both_directions_equal_torchs():
    module, x = tagging_encoder(), spelled(1)
    x = x[:, : longest(x[..., 0])]
    theirs = nn.LSTM(34, 5, batch_first=True, bidirectional=True)
    weights = dict(module.ahead.state_dict())
    weights |= {f"{name}_reverse": value for name, value in module.back.state_dict().items()}
    theirs.load_state_dict(weights)
    tokens = torch.cat([module.words(x[..., 0]), module.spelling(x[..., 1:])], -1)
    torch.testing.assert_close(module(x), theirs(tokens)[0])


def test_spellings_are_a_convolution_and_its_maximum_over_the_word():
    module = SpellingEncoder(9, embedding=3, filters=4)
    word = torch.tensor([2, 5, 7])
    kernel = module.filters.weight.view(4, 3, 3).transpose(1, 2)  # filters, width, place
    expected = nn.functional.conv1d(module.characters(word).T, kernel, module.filters.bias, padding=1).amax(1)
    torch.testing.assert_close(module(word[None, None])[0, 0], expected)


def test_longer_padding_after_a_word_has_no_effect():
    module = SpellingEncoder(9)
    with torch.no_grad():
        module.characters.weight[0] = 0
    short, long = torch.tensor([[[2, 5, 7]]]), torch.tensor([[[2, 5, 7, 0, 0]]])
    torch.testing.assert_close(module(short), module(long))


def test_padding_has_zero_spelling_features_and_finite_gradients():
    module = SpellingEncoder(9)
    found = module(torch.tensor([[[2, 5], [0, 0]]]))
    found.sum().backward()
    assert (found[0, 1] == 0).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@ENCODERS
def test_fresh_weights_differ_but_given_vectors_are_kept(make, draw):
    vectors = torch.randn(9, 4)
    template = make(vectors=vectors)
    twin = renewed(template)
    assert torch.equal(twin.words.weight, vectors)
    changed = [not torch.equal(a, b) for a, b in zip(template.parameters(), twin.parameters(), strict=True)]
    assert sum(changed) >= 2


def test_vectors_of_the_wrong_shape_are_rejected():
    with pytest.raises(ValueError, match=r"vectors has shape \[3, 4\].*\[9, 4\]"):
        review_encoder(vectors=torch.zeros(3, 4))


def test_embeddings_start_uniform():
    weight = TokenEmbedding(1000, 12).weight
    assert 0.49 < weight.abs().max() <= 0.5


@ENCODERS
def test_dropout_runs_under_vmap_in_training_only(make, draw):
    module, x = make(dropout=0.5), draw(1, ROWS).expand(2, -1, *[-1] * (draw(1, ROWS).ndim - 2))
    parameters = dict(module.named_parameters())

    def run():
        return vmap(lambda rows: functional_call(module, parameters, (rows,)), randomness="different")(x)

    first, second = run()
    assert not torch.equal(first, second)
    module.eval()
    torch.testing.assert_close(*run())


def test_a_tagger_of_stacked_runs_learns_its_tags():
    torch.manual_seed(0)
    x = spelled(ROWS)
    tags, mask = x[..., 0] % 3, x[..., 0] != 0
    runs = [nn.ModuleDict({"encoder": tagging_encoder(), "head": CRFHead(10, 3)}) for _ in range(2)]
    parameters, _ = stack_module_state(runs)

    class Tagger(nn.Module):
        def __init__(self, parts):
            super().__init__()
            self.encoder, self.head = parts["encoder"], parts["head"]

        def forward(self, x):
            emissions, transitions = self.head(self.encoder(x))
            return emissions, transitions.expand(len(x), -1, -1)

    tagger = Tagger(runs[0])

    def loss(parameters):
        return -crf.log_likelihood(*functional_call(tagger, parameters, (x,)), tags, mask).mean()

    optimizer = torch.optim.Adam(parameters.values(), 0.05)
    for _ in range(30):
        optimizer.zero_grad()
        vmap(loss)(parameters).sum().backward()
        optimizer.step()
    found = vmap(lambda parameters: crf.viterbi(*functional_call(tagger, parameters, (x,)), mask))(parameters)
    assert (found == torch.where(mask, tags, -1)).all()
