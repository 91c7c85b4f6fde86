"""Multi-task recurrent models that a modular network extends.

All process whole sequences at once, since none depends on a routing decision.

Source: Xu et al. 2021 (MT-RMN), sections on tfMRI (FS-MTL, SP-MTL) and on POS tagging (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear, GroupedLSTM
from mtl_gym.core.nn.typing import Context, Modules

LAYERS = 2  # number of layers of stitched models


class Base(nn.Module):
    """Multi-task recurrent model without its output layer.

    Attributes:
        width: Width of a representation.
        task_specific: True if representations are task-specific, so that policies use them (eq. 6).
    """

    width: int
    task_specific: bool = True

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return representations h_t^k; [rows, steps, inputs] -> [rows, steps, width]."""
        raise NotImplementedError

    def auxiliary(self, last: Tensor, groups: Dispatch) -> Tensor:
        """Return the additional loss, a scalar, from the representations [rows, width] at the last step."""
        return last.new_zeros(())

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters used by more than one task."""
        return []


class SeparateLSTMs(Base):
    """NS-MTL: one LSTM per task, jointly optimised.

    Source: MT-RMN, section "POS Tagging"; with a modular network, mtl-RMN of table 1.

    Example:
        >>> import numpy as np
        >>> base = SeparateLSTMs(inputs=4, hidden=8, tasks=2)
        >>> base(torch.zeros(3, 5, 4), Dispatch.of(np.array([0, 1, 1]), 2)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, inputs: int, hidden: int, tasks: int) -> None:
        super().__init__()
        self.width = hidden
        self.private = GroupedLSTM(tasks, inputs, hidden)

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return representations, as `Base.forward`."""
        return self.private.of_rows(x, groups)


class SharedLSTM(Base):
    """FS-MTL: one LSTM for all tasks, with task-specific output layers only.

    Source: Caruana 1993, as in MT-RMN.
    """

    task_specific = False

    def __init__(self, inputs: int, hidden: int, tasks: int) -> None:
        super().__init__()
        self.width = hidden
        self.common = GroupedLSTM(1, inputs, hidden)

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return representations, as `Base.forward`."""
        return self.common.of_all(x)[:, :, 0]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return list(self.parameters())


class SharedPrivate(Base):
    """SP-MTL: a private LSTM per task and a shared LSTM with task-invariant states.

    A discriminator predicts the task from the shared state, which is trained adversarially; a penalty keeps private and
    shared states orthogonal.

    Source: Liu, Qiu and Huang 2017, eqs. 7 to 13, with their weights: 0.05 adversarial, 0.01 orthogonal.

    Deviation: both terms use the states of the last step, and the orthogonality is a mean over pairs of inputs, which
    makes it independent of the batch size.
    """

    def __init__(
        self, inputs: int, hidden: int, tasks: int, adversarial: float = 0.05, orthogonality: float = 0.01
    ) -> None:
        super().__init__()
        self.width, self.adversarial, self.orthogonality = 2 * hidden, adversarial, orthogonality
        self.private, self.common = GroupedLSTM(tasks, inputs, hidden), GroupedLSTM(1, inputs, hidden)
        self.discriminator = GroupedLinear(1, hidden, tasks)

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return the private state followed by the shared state, as `Base.forward`."""
        return torch.cat([self.private.of_rows(x, groups), self.common.of_all(x)[:, :, 0]], 2)

    def auxiliary(self, last: Tensor, groups: Dispatch) -> Tensor:
        """Return the loss of the discriminator, with reversed gradient for the shared LSTM, plus the overlap."""
        private, common = last.chunk(2, 1)
        guess = self.discriminator(_Reversed.apply(common)[None])[0]
        adversarial = nn.functional.cross_entropy(guess, groups.group)
        same_task = (groups.group[:, None] == groups.group).to(last.dtype)
        # ||S^T H||^2 within each task, from Gram matrices: sum over pairs of inputs of (s_a . s_b)(h_a . h_b).
        overlap = ((common @ common.T) * (private @ private.T) * same_task).sum() / same_task.sum()
        return self.adversarial * adversarial + self.orthogonality * overlap

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the shared LSTM and the discriminator."""
        return [*self.common.parameters(), *self.discriminator.parameters()]


class _Reversed(torch.autograd.Function):
    """Identity with a reversed gradient."""

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class Stitched(Base):
    """Cross-stitch and sluice networks: layers of task LSTMs, with outputs mixed by trained weights.

    Args:
        inputs: Width of x_t.
        hidden: Width of every LSTM.
        tasks: Number of tasks.
        subspaces: Number of groups of channels per layer, with separate mixing weights (sluice: 2).
        skip: Represent a task by a trained mixture of its layers instead of its last layer.
        orthogonality: Weight of the penalty on overlapping subspaces.

    Raises:
        ValueError: If `hidden` is not a multiple of `subspaces`.

    Source: Misra et al. 2016; Ruder et al. 2019.

    Deviation: the initial weight of a subspace for itself is 0.9; the others share the rest evenly.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        tasks: int,
        subspaces: int = 1,
        skip: bool = False,
        orthogonality: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden % subspaces:
            raise ValueError(
                f"hidden={hidden} cannot be split into {subspaces} subspaces; use a multiple of {subspaces}."
            )
        self.width, self.tasks, self.subspaces, self.orthogonality = hidden, tasks, subspaces, orthogonality
        self.lstms: Modules[GroupedLSTM] = Modules(
            GroupedLSTM(tasks, inputs if i == 0 else hidden, hidden) for i in range(LAYERS)
        )
        self.stitches = nn.ParameterList(_stitch(tasks * subspaces) for _ in range(LAYERS))
        self.mixture = nn.Parameter(torch.full((tasks, LAYERS), 1 / LAYERS)) if skip else None

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Run the LSTMs of all tasks on every input and return the representations of each row's task."""
        values, layers = x.expand(self.tasks, *x.shape), []
        for lstm, stitch in zip(self.lstms, self.stitches, strict=True):
            values = self._mixed(lstm(values), stitch)
            layers.append(values)
        rows = torch.arange(len(x), device=x.device)
        if self.mixture is None:
            return values[groups.group, rows]
        own = torch.stack([layer[groups.group, rows] for layer in layers], 1)
        return (own * self.mixture[groups.group][:, :, None, None]).sum(1)

    def _mixed(self, values: Tensor, stitch: Tensor) -> Tensor:
        """Replace each subspace of each task by a weighted sum of all; [tasks, rows, steps, hidden]."""
        apart = values.unflatten(3, (self.subspaces, -1)).movedim(3, 1).flatten(0, 1)
        mixed = (stitch @ apart.flatten(1)).view_as(apart)
        return mixed.unflatten(0, (self.tasks, self.subspaces)).movedim(1, 3).flatten(3)

    def auxiliary(self, last: Tensor, groups: Dispatch) -> Tensor:
        """Return the weighted squared overlap of the recurrent weights of the subspaces of each LSTM."""
        if not self.orthogonality:
            return super().auxiliary(last, groups)
        overlap = last.new_zeros(())
        for lstm in self.lstms:
            weights = lstm.recurrent.unflatten(1, (self.subspaces, -1))
            products = torch.einsum("gshk,gtik->gsthi", weights, weights)
            same = torch.eye(self.subspaces, dtype=torch.bool, device=last.device)
            overlap = overlap + products[:, ~same].square().sum()
        return self.orthogonality * overlap

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the stitches."""
        return list(self.stitches.parameters())


def _stitch(size: int) -> nn.Parameter:
    own = torch.eye(size)
    return nn.Parameter(0.9 * own + 0.1 * (1 - own) / max(size - 1, 1) + 0.1 * own * (size == 1))


class Interleaved(Base):
    """GIRNet: LSTMs of auxiliary tasks, with states interleaved into a composite state for the primary (first) task.

    At every step, each auxiliary LSTM updates the composite state; the results are weighted by gates from an LSTM of
    the primary task. An input of an auxiliary task gives all weight to the LSTM of its task.

    Source: Gupta, Chakraborty and Chakrabarti 2019.

    Raises:
        ValueError: If there are no auxiliary tasks.
    """

    def __init__(self, inputs: int, hidden: int, tasks: int) -> None:
        super().__init__()
        if tasks < 2:
            raise ValueError(
                f"tasks={tasks} leaves GIRNet without an auxiliary task; use two tasks or more, the primary one first."
            )
        self.width = hidden
        self.auxiliaries, self.primary = GroupedLSTM(tasks - 1, inputs, hidden), GroupedLSTM(1, inputs, hidden)
        self.weigh = GroupedLinear(1, hidden, tasks - 1)

    def forward(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return representations, as `Base.forward`."""
        primary = (groups.group == 0)[:, None, None]
        fixed = nn.functional.one_hot((groups.group - 1).clamp(min=0), len(self.auxiliaries.recurrent))
        weights = self.weigh(self.primary.of_all(x)[:, :, 0][None])[0].softmax(2)
        shares = torch.where(primary, weights, fixed[:, None].to(x.dtype)).permute(2, 0, 1).unsqueeze(3)
        fed = self.auxiliaries.input(x.expand(len(shares), *x.shape))
        hidden, cell = (part[0] for part in self.auxiliaries.begin(len(x)))
        states = []
        for now, share in zip(fed.unbind(2), shares.unbind(2), strict=True):
            everywhere = (hidden.expand(len(fed), -1, -1), cell.expand(len(fed), -1, -1))
            hidden, cell = ((share * part).sum(0) for part in self.auxiliaries.step(now, everywhere))
            states.append(hidden)
        return torch.stack(states, 1)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters: the primary task uses every LSTM."""
        return list(self.parameters())


def cross_stitch(inputs: int, hidden: int, tasks: int) -> Base:
    """Build a cross-stitch network (Misra et al. 2016)."""
    return Stitched(inputs, hidden, tasks)


def sluice(inputs: int, hidden: int, tasks: int) -> Base:
    """Build a sluice network (Ruder et al. 2019): two subspaces, skip connections, orthogonality of weight 0.01."""
    return Stitched(inputs, hidden, tasks, subspaces=2, skip=True, orthogonality=0.01)


BaseMaker: TypeAlias = Callable[[int, int, int], Base]

BASES: dict[str, BaseMaker] = {
    "ns-mtl": SeparateLSTMs,
    "fs-mtl": SharedLSTM,
    "sp-mtl": SharedPrivate,
    "cross-stitch": cross_stitch,
    "sluice": sluice,
    "girnet": Interleaved,
}
