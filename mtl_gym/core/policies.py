"""Policy tables over time: kept by runs, and drawn.

Source: Rosenbaum et al. 2018, figures 9 and 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.figures import (
    FAINT,
    INCHES_PER_CHARACTER,
    INK,
    add_caption,
    add_legend,
    blank_figure,
    figure_with_legend,
    line_style,
)
from mtl_gym.core.state.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

Floats: TypeAlias = NDArray[np.float64]

LINEAR_UP_TO = 10
SAMPLES = f"samples of the task so far (axis linear up to {LINEAR_UP_TO}, logarithmic from there)"
# Probabilities are rounded.
SLACK = 1e-4


@dataclass(frozen=True)
class PolicyHistory:
    """A policy table at moments of its training.

    Attributes:
        decisions: Made by then, over all rows; int64 [moments].
        samples: Finished episodes of each task by then; int64 [moments, tasks].
        policy: Probability of each choice; float32 [moments, tasks, depth, actions].

    Raises:
        ValueError: If the shapes or types do not fit together, there is no moment, or a number cannot be what it is.
    """

    decisions: NDArray[np.int64]
    samples: NDArray[np.int64]
    policy: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shapes, types and numbers."""
        moments, shape = len(self.decisions), self.policy.shape
        if not moments or len(shape) != 4 or shape[0] != moments or self.samples.shape != shape[:2]:
            raise ValueError(
                f"A policy {shape} and samples {self.samples.shape} do not fit {moments} moments; pass "
                "[moments, tasks, depth, actions] and [moments, tasks], with one moment or more."
            )
        if (self.decisions.dtype.kind, self.samples.dtype.kind, self.policy.dtype.kind) != ("i", "i", "f"):
            raise ValueError("Decisions and samples are whole numbers, and probabilities are not.")
        counts = (self.decisions, self.samples)
        if not (self.policy >= 0).all() or (self.policy > 1 + SLACK).any():
            raise ValueError("Probabilities lie between 0 and 1; these do not.")
        if any((count[:1] < 0).any() or (np.diff(count, axis=0) < 0).any() for count in counts):
            raise ValueError("Decisions and samples are counted from 0 upwards; these are not.")

    def write(self, path: Path) -> None:
        """Write a file of NumPy arrays."""
        write_atomically(path, lambda file: np.savez(file, **asdict(self)))

    @classmethod
    def read(cls, path: Path) -> PolicyHistory:
        """Read what `write` wrote; no code is run from the file.

        Raises:
            FileNotFoundError: If there is no such file.
            CheckpointError: If the file is damaged, or holds something else.
        """
        if not path.is_file():
            raise FileNotFoundError(f"There are no policies at {path}.")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls(arrays["decisions"], arrays["samples"], arrays["policy"])
        except Exception as error:  # zipfile, zlib and NumPy raise half a dozen kinds for a broken file
            raise CheckpointError(f"The policies in {path} cannot be read ({error}).") from error


# The name of earlier releases.
History = PolicyHistory


def policies_over_time(
    history: PolicyHistory, task_names: Sequence[str], depth: int = 0, title: str | None = None
) -> Figure:
    """Draw the policy of every task at one depth, from the first sample to the last.

    Each task has a strip: to the right the samples it has seen, downwards the choices, the darker the more probable. At
    its end stands the choice that has become the likeliest.

    Args:
        history: The policies.
        task_names: One name per task.
        depth: Which decision of the route.
        title: Drawn above the strips.

    Raises:
        ValueError: If there is no such depth, or not one name per task.

    Source: Rosenbaum et al. 2018, figure 9. Deviation: the paper shows the first 100 samples of each task, this shows
    all of them, on an axis that stretches the first ones.
    """
    _check(history, task_names, depth)
    tasks, _, actions = history.policy.shape[1:]
    name = INCHES_PER_CHARACTER * max(map(len, task_names))
    figure = blank_figure(8 + name, 1.6 + tasks * max(0.4, 0.026 * actions), title)
    strips = figure.subplots(tasks, 1, sharex=True, squeeze=False)[:, 0]
    for task, axes in enumerate(strips):
        mesh = _draw_strip(axes, history.samples[:, task], history.policy[:, task, depth])
        axes.set_ylabel(task_names[task], rotation=0, ha="right", va="center", color=INK, size=9, parse_math=False)
    _sample_axis(strips[-1], history.samples)
    bar = figure.colorbar(mesh, ax=list(strips), aspect=40, pad=0.01, ticks=[0, 0.1, 0.25, 0.5, 0.75, 1])
    bar.set_label(f"probability at depth {depth}", color=INK, size=9)
    bar.outline.set_color(FAINT)
    bar.ax.yaxis.set_major_formatter("{x:.0%}")
    bar.ax.tick_params(color=FAINT, labelcolor=INK, labelsize=8)
    add_caption(figure, "Downwards: block 0 to P, PASS. To the right of a strip: the likeliest choice in the end.")
    return figure


def block_over_time(
    history: PolicyHistory, block: int, task_names: Sequence[str], depth: int = 0, title: str | None = None
) -> Figure:
    """Draw how probable one block is to each task at one depth, as curves over the samples of the task.

    Args:
        history: The policies.
        block: Number of the choice at that depth; the last one is PASS.
        task_names: One name per task.
        depth: Which decision of the route.
        title: Drawn above the curves.

    Raises:
        ValueError: If there is no such block or depth, or not one name per task.

    Source: Rosenbaum et al. 2018, figure 10; its axis ends at 100 samples per task, ours with the last sample.
    """
    _check(history, task_names, depth)
    actions = history.policy.shape[3]
    if not 0 <= block < actions:
        raise ValueError(f"There is no block {block}: choices are 0 to {actions - 1}, of which the last is PASS.")
    figure, (axes,) = figure_with_legend(task_names, title)
    for task, name in enumerate(task_names):
        share = history.policy[:, task, depth, block]
        # Who takes the block in the end is what the picture is about.
        axes.plot(history.samples[:, task], share, label=name, lw=2.2 if share[-1] > 0.5 else 1.2, **line_style(task))
    axes.set(ylim=(-0.02, 1.02))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel(f"probability of {_choice_name(block, actions)} at depth {depth}", color=INK)
    _sample_axis(axes, history.samples)
    add_legend(figure)
    return figure


def _check(history: PolicyHistory, task_names: Sequence[str], depth: int) -> None:
    _, tasks, depths, _ = history.policy.shape
    if len(task_names) != tasks:
        raise ValueError(f"{len(task_names)} task names do not fit the policies of {tasks} tasks.")
    if not 0 <= depth < depths:
        raise ValueError(f"There is no depth {depth}: decisions are made at depths 0 to {depths - 1}.")


def _draw_strip(axes: Axes, samples: NDArray[np.int64], policy: NDArray[np.float32]) -> QuadMesh:
    """One task's policy, float32 [moments, actions], at its samples, int64 [moments]."""
    from matplotlib.colors import PowerNorm

    actions = policy.shape[1]
    # The root keeps apart what is white on a linear scale: 1 in 11 at the start from ruled out later.
    shades = PowerNorm(0.5, vmin=0, vmax=1)
    mesh = axes.pcolormesh(_edges(samples), np.arange(actions + 1) - 0.5, policy.T, cmap="Blues", norm=shades)
    axes.invert_yaxis()
    axes.set_yticks([0, actions - 1], ["0", "P"])
    axes.tick_params(length=2, color=FAINT, labelcolor=INK, labelsize=7, pad=1)
    axes.spines[:].set_color(FAINT)
    best = int(policy[-1].argmax())
    final = f"{_choice_name(best, actions)}, {policy[-1, best]:.0%}"
    axes.text(1.01, 0.5, final, transform=axes.transAxes, va="center", color=INK, size=8)
    return mesh


def _edges(samples: NDArray[np.int64]) -> Floats:
    """Where each moment's column begins and ends, half-way to its neighbours; float64 [moments + 1].

    Example:
        >>> _edges(np.array([0, 2, 8]))
        array([0., 1., 5., 8.])
    """
    middle = (samples[1:] + samples[:-1]) / 2
    return np.array([samples[0], *middle, samples[-1]], np.float64)


def _sample_axis(axes: Axes, samples: NDArray[np.int64]) -> None:
    axes.set_xscale("symlog", linthresh=LINEAR_UP_TO, linscale=0.5)
    axes.set_xlim(0, max(1, int(samples.max())))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(SAMPLES, color=INK, size=9)


def _choice_name(choice: int, actions: int) -> str:
    return "PASS" if choice == actions - 1 else f"block {choice}"
