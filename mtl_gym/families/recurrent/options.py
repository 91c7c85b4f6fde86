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
        network: A `MultiTaskNetwork` as a template, whose weights are drawn anew from every seed, or a function of one
            `NetworkContext` that makes one. None builds the paper's network from `base`, `sharing`, `layers`, `hidden`
            and `readout`.
        data_kwargs: Arguments of a data set that is loaded by name, such as {"relatedness": 0.5}.
        tasks: Names of the tasks to take part; None takes all.
        base: What a task has for itself: "ns-mtl", "fs-mtl", "sp-mtl", "cross-stitch", "sluice", "girnet", None, or a
            function of (inputs, hidden, tasks) that gives a `Base`.
        sharing: What tasks share: "mt-rmn", "rrn-rmn", "dc-mtl", "ic-mtl", "rrn", None, or a function of (inputs,
            hidden, tasks) that gives a `Sharing`.
        layers: Sub-networks per layer of the encoder; the first are LSTM cells.
        hidden: Width of LSTMs, sub-encoders and sub-decoders.
        readout: "mean" or "last", as in `MultiTaskNetwork`; data with a label for every step are answered at every one.
        penalties: lambda_1 and lambda_2 of the sparsity penalties (eqs. 10 and 11); zeros turn them off.
        free: gamma_1 and gamma_2, the shares of connections that cost nothing.
        unseen_task: Name of a task that is held back (table 2): the network is trained on the other tasks first; then
            what tasks share is fixed, and the held-back task begins with parts of its own.
        seen_updates: Updates on the other tasks before that; 0 fixes an untrained encoder.

    Defaults are the paper's.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("layers", "hidden"), SIZES),
        "penalties": NOT_NEGATIVE,
        "free": SHARES,
    }

    data: str | MultiTaskDataset = "brain-series"
    data_kwargs: Mapping[str, object] | None = None
    tasks: Sequence[str] | None = None
    base: str | BaseMaker | None = "ns-mtl"
    sharing: str | SharingMaker | None = "mt-rmn"
    layers: Sequence[int] = (3, 3, 3)
    hidden: int = 16
    readout: str = "mean"
    penalties: tuple[float, float] = (1.0, 1.0)
    free: tuple[float, float] = (0.75, 0.75)
    unseen_task: str | None = None
    seen_updates: int = 1000

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        if self.readout not in ("mean", "last"):
            raise ValueError(f"readout={self.readout!r} is unknown; use mean or last.")
        for name, value, known in (("base", self.base, BASES), ("sharing", self.sharing, SHARINGS)):
            if isinstance(value, str) and value not in known:
                raise ValueError(f"{name}={value!r} is unknown; use one of {', '.join(known)}, None, or a function.")
        if self.network is None and self.base is None and self.sharing is None:
            raise ValueError("base=None and sharing=None leave no network; give one of the two or both.")
