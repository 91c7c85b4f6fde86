"""Literal equations 1 to 7, for one sample, time step and sub-network at a time."""

import torch


def lstm_step(x, state, lstm, group):
    """Compute eq. 1 with the weights of one group of a `GroupedLSTM`."""
    hidden, cell = state
    fed = x @ lstm.input.weight[group] + lstm.input.bias[group, 0] + hidden @ lstm.recurrent[group]
    i, f, g, o = fed.chunk(4)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def mlp(x, layers, group):
    """Apply one group of a `GroupedMLP`."""
    hidden = torch.relu(x @ layers.hidden.weight[group] + layers.hidden.bias[group, 0])
    return hidden @ layers.output.weight[group] + layers.output.bias[group, 0]


def mean_of_connected(units, on):
    """Compute eq. 4 for one sub-network; `units` and `on` are lists over the previous layer."""
    total = torch.zeros_like(units[0])
    for unit, zeta in zip(units, on, strict=True):
        if zeta:
            total = total + unit
    return total / max(sum(on), 1)


def time_step(network, cells, own, task, decide_encoder, decide_decoder):
    """Return the knowledge of the decoder for one sample (eqs. 2 to 7); two functions return zeta and zeta-hat."""
    sharing = network.sharing
    units, knowledge, shown = cells, [], []
    layers = []
    for block in range(len(sharing.layers) - 1):
        outputs = []
        for j in range(sharing.layers[block + 1]):
            on = [decide_encoder(block, i, j, units[i]) for i in range(len(units))]
            outputs.append(mlp(mean_of_connected(units, on), sharing.sub_encoder(block), j))
        units = outputs
        layers.append(outputs)
    for block, outputs in enumerate(layers):
        on = [decide_decoder(block, j, outputs[j], own, task) for j in range(len(outputs))]
        knowledge.append(mlp(mean_of_connected(outputs, on), sharing.sub_decoders[block], task))
        shown += outputs
    return torch.cat(knowledge), torch.cat(shown)


def answer(network, x, task, length, decisions):
    """Return logits and sub-encoder outputs of one sequence x [steps, inputs], given a decision function per step.

    `decisions(step)` returns the two functions of `time_step`.
    """
    sharing, base = network.sharing, network.base
    states = [(torch.zeros(sharing.hidden),) * 2 for _ in range(sharing.layers[0])]
    own_state = (torch.zeros(base.width),) * 2
    taken, shown = [], []
    for step in range(length):
        states = [lstm_step(x[step], states[i], sharing.cells, i) for i in range(sharing.layers[0])]
        own_state = lstm_step(x[step], own_state, base.private, task)
        knowledge, units = time_step(network, [state[0] for state in states], own_state[0], task, *decisions(step))
        taken.append(knowledge)
        shown.append(units)
    read = taken[-1] if network.readout == "last" else sum(taken) / length
    representation = torch.cat([read, own_state[0]])
    return representation @ network.head.weight[task] + network.head.bias[task, 0], torch.stack(shown)
