"""Routed network: a trunk shared by all inputs, then layers of blocks; a route picks one block per layer.

Source: Rosenbaum et al. 2018, section 3 and algorithm 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.shapes import output_shape, trouble_with_one_row
from mtl_gym.core.nn.stacks import BlockStack, apply_blocks
from mtl_gym.core.nn.typing import Modules
from mtl_gym.core.nn.weights import renewed


class RoutedLayer(nn.Module):
    """Layer of interchangeable blocks at one depth.

    Args:
        blocks: Modules with equal input and output shapes. Linear blocks run as one stack.
        in_shape: Input shape of a block, without the batch axis; optional for linear blocks.
        activation: Module applied to block outputs; rows that PASS skip it.

    Raises:
        ValueError: If there is no block, output shapes differ, or a block cannot be trained on a single row.

    Example:
        >>> layer = RoutedLayer([nn.Linear(4, 8) for _ in range(3)])
        >>> layer.in_shape, layer.out_shape, layer.can_pass
        ((4,), (8,), False)
    """

    # Runs among which blocks and rows are divided, in order.
    _runs = 1

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
        self._stack = BlockStack.of(blocks) if len(self.in_shape) == 1 else None

    @property
    def choices(self) -> int:
        """Number of choices, without PASS."""
        return len(self.blocks)

    @property
    def can_pass(self) -> bool:
        """True if blocks keep the shape of values, so that a row may skip the layer."""
        return self.in_shape == self.out_shape

    def activation_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the activation, which most have not."""
        if self.activation is not None:
            yield from self.activation.parameters()

    @property
    def trainable_stack(self) -> BlockStack | None:
        """The stack in which all gradients of the blocks can gather; None where there is none."""
        return self._stack

    def blocks_behind(self, taken: NDArray[np.bool_]) -> list[nn.Module]:
        """Return the blocks used by the choices marked in `taken`; bool [choices]."""
        return [block for block, used in zip(self.blocks, taken, strict=True) if used]

    def forward(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """Apply to each row its chosen block; the number `self.choices` is PASS.

        Args:
            x: float32 [rows, *in_shape].
            choices: int64 [rows], on the host.

        Returns:
            float32 [rows, *out_shape].
        """
        return self._route(x, choices)

    def _route(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        """Apply to each row one of `self.blocks`; their number is PASS."""
        routed = np.flatnonzero(choices < len(self.blocks))
        if len(routed) == len(choices):
            return self._run(x, choices)
        if len(routed) == 0:
            return x
        index = torch.from_numpy(routed).to(x.device)
        return x.index_copy(0, index, self._run(x[index], choices[routed]))

    def _whole_stack(self) -> BlockStack | None:
        """Return the stack; None if blocks were replaced since it was made.

        Raises:
            ValueError: If the replaced blocks are training.
        """
        if self._stack is None or self._stack.blocks == list(self.blocks):
            return self._stack
        if self._stack.gathers and self._stack.leaves:
            raise ValueError(
                "Blocks were replaced after their optimizer was made: make another environment with the network."
            )
        return None

    def _run(self, x: Tensor, choices: NDArray[np.int64]) -> Tensor:
        y = apply_blocks(self.blocks, self._whole_stack(), x, Dispatch.of(choices, device=x.device), self._runs)
        return y if self.activation is None else self.activation(y)


class RoutedNetwork(nn.Module):
    """Network of a trunk and routed layers. Between layers, values are flat and zero-padded to `width`.

    Args:
        trunk: Module applied to every input first, or None.
        layers: Routed layers, in order; the last returns the logits [classes].
        input_shape: Shape of one input, without the batch axis.

    Raises:
        ValueError: If there is no layer, or the shapes of consecutive layers do not fit.

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
        self.layers: Modules[RoutedLayer] = Modules(layers, RoutedLayer)
        self.input_shape = tuple(input_shape)
        features = output_shape(self.trunk, self.input_shape, "the trunk")
        _check_chain(features, layers)
        self.width = max(prod(features), *(prod(layer.in_shape) for layer in layers), prod(layers[-1].out_shape))
        self.num_blocks = max(layer.choices for layer in layers)
        self.classes = layers[-1].out_shape[0]

    @property
    def depth(self) -> int:
        """Number of routed layers."""
        return len(self.layers)

    def masks(self) -> NDArray[np.bool_]:
        """Return the valid choices per depth; bool [depth, num_blocks + 1], PASS in the last column."""
        masks = np.zeros((self.depth, self.num_blocks + 1), bool)
        for depth, layer in enumerate(self.layers):
            masks[depth, : layer.choices] = True
            masks[depth, -1] = layer.can_pass and depth < self.depth - 1
        return masks

    def blocks_used(self, taken: NDArray[np.bool_]) -> int:
        """Return the number of distinct blocks used by the choices marked in `taken`; depths may share blocks.

        Args:
            taken: bool [depth, num_blocks].
        """
        used = (layer.blocks_behind(row[: layer.choices]) for layer, row in zip(self.layers, taken, strict=True))
        return len({id(block) for blocks in used for block in blocks})

    def fused_stacks(self) -> list[BlockStack]:
        """Fuse the blocks of every layer that has a stack and shares no parameter, and return these stacks."""
        parts = [self.trunk, *(block for layer in self.layers for block in layer.blocks)]
        uses = Counter(id(p) for part in parts for _, p in part.named_parameters(remove_duplicate=False))
        stacks = [layer.trainable_stack for layer in self.layers]
        own = [stack for stack in stacks if stack and all(uses[id(p)] == 1 for p in stack.parameters())]
        for stack in own:
            stack.fuse()
        return [stack for stack in own if stack.leaves]

    def embed(self, x: Tensor) -> Tensor:
        """Return the padded features of the trunk; float32 [rows, *input_shape] -> [rows, width]."""
        return self._pad(self.trunk(x))

    def decide(self, values: Tensor, depth: int, choices: NDArray[np.int64]) -> Tensor:
        """Apply one routing decision to every row.

        Source: Rosenbaum et al. 2018, algorithm 1, lines 3 and 4.

        Args:
            values: float32 [rows, width].
            depth: Index of the layer.
            choices: Block of each row, or `num_blocks` for PASS; int64 [rows], on the host.

        Returns:
            float32 [rows, width].
        """
        layer = self.layers[depth]
        choices = np.where(choices == self.num_blocks, layer.choices, choices)
        x = values[:, : prod(layer.in_shape)].unflatten(1, layer.in_shape)
        return self._pad(layer(x, choices))

    def forward(self, x: Tensor, routes: NDArray[np.int64]) -> Tensor:
        """Return the logits of `x` along the given routes, int64 [rows, depth]; float32 [rows, classes]."""
        values = self.embed(x)
        for depth in range(self.depth):
            values = self.decide(values, depth, routes[:, depth])
        return values[:, : self.classes]

    def renewed(self) -> RoutedNetwork:
        """Return a copy with fresh weights, as `mtl_gym.core.nn.weights.renewed`."""
        return renewed(self)

    def _pad(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x if x.shape[1] == self.width else nn.functional.pad(x, (0, self.width - x.shape[1]))


def _linear_input(block: nn.Module) -> tuple[int, ...]:
    if isinstance(block, nn.Linear):
        return (block.in_features,)
    raise ValueError(f"in_shape=None works for nn.Linear only, but the first block is {block}: pass in_shape.")


def _check_single_rows(blocks: Sequence[nn.Module], in_shape: tuple[int, ...]) -> None:
    """Raise ValueError for blocks that cannot be trained on a single row, such as batch norm of flat values."""
    for i, block in enumerate(blocks):
        error = trouble_with_one_row(block, in_shape)
        if error is not None:
            raise ValueError(
                f"Block {i} cannot be trained on a single row ({error}), but a batch may route only one row to it: "
                "normalise rows independently, with nn.LayerNorm or nn.GroupNorm."
            )


def _common_output(blocks: Sequence[nn.Module], in_shape: tuple[int, ...]) -> tuple[int, ...]:
    shapes = [output_shape(block, in_shape, f"block {i}") for i, block in enumerate(blocks)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(
                f"Blocks of one layer must have equal output shapes: for inputs of shape {in_shape}, block {i} returns "
                f"{shape} and block 0 returns {shapes[0]}."
            )
    return shapes[0]


def _check_chain(features: tuple[int, ...], layers: Sequence[RoutedLayer]) -> None:
    given, source = features, "the trunk"
    for depth, layer in enumerate(layers):
        if prod(given) != prod(layer.in_shape):
            raise ValueError(f"Layer {depth} takes {layer.in_shape}, but {source} returns {given}: use equal shapes.")
        given, source = layer.out_shape, f"layer {depth}"
    if len(given) != 1:
        raise ValueError(f"The last layer must return logits of shape (classes,), not {given}.")
