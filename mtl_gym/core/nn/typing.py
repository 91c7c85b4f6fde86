"""Types that torch leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


class Modules(nn.ModuleList, Generic[Module]):
    """`nn.ModuleList` whose modules have one type.

    Example:
        >>> layers: Modules[nn.Linear] = Modules([nn.Linear(2, 3)])
        >>> layers[0].out_features
        3
    """

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Module]:
            """Iterate over the modules."""

        def __getitem__(self, index: int) -> Module:  # type: ignore[override]  # no slices
            """Return one module."""


class Context(Protocol):
    """First argument of the methods of a `torch.autograd.Function`."""

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """Tensors that `save_for_backward` kept."""
        ...

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""
        ...


class VmapInfo(Protocol):
    """First argument of the `vmap` method of a `torch.autograd.Function`."""

    @property
    def batch_size(self) -> int:
        """Size of the axis that `vmap` maps over."""
        ...
