"""Keyword arguments of the recurrent environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.classification_env import ClassificationOptions
from mtl_gym.core.ranges import NOT_NEGATIVE, SHARES, SIZES, Range
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.recurrent.bases import BASES, BaseMaker
from mtl_gym.families.recurrent.construction import SHARINGS, SharingMaker


@dataclass(frozen=True, kw_only=True)
class RecurrentOptions(ClassificationOptions):
    """Keyword arguments of the recurrent environments, besides those of `ClassificationOptions`.

    Attributes:
        data: Name of a data set of sequences, or a `MultiTaskDataset`.
        network: `MultiTaskNetwork` used as a template, with weights redrawn for every seed, or a function of one
            `NetworkContext` that returns one. None builds the paper's network from `base`, `sharing`, `layers`,
            `hidden` and `readout`.
        tasks: Names or numbers of the tasks to use; None for all.
        base: Base model: "ns-mtl", "fs-mtl", "sp-mtl", "cross-stitch", "sluice", "girnet", None, or a function of
            (inputs, hidden, tasks) that returns a `Base`.
        sharing: Shared part: "mt-rmn", "rrn-rmn", "dc-mtl", "ic-mtl", "rrn", None, or a function of (inputs, hidden,
            tasks) that returns a `Sharing`.
        layers: Number of sub-networks per layer of the encoder; the first layer consists of LSTM cells.
        hidden: Width of LSTMs, sub-encoders and sub-decoders.
        readout: "mean" or "last", as in `MultiTaskNetwork`; ignored for data with a label per step ("every").
        penalties: lambda_1 and lambda_2 of the sparsity penalties (eqs. 10 and 11); zeros turn them off.
        free: gamma_1 and gamma_2, the shares of connections without cost.
        unseen_task: Name or number of a held-back task (table 2), counted among `tasks`: the network trains on the
            others first; then shared parameters are frozen and the held-back task trains alone, with fresh
            task-specific parts.
        seen_updates: Number of updates on the other tasks; 0 freezes an untrained encoder.

    Defaults are the paper's.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("layers", "hidden"), SIZES),
        "penalties": NOT_NEGATIVE,
        "free": SHARES,
    }

    data: str | MultiTaskDataset = "brain-series"
    tasks: Sequence[str | int] | None = None
    base: str | BaseMaker | None = "ns-mtl"
    sharing: str | SharingMaker | None = "mt-rmn"
    layers: Sequence[int] = (3, 3, 3)
    hidden: int = 16
    readout: str = "mean"
    penalties: tuple[float, float] = (1.0, 1.0)
    free: tuple[float, float] = (0.75, 0.75)
    unseen_task: str | int | None = None
    seen_updates: int = 1000

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._require("balanced", not self.balanced, "False: a sequence may have a label at every step")
        if self.readout not in ("mean", "last"):
            raise ValueError(f"readout={self.readout!r} is unknown; use mean or last.")
        for name, value, known in (("base", self.base, BASES), ("sharing", self.sharing, SHARINGS)):
            if isinstance(value, str) and value not in known:
                raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(known)}, None, or a function.")
        if self.network is None and self.base is None and self.sharing is None:
            raise ValueError("base=None and sharing=None leave no network; pass a base model, a shared part, or both.")
