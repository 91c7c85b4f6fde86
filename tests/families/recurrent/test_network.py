"""Batched networks against literal equations, one sample at a time."""

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear, GroupedLSTM, GroupedMLP
from mtl_gym.families.recurrent.baselines import DirectCommunication, IndirectCommunication, RecursiveRouting, messages
from mtl_gym.families.recurrent.bases import BASES, SeparateLSTMs, SharedPrivate, Stitched
from mtl_gym.families.recurrent.connections import ConnectionLayout, Given, sparsity
from mtl_gym.families.recurrent.modular import SMALL, ModularNetwork, connected, weighted_sum
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.policies import Decided, PolicyNetworks, decide
from mtl_gym.families.recurrent.sequences import Sequences
from tests.families.recurrent import literal

CPU = torch.device("cpu")
TASKS, INPUTS, HIDDEN, CLASSES, STEPS = 3, 5, 6, 4, 7


def mt_rmn(readout="mean", layers=(3, 2, 4), **options):
    torch.manual_seed(0)
    base = SeparateLSTMs(INPUTS, HIDDEN + 1, TASKS)
    sharing = ModularNetwork(INPUTS, HIDDEN, TASKS, layers, **options)
    return MultiTaskNetwork(nn.Identity(), base, sharing, TASKS, CLASSES, readout)


def batch(rows=8, seed=0):
    rng = np.random.default_rng(seed)
    task, length = rng.integers(TASKS, size=rows), rng.integers(1, STEPS + 1, size=rows)
    x = torch.from_numpy(rng.standard_normal((rows, STEPS, INPUTS))).float()
    return x, Sequences(task, length, STEPS, TASKS, CPU)


def random_actions(network, rows, seed=0):
    drawn = np.random.default_rng(seed).integers(2, size=(rows * STEPS, network.layout.size))
    return torch.from_numpy(drawn).float()


def given_gates(network, actions):
    return lambda at: Given(network.layout, actions[at])


@pytest.mark.parametrize("readout", ["mean", "last"])
@pytest.mark.parametrize(("layers", "recursive"), [((3, 2, 4), False), ((2, 3, 3), True), ((2, 3), False)])
def test_batched_network_matches_literal_equations_1_to_5(readout, layers, recursive):
    network = mt_rmn(readout, layers, recursive=recursive)
    x, sequences = batch()
    actions = random_actions(network, len(x))
    outcome = network.run(x, sequences, given_gates(network, actions))
    for row in range(len(x)):

        def decisions(step, row=row):
            action = actions[row * STEPS + step][None]
            encoder = lambda block, i, j, unit: network.layout.encoder_part(block, action)[0, i, j].item()  # noqa: E731
            decoder = lambda block, j, unit, own, task: network.layout.decoder_part(block, action)[0, j].item()  # noqa: E731
            return encoder, decoder

        expected, _ = literal.answer(network, x[row], sequences.task[row], sequences.length[row], decisions)
        torch.testing.assert_close(outcome.logits[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("per_connection", [False, True], ids=["paper", "per connection"])
@pytest.mark.parametrize("sees_own", [True, False], ids=["eq6", "eq7"])
def test_policy_networks_match_equations_2_3_6_and_7(sees_own, per_connection):
    network = mt_rmn("last")
    layout, own = network.layout, network.own if sees_own else 0
    policies = PolicyNetworks(layout, HIDDEN, TASKS, own, hidden=5, per_connection=per_connection)
    if not sees_own:
        network.base.task_specific = False
    x, sequences = batch(seed=1)
    outcome = network.run(x, sequences, lambda at: Decided(policies))
    pair, chosen = 0, []
    for row in range(len(x)):

        def encoder(block, i, j, unit):
            number = j * layout.encoder[block][0] + i if per_connection else j
            score = literal.mlp(unit, policies.encoder[block], number)
            chosen.append(float(score[1] > score[0]))
            return chosen[-1]

        def decoder(block, j, unit, own, task):
            seen = torch.cat([unit, own @ policies.transformation.weight[task]]) if sees_own else unit
            if per_connection:
                score = literal.mlp(seen, policies.decoder[block], task * layout.decoder[block] + j)
            else:
                score = literal.mlp(seen, policies.decoder[0], task)
            chosen.append(float(score[1] > score[0]))
            return chosen[-1]

        chosen.clear()
        task, length = sequences.task[row], sequences.length[row]
        expected, _ = literal.answer(network, x[row], task, length, lambda step: (encoder, decoder))
        torch.testing.assert_close(outcome.logits[row], expected, atol=1e-5, rtol=1e-5)
        counts = torch.tensor(chosen).view(length, -1)
        torch.testing.assert_close(outcome.gates[pair : pair + length].sum(1), counts.sum(1))
        pair += length
    assert 0 < outcome.gates.mean() < 1


@pytest.mark.parametrize("per_connection", [False, True], ids=["paper", "per connection"])
def test_scores_know_their_source_with_a_network_per_connection_alone(per_connection):
    torch.manual_seed(0)
    policies = PolicyNetworks(ConnectionLayout.of_layers((3, 2)), HIDDEN, TASKS, per_connection=per_connection)
    cells, units = torch.randn(3, 6, HIDDEN), torch.randn(2, 6, HIDDEN)
    groups = Dispatch.of(np.arange(6) % TASKS, TASKS)
    encoder, swapped = policies.encoder_scores(0, cells), policies.encoder_scores(0, cells.flip(0))
    assert torch.allclose(swapped.flip(1), encoder) != per_connection
    decoder, swapped = (policies.decoder_scores(0, seen, None, groups) for seen in (units, units.flip(0)))
    assert torch.allclose(swapped.flip(1), decoder) != per_connection


def test_running_step_by_step_equals_running_all_steps_at_once():
    for network in (mt_rmn(), mt_rmn("every")):
        x, sequences = batch(seed=2)
        actions = random_actions(network, len(x))
        outcome = network.run(x, sequences, given_gates(network, actions))
        embedded = network.embed(x, sequences.groups)
        memory, total, pairs = torch.zeros(len(x), network.memory), torch.zeros(len(x), network.knowledge), {}
        for step in range(STEPS):
            at = torch.arange(len(x)) * STEPS + step
            own = embedded.own[:, step]
            gates = Given(network.layout, actions[at])
            shared = network.share(embedded.shared[:, step], own, memory, sequences.groups, gates)
            going = torch.from_numpy(sequences.length > step)
            total += shared.knowledge * going[:, None]
            logits = network.answer(shared.knowledge, own, sequences.groups)
            pairs |= {(row, step): logits[row] for row in range(len(x)) if going[row]}
        if network.readout == "every":
            torch.testing.assert_close(outcome.logits, torch.stack([pairs[key] for key in sorted(pairs)]))
        else:
            last = embedded.own[torch.arange(len(x)), torch.from_numpy(sequences.length) - 1]
            mean = total / torch.from_numpy(sequences.length)[:, None]
            torch.testing.assert_close(outcome.logits, network.answer(mean, last, sequences.groups))


@pytest.mark.parametrize("base", [None, SeparateLSTMs], ids=["no base", "base"])
def test_cues_reach_routers_and_no_other_part(base):
    torch.manual_seed(0)
    own = None if base is None else base(INPUTS - 2, HIDDEN, TASKS)
    sharing = ModularNetwork(INPUTS - 2, HIDDEN, TASKS)
    network = MultiTaskNetwork(nn.Identity(), own, sharing, TASKS, CLASSES, "mean", cues=2)
    policies = PolicyNetworks(network.layout, HIDDEN, TASKS, network.scored[1])
    x, sequences = batch()
    other = torch.cat([x[:, :, :-2], x[:, :, -2:] + 5], 2)
    given = given_gates(network, random_actions(network, len(x)))
    assert torch.equal(network.run(x, sequences, given).logits, network.run(other, sequences, given).logits)
    decided = [network.run(values, sequences, lambda at: Decided(policies)).gates for values in (x, other)]
    c1 = network.layout.c1
    assert torch.equal(decided[0][:, :c1], decided[1][:, :c1]) and (decided[0] != decided[1]).any()
    embedded = network.embed(x, sequences.groups).shared
    assert embedded.shape[2] == network.parts["embedded"] and torch.equal(embedded[:, :, -2:], x[:, :, -2:])


def test_number_of_products_is_independent_of_samples_and_sub_networks(monkeypatch):
    """Check equal numbers of products for 64 and 2 sequences, and for 8 and 2 sub-networks."""

    def products(rows, layers):
        network = mt_rmn(layers=layers)
        x, sequences = batch(rows)
        sequences = Sequences(sequences.task, np.full(rows, STEPS), STEPS, TASKS, CPU)
        gates = given_gates(network, random_actions(network, rows))
        calls = []
        real = torch.baddbmm
        monkeypatch.setattr(torch, "baddbmm", lambda *a, **k: calls.append(1) or real(*a, **k))
        network.run(x, sequences, gates)
        monkeypatch.setattr(torch, "baddbmm", real)
        return len(calls)

    assert products(2, (2, 2, 2)) == products(64, (8, 8, 8))


def test_sub_network_without_connections_receives_zeros():
    units = torch.randn(3, 2, HIDDEN)
    on = torch.zeros(2, 3, 2)
    on[0, 1, 0] = on[0, 2, 0] = 1
    mean = connected(units, on)
    torch.testing.assert_close(mean[0, 0], (units[1, 0] + units[2, 0]) / 2)
    assert (mean[1] == 0).all() and (mean[0, 1] == 0).all()


def test_sums_of_many_rows_equal_those_of_few_to_the_bit():
    rows = SMALL // HIDDEN
    weights, units = torch.rand(2, 3, rows, 1), torch.randn(3, rows, HIDDEN)
    parts = [weighted_sum(weights[:, :, part], units[:, part]) for part in torch.arange(rows).split(rows // 9)]
    assert torch.equal(weighted_sum(weights, units), torch.cat(parts, 1))


def test_gradients_of_connected_match_those_of_a_stack_of_products():
    units, on = torch.randn(3, 5, HIDDEN, requires_grad=True), torch.rand(5, 3, 2, requires_grad=True)
    shares = on / on.sum(1, keepdim=True).clamp(min=1)
    plain = (shares.permute(2, 1, 0).unsqueeze(3) * units).sum(1)
    towards = torch.randn(2, 5, HIDDEN)
    for mine, theirs in zip(
        *(torch.autograd.grad(y, (units, on), towards) for y in (connected(units, on), plain)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_many_lstms_in_one_loop_equal_fused_calls():
    lstm, x = GroupedLSTM(2, 3, 4), torch.randn(2, 6, 5, 3)
    assert lstm.fused and not GroupedLSTM(9, 3, 4).fused
    towards = torch.randn(2, 6, 5, 4)
    fused = torch.autograd.grad(lstm(x), tuple(lstm.parameters()), towards)
    lstm.fused = False
    for mine, theirs in zip(torch.autograd.grad(lstm(x), tuple(lstm.parameters()), towards), fused, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_grouped_layers_match_single_torch_layers():
    torch.manual_seed(0)
    linear, mlp, lstm = GroupedLinear(2, 3, 4), GroupedMLP(2, 3, 5, 4), GroupedLSTM(2, 3, 4)
    x, sequences = torch.randn(2, 6, 3), torch.randn(2, 6, 5, 3)
    for group in range(2):
        torch.testing.assert_close(linear(x)[group], x[group] @ linear.weight[group] + linear.bias[group])
        torch.testing.assert_close(mlp(x)[group], literal.mlp(x[group], mlp, group))
        twin = nn.LSTM(3, 4, batch_first=True)
        with torch.no_grad():
            twin.weight_ih_l0.copy_(lstm.input.weight[group].T)
            twin.weight_hh_l0.copy_(lstm.recurrent[group].T)
            twin.bias_ih_l0.copy_(lstm.input.bias[group, 0])
            twin.bias_hh_l0.zero_()
        torch.testing.assert_close(lstm(sequences)[group], twin(sequences[group])[0])
    everywhere = lstm.of_all(sequences[0])
    torch.testing.assert_close(everywhere[:, :, 1], lstm(sequences[:1].expand(2, -1, -1, -1))[1])


@pytest.mark.parametrize("base", sorted(BASES))
def test_base_models_process_rows_independently_of_the_batch(base):
    torch.manual_seed(0)
    model = BASES[base](INPUTS, HIDDEN, TASKS)
    x, sequences = batch(9)
    together = model(x, sequences.groups)
    assert together.shape == (9, STEPS, model.width)
    for row in range(9):
        alone = model(x[row : row + 1], Dispatch.of(sequences.task[row : row + 1], TASKS))
        torch.testing.assert_close(together[row], alone[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("sharing", [DirectCommunication, IndirectCommunication, RecursiveRouting])
def test_baselines_process_rows_independently_of_the_batch(sharing):
    torch.manual_seed(0)
    network = MultiTaskNetwork(nn.Identity(), None, sharing(INPUTS, HIDDEN, TASKS), TASKS, CLASSES)
    x, sequences = batch(9)
    actions = random_actions(network, 9)
    together = network.run(x, sequences, given_gates(network, actions)).logits
    for row in range(9):
        part = slice(row, row + 1)
        alone = Sequences(sequences.task[part], sequences.length[part], STEPS, TASKS, CPU)
        own = actions[row * STEPS : (row + 1) * STEPS]
        logits = network.run(x[part], alone, given_gates(network, own)).logits
        torch.testing.assert_close(together[row], logits[0], atol=1e-6, rtol=1e-5)


def test_representations_depend_on_other_tasks_only_where_defined():
    """Check by gradients which weights the representation of a task depends on."""
    depends = {}
    for name, make in BASES.items():
        torch.manual_seed(0)
        model = make(INPUTS, HIDDEN, TASKS)
        x, _ = batch(2)
        model(x, Dispatch.of(np.array([1, 1]), TASKS)).sum().backward()
        lstm = {"ns-mtl": "private", "sp-mtl": "private", "girnet": "auxiliaries"}.get(name)
        if lstm:
            depends[name] = (getattr(model, lstm).recurrent.grad.flatten(1) != 0).any(1).tolist()
    assert depends == {"ns-mtl": [False, True, False], "sp-mtl": [False, True, False], "girnet": [True, False]}


def test_primary_task_of_girnet_uses_every_auxiliary_lstm():
    model = BASES["girnet"](INPUTS, HIDDEN, TASKS)
    x, _ = batch(2)
    model(x, Dispatch.of(np.array([0, 0]), TASKS)).sum().backward()
    assert (model.auxiliaries.recurrent.grad.flatten(1) != 0).any(1).all()
    with pytest.raises(ValueError, match=r"tasks=1 .*auxiliary"):
        BASES["girnet"](INPUTS, HIDDEN, 1)


def test_stitches_mix_outputs_by_hand_computed_weights():
    torch.manual_seed(0)
    model = Stitched(INPUTS, HIDDEN, TASKS, subspaces=2)
    values = torch.randn(TASKS, 2, 3, HIDDEN)
    stitch = torch.randn(2 * TASKS, 2 * TASKS)
    mixed = model._mixed(values, stitch)
    parts = torch.stack([values[k][..., s * 3 : s * 3 + 3] for k in range(TASKS) for s in range(2)])
    for k in range(TASKS):
        for s in range(2):
            expected = sum(stitch[2 * k + s, other] * parts[other] for other in range(2 * TASKS))
            torch.testing.assert_close(mixed[k][..., s * 3 : s * 3 + 3], expected)


def test_sp_mtl_adds_adversarial_and_orthogonality_losses():
    torch.manual_seed(0)
    model = SharedPrivate(INPUTS, HIDDEN, TASKS, adversarial=0.5, orthogonality=0.25)
    task = np.array([0, 1, 1, 2])
    groups = Dispatch.of(task, TASKS)
    last = torch.randn(4, 2 * HIDDEN, requires_grad=True)
    loss = model.auxiliary(last, groups)
    private, common = last.detach().split(HIDDEN, 1)
    guess = common @ model.discriminator.weight[0] + model.discriminator.bias[0]
    apart = sum((common[task == k].T @ private[task == k]).square().sum() for k in range(TASKS))
    pairs = 1 + 4 + 1
    expected = 0.5 * nn.functional.cross_entropy(guess, groups.group) + 0.25 * apart / pairs
    torch.testing.assert_close(loss.detach(), expected)
    model.orthogonality = 0.0
    (gradient,) = torch.autograd.grad(model.auxiliary(last, groups), last)
    seen = common.clone().requires_grad_()
    plain = 0.5 * nn.functional.cross_entropy(
        seen @ model.discriminator.weight[0] + model.discriminator.bias[0], groups.group
    )
    torch.testing.assert_close(gradient[:, HIDDEN:], -torch.autograd.grad(plain, seen)[0])


def test_messages_are_averages_weighted_by_scaled_dot_products():
    asking, states = torch.randn(2, 3, HIDDEN), torch.randn(4, 3, HIDDEN)
    heard = messages(asking, states)
    for receiver in range(2):
        for row in range(3):
            match = states[:, row] @ asking[receiver, row] / HIDDEN**0.5
            torch.testing.assert_close(heard[receiver, row], match.softmax(0) @ states[:, row])
    not_itself = torch.eye(4, dtype=torch.bool)[:, None]
    alone = messages(states, states, not_itself)
    moved = states + torch.eye(4)[1][:, None, None]
    assert torch.equal(messages(states, moved, not_itself)[1], alone[1])
    assert not torch.equal(messages(states, moved, not_itself)[0], alone[0])


def test_recursive_routing_applies_connected_functions_at_every_depth():
    torch.manual_seed(0)
    sharing = RecursiveRouting(INPUTS, HIDDEN, TASKS, functions=3, depth=2)
    x = torch.randn(1, INPUTS)
    action = torch.tensor([[1.0, 0, 1, 0, 0, 0]])  # the mean of two functions, then nothing
    value = x @ sharing.input.weight[0] + sharing.input.bias[0]
    both = [literal.mlp(value, sharing.functions, j) for j in (0, 2)]
    value = (both[0] + both[1]) / 2
    expected, cell = literal.lstm_step(value[0], (torch.zeros(HIDDEN),) * 2, sharing.lstm, 0)
    groups = Dispatch.of(np.array([1]), TASKS)
    embedded = sharing.embed(x[:, None], groups)[:, 0]
    step = sharing.share(embedded, None, torch.zeros(1, 2 * HIDDEN), groups, Given(sharing.layout, action))
    torch.testing.assert_close(step.knowledge[0], expected)
    torch.testing.assert_close(step.memory[0], torch.cat([expected, cell]))


def test_connections_are_ordered_encoder_first_and_named():
    layout = ConnectionLayout.of_layers((3, 2, 3))
    assert (layout.c1, layout.c2, layout.size) == (12, 5, 17)
    assert layout.names[:3] == ["cell 1 > A", "cell 1 > B", "cell 2 > A"]
    assert layout.names[6:8] == ["A > C", "A > D"]
    assert layout.names[-5:] == ["A > decoder 1", "B > decoder 1", "C > decoder 2", "D > decoder 2", "E > decoder 2"]
    flat = torch.arange(17.0)[None]
    for place, name in enumerate(layout.names):
        source, target = name.split(" > ")
        if target.startswith("decoder"):
            block = int(target[-1]) - 1
            first = "AC"[block]
            assert layout.decoder_part(block, flat)[0, ord(source) - ord(first)] == place
        else:
            block = 0 if source.startswith("cell") else 1
            i = int(source[-1]) - 1 if block == 0 else ord(source) - ord("A")
            assert layout.encoder_part(block, flat)[0, i, ord(target) - ord("AC"[block])] == place
    assert layout.receivers.tolist() == [0, 1] * 3 + [2, 3, 4] * 2 + [5] * 2 + [6] * 3


def test_random_connections_reach_every_target():
    layout = ConnectionLayout.of_layers((3, 2, 3))
    drawn = layout.random(400, np.random.default_rng(0))
    for receiver in range(7):
        assert drawn[:, layout.receivers == receiver].any(1).all()
    # Each is on half of the time, and a little more for the redrawn ones.
    assert 0.5 < drawn.mean() < 0.6


def test_sparsity_matches_hand_computed_equations_10_and_11():
    layout = ConnectionLayout.of_layers((2, 2, 2))  # C_1 = 8, C_2 = 4
    gates = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0]]).float()
    # 7 - 0.75 * 8 = 1, 4 - 0.5 * 4 = 2; and nothing above the thresholds.
    assert sparsity(gates, layout, (2.0, 3.0), (0.75, 0.5)).tolist() == [2 * 1 + 3 * 2, 0]
    gates.requires_grad_()
    sparsity(gates, layout, (2.0, 3.0), (0.75, 0.5)).sum().backward()
    assert gates.grad.tolist() == [[2.0] * 8 + [3.0] * 4, [0.0] * 12]


def test_invalid_networks_are_refused():
    with pytest.raises(ValueError, match=r"layers=\(3,\) .*two or more"):
        ModularNetwork(4, 4, 2, layers=(3,))
    with pytest.raises(ValueError, match=r"layers=.*recursive"):
        ModularNetwork(4, 4, 2, layers=(3, 2, 3), recursive=True)
    with pytest.raises(ValueError, match="base=None and sharing=None"):
        MultiTaskNetwork(nn.Identity(), None, None, 2, 2)
    with pytest.raises(ValueError, match="readout='first' is unknown"):
        MultiTaskNetwork(nn.Identity(), SeparateLSTMs(4, 4, 2), None, 2, 2, "first")
    with pytest.raises(ValueError, match=r"hidden=.* 2 subspaces"):
        Stitched(4, 5, 2, subspaces=2)


def test_tie_disconnects():
    assert decide(torch.zeros(2)) == 0


@pytest.mark.parametrize("parts", [{"front": None}, {"base": nn.Linear(2, 2)}, {"sharing": ModularNetwork}])
def test_a_part_of_another_class_is_refused(parts):
    given = {"front": nn.Identity(), "base": BASES["ns-mtl"](3, 4, 2), "sharing": None} | parts
    with pytest.raises(ValueError, match=f"{next(iter(parts))}=.* is not possible"):
        MultiTaskNetwork(**given, tasks=2, classes=2)
