"""The keyword arguments of the scheduling environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, NOT_NEGATIVE, PART, SIZES, Range
from mtl_gym.families.scheduling.training import RunRecipe
from mtl_gym.families.scheduling.uncertainty import MEASURES

CONTROLS = ("choice", "weights")
REWARDS = ("mean", "sum")
SINGLE_TASK = "single-task"


@dataclass(frozen=True, kw_only=True)
class SchedulingOptions(EnvOptions):
    """Keyword arguments of the scheduling environments, besides those of `EnvOptions`; defaults are the paper's.

    Attributes:
        network: A `SharedNetwork`, or a function that makes one; None takes the network that fits the data.
        control: "choice" (the action is the task of the next minibatch) or "weights" (the action weighs the losses of
            one minibatch of each task).
        updates: Gradient steps of a training run, which is an episode.
        updates_per_step: Gradient steps between two decisions.
        minibatch: Samples of a task in a gradient step, drawn with replacement.
        uncertainty: "margin", "least_confidence" or "entropy".
        bins: Of a task's histogram.
        hard_samples: The histogram is over so many of the validation samples of a task that are looked at, those of
            highest loss. With as many as are looked at, none is left out, which an environment warns of.
        validation_samples: How many validation samples of each task are looked at after every step; None for all. They
            are drawn once for a data set, with the labels in the shares that they have among all.
        reference: What the mean validation accuracy is held against: "single-task" trains a network of its own for each
            task, once, and keeps its accuracy; a number or one for each task is taken as it is; None turns the rule
            off.
        reward: Minus the validation losses of the tasks, as their "mean" or their "sum". The sum is the paper's (eq. 3
            with equal weights). The mean is the default because it stays above the penalty whatever the number of
            tasks: the sum of 16 tasks of two classes begins at -11, below the paper's penalty of -10.
        tolerance: Below this share of the reference a step earns `penalty` instead of minus the loss.
        penalty: What it earns there.
        focal_gamma: Above 0, training takes the focal loss.
        gradient_norms: With control="weights": whether the norm of each task's gradient is worked out, at the encoder's
            last weight matrix.
        aggregator: With control="weights": the name of one of TorchJD's aggregators, which then joins the weighted
            gradients of the tasks into one.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("updates", "updates_per_step", "minibatch", "hard_samples", "validation_samples"), COUNTS),
        "bins": SIZES,
        "tolerance": PART,
        "focal_gamma": NOT_NEGATIVE,
    }

    control: str = "choice"
    updates: int = 10_000
    updates_per_step: int = 1
    minibatch: int = 16
    uncertainty: str = "margin"
    bins: int = 20
    hard_samples: int = 64
    validation_samples: int | None = None
    reference: str | float | Sequence[float] | None = SINGLE_TASK
    reward: str = "mean"
    tolerance: float = 0.95
    penalty: float = -10.0
    focal_gamma: float = 0.0
    gradient_norms: bool = False
    aggregator: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        self._require("updates", self.updates % self.updates_per_step == 0, f"a multiple of {self.updates_per_step}")
        self._require("control", self.control in CONTROLS, f"one of {CONTROLS}")
        self._require("reward", self.reward in REWARDS, f"one of {REWARDS}")
        self._require("uncertainty", self.uncertainty in MEASURES, f"one of {tuple(MEASURES)}")
        known = not isinstance(self.reference, str) or self.reference == SINGLE_TASK
        self._require("reference", known, f"{SINGLE_TASK!r}, a number, one for each task, or None")
        for name, given in (("gradient_norms", self.gradient_norms), ("aggregator", self.aggregator)):
            fits = not given or self.control == "weights"
            self._require(name, fits, 'its default with control="choice", where a step trains one task')

    @property
    def recipe(self) -> RunRecipe:
        """How runs are trained."""
        return RunRecipe(self.minibatch, self.learning_rate, self.focal_gamma, self.gradient_norms)
