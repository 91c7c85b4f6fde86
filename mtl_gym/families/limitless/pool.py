"""The module pool: anything with a declared input and output shape, and what may follow what.

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

FAR = 2**30


class PoolModule(nn.Module):
    """A module of the pool, with the shapes it declares.

    Args:
        body: What is applied to float32 [rows, *in_shape].
        in_shape: Shape of one input, without the rows.
        out_shape: Shape of one output; None finds out.
        head: Whether it ends a network. Then it gives logits, (classes,).
        name: What pictures call it.

    Raises:
        ValueError: If the body does not take `in_shape` or give `out_shape`, or cannot be trained on a single row, or a
            head does not give logits.

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
                f"Module {self.name!r} cannot process a single row in training ({error}), and only one network of a "
                "batch may have it: normalise each row by itself, with nn.LayerNorm or nn.GroupNorm."
            )
        if out_shape is not None and tuple(out_shape) != self.out_shape:
            raise ValueError(
                f"Module {self.name!r} declares outputs of shape {tuple(out_shape)}, but gives {self.out_shape} for "
                f"inputs of shape {self.in_shape}: declare what it gives."
            )
        if head and len(self.out_shape) != 1:
            raise ValueError(f"Module {self.name!r} is a head: it must give logits (classes,), not {self.out_shape}.")

    def forward(self, x: Tensor) -> Tensor:
        """float32 [rows, *in_shape] -> [rows, *out_shape]."""
        return self.body(x)


class ModulePool(nn.Module):
    """Modules from which networks are built. Its action numbers are the modules' places, and PASS comes last.

    Args:
        modules: The modules, in the order of their action numbers.
        input_shape: Shape of one input, without the rows.

    Raises:
        ValueError: If no network from inputs of that shape can end in a head, or heads differ in their classes.

    Example:
        >>> pool = ModulePool([PoolModule(nn.Linear(4, 8), (4,)), PoolModule(nn.Linear(8, 2), (8,), head=True)], (4,))
        >>> len(pool), pool.classes, pool.least_depth
        (2, 2, 2)
    """

    def __init__(self, modules: Sequence[PoolModule], input_shape: Sequence[int]) -> None:
        super().__init__()
        self.input_shape: Shape = tuple(input_shape)
        classes = {module.out_shape[0] for module in modules if module.head}
        if len(classes) != 1:
            raise ValueError(f"The heads of a pool give the same number of classes; these give {sorted(classes)}.")
        self.modules_in_order: Modules[PoolModule] = Modules(modules)
        self.classes = classes.pop()
        self.layout = Layout.of(modules, self.input_shape)
        if self.least_depth >= FAR:
            raise ValueError(
                f"No head can be reached from inputs of shape {self.input_shape}: the shapes that are taken are "
                f"{sorted({module.in_shape for module in modules})}. Add modules whose shapes lead to a head."
            )

    def __len__(self) -> int:
        """Number of modules."""
        return len(self.modules_in_order)

    def __getitem__(self, number: int) -> PoolModule:
        """The module of that action number."""
        return self.modules_in_order[number]

    @property
    def least_depth(self) -> int:
        """Modules in the shortest network that can be built."""
        return int(self.layout.whole[0])

    @property
    def names(self) -> list[str]:
        """What pictures call the modules."""
        return [self[number].name for number in range(len(self))]

    def renewed(self) -> ModulePool:
        """A copy with fresh weights; as `mtl_gym.core.nn.weights.renewed`."""
        return renewed(self)


@dataclass(frozen=True)
class Layout:
    """The shapes of a pool as numbers. Modules that take, give and end alike are one kind.

    Attributes:
        kind: Kind of each module; int64 [modules].
        takes: Number of the shape that each kind takes; int64 [kinds]. Shape 0 is that of the inputs.
        gives: Number of the shape that each kind gives, -1 for heads; int64 [kinds].
        shapes: How many shapes there are.
    """

    kind: NDArray[np.int64]
    takes: NDArray[np.int64]
    gives: NDArray[np.int64]
    shapes: int

    @classmethod
    def of(cls, modules: Sequence[PoolModule], input_shape: Shape) -> Layout:
        """The layout of `modules`."""
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
        """Modules of each kind; int64 [kinds]."""
        return np.bincount(self.kind, minlength=len(self.takes))

    @cached_property
    def whole(self) -> NDArray[np.int64]:
        """Distances to a head while no module is used up; int64 [shapes]."""
        return self.distances(np.ones((1, len(self.takes)), bool))[0]

    def distances(self, left: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many modules it takes at least from each shape to the end of a network.

        A shortest way passes no shape twice, so no module twice: kinds of which a module is left are all it needs.

        Args:
            left: Kinds of which a module is unused; bool [rows, kinds].

        Returns:
            int64 [rows, shapes]; `FAR` or more where no head can be reached.
        """
        # The extra column stands for what is behind a head; -1 points at it.
        far = np.full((len(left), self.shapes + 1), FAR)
        far[:, -1] = 0
        for _ in range(self.shapes):
            for kind, (takes, gives) in enumerate(zip(self.takes, self.gives, strict=True)):
                way = np.where(left[:, kind], far[:, gives] + 1, FAR)
                np.minimum(far[:, takes], way, out=far[:, takes])
        return far[:, :-1]
