import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from mtl_gym.families.alignment.blocks import WeightTensor, weight_tensors
from mtl_gym.families.alignment.joint import Form, JointModel


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 10, num_layers=2, batch_first=True)
        self.out = nn.Linear(10, 11)

    def forward(self, tokens):
        return self.out(self.lstm(self.embedding(tokens))[0])


def vision():
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4 * 4, 7), nn.Tanh(), nn.Linear(7, 3)
    )


def dna():
    return nn.Sequential(nn.Conv1d(4, 9, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(9, 1))


def inputs():
    return [torch.randn(2, 3, 6, 6), torch.randint(11, (2, 5)), torch.randn(2, 4, 12)]


def three():
    torch.manual_seed(0)
    return [vision(), Language(), dna()]


def counting(*shape):
    return torch.arange(np.prod(shape)).reshape(shape).float()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.sampled_from([(), (3,), (2, 3)]),
    st.integers(1, 5), st.integers(1, 5),
)  # fmt: skip
def test_cut_and_join_restore_any_weight(gates, outputs, inputs, places, m, n):
    tensor = WeightTensor("w", (gates * outputs, inputs, *places), gates)
    weight = counting(*tensor.shape)
    blocks = tensor.cut(weight, (m, n), torch.zeros)
    assert blocks.shape == (tensor.count((m, n)), m, n)
    assert torch.equal(tensor.join(blocks), weight)
    assert torch.equal(tensor.join(blocks.expand(2, 3, -1, -1, -1)), weight.expand(2, 3, *tensor.shape))


def test_a_block_maps_m_neighbouring_inputs_to_n_neighbouring_outputs():
    weight = counting(6, 4)  # 4 inputs, 6 outputs
    blocks = WeightTensor("w", (6, 4)).cut(weight, (2, 3), torch.zeros)
    assert blocks[0].tolist() == weight[:3, :2].T.tolist()
    assert blocks[1].tolist() == weight[3:, :2].T.tolist()
    assert blocks[2].tolist() == weight[:3, 2:].T.tolist()


def test_the_gates_of_an_lstm_and_the_positions_of_a_kernel_are_cut_separately():
    lstm = WeightTensor("w", (4 * 3, 5), gates=4)
    blocks = lstm.cut(counting(12, 5), (5, 3), torch.zeros)
    assert blocks.shape == (4, 5, 3) and torch.equal(blocks[1].T, counting(12, 5)[3:6])
    kernel = WeightTensor("w", (2, 3, 2, 2))
    blocks = kernel.cut(counting(2, 3, 2, 2), (3, 2), torch.zeros)
    assert torch.equal(blocks[3].T, counting(2, 3, 2, 2)[:, :, 1, 1])


def test_entries_beyond_an_edge_are_filled_and_discarded():
    tensor = WeightTensor("w", (3, 3))
    blocks = tensor.cut(counting(3, 3), (2, 2), torch.ones)
    assert blocks.shape == (4, 2, 2) and blocks[3].tolist() == [[8, 1], [1, 1]]
    assert torch.equal(tensor.join(blocks + 0), counting(3, 3))


def test_only_dense_convolutional_and_recurrent_weights_are_generated():
    assert [tensor.name for tensor in weight_tensors(vision())] == ["0.weight", "3.weight", "5.weight"]
    found = weight_tensors(Language(), keep=["out"])
    names = [f"lstm.weight_{part}_l{layer}" for layer in range(2) for part in ("ih", "hh")]
    assert [tensor.name for tensor in found] == names
    assert {tensor.gates for tensor in found} == {4}


def test_weights_that_two_layers_share_are_not_generated():
    net = Language()
    net.lstm, net.out = nn.LSTM(6, 6, batch_first=True), nn.Linear(6, 11)
    net.out.weight = net.embedding.weight
    assert [tensor.name for tensor in weight_tensors(net)] == ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]


def test_the_papers_networks_have_the_papers_numbers_of_blocks():
    lstm = nn.LSTM(256, 256, num_layers=2)
    assert sum(tensor.count((16, 16)) for tensor in weight_tensors(lstm)) == 4096
    deepbind = nn.Sequential(nn.Conv1d(256, 256, 24), nn.Linear(256, 256))
    assert sum(tensor.count((16, 16)) for tensor in weight_tensors(deepbind)) == 6400


def test_an_unknown_layer_to_keep_and_an_architecture_without_weights_are_rejected():
    with pytest.raises(ValueError, match=r"'head'.*embedding, lstm, out"):
        weight_tensors(Language(), keep=["head"])
    with pytest.raises(ValueError, match="no dense, convolutional or recurrent weight"):
        weight_tensors(nn.Embedding(3, 4))


@pytest.mark.parametrize("context", [0, 1, 4])
@pytest.mark.parametrize("block", [(3, 5), (16, 16)])
def test_with_one_module_per_location_the_initial_joint_model_equals_the_architectures(context, block):
    nets = three()
    joint = JointModel(nets, Form(block, context))
    for number, (net, x) in enumerate(zip(nets, inputs(), strict=True)):
        assert torch.allclose(joint(number, x), net(x), atol=1e-5)


@pytest.mark.parametrize("context", [1, 2, 4])
def test_initial_weights_have_the_statistics_of_the_architectures(context):
    torch.manual_seed(1)
    net = nn.Linear(90, 70)
    nn.init.kaiming_normal_(net.weight)
    joint = JointModel([net], Form((16, 16), context))
    weight = joint.export(0).weight.detach().flatten()
    assert torch.allclose(weight, net.weight.flatten(), atol=1e-5)
    assert stats.kstest(weight.numpy(), "norm", (0, (2 / 90) ** 0.5)).pvalue > 0.01
    modules = joint.hypermodules.detach().flatten()
    assert modules.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.05) and abs(modules.mean()) < 0.02
    assert stats.kstest(modules.numpy(), "norm", (0, (2 / 16) ** 0.5)).pvalue > 0.01
    assert joint.contexts.unique().numel() == 1


def test_context_elements_of_initial_hypermodules_are_independent():
    torch.manual_seed(2)
    joint = JointModel([nn.Linear(160, 160)], Form((16, 16), 4))
    elements = joint.hypermodules[0].detach().transpose(0, 1).flatten(1).numpy()
    assert np.abs(np.corrcoef(elements) - np.eye(4)).max() < 0.03


def test_blocks_of_an_initial_module_at_other_locations_preserve_the_variance():
    torch.manual_seed(3)
    joint = JointModel([nn.Linear(320, 320)], Form((16, 16), 4))
    shuffled = torch.randperm(joint.num_locations)[None, :, None]
    elsewhere = joint.blocks(joint.table(shuffled))
    assert elsewhere.var().item() == pytest.approx(1 / (3 * 320), rel=0.05)


def test_blocks_are_sums_over_context_and_softmax_weights():
    joint = JointModel(three(), Form((4, 4), 3), runs=2)
    slots = torch.randint(joint.num_modules, (2, joint.num_locations, 3))
    belief = torch.rand(slots.shape).softmax(-1)
    with torch.no_grad():
        joint.contexts.normal_()
    found = joint.blocks(joint.table(slots), belief)
    for run, location in [(0, 0), (1, 17), (1, joint.num_locations - 1)]:
        by_hand = sum(
            belief[run, location, slot]
            * torch.einsum("cmn,c->mn", joint.hypermodules[run, module], joint.contexts[run, location])
            for slot, module in enumerate(slots[run, location])
        )
        assert torch.allclose(found[run, location], by_hand, atol=1e-5)


def test_gradients_match_finite_differences():
    torch.manual_seed(4)
    joint = JointModel([nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))], Form((3, 2), 2)).double()
    slots = torch.randint(joint.num_modules, (1, joint.num_locations, 2))
    table, x = joint.table(slots), torch.randn(3, 5, dtype=torch.float64)
    shape = joint.hypermodules.shape, joint.contexts.shape

    def loss(modules, contexts, scores):
        parameters = {"hypermodules": modules.view(shape[0]), "contexts": contexts.view(shape[1])}
        held = {name: getattr(joint, name) for name in parameters}
        for name in parameters:
            del joint._parameters[name]
            setattr(joint, name, parameters[name])
        kind = joint.kinds[0]
        value = kind.run(kind.weights(joint.blocks(table, scores.softmax(-1))), x[None])
        for name, parameter in held.items():
            delattr(joint, name)
            joint.register_parameter(name, parameter)
        return value

    point = (joint.hypermodules.detach().clone(), torch.randn(shape[1]).double(), torch.randn(slots.shape).double())
    assert torch.autograd.gradcheck(loss, tuple(part.requires_grad_() for part in point))


def test_a_state_dict_transfers_weights_and_assignment_to_another_joint_model():
    joint = JointModel(three(), Form((4, 4), 2))
    joint.assignment.random_(joint.num_modules)
    other = JointModel([vision(), Language(), dna()], Form((4, 4), 2))
    other.load_state_dict(joint.state_dict())
    for number, x in enumerate(inputs()):
        assert torch.equal(joint(number, x), other(number, x))


def test_exported_architectures_are_plain_and_have_identical_outputs():
    joint = JointModel(three(), Form((4, 4), 2))
    with torch.no_grad():
        joint.contexts.normal_()
        joint.assignment.random_(joint.num_modules)
    for number, (net, x) in enumerate(zip(three(), inputs(), strict=True)):
        plain = joint.export(number)
        assert type(plain) is type(net) and plain.state_dict().keys() == net.state_dict().keys()
        assert torch.equal(plain(x), joint(number, x))


def test_stacked_architectures_equal_single_ones():
    torch.manual_seed(5)
    nets = [nn.Linear(6, 3) for _ in range(4)]
    joint = JointModel(nets, Form((3, 3), 2), runs=3)
    assert [kind.members for kind in joint.kinds] == [[0, 1, 2, 3]]
    for run in range(3):
        joint.renew(run, run, np.arange(joint.num_locations))
    x = torch.randn(4, 7, 6)
    together = joint.kinds[0].run(joint.weights()[0], x)
    for run in range(3):
        for number in range(4):
            assert torch.allclose(joint.export(number, run)(x[number]), together[run, number], atol=1e-6)


def test_runs_of_recurrent_architectures_equal_single_ones():
    joint = JointModel([Language()], Form((4, 4), 2), runs=2)
    joint.renew(1, 7, np.arange(joint.num_locations))
    tokens = torch.randint(11, (1, 2, 5))
    together = joint.kinds[0].run(joint.weights()[0], tokens)
    for run in range(2):
        assert torch.allclose(joint.export(0, run)(tokens[0]), together[run, 0], atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_an_adapter_is_initially_zero_and_belongs_to_its_location():
    joint = JointModel([nn.Linear(6, 3) for _ in range(2)], Form((6, 3), 0, adapter=1))
    before = joint.export(0).weight
    with torch.no_grad():
        joint.up[0, 0] = 1
    assert not torch.allclose(joint.export(0).weight, before)
    assert torch.equal(joint.export(1).weight, joint.weights()[0]["weight"][1])


def test_locations_know_their_architecture_layer_and_order():
    joint = JointModel([nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)) for _ in range(2)], Form((4, 2), 1))
    places = joint.locations
    assert places.architecture.tolist() == [0, 0, 1, 1, 0, 1]
    assert places.order.tolist() == [0, 1, 0, 1, 2, 2]
    assert places.layer_names == ("0:0.weight", "1:0.weight", "0:1.weight", "1:1.weight")


def test_running_statistics_and_invalid_forms_are_rejected():
    with pytest.raises(ValueError, match=r"BatchNorm1d.*GroupNorm"):
        JointModel([nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))])
    with pytest.raises(ValueError, match=r"block=\(0, 4\)"):
        Form((0, 4))
    with pytest.raises(ValueError, match="context=-1"):
        Form(context=-1)
    with pytest.raises(ValueError, match="no architecture 3"):
        JointModel([nn.Linear(2, 2)]).export(3)


def test_a_copy_is_independent():
    joint = JointModel([nn.Linear(4, 4)], Form((2, 2), 1))
    twin = copy.deepcopy(joint)
    with torch.no_grad():
        twin.hypermodules.zero_()
    assert joint.hypermodules.abs().sum() > 0


class Activated(nn.Module):
    """Two layers with a function between them that is missing from `repr`."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(6, 8), nn.Linear(8, 1), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


class Twice(nn.Module):
    """Two layers in sequence, possibly the same one."""

    def __init__(self, tied):
        super().__init__()
        self.first, self.middle = nn.Linear(6, 6), nn.Linear(6, 6)
        self.last = self.first if tied else nn.Linear(6, 6)

    def forward(self, x):
        return self.last(self.middle(self.first(x)))


def frozen(value):
    net = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 1))
    with torch.no_grad():
        net[0].bias.fill_(value).requires_grad_(False)
    return net


class Positioned(nn.Module):
    """A layer with a table that is not a parameter."""

    def __init__(self, scale):
        super().__init__()
        self.layer = nn.Linear(6, 1)
        self.register_buffer("table", scale * torch.arange(6.0))

    def forward(self, x):
        return self.layer(x + self.table)


@pytest.mark.parametrize(
    ("nets", "kinds"),
    [
        ([Activated(torch.relu), Activated(torch.tanh), Activated(torch.relu)], [[0, 2], [1]]),
        ([frozen(0.0), frozen(1.0), frozen(0.0)], [[0, 2], [1]]),
        ([Positioned(1), Positioned(1), Positioned(2)], [[0, 1], [2]]),
        ([Twice(False), Twice(True), Twice(False)], [[0, 2], [1]]),
        ([nn.Sequential(nn.Linear(6, 4), nn.LeakyReLU(slope)) for slope in (0.1, 0.1, 0.3)], [[0, 1], [2]]),
    ],
    ids=["functions", "frozen", "buffers", "tied", "settings"],
)
def test_architectures_of_different_functions_are_not_stacked(nets, kinds):
    joint, x = JointModel(nets, Form((3, 4), 2)), torch.randn(5, 6)
    assert [kind.members for kind in joint.kinds] == kinds
    for number, net in enumerate(nets):
        assert torch.allclose(joint(number, x), net(x), atol=1e-6)
        assert torch.allclose(joint.export(number)(x), net(x), atol=1e-6)


def test_frozen_weights_do_not_change():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    net[0].weight.requires_grad_(False)
    joint = JointModel([net], Form((4, 4), 2))
    assert joint.num_locations == 2
    joint.hypermodules.data.normal_()
    assert torch.equal(joint.export(0)[0].weight, net[0].weight)
    net[2].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="neither frozen nor kept"):
        JointModel([net], Form((4, 4), 2))


def test_an_uninitialised_lazy_layer_is_rejected():
    with pytest.raises(ValueError, match="uninitialised LazyLinear"):
        JointModel([nn.Sequential(nn.LazyLinear(3))])
