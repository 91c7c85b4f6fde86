"""Pictures of finished runs and comparisons, drawn from their files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.policies import block_over_time, policies_over_time
from mtl_gym.core.state import checkpoint
from mtl_gym.lab.curves import learning_curves, read_curve
from mtl_gym.lab.environments import class_if_known
from mtl_gym.lab.files import (
    CONFIG,
    POLICIES,
    PROGRESS,
    RESULT,
    read_each,
    read_policies,
    read_progress,
    read_result,
    there,
)
from mtl_gym.lab.records import RunResult, RunSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)
Read = TypeVar("Read")


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; names in its titles, legends and notes are shown as they are."""
    from matplotlib.text import Text

    # Formatters of axes write formulas themselves.
    ticks = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)}
    for text in set(figure.findobj(Text)) - ticks:
        text.set_parse_math(False)
    checkpoint.write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))


def title_of(settings: RunSettings) -> str:
    """Return the title of the pictures of a run."""
    trained = f", {settings.steps:,} decisions" if settings.steps > 1 else ""  # rules have nothing to learn
    return f"{settings.name} on {settings.env_id}, seed {settings.seed}{trained}"


def draw_policies(
    out: Path, result: RunResult, block: int | None = None, depth: int = 0, into: Path | None = None
) -> list[Path]:
    """Draw the policies over time of a run, and of a block if one is given.

    Args:
        out: The folder.
        result: The run.
        block: A choice at that depth, for a picture of its own.
        depth: Which decision of the route.
        into: The folder of the pictures; by default `out`.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If the run has no `policies.npz`.
        CheckpointError: If that is damaged.
        ValueError: If there is no such block or depth.
    """
    if not (out / POLICIES).is_file():
        raise FileNotFoundError(
            f"{out} has no {POLICIES}: {result.settings.agent!r} keeps no table of probabilities, or the run is older "
            "than this file; in that case train into another folder to have it."
        )
    names, title, into = list(result.per_task), title_of(result.settings), into or out
    history = read_policies(out, len(names))
    place = f"-depth-{depth}" if depth else ""
    figures = {into / f"policies{place}.png": policies_over_time(history, names, depth, title)}
    if block is not None:
        figures[into / f"block-{block}{place}.png"] = block_over_time(history, block, names, depth, title)
    for path, figure in figures.items():
        write_picture(figure, path)
    return list(figures)


def draw_curves(
    runs: Sequence[Path], title: str, out: Path, tell: Callable[[str], object] = logger.warning
) -> Path | None:
    """Draw the learning curves of runs, from their `progress.csv`, into the folder `out`.

    Runs without that file are left out (agents that call no callbacks have none), and so are runs of which it is
    damaged, or that were evaluated at other decisions than most of their agent.

    Args:
        runs: Folders of runs, AGENT/seed-N.
        title: Drawn above the curves.
        out: Where `learning_curves.png` goes.
        tell: Called with a sentence about what is left out, and why.

    Returns:
        The picture; None if no run has a curve.
    """
    known = [run for run in runs if there(run / PROGRESS)]
    curves = _read_all(known, lambda run: read_curve(run / PROGRESS), lambda curve: tuple(curve.decisions), tell)
    if not curves:
        return None
    left_out = ", ".join(str(run) for run in runs if run not in known)
    if left_out:
        tell(f"Without {PROGRESS}, and so left out of the learning curves: {left_out}.")
    write_picture(learning_curves(curves, title), out / "learning_curves.png")
    return out / "learning_curves.png"


def _read_all(
    runs: Sequence[Path],
    read: Callable[[Path], Read | None],
    evaluated: Callable[[Read], object],
    tell: Callable[[str], object],
) -> dict[str, list[Read]]:
    """What is read of runs, by agent; runs that cannot be set beside the others of theirs are told and left out."""
    found: dict[str, list[tuple[Path, Read]]] = {}
    for run, curve in read_each(runs, read, lambda why: tell(f"Left out of the pictures: {why}")).items():
        found.setdefault(run.parent.name, []).append((run, curve))
    return {agent: _set_side_by_side(curves, evaluated, tell) for agent, curves in found.items()}


def _set_side_by_side(
    curves: Sequence[tuple[Path, Read]], evaluated: Callable[[Read], object], tell: Callable[[str], object]
) -> list[Read]:
    usual = Counter(evaluated(curve) for _, curve in curves).most_common(1)[0][0]
    for run, curve in curves:
        if evaluated(curve) != usual:
            tell(f"Left out of the pictures: {run} was evaluated at other decisions than most of its agent.")
    return [curve for _, curve in curves if evaluated(curve) == usual]


def draw_more_curves(
    runs: Sequence[Path], env_id: str, out: Path, tell: Callable[[str], object] = logger.warning
) -> list[Path]:
    """Draw the learning curves of runs that their environment adds to accuracy, into the folder `out`.

    Arguments and what is left out as for `draw_curves`; the id of the environment stands above.

    Returns:
        The pictures; none if the environment is not registered or adds none, or if a run did not keep its figures.
    """
    kind = class_if_known(env_id)
    more = () if kind is None else kind.CURVES
    if kind is None or not more:
        return []

    def read(run: Path) -> dict[str, NDArray[np.float64]] | None:
        columns = read_progress(run / PROGRESS, more) if there(run / PROGRESS) else {}
        return columns if all(name in columns for name in more) else None

    curves = _read_all(runs, read, lambda columns: len(columns["steps"]), tell)
    figures = kind.curve_pictures(curves, env_id) if curves else {}
    for name, figure in figures.items():
        write_picture(figure, out / name)
    return [out / name for name in figures]


def redraw(
    out: Path,
    block: int | None = None,
    depth: int = 0,
    into: Path | None = None,
    tell: Callable[[str], object] = logger.warning,
) -> list[Path]:
    """Draw the pictures of a finished run, or of a comparison and its finished runs, from their files.

    Of a comparison, runs with damaged files are left out.

    Args:
        out: Folder of the run or comparison.
        block: A choice at that depth, for a picture of who took it when; or None.
        depth: Which decision of the route the policies are drawn of.
        into: The folder of the pictures; by default `out`.
        tell: Called with a sentence about each run that is left out.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If a file is missing, or `out` holds no finished run.
        CheckpointError: If a file of the run, or of every run, is damaged.
        ValueError: If there is no such block or depth.
    """
    into = into or out
    if there(out / CONFIG):
        return draw_policies(out, read_result(out), block, depth, into)
    told: dict[str, None] = {}
    drawn = _redraw_all(out, block, depth, into, told)
    for sentence in told:
        tell(sentence)
    return drawn


def _redraw_all(out: Path, block: int | None, depth: int, into: Path, told: dict[str, None]) -> list[Path]:
    """The pictures of a comparison; what is left out is noted in `told`."""
    runs = _finished_runs(out, told)
    title = next(iter(runs.values())).settings.env_id
    curves = draw_curves(list(runs), title, into, told.setdefault)
    if curves is None:
        lacking = f"No run in {out} has a {PROGRESS}, from which learning curves are drawn."
        raise FileNotFoundError(" ".join([lacking, *told]))
    # The others keep no table: not an error where they stand beside one that does.
    more = draw_more_curves(list(runs), title, into, told.setdefault)
    tabular = {run: result for run, result in runs.items() if there(run / POLICIES)}
    if block is not None and not tabular:
        raise FileNotFoundError(f"No run in {out} has {POLICIES}, from which the picture of a block is drawn.")
    policies = read_each(
        tabular,
        lambda run: draw_policies(run, runs[run], block, depth, into / run.relative_to(out)),
        lambda why: told.setdefault(f"Left out: {why}"),
    )
    return [curves, *more, *(picture for pictures in policies.values() for picture in pictures)]


def _finished_runs(out: Path, told: dict[str, None]) -> dict[Path, RunResult]:
    """The finished runs of a comparison that can be read."""
    finished = [path.parent for path in sorted(out.glob(f"*/seed-*/{RESULT}"))]
    runs = read_each(finished, read_result, lambda why: told.setdefault(f"Left out: {why}"))
    if finished and not runs:
        raise CheckpointError(" ".join(told))
    if not runs:
        raise FileNotFoundError(f"There is no run in {out}, and no comparison with a finished run.")
    return runs
