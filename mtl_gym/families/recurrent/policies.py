"""Policy networks and the straight-through router, which turns their scores into binary decisions.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN), sections "Policy Networks" and
"Straight-Through Router".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear, GroupedMLP
from mtl_gym.core.nn.typing import Modules
from mtl_gym.families.recurrent.connections import ConnectionLayout
from mtl_gym.families.recurrent.network import MultiTaskNetwork

_Part: TypeAlias = Callable[[Tensor], Tensor]


class ConnectionMLP(GroupedMLP):
    """One two-layer perceptron per connection, with ReLU between the layers.

    Args:
        receivers: Number of sub-networks or tasks that connections lead to.
        sources: Number of sub-networks that connections come from.
        inputs: Width of the input.
        hidden: Width of the hidden layer.
        outputs: Width of the output.

    Example:
        >>> ConnectionMLP(receivers=2, sources=3, inputs=4, hidden=8, outputs=2)(torch.zeros(2, 3, 5, 4)).shape
        torch.Size([2, 3, 5, 2])
    """

    def __init__(self, receivers: int, sources: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(receivers * sources, inputs, hidden, outputs)
        self.connections = receivers, sources

    def forward(self, x: Tensor) -> Tensor:
        """Score each connection on its own rows; [receivers, sources, rows, inputs] -> [..., rows, outputs]."""
        return super().forward(x.flatten(0, 1)).unflatten(0, self.connections)

    def of_rows(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return the outputs of each row's receiver; [rows, sources, inputs] -> [rows, sources, outputs]."""
        return groups.gather(self(groups.spread(x).movedim(2, 1)).movedim(1, 2))


class PolicyNetworks(nn.Module):
    """Small networks that score connections.

    The network N_j of a sub-encoder scores the sub-networks of the previous layer by their outputs. The network of a
    task scores all sub-encoders by their outputs and, if available, the task-specific representation. With
    `per_connection`, a network scores one connection, by the same inputs.

    Args:
        layout: Layout of the connections.
        units: Width of the outputs of sub-networks.
        tasks: Number of tasks.
        own: Width of the task-specific representations; 0 without them (eq. 7).
        hidden: Width of the hidden layer.
        log_odds: Initial bias of the score of "connect"; positive values favour connections.
        per_connection: Whether each connection has a network of its own. Otherwise each sub-encoder and each task has
            one for all its sources, which cannot tell sources apart whose outputs are distributed alike.

    Source: MT-RMN, eqs. 2, 6 and 7.

    Example:
        >>> policies = PolicyNetworks(ConnectionLayout.of_layers((3, 3, 3)), units=8, tasks=4, own=16)
        >>> policies.encoder_scores(0, torch.zeros(3, 5, 8)).shape
        torch.Size([5, 3, 3, 2])
    """

    def __init__(
        self,
        layout: ConnectionLayout,
        units: int,
        tasks: int,
        own: int = 0,
        hidden: int = 16,
        log_odds: float = 0.0,
        per_connection: bool = False,
    ) -> None:
        super().__init__()

        def scorers(receivers: int, sources: int, inputs: int) -> GroupedMLP:
            if per_connection:
                return ConnectionMLP(receivers, sources, inputs, hidden, 2)
            return GroupedMLP(receivers, inputs, hidden, 2)

        self.layout, self.own = layout, own
        self.encoder: Modules[GroupedMLP] = Modules(scorers(to, n, units) for n, to in layout.encoder)
        self.transformation = GroupedLinear(tasks, own, units, bias=False) if own else None
        seen, sets = 2 * units if own else units, layout.decoder if per_connection else layout.decoder[:1]
        self.decoder: Modules[GroupedMLP] = Modules(scorers(tasks, n, seen) for n in sets)
        with torch.no_grad():
            for policies in (*self.encoder, *self.decoder):
                policies.output.bias[..., 1] += log_odds

    def encoder_scores(self, block: int, units: Tensor) -> Tensor:
        """Return alpha_{t,ij} = N_j(u_{t,i}); [from, rows, width] -> [rows, from, to, 2]."""
        policies = self.encoder[block]
        everyone = units.expand(self.layout.encoder[block][1], *units.shape)
        return policies(everyone).permute(2, 1, 0, 3)

    def decoder_scores(self, block: int, units: Tensor, own: Tensor | None, groups: Dispatch) -> Tensor:
        """Return beta_{t,j}^k = N^k(u_{t,j}, W_k h_t^k); [from, rows, width] and [rows, own] -> [rows, from, 2]."""
        policies = self.decoder[min(block, len(self.decoder) - 1)]
        seen = units.movedim(0, 1)
        if self.transformation is not None:
            assert own is not None
            transformed = self.transformation.of_rows(own, groups).unsqueeze(1)
            seen = torch.cat([seen, transformed.expand(-1, seen.shape[1], -1)], 2)
        return policies.of_rows(seen, groups)


def policies_for(
    network: MultiTaskNetwork, hidden: int, log_odds: float, per_connection: bool = False
) -> PolicyNetworks:
    """Return fresh policy networks for a network; the other arguments as for `PolicyNetworks`.

    Raises:
        ValueError: If the network has no connections.
    """
    if network.layout.size == 0:
        raise ValueError('This network has no connections to decide; use sharing="mt-rmn", "rrn-rmn" or "rrn".')
    units, own = network.scored
    return PolicyNetworks(network.layout, units, network.tasks, own, hidden, log_odds, per_connection)


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise, -log(-log(x)) with x uniform on (0, 1); float32 [*shape]."""
    # -log(x) of a uniform x is exponential.
    noise = torch.empty(shape, device=generator.device).exponential_(generator=generator)
    return -noise.clamp_(min=torch.finfo(noise.dtype).tiny).log()


def decide(scores: Tensor, noise: Tensor | None = None) -> Tensor:
    """Return binary decisions: 1 where "connect" scores higher than "disconnect", noise included, else 0.

    Args:
        scores: alpha, [disconnect, connect] on the last axis; float32 [..., 2].
        noise: g, shaped as `scores`; None for no noise.

    Returns:
        float32 [...].

    Source: MT-RMN, eq. 8. Ties disconnect, as arg max takes the first.
    """
    noisy = scores if noise is None else scores + noise
    return (noisy[..., 1] > noisy[..., 0]).to(scores.dtype)


def relaxed(scores: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return mu_1, the softmax in place of arg max; float32 [..., 2] -> [...].

    Source: MT-RMN, eq. 9.

    Example:
        >>> relaxed(torch.tensor([0.0, 1.0]), torch.zeros(2), temperature=1.0)
        tensor(0.7311)
    """
    return ((scores + noise) / temperature).softmax(-1)[..., 1]


def straight_through(decision: Tensor, scores: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Return decisions with binary values and the gradient of the softmax; float32 [...].

    Args:
        decision: zeta, the result of `decide` for these scores and this noise; float32 [...].
        scores: alpha; float32 [..., 2].
        noise: g; float32 [..., 2].
        temperature: tau, above 0.

    Source: MT-RMN, section "Straight-Through Router": arg max (eq. 8) on the forward pass, eq. 9 on the backward pass.
    """
    soft = relaxed(scores, noise, temperature)
    # In this order, the sum equals the decision to the bit.
    return decision + (soft - soft.detach())


@dataclass
class Decided:
    """Gates decided by policy networks.

    Attributes:
        policies: Policy networks.
        noise: Gumbel noise of every connection, None for no noise; float32 [rows, connections, 2].
        taken: Earlier decisions, which are kept and get the gradient of the softmax; None for new decisions without a
            gradient; float32 [rows, connections].
        temperature: tau of the gradient.
    """

    policies: PolicyNetworks
    noise: Tensor | None = None
    taken: Tensor | None = None
    temperature: float = 1.0

    def encoder(self, block: int, units: Tensor) -> Tensor:
        """Return the connections of a block, as `Gates.encoder`."""
        scores = self.policies.encoder_scores(block, units)
        return self._gate(scores, lambda flat: self.policies.layout.encoder_part(block, flat))

    def decoder(self, block: int, units: Tensor, own: Tensor | None, groups: Dispatch) -> Tensor:
        """Return the connections of a sub-decoder, as `Gates.decoder`."""
        scores = self.policies.decoder_scores(block, units, own, groups)
        return self._gate(scores, lambda flat: self.policies.layout.decoder_part(block, flat))

    def _gate(self, scores: Tensor, part: _Part) -> Tensor:
        noise = None if self.noise is None else torch.stack([part(side) for side in self.noise.unbind(2)], -1)
        if self.taken is None:
            return decide(scores, noise)
        assert noise is not None
        return straight_through(part(self.taken), scores, noise, self.temperature)
