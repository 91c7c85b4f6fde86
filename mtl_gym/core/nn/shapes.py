"""Shapes of what modules return, found by running them on zeros."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.validation import complaint, short

Shape = tuple[int, ...]
ROWS = 2


def output_shape(module: nn.Module, in_shape: Shape, name: str) -> Shape:
    """Return the shape of a module's output for one input; each part of the module keeps its mode.

    Args:
        module: The module.
        in_shape: Shape of one input, without the batch axis.
        name: Name of the module in messages.

    Raises:
        ValueError: If it is not a module, does not take such inputs, or does not return one float32 output for each.

    Example:
        >>> output_shape(nn.Conv2d(3, 8, 3), (3, 10, 10), "the convolution")
        (8, 8, 8)
    """
    wrong = complaint(name, module, nn.Module)
    if wrong is not None:
        raise ValueError(wrong)
    if type(module) is nn.Linear and in_shape == (module.in_features,) and module.weight.dtype == torch.float32:
        return (module.out_features,)
    try:
        with torch.no_grad(), eval_mode(module):
            out: object = module(_zeros(ROWS, in_shape, module))
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{name} ({module}) does not take inputs of shape {in_shape}: {error}") from error
    if not isinstance(out, Tensor) or out.ndim == 0 or len(out) != ROWS or out.dtype != torch.float32:
        given = f"{out.dtype} {list(out.shape)}" if isinstance(out, Tensor) else short(out)
        raise ValueError(
            f"{name} ({module}) returns {given} for {ROWS} inputs of shape {in_shape}; it must return a float32 tensor "
            f"[{ROWS}, ...], one row per input."
        )
    return tuple(out.shape[1:])


def trouble_with_one_row(module: nn.Module, in_shape: Shape) -> str | None:
    """Return why a module cannot be trained on a batch of one, as batch norm of flat values cannot; None if it can.

    Args:
        module: The module, which is not changed.
        in_shape: Shape of one input, without the batch axis.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        return None
    try:
        with seeded(0), torch.no_grad():
            copy.deepcopy(module).train()(_zeros(1, in_shape, module))
    except ValueError as error:
        return str(error)
    return None


def _zeros(rows: int, in_shape: Shape, module: nn.Module) -> Tensor:
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    return torch.zeros(rows, *in_shape, device=device)
