"""The result of `recommend_groups`, and how it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.rows import Rows
from mtl_gym.lab.statistics import Estimate

SEPARATE, SHARED, GROUPED = "separate", "shared", "grouped"


@dataclass(frozen=True)
class Recommendation:
    """Groups of tasks that should share a network, how sure they are, and what they bring on held-out samples.

    Attributes:
        data: Name of the data set.
        task_names: Names of the tasks.
        choice: "separate" (a network per task), "shared" (one network) or "grouped" (one per group found): the training
            with the best validation accuracy.
        group: Group of each task that was found, whatever the choice; int64 [tasks].
        together: Share of the bootstrap draws that put two tasks into one group; float64 [tasks, tasks].
        validation: Validation accuracy by training and seed in per cent, a mean over tasks; used for the choice.
        test: Test accuracy in the same form; used for nothing else.
        samples: Training samples of one training, repetitions counted.
        trainings: Cost of the call, in trainings of one network for `samples`.

    Example:
        >>> accuracy = {"separate": (60.0, 61.0), "shared": (50.0, 51.0), "grouped": (70.0, 72.0)}
        >>> found = np.array([0, 1, 0])
        >>> print(Recommendation("toys", ("a", "b", "c"), "grouped", found, np.eye(3), accuracy, accuracy, 100, 6.1))
        toys, 3 tasks: grouped training is best on validation samples.
        group  sure  tasks
        1       50%  a, c
        2      100%  b
        training  networks  validation %             test %
        separate         3         60.50  60.50 [54.15, 66.85]
        ...
    """

    data: str
    task_names: tuple[str, ...]
    choice: str
    group: Rows
    together: NDArray[np.float64] = field(repr=False)
    validation: Mapping[str, tuple[float, ...]] = field(repr=False)
    test: Mapping[str, tuple[float, ...]]
    samples: int
    trainings: float

    @property
    def recommended(self) -> Rows:
        """Recommended group of each task, by the choice; int64 [tasks]."""
        tasks = len(self.task_names)
        return {SEPARATE: np.arange(tasks), SHARED: np.zeros(tasks, np.int64), GROUPED: self.group}[self.choice]

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the tasks of each recommended group."""
        return self._named(self.recommended)

    @property
    def sureness(self) -> NDArray[np.float64]:
        """Sureness of each group found; float64 [groups].

        It is the mean, over its tasks and all others, of the share of the bootstrap draws that agree whether the two
        belong together.
        """
        same = self.group[:, None] == self.group
        agreement = np.where(same, self.together, 1 - self.together)
        others = ~np.eye(len(self.group), dtype=bool)
        return np.array([agreement[member][others[member]].mean() for member in self._members(self.group)])

    def gain(self, over: str) -> Estimate:
        """Return how much more test accuracy the choice reaches than another training, with its 95% interval.

        Differences are paired by seed; the interval is Student's.

        Args:
            over: "separate", "shared" or "grouped".
        """
        return Estimate.of_mean(np.subtract(self.test[self.choice], self.test[over]).tolist())

    def to_json(self) -> dict[str, object]:
        """Return all fields, the recommended groups and the sureness as plain values."""
        plain = {"data": self.data, "choice": self.choice, "groups": [list(names) for names in self.groups]}
        found = {"found": [list(names) for names in self._named(self.group)], "sureness": self.sureness.tolist()}
        pairs = {"task_names": list(self.task_names), "together": self.together.tolist()}
        reached = {"validation": dict(self.validation), "test": dict(self.test)}
        return plain | found | pairs | reached | {"samples": self.samples, "trainings": self.trainings}

    def __str__(self) -> str:
        """Return groups, sureness, figures and cost as text."""
        best = f"{self.data}, {len(self.task_names)} tasks: {self.choice} training is best on validation samples."
        return "\n".join([best, *self._group_lines(), *self._figure_lines(), *self._gain_lines(), self._cost_line()])

    def _members(self, group: Rows) -> list[Rows]:
        return [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]

    def _named(self, group: Rows) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(self.task_names[task] for task in tasks) for tasks in self._members(group))

    def _group_lines(self) -> list[str]:
        named = zip(self.sureness, self._named(self.group), strict=True)
        lines = [f"{number:<5}  {sure:>4.0%}  {', '.join(names)}" for number, (sure, names) in enumerate(named, 1)]
        return ["group  sure  tasks", *lines]

    def _figure_lines(self) -> list[str]:
        networks = {SEPARATE: len(self.task_names), SHARED: 1, GROUPED: int(self.group.max()) + 1}
        lines = [
            f"{name:8}  {count:>8}  {np.mean(self.validation[name]):>12.2f}  {Estimate.of_mean(self.test[name])!s:>21}"
            for name, count in networks.items()
        ]
        return [f"training  networks  validation %  {'test %':>21}", *lines]

    def _gain_lines(self) -> list[str]:
        others = [name for name in (SEPARATE, SHARED, GROUPED) if name != self.choice]
        return [f"{self.choice} minus {name}, test: {self.gain(name)}" for name in others]

    def _cost_line(self) -> str:
        return f"Cost: {self.trainings:.1f} trainings of {self.samples:,} samples; 95% intervals over seeds."
