"""Construction of networks from the names of a base model and of a shared part.

Source: Xu et al. 2021 (MT-RMN), tables 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import nn

from mtl_gym.families.recurrent.baselines import DirectCommunication, IndirectCommunication, RecursiveRouting
from mtl_gym.families.recurrent.bases import BASES, Base, BaseMaker
from mtl_gym.families.recurrent.modular import ModularNetwork, Sharing
from mtl_gym.families.recurrent.network import MultiTaskNetwork

SharingMaker: TypeAlias = Callable[[int, int, int], Sharing]

# Shared parts by name; `make_network` passes `layers` to modular networks.
SHARINGS: dict[str, SharingMaker] = {
    "mt-rmn": ModularNetwork,
    "rrn-rmn": lambda inputs, hidden, tasks: ModularNetwork(inputs, hidden, tasks, recursive=True),
    "dc-mtl": DirectCommunication,
    "ic-mtl": IndirectCommunication,
    "rrn": RecursiveRouting,
}


def make_network(
    front: nn.Module,
    inputs: int,
    base: str | BaseMaker | None,
    sharing: str | SharingMaker | None,
    sizes: tuple[int, int, int],
    layers: Sequence[int] = (3, 3, 3),
    readout: str = "mean",
) -> MultiTaskNetwork:
    """Build a network from the names or makers of its parts.

    Args:
        front: Module that maps inputs to float32 [rows, steps, inputs].
        inputs: Output width of `front`.
        base: As in `RecurrentOptions`.
        sharing: As in `RecurrentOptions`.
        sizes: Width of LSTMs and sub-networks, number of tasks, and number of classes.
        layers: Number of sub-networks per layer of a modular network.
        readout: As in `MultiTaskNetwork`.

    Example:
        >>> make_network(nn.Identity(), 10, "fs-mtl", None, (16, 4, 3)).representation
        16
    """
    hidden, tasks, classes = sizes
    made_base = _base(base, inputs, hidden, tasks)
    made_sharing = _sharing(sharing, inputs, hidden, tasks, tuple(layers))
    return MultiTaskNetwork(front, made_base, made_sharing, tasks, classes, readout)


def _base(base: str | BaseMaker | None, inputs: int, hidden: int, tasks: int) -> Base | None:
    if base is None:
        return None
    return (BASES[base] if isinstance(base, str) else base)(inputs, hidden, tasks)


def _sharing(
    sharing: str | SharingMaker | None, inputs: int, hidden: int, tasks: int, layers: tuple[int, ...]
) -> Sharing | None:
    if sharing is None:
        return None
    if sharing in ("mt-rmn", "rrn-rmn"):
        return ModularNetwork(inputs, hidden, tasks, layers, recursive=sharing == "rrn-rmn")
    return (SHARINGS[sharing] if isinstance(sharing, str) else sharing)(inputs, hidden, tasks)
