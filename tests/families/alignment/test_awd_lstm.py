"""AWD-LSTM: dropout of weights, words and inputs, tied word vectors, and generated weights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_gym.data import SPLITS, TaskCollection, TaskData
from mtl_gym.families.alignment.awd_lstm import AWDLSTM, Dropouts, narrow, paper, small
from mtl_gym.families.alignment.env import AlignmentVectorEnv
from mtl_gym.families.alignment.joint import Form, JointModel

NONE = Dropouts(words=0, inputs=0, hidden=0, outputs=0, recurrent=0)
TOKENS = torch.arange(10).view(2, 5)


def model(**changes: float) -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(10, 4, 8, dropouts=Dropouts(**{**vars(NONE), **changes}))


def test_without_dropout_it_is_a_stack_of_torchs_lstms():
    net = model()
    x = functional.embedding(TOKENS, net.decoder.weight)
    for layer in net.layers:
        x = layer(x)[0]
    assert torch.allclose(net(TOKENS), net.decoder(x), atol=1e-6)


def test_with_all_dropout_it_computes_what_the_authors_program_computes():
    """Written after their `RNNModel.forward`, with an LSTM in single steps."""
    net, rates = AWDLSTM(10, 4, 8), Dropouts()
    cells = [nn.LSTMCell(layer.input_size, layer.hidden_size) for layer in net.layers]
    torch.manual_seed(1)
    found = net(TOKENS)
    torch.manual_seed(1)

    def kept(rate, *shape):
        return torch.empty(shape).bernoulli_(1 - rate) / (1 - rate)

    x = functional.embedding(TOKENS, net.decoder.weight * kept(rates.words, 10, 1)) * kept(rates.inputs, 2, 1, 4)
    for layer, cell, rate in zip(net.layers, cells, (rates.hidden, rates.hidden, rates.outputs), strict=True):
        units, states = layer.hidden_size, []
        dropped = layer.weight_hh_l0 * kept(rates.recurrent, 4 * units, units)
        weights = (layer.weight_ih_l0, dropped, layer.bias_ih_l0, layer.bias_hh_l0)
        cell.load_state_dict(dict(zip(cell.state_dict(), weights, strict=True)))
        state = torch.zeros(2, units), torch.zeros(2, units)
        for step in range(TOKENS.shape[1]):
            state = cell(x[:, step], state)
            states.append(state[0])
        x = torch.stack(states, 1) * kept(rate, 2, 1, units)
    assert torch.allclose(found, net.decoder(x), atol=1e-6)


@pytest.mark.parametrize("name", ["words", "inputs", "hidden", "outputs", "recurrent"])
def test_each_dropout_acts_in_training_alone(name):
    net = model(**{name: 0.5})
    assert not torch.equal(net(TOKENS), net(TOKENS))
    net.eval()
    assert torch.equal(net(TOKENS), net(TOKENS))


def test_a_dropped_word_is_dropped_at_every_place():
    net = model(words=0.5)
    found = net._embedded(torch.tensor([[1, 2, 1], [3, 2, 1]]))
    assert torch.equal(found[0, 0], found[0, 2]) and torch.equal(found[0, 0], found[1, 2])
    vectors = net.decoder.weight
    assert all(
        (row == 0).all() or torch.allclose(row, 2 * vectors[n]) for n, row in zip((1, 2), found[0], strict=False)
    )


def test_a_locked_mask_is_the_same_at_all_steps_and_keeps_the_mean():
    masked = model()._locked(torch.ones(3, 4, 200), 0.25)
    assert torch.equal(masked[:, 0], masked[:, 3])
    assert masked.mean().item() == pytest.approx(1, abs=0.1)


def test_the_papers_model_has_the_weights_of_its_table():
    data = TaskCollection("words", [TaskData("text", "classification", dict.fromkeys(SPLITS, (TOKENS, TOKENS)), 10)])
    (net,) = paper(SimpleNamespace(data=data))
    assert sum(p.numel() for p in net.layers.parameters() if p.ndim == 2) == pytest.approx(19.8e6, rel=2e-3)
    assert all(layer.hidden_size % 16 == 0 for layer in net.layers)


def test_all_matrices_are_generated_unless_the_decoder_is_kept():
    net = model().eval()
    joint = JointModel([net], Form((4, 4), 2))
    assert torch.allclose(joint.eval()(0, TOKENS), net(TOKENS), atol=1e-5)
    blocks, _ = joint.coverage(0)
    assert blocks["decoder.weight"] == 3 and len(blocks) == 7
    kept, reasons = JointModel([net], Form((4, 4), 2), keep=[["decoder"]]).coverage(0)
    assert len(kept) == 6 and reasons["decoder.weight"] == "kept"


@pytest.mark.parametrize(("network", "locations"), [(small, 324), (narrow, 132)])
def test_an_environment_trains_it(network, locations):
    x = torch.randint(9, (4, 6))
    data = TaskCollection("words", [TaskData("text", "classification", dict.fromkeys(SPLITS, (x, x)), 9)])
    env = AlignmentVectorEnv(
        1, data=data, network=network, keep=[["decoder"]], iterations=2, generations=2, learning_rate=0.01, device="cpu"
    )
    obs, _ = env.reset(seed=0)
    assert obs["assignment"].shape == (1, locations)
    _, reward, *_ = env.step(obs["assignment"][:, ::-1].copy())
    assert reward[0] > 0
