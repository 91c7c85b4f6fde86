"""Contributions of an environment to comparisons, reports and transfer; by default none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.core.rows import Info

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mtl_gym.core.options import EnvOptions
    from mtl_gym.data import MultiTaskDataset

Curves: TypeAlias = Mapping[str, NDArray[np.float64]]
EVALUATIONS = 10


class Reporting:
    """Hooks of a family for comparisons, reports and transfer."""

    options: EnvOptions
    # Measure of `figure` with the default options.
    MEASURE: ClassVar[Measure] = ACCURACY
    # The split whose evaluation a run draws.
    PICTURES_OF: ClassVar[str] = "validation"
    # File name of the picture that stands for a run in a comparison; empty for none.
    PICTURE: ClassVar[str] = ""
    # Figures of an evaluation that learning curves keep beside accuracy and loss.
    CURVES: ClassVar[tuple[str, ...]] = ()

    @property
    def measure(self) -> Measure:
        """Measure of `figure`, see `measure_of`."""
        return self.measure_of(self.options)

    @classmethod
    def measure_of(cls, options: EnvOptions) -> Measure:
        """Return the measure of environments with these options, without making one or loading its data.

        By default it is `MEASURE`, which is accuracy in per cent unless a family has another.
        """
        return cls.MEASURE

    def figure(self, accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
        """Return the figure by which policies are compared, in the unit of `measure`.

        Args:
            accuracy: Of each task, NaN without episodes; float64 [tasks].
            loss: Of each task; float64 [tasks].
        """
        return float(100 * np.nanmean(accuracy))

    @property
    def figure_tasks(self) -> tuple[str, ...]:
        """Names of the tasks that `figure` is of, if options choose them; empty for all.

        Figures of other tasks are not compared.
        """
        return ()

    def evaluation_spacing(self, steps: int) -> int:
        """Return the default number of decisions between two evaluations of a training of `steps` decisions."""
        return max(1, steps // EVALUATIONS)

    def evaluation_figures(self) -> Info:
        """Return the family's own figures of the episodes so far, beside accuracy and loss."""
        return {}

    def pictures(self, figures: Info, title: str) -> dict[str, Figure]:
        """Return pictures of an evaluation by file name, from the `evaluation_figures` of its view."""
        return {}

    def training_pictures(self, title: str) -> dict[str, Figure]:
        """Return pictures of the training under way, with the file names of `pictures`."""
        return self.pictures(self.evaluation_figures(), title)

    @classmethod
    def curve_pictures(cls, runs: Mapping[str, Sequence[Curves]], title: str) -> dict[str, Figure]:
        """Return pictures of the learning curves of a comparison, beyond accuracy, by file name.

        Args:
            runs: By the agent's name, the curves of its runs: `epoch`, `accuracy` and those of `CURVES`, each
                float64 [evaluations].
            title: Drawn above.
        """
        return {}

    @property
    def keeps_policies(self) -> bool:
        """True if runs keep the history of a policy table [tasks, depth, choices], whose last choice is PASS."""
        return False

    @property
    def transferable(self) -> MultiTaskDataset | None:
        """The data set of which a task can be left out for `transfer`; None where the family does not transfer.

        Raises:
            ValueError: If an option excludes it.
        """
        return None

    def transfer(self, data: MultiTaskDataset, task: int, folds: int, seed: int) -> NDArray[np.float64]:
        """Cross-validate new heads for a task that was left out, on networks trained on the other tasks.

        Args:
            data: The whole data set.
            task: The task that was left out.
            folds: Parts that its samples are dealt to.
            seed: Deals them.

        Returns:
            Accuracy on each part; float64 [runs, folds].
        """
        raise NotImplementedError
