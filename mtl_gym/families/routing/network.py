"""The routed network: a trunk that every input passes, then layers of blocks of which a route picks one each.

Source: Rosenbaum et al. 2018, section 3 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch, apply_blocks, linear_stack
from mtl_gym.core.nn.shapes import output_shape, trouble_with_one_row
from mtl_gym.core.nn.typing import Modules
from mtl_gym.core.nn.weights import renewed


class RoutedLayer(nn.Module):
    """The blocks of one depth, interchangeable for a router.

    Args:
        blocks: Modules that take and give the same shapes. Linear blocks of one shape run as a stack.
        in_shape: What a block takes, without the batch axis; may be left out for linear blocks.
        activation: Applied to what a block gives; rows that PASS skip it.

    Raises:
        ValueError: If there is no block, or the blocks do not agree on their shapes.

    Example:
        >>> layer = RoutedLayer([nn.Linear(4, 8) for _ in range(3)])
        >>> layer.in_shape, layer.out_shape, layer.can_pass
        ((4,), (8,), False)
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        in_shape: tuple[int, ...] | None = None,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("A routed layer needs at least one block.")
        self.blocks: Modules[nn.Module] = Modules(blocks)
        self.activation = activation
        self.in_shape = tuple(in_shape) if in_shape is not None else _linear_input(blocks[0])
        self.out_shape = _common_output(blocks, self.in_shape)
        _check_single_rows(blocks, self.in_shape)
        self._linear = linear_stack(blocks) and len(self.in_shape) == 1

    @property
    def choices(self) -> int:
        """How many choices there are, without PASS."""
        return len(self.blocks)

    @property
    def can_pass(self) -> bool:
        """Whether leaving a value as it is keeps the network runnable: no block changes the shape."""
        return self.in_shape == self.out_shape

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """The blocks that are used if those choices are taken, bool [choices]."""
        return [block for block, used in zip(self.blocks, taken, strict=True) if used]

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """Apply to each row the block of its choice; `self.choices` is PASS.

        Args:
            x: float32 [rows, *in_shape].
            choices: int64 [rows], on the host.

        Returns:
            float32 [rows, *out_shape].
        """
        routed = np.flatnonzero(choices < self.choices)
        if len(routed) == len(choices):
            return self._run(x, choices)
        if len(routed) == 0:
            return x
        index = torch.from_numpy(routed).to(x.device)
        return x.index_copy(0, index, self._run(x[index], choices[routed]))

    def _run(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        y = apply_blocks(self.blocks, x, Dispatch.of(choices, device=x.device), self._linear)
        return y if self.activation is None else self.activation(y)


class RoutedNetwork(nn.Module):
    """Trunk and routed layers. Values travel flat and zero-padded to `width`, so that any two layers can meet.

    Args:
        trunk: What every input passes first, or None.
        layers: The routed layers, in order; the last one gives the logits [classes].
        input_shape: Shape of one input, without the batch axis.

    Raises:
        ValueError: If what trunk and layers give and take does not fit together.

    Example:
        >>> layers = [RoutedLayer([nn.Linear(4, 4) for _ in range(3)]), RoutedLayer([nn.Linear(4, 2)])]
        >>> network = RoutedNetwork(None, layers, input_shape=(4,))
        >>> network.width, network.num_blocks, network.classes
        (4, 3, 2)
    """

    def __init__(self, trunk: nn.Module | None, layers: Sequence[RoutedLayer], input_shape: tuple[int, ...]) -> None:
        super().__init__()
        if not layers:
            raise ValueError("A routed network needs at least one routed layer.")
        self.trunk = nn.Identity() if trunk is None else trunk
        self.layers: Modules[RoutedLayer] = Modules(layers)
        self.input_shape = tuple(input_shape)
        features = output_shape(self.trunk, self.input_shape, "the trunk")
        _check_chain(features, layers)
        self.width = max(prod(features), *(prod(layer.in_shape) for layer in layers), prod(layers[-1].out_shape))
        self.num_blocks = max(layer.choices for layer in layers)
        self.classes = layers[-1].out_shape[0]

    @property
    def depth(self) -> int:
        """How many routed layers there are."""
        return len(self.layers)

    def masks(self) -> NDArray[np.bool_]:
        """Valid choices per depth; bool [depth, num_blocks + 1], the last column is PASS."""
        masks = np.zeros((self.depth, self.num_blocks + 1), bool)
        for depth, layer in enumerate(self.layers):
            masks[depth, : layer.choices] = True
            masks[depth, -1] = layer.can_pass and depth < self.depth - 1
        return masks

    def blocks_used(self, taken: NDArray[np.bool_]) -> int:
        """How many distinct blocks are used if those choices are taken, since depths may share some.

        Args:
            taken: bool [depth, num_blocks].
        """
        used = (layer.blocks_behind(row[: layer.choices]) for layer, row in zip(self.layers, taken, strict=True))
        return len({id(block) for blocks in used for block in blocks})

    def embed(self, x: Tensor) -> Tensor:
        """The trunk's features; float32 [rows, *input_shape] -> [rows, width]."""
        return self._pad(self.trunk(x))

    def decide(self, values: Tensor, depth: int, choices: NDArray[np.int64]) -> Tensor:
        """Carry out one routing decision for every row: algorithm 1, lines 3 and 4.

        Args:
            values: float32 [rows, width].
            depth: The layer.
            choices: Block of each row, `num_blocks` is PASS; int64 [rows], on the host.

        Returns:
            float32 [rows, width].
        """
        layer = self.layers[depth]
        choices = np.where(choices == self.num_blocks, layer.choices, choices)
        x = values[:, : prod(layer.in_shape)].unflatten(1, layer.in_shape)
        return self._pad(layer(x, choices))

    def forward(self, x: Tensor, routes: NDArray[np.int64]) -> Tensor:
        """Logits of `x` along given routes, int64 [rows, depth]; float32 [rows, classes]."""
        values = self.embed(x)
        for depth in range(self.depth):
            values = self.decide(values, depth, routes[:, depth])
        return values[:, : self.classes]

    def renewed(self) -> RoutedNetwork:
        """A copy with fresh weights; as `mtl_gym.core.nn.weights.renewed`."""
        return renewed(self)

    def _pad(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x if x.shape[1] == self.width else nn.functional.pad(x, (0, self.width - x.shape[1]))


def _linear_input(block: nn.Module) -> tuple[int, ...]:
    if isinstance(block, nn.Linear):
        return (block.in_features,)
    raise ValueError(f"in_shape is needed for blocks that are not nn.Linear, such as {block}.")


def _check_single_rows(blocks: Sequence[nn.Module], in_shape: tuple[int, ...]) -> None:
    """Refuse blocks that fail in training when a single row is routed to them, as batch norm of flat values does."""
    for i, block in enumerate(blocks):
        error = trouble_with_one_row(block, in_shape)
        if error is not None:
            raise ValueError(
                f"Block {i} cannot process a single row in training ({error}), and a route may send it just one: "
                "normalise each row by itself, with nn.LayerNorm or nn.GroupNorm."
            )


def _common_output(blocks: Sequence[nn.Module], in_shape: tuple[int, ...]) -> tuple[int, ...]:
    shapes = [output_shape(block, in_shape, f"block {i}") for i, block in enumerate(blocks)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"Blocks of one layer must be interchangeable: for an input of shape {in_shape}, block {i} gives "
                f"{shape} and block 0 gives {shapes[0]}."
            )
    return shapes[0]


def _check_chain(features: tuple[int, ...], layers: Sequence[RoutedLayer]) -> None:
    given, giver = features, "the trunk"
    for depth, layer in enumerate(layers):
        if prod(given) != prod(layer.in_shape):
            raise ValueError(f"Layer {depth} takes {layer.in_shape}, but {giver} gives {given}: the shapes must fit.")
        given, giver = layer.out_shape, f"layer {depth}"
    if len(given) != 1:
        raise ValueError(f"The last layer must give logits of shape (classes,), not {given}.")
