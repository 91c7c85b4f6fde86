"""Types that torch leaves open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from torch import Tensor, nn

from mtl_gym.core.validation import complaint

Module = TypeVar("Module", bound=nn.Module)


class Modules(nn.ModuleList, Generic[Module]):
    """`nn.ModuleList` whose modules have one type.

    Args:
        modules: The modules.
        kind: Their class.

    Raises:
        ValueError: If a module is of another class.

    Example:
        >>> layers: Modules[nn.Linear] = Modules([nn.Linear(2, 3)])
        >>> layers[0].out_features
        3
    """

    def __init__(self, modules: Iterable[Module] = (), kind: type[nn.Module] = nn.Module) -> None:
        modules = list(modules)
        for number, module in enumerate(modules):
            wrong = complaint(f"{kind.__name__} {number}", module, kind)
            if wrong is not None:
                raise ValueError(wrong)
        super().__init__(modules)

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

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """Inputs of the forward pass that need a gradient."""
        ...

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""
        ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Exclude outputs from gradients."""
        ...


class VmapInfo(Protocol):
    """First argument of the `vmap` method of a `torch.autograd.Function`."""

    @property
    def batch_size(self) -> int:
        """Size of the axis that `vmap` maps over."""
        ...
