"""Module pool: modules with declared input and output shapes, and their possible successions.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning"), sections 4.1 and 5.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.nn.shapes import Shape, output_shape, trouble_with_one_row
from mtl_gym.core.nn.typing import Modules
from mtl_gym.core.nn.weights import renewed
from mtl_gym.families.limitless.stacks import Stack, build_of

FAR = 2**30


class PoolModule(nn.Module):
    """Module of a pool with declared shapes.

    Args:
        body: Module applied to float32 [rows, *in_shape].
        in_shape: Shape of one input, without the batch axis.
        out_shape: Shape of one output; None infers it.
        head: True for a module that ends a network and returns logits of shape (classes,).
        name: Label in pictures; defaults to the class name of `body`.

    Raises:
        ValueError: If `body` does not map `in_shape` to `out_shape` or cannot be trained on a single row, or if a head
            does not return logits.

    Example:
        >>> module = PoolModule(nn.Linear(4, 8), (4,))
        >>> module.in_shape, module.out_shape, module.head
        ((4,), (8,), False)
    """

    def __init__(
        self,
        body: nn.Module,
        in_shape: Sequence[int],
        out_shape: Sequence[int] | None = None,
        head: bool = False,
        name: str = "",
    ) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.name = name or type(body).__name__
        self.in_shape: Shape = tuple(in_shape)
        self.out_shape = output_shape(body, self.in_shape, f"Module {self.name!r}")
        error = trouble_with_one_row(body, self.in_shape)
        if error is not None:
            raise ValueError(
                f"Module {self.name!r} cannot be trained on a single row ({error}), but a batch may send only one row "
                "to it: normalise rows independently, with nn.LayerNorm or nn.GroupNorm."
            )
        if out_shape is not None and tuple(out_shape) != self.out_shape:
            raise ValueError(
                f"Module {self.name!r} declares outputs of shape {tuple(out_shape)}, but returns {self.out_shape} for "
                f"inputs of shape {self.in_shape}: pass out_shape={self.out_shape}, or None."
            )
        if head and len(self.out_shape) != 1:
            raise ValueError(f"Module {self.name!r} is a head: it must return logits (classes,), not {self.out_shape}.")

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [rows, *in_shape] to float32 [rows, *out_shape]."""
        return self.body(x)


class ModulePool(nn.Module):
    """Modules that networks are built of; the action of a module is its index, and PASS is the last action.

    Args:
        modules: Modules in the order of their actions.
        input_shape: Shape of one input, without the batch axis.

    Raises:
        ValueError: If no head can be reached from `input_shape`, or heads differ in their number of classes.

    Example:
        >>> pool = ModulePool([PoolModule(nn.Linear(4, 8), (4,)), PoolModule(nn.Linear(8, 2), (8,), head=True)], (4,))
        >>> len(pool), pool.classes, pool.least_depth
        (2, 2, 2)
    """

    def __init__(self, modules: Sequence[PoolModule], input_shape: Sequence[int]) -> None:
        super().__init__()
        self.input_shape: Shape = tuple(input_shape)
        self.modules_in_order: Modules[PoolModule] = Modules(modules, PoolModule)
        classes = {module.out_shape[0] for module in modules if module.head}
        if len(classes) != 1:
            raise ValueError(
                f"Heads of classes={sorted(classes)}: pass one head or more, all with the same number of classes."
            )
        self.classes = classes.pop()
        self.layout = PoolLayout.of(modules, self.input_shape)
        if self.least_depth >= FAR:
            raise ValueError(
                f"No head can be reached from inputs of shape {self.input_shape}: the modules take the shapes "
                f"{sorted({module.in_shape for module in modules})}. Add modules whose shapes lead to a head."
            )

    def __len__(self) -> int:
        """Return the number of modules."""
        return len(self.modules_in_order)

    def __getitem__(self, number: int) -> PoolModule:
        """Return the module of an action."""
        return self.modules_in_order[number]

    @cached_property
    def stacks(self) -> PoolStacks:
        """The modules as stacks, by which they run."""
        return PoolStacks(list(self.modules_in_order), self.layout)

    @property
    def least_depth(self) -> int:
        """Number of modules in the shortest possible network."""
        return int(self.layout.whole[0])

    @property
    def names(self) -> list[str]:
        """Labels of the modules in pictures."""
        return [self[number].name for number in range(len(self))]

    def renewed(self) -> ModulePool:
        """Return a copy with fresh weights, as `mtl_gym.core.nn.weights.renewed`."""
        return renewed(self)


@dataclass(frozen=True)
class PoolLayout:
    """Shapes of a pool as numbers. Modules with equal shapes, heads apart from others, form one kind.

    Attributes:
        kind: Kind of each module; int64 [modules].
        takes: Number of the input shape of each kind; int64 [kinds]. Shape 0 is the input shape of the pool.
        gives: Number of the output shape of each kind, -1 for heads; int64 [kinds].
        shapes: Number of shapes.
    """

    kind: NDArray[np.int64]
    takes: NDArray[np.int64]
    gives: NDArray[np.int64]
    shapes: int

    @classmethod
    def of(cls, modules: Sequence[PoolModule], input_shape: Shape) -> PoolLayout:
        """Return the layout of `modules`."""
        shapes: dict[Shape, int] = {input_shape: 0}
        kinds: dict[tuple[int, int], int] = {}
        kind = []
        for module in modules:
            takes = shapes.setdefault(module.in_shape, len(shapes))
            gives = -1 if module.head else shapes.setdefault(module.out_shape, len(shapes))
            kind.append(kinds.setdefault((takes, gives), len(kinds)))
        takes_and_gives = np.array(list(kinds), np.int64)
        return cls(np.array(kind), takes_and_gives[:, 0], takes_and_gives[:, 1], len(shapes))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Number of modules of each kind; int64 [kinds]."""
        return np.bincount(self.kind, minlength=len(self.takes))

    @cached_property
    def whole(self) -> NDArray[np.int64]:
        """Distances to the end of a network with all modules unused; int64 [shapes]."""
        return self.distances(np.ones((1, len(self.takes)), bool))[0]

    @cached_property
    def reached(self) -> NDArray[np.int64]:
        """Least number of modules from the input to each shape, `FAR` or more if there is no way; int64 [shapes]."""
        far = np.full(self.shapes, FAR)
        far[0] = 0
        for _ in range(self.shapes):
            for takes, gives in zip(self.takes[self.gives >= 0], self.gives[self.gives >= 0], strict=True):
                far[gives] = min(far[gives], far[takes] + 1)
        return far

    def distances(self, left: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the least number of modules from each shape to the end of a network.

        A shortest path visits no shape twice and thus no module twice, so knowing the kinds with an unused module
        suffices.

        Args:
            left: Mask of kinds with an unused module; bool [rows, kinds].

        Returns:
            int64 [rows, shapes]; `FAR` or more where no head can be reached.
        """
        # The extra column is the end of a network, with distance 0; heads (-1) point at it.
        far = np.full((len(left), self.shapes + 1), FAR)
        far[:, -1] = 0
        for _ in range(self.shapes):
            for kind, (takes, gives) in enumerate(zip(self.takes, self.gives, strict=True)):
                way = np.where(left[:, kind], far[:, gives] + 1, FAR)
                np.minimum(far[:, takes], way, out=far[:, takes])
        return far[:, :-1]


class PoolStacks:
    """Modules of a pool as stacks: those of one kind that are built alike.

    Args:
        modules: Modules of the pool.
        layout: Their layout.

    Attributes:
        of: Stack of each module; int64 [modules].
        member: Place of each module in its stack; int64 [modules].
        rank: Place of each module if all are sorted by stack and place there; int64 [modules].
        ends: Whether a stack holds heads; by stack.
    """

    def __init__(self, modules: Sequence[PoolModule], layout: PoolLayout) -> None:
        stacks: dict[tuple[object, ...], list[int]] = {}
        for number, (kind, module) in enumerate(zip(layout.kind.tolist(), modules, strict=True)):
            stacks.setdefault((kind, *build_of(module.body)), []).append(number)
        self.of, self.member, self.rank = np.empty((3, len(modules)), np.int64)
        for stack, numbers in enumerate(stacks.values()):
            self.of[numbers], self.member[numbers] = stack, np.arange(len(numbers))
        self.rank[np.lexsort((self.member, self.of))] = np.arange(len(modules))
        members = [[modules[number] for number in numbers] for numbers in stacks.values()]
        self._stacks = [Stack([module.body for module in alike], alike) for alike in members]
        kinds = [layout.kind[numbers[0]] for numbers in stacks.values()]
        takes, gives = layout.takes[kinds], layout.gives[kinds]
        self.ends = (gives < 0).tolist()
        self._order = list(zip(layout.reached[takes].tolist(), (takes != gives).tolist(), strict=True))

    def __getitem__(self, number: int) -> Stack:
        """Return one stack."""
        return self._stacks[number]

    def order(self, number: int) -> tuple[int, bool]:
        """Return the key by which stacks take turns: closest to the input first, and before leaving a shape."""
        return self._order[number]
