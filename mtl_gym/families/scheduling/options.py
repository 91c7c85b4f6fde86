"""Keyword arguments of the scheduling environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, NOT_NEGATIVE, PART, SIZES, Range
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.training import RunRecipe
from mtl_gym.families.scheduling.uncertainty import MEASURES

CONTROLS = ("choice", "weights")
OBSERVATIONS = ("histogram", "progress")
REWARDS = ("mean", "sum", "gain")
SINGLE_TASK = "single-task"


@dataclass(frozen=True, kw_only=True)
class SchedulingOptions(EnvOptions):
    """Keyword arguments of the scheduling environments, besides those of `EnvOptions`; defaults are the paper's.

    Attributes:
        data: Name of a data set, or a `MultiTaskDataset`.
        network: A `SharedNetwork`, or a function that makes one; None chooses a default by the data.
        control: "choice" (the action is the task of the next minibatch) or "weights" (the action weights the losses of
            one minibatch of each task).
        updates: Gradient steps of a training run, which is an episode.
        updates_per_step: Gradient steps per decision.
        minibatch: Samples of a task in a gradient step, drawn with replacement.
        observation: "histogram" (of the uncertainty of each task) or "progress" (losses, accuracies and shares of the
            training, which rules see; no histograms are measured, which takes less time).
        uncertainty: "margin", "least_confidence" or "entropy".
        bins: Bins of a task's histogram.
        hard_samples: Number of samples in a task's histogram: those of highest loss among its `validation_samples`. The
            environment warns if this selects all of them.
        validation_samples: Validation samples of each task to measure after every step; None for all. They are drawn
            once per data set, stratified by label.
        reference: Accuracy that the mean validation accuracy must reach: "single-task" trains one network per task,
            once, and caches its accuracy; one number, or one per task, is used as given; None disables the penalty.
        reward: "mean" or "sum" of the tasks' negative validation losses, or "gain", what the decision added to mean
            validation accuracy, so that rewards sum to the gain of the run. The paper has the sum (eq. 3 with equal
            weights). The default is the mean, which stays above the penalty for any number of tasks: the sum of 16
            tasks of two classes begins at -11, below the paper's penalty of -10.
        target_tasks: Names or numbers of the tasks that count, in reward, reference and figure; all others only help.
            None counts all.
        early_stopping: Whether a run ends with the weights after which the targets' mean validation accuracy was
            highest, the first of equals. reward="gain" then pays what a decision added to the highest so far.
        tolerance: Share of the reference below which a step earns `penalty`.
        penalty: Reward of a step below the tolerated accuracy.
        focal_gamma: Focusing parameter of the focal loss; 0 trains with the cross-entropy.
        gradient_norms: With control="weights": compute the norm of each task's gradient at the encoder's last layer.
        aggregator: With control="weights": name of the TorchJD aggregator that combines the weighted gradients of the
            tasks; None sums them.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("updates", "updates_per_step", "minibatch", "hard_samples", "validation_samples"), COUNTS),
        "bins": SIZES,
        "tolerance": PART,
        "focal_gamma": NOT_NEGATIVE,
    }

    data: str | MultiTaskDataset = "digits"
    control: str = "choice"
    updates: int = 10_000
    updates_per_step: int = 1
    minibatch: int = 16
    observation: str = "histogram"
    uncertainty: str = "margin"
    bins: int = 20
    hard_samples: int = 64
    validation_samples: int | None = None
    reference: str | float | Sequence[float] | None = SINGLE_TASK
    reward: str = "mean"
    target_tasks: Sequence[str | int] | None = None
    early_stopping: bool = False
    tolerance: float = 0.95
    penalty: float = -10.0
    focal_gamma: float = 0.0
    gradient_norms: bool = False
    aggregator: str | None = None

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        self._require("updates", self.updates % self.updates_per_step == 0, f"a multiple of {self.updates_per_step}")
        self._require("control", self.control in CONTROLS, f"one of {CONTROLS}")
        self._require("observation", self.observation in OBSERVATIONS, f"one of {OBSERVATIONS}")
        self._require("reward", self.reward in REWARDS, f"one of {REWARDS}")
        self._require("uncertainty", self.uncertainty in MEASURES, f"one of {tuple(MEASURES)}")
        known = not isinstance(self.reference, str) or self.reference == SINGLE_TASK
        self._require("reference", known, f"{SINGLE_TASK!r}, a number, one for each task, or None")
        for name, given in (("gradient_norms", self.gradient_norms), ("aggregator", self.aggregator)):
            fits = not given or self.control == "weights"
            self._require(name, fits, 'its default with control="choice", where a step trains one task')

    @property
    def recipe(self) -> RunRecipe:
        """Hyperparameters of the runs' training."""
        return RunRecipe(self.minibatch, self.learning_rate, self.focal_gamma, self.gradient_norms)
