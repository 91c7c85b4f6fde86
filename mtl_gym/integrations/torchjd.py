"""Gradient aggregators of TorchJD by name, for training steps."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from mtl_gym.core.extras import needed_by
from mtl_gym.core.validation import did_you_mean

Aggregator: TypeAlias = Callable[[Tensor], Tensor]

# Arguments without a default in TorchJD; values of CAGrad and FairGrad are those of their papers.
ARGUMENTS: dict[str, dict[str, float]] = {"CAGrad": {"c": 0.5}, "FairGrad": {"alpha": 2.0}}


def aggregator(name: str) -> Aggregator:
    """Return the TorchJD aggregator of a name, in upper or lower case.

    Args:
        name: Name such as "upgrad", "mgda", "pcgrad", "cagrad", "imtlg", "alignedmtl".

    Returns:
        A function of the gradients of all tasks, [tasks, parameters] -> [parameters].

    Raises:
        MissingExtraError: If TorchJD is not installed.
        ValueError: If it has no such aggregator, or the aggregator needs further arguments.
    """
    known = _aggregators()
    if name.lower() not in known:
        hint = did_you_mean(name.lower(), known)
        raise ValueError(f"aggregator={name!r} is unknown.{hint} TorchJD has {', '.join(sorted(known))}.")
    kind = known[name.lower()]
    return kind(**ARGUMENTS.get(kind.__name__, {}))


def _aggregators() -> dict[str, type[Any]]:
    """Return the aggregators that need no further arguments, by lower-case name."""
    with needed_by("aggregator=..."):
        module = importlib.import_module("torchjd.aggregation")
    base = module.Aggregator
    kinds = [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, base)]
    return {kind.__name__.lower(): kind for kind in kinds if kind is not base and _is_complete(kind)}


def _is_complete(kind: type[Any]) -> bool:
    given = {"self", *ARGUMENTS.get(kind.__name__, {})}
    parameters = inspect.signature(kind.__init__).parameters.values()
    return all(p.default is not p.empty or p.name in given for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
