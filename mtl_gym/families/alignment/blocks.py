"""Weight tensors as blocks of m inputs x n outputs: selection, cutting and joining.

Source: MUiR, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor, nn

Block = tuple[int, int]
# Number of gates whose matrices torch stacks along the first axis of one tensor.
RECURRENT: dict[type[nn.Module], int] = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
# Reason for leaving out matrices of unsupported layers.
UNKNOWN = "matrix of a kind that is not generated"


@dataclass(frozen=True)
class WeightTensor:
    """A weight tensor with one matrix per gate and per position of the receptive field.

    Attributes:
        name: Parameter name in its architecture.
        shape: [gates * outputs, inputs, *receptive field].
        gates: Number of matrices stacked along the first axis, as in `RECURRENT`; 1 for other layers.

    Example:
        >>> kernel = WeightTensor("conv.weight", (16, 6, 5, 5))
        >>> kernel.count((4, 8))
        100
        >>> weight = torch.randn(kernel.shape)
        >>> blocks = kernel.cut(weight, (4, 8), torch.zeros)
        >>> blocks.shape, torch.equal(kernel.join(blocks), weight)
        (torch.Size([100, 4, 8]), True)
    """

    name: str
    shape: tuple[int, ...]
    gates: int = 1

    @property
    def matrices(self) -> tuple[int, int, int, int]:
        """Numbers of gates, outputs, inputs and positions of the receptive field."""
        return self.gates, self.shape[0] // self.gates, self.shape[1], prod(self.shape[2:])

    def tiles(self, block: Block) -> tuple[int, int]:
        """Return the numbers of blocks along the inputs and the outputs of a matrix; edge blocks may overflow it."""
        _, outputs, inputs, _ = self.matrices
        return ceil(inputs / block[0]), ceil(outputs / block[1])

    def count(self, block: Block) -> int:
        """Return the number of blocks of the whole tensor."""
        return self.gates * prod(self.shape[2:]) * prod(self.tiles(block))

    def join(self, blocks: Tensor) -> Tensor:
        """Join blocks and discard entries beyond the edges; [..., count, m, n] -> [..., *shape]."""
        m, n = blocks.shape[-2:]
        gates, outputs, inputs, places = self.matrices
        rows, columns = self.tiles((m, n))
        lead = blocks.shape[:-3]
        tiled = blocks.reshape(*lead, gates, places, rows, columns, m, n)
        at = len(lead)
        order = [*range(at), *(at + axis for axis in (0, 3, 5, 2, 4, 1))]  # gates, columns, n, rows, m, places
        whole = tiled.permute(order).reshape(*lead, gates, columns * n, rows * m, places)
        if (columns * n, rows * m) != (outputs, inputs):  # a slice would fill a gradient with zeros, even of everything
            whole = whole[..., :outputs, :inputs, :]
        return whole.reshape(*lead, *self.shape)

    def cut(self, weight: Tensor, block: Block, fill: Callable[..., Tensor]) -> Tensor:
        """Cut a weight into blocks and fill entries beyond the edges by `fill(*size)`; [*shape] -> [count, m, n]."""
        m, n = block
        gates, outputs, inputs, places = self.matrices
        rows, columns = self.tiles(block)
        whole = fill(gates, columns * n, rows * m, places).to(weight)
        whole[:, :outputs, :inputs] = weight.reshape(gates, outputs, inputs, places)
        tiled = whole.reshape(gates, columns, n, rows, m, places).permute(0, 5, 3, 1, 4, 2)
        return tiled.reshape(self.count(block), m, n)


def weight_tensors(architecture: nn.Module, keep: Sequence[str] = ()) -> list[WeightTensor]:
    """Return the weights to generate: those of dense, 1-d and 2-d convolutional and recurrent layers.

    All other parameters stay in the architecture: biases, embeddings, norms and parameters that two layers share;
    matrices of other layers (transposed and 3-d convolutions, bilinear layers, the stacked input projections of
    attention); weights computed by a parametrization (`weight_norm`, `spectral_norm`); and frozen parameters.
    `left_out` lists them.

    Args:
        architecture: Any module.
        keep: Names of layers to leave unchanged.

    Raises:
        ValueError: If `keep` names an unknown layer, or no weight is left to generate.
    """
    layers = dict(architecture.named_modules())
    unknown = [name for name in keep if name not in layers]
    if unknown:
        raise ValueError(f"keep names the unknown layer {unknown[0]!r}; use some of {', '.join(filter(None, layers))}.")
    found = _generated(architecture, keep)
    if not found:
        others = "; ".join(f"{name}: {reason}" for name, reason in left_out(architecture, keep).items())
        raise ValueError(
            f"{type(architecture).__name__} has no dense, convolutional or recurrent weight that is neither frozen nor "
            f"kept ({others or 'it has no parameters'}): use another architecture, or a shorter keep."
        )
    return found


def _generated(architecture: nn.Module, keep: Sequence[str]) -> list[WeightTensor]:
    own = {name for name, p in architecture.named_parameters() if p.requires_grad} - _shared(architecture)
    found = [
        WeightTensor(_joined(name, part), tuple(weight.shape), gates)
        for name, layer in architecture.named_modules()
        if not _within(name, keep)
        for part, weight, gates in _weights_of(layer)
    ]
    return [tensor for tensor in found if tensor.name in own]


def _within(name: str, keep: Sequence[str]) -> bool:
    return any(name == kept or name.startswith(f"{kept}.") for kept in keep)


def _weights_of(layer: nn.Module) -> list[tuple[str, Tensor, int]]:
    if isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)):
        return [("weight", layer.weight, 1)]
    if isinstance(layer, nn.RNNBase):
        gates = RECURRENT.get(type(layer), 1)
        matrices = [(name, value) for name, value in layer.named_parameters() if value.ndim == 2]
        return [(name, value, 1 if "_hr_" in name else gates) for name, value in matrices]
    return []


def left_out(architecture: nn.Module, keep: Sequence[str] = ()) -> dict[str, str]:
    """Return the reason for each parameter that is not generated, by name.

    Args:
        architecture: As for `weight_tensors`.
        keep: As for `weight_tensors`.

    Example:
        >>> left_out(nn.Sequential(nn.Linear(2, 3), nn.ConvTranspose1d(3, 3, 2, bias=False)))
        {'0.bias': 'bias or norm', '1.weight': 'matrix of a kind that is not generated'}
    """
    generated, shared = {tensor.name for tensor in _generated(architecture, keep)}, _shared(architecture)
    parameters = [
        (_joined(name, part), p, layer, _within(name, keep))
        for name, layer in architecture.named_modules()
        for part, p in layer.named_parameters(recurse=False)
    ]
    return {
        name: _reason(p, layer, kept, name in shared) for name, p, layer, kept in parameters if name not in generated
    }


def _joined(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part


def _reason(parameter: Tensor, layer: nn.Module, kept: bool, shared: bool) -> str:
    """Return the first reason that applies."""
    reasons = {
        "frozen": not parameter.requires_grad,
        "kept": kept,
        "shared by two layers": shared,
        "embedding": isinstance(layer, (nn.Embedding, nn.EmbeddingBag)),
        "bias or norm": parameter.ndim < 2 or isinstance(layer, NORMS),
    }
    return next((reason for reason, holds in reasons.items() if holds), UNKNOWN)


def _shared(architecture: nn.Module) -> set[str]:
    """Return the names of parameters that occur more than once in the architecture."""
    names: dict[int, list[str]] = {}
    for name, value in architecture.named_parameters(remove_duplicate=False):
        names.setdefault(id(value), []).append(name)
    return {name for several in names.values() if len(several) > 1 for name in several}


def root_mean_square(weights: Sequence[Tensor]) -> float:
    """Return the root mean square of all numbers in `weights`; 0 without any."""
    total = sum(float(weight.square().sum()) for weight in weights)
    return (total / max(1, sum(weight.numel() for weight in weights))) ** 0.5


def normal(deviation: float) -> Callable[..., Tensor]:
    """Return a function that draws centred normal numbers of any shape from torch's CPU generator."""
    return lambda *size: deviation * torch.randn(*size)
