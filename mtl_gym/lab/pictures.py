"""Pictures of finished runs and comparisons, drawn from their files."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.core.policies import block_over_time, policies_over_time
from mtl_gym.core.state import checkpoint
from mtl_gym.lab.alike import alike
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
    """Write a figure as PNG; names in titles, legends and notes are not parsed as formulas."""
    _take_literally(figure)
    checkpoint.write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))


def svg_of(figure: Figure, salt: str) -> bytes:
    """Return a figure as SVG, equal byte for byte for equal figures with equal `salt`."""
    from matplotlib import rc_context

    _take_literally(figure)
    file = io.BytesIO()
    # Without a fixed date and salt every drawing of an SVG differs.
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _take_literally(figure: Figure) -> None:
    from matplotlib.text import Text

    # Tick labels of formatters contain formulas.
    ticks = {text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)}
    for text in set(figure.findobj(Text)) - ticks:
        text.set_parse_math(False)


def title_of(settings: RunSettings) -> str:
    """Return the title of the pictures of a run."""
    trained = f", {settings.steps:,} decisions" if settings.steps > 1 else ""  # rules do not learn
    return f"{settings.name} on {settings.env_id}, seed {settings.seed}{trained}"


def draw_policies(
    out: Path, result: RunResult, block: int | None = None, depth: int = 0, into: Path | None = None
) -> list[Path]:
    """Draw the policies of a run over time, and the probability of a block if one is given.

    Args:
        out: Folder of the run.
        result: Result of the run.
        block: Choice at that depth that gets a picture of its own, or None.
        depth: Depth of the decision in the route.
        into: Folder of the pictures; default `out`.

    Returns:
        Paths of the pictures.

    Raises:
        FileNotFoundError: If the run has no `policies.npz`.
        CheckpointError: If `policies.npz` is damaged.
        ValueError: If the block or the depth does not exist.
    """
    if not (out / POLICIES).is_file():
        raise FileNotFoundError(
            f"{out} has no {POLICIES}: either {result.settings.agent!r} has no table of probabilities, or the run is "
            "older than this file; then train again in another folder."
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
    runs: Sequence[Path],
    title: str,
    out: Path,
    tell: Callable[[str], object] = logger.warning,
    measure: Measure = ACCURACY,
) -> Path | None:
    """Draw the learning curves of runs, from their `progress.csv`, into the folder `out`.

    It skips runs without this file (agents that call no callbacks have none), runs with a damaged file, and runs
    evaluated at other decisions than most runs of their agent.

    Args:
        runs: Folders of runs, AGENT/seed-N.
        title: Title of the picture.
        out: Folder of `learning_curves.png`.
        tell: Callback that receives a message about each skipped run.
        measure: Name, unit and direction of the figures.

    Returns:
        Path of the picture; None if no run has a curve.
    """
    known = [run for run in runs if there(run / PROGRESS)]
    curves = _read_all(known, lambda run: read_curve(run / PROGRESS), lambda curve: tuple(curve.decisions), tell)
    if not curves:
        return None
    left_out = ", ".join(str(run) for run in runs if run not in known)
    if left_out:
        tell(f"Skipped in the learning curves, without {PROGRESS}: {left_out}.")
    write_picture(learning_curves(curves, title, measure), out / "learning_curves.png")
    return out / "learning_curves.png"


def _read_all(
    runs: Sequence[Path],
    read: Callable[[Path], Read | None],
    evaluated: Callable[[Read], object],
    tell: Callable[[str], object],
) -> dict[str, list[Read]]:
    """Read the curves of runs by agent; report and skip runs that do not match the others of their agent."""
    found: dict[str, list[tuple[Path, Read]]] = {}
    for run, curve in read_each(runs, read, lambda why: tell(f"Skipped in the pictures: {why}")).items():
        found.setdefault(run.parent.name, []).append((run, curve))
    return {agent: _set_side_by_side(curves, evaluated, tell) for agent, curves in found.items()}


def _set_side_by_side(
    curves: Sequence[tuple[Path, Read]], evaluated: Callable[[Read], object], tell: Callable[[str], object]
) -> list[Read]:
    usual = Counter(evaluated(curve) for _, curve in curves).most_common(1)[0][0]
    for run, curve in curves:
        if evaluated(curve) != usual:
            tell(f"Skipped in the pictures: {run} was evaluated at other decisions than most runs of its agent.")
    return [curve for _, curve in curves if evaluated(curve) == usual]


def draw_more_curves(
    runs: Sequence[Path], env_id: str, out: Path, tell: Callable[[str], object] = logger.warning
) -> list[Path]:
    """Draw the environment's additional learning curves of runs into the folder `out`.

    It takes the arguments of `draw_curves` and skips the same runs; the title is the environment id.

    Returns:
        Paths of the pictures; none if the environment is not registered or has no additional curves, or if the runs
        did not record them.
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

    In a comparison it skips runs with damaged files.

    Args:
        out: Folder of the run or comparison.
        block: Choice at that depth that gets a picture of its probability over time, or None.
        depth: Depth of the drawn policies.
        into: Folder of the pictures; default `out`.
        tell: Callback that receives a message about each skipped run.

    Returns:
        Paths of the pictures.

    Raises:
        FileNotFoundError: If a file is missing, or `out` contains no finished run.
        CheckpointError: If a file of the run, or of every run, is damaged.
        ValueError: If the block or the depth does not exist.
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
    """Draw the pictures of a comparison; add messages about skipped runs to `told`."""
    runs = _finished_runs(out, told)
    compared = _comparable(runs, told)
    first = runs[compared[0]]
    title = first.settings.env_id
    curves = draw_curves(compared, title, into, told.setdefault, first.measure)
    if curves is None:
        lacking = f"No run in {out} has a {PROGRESS}, which learning curves need."
        raise FileNotFoundError(" ".join([lacking, *told]))
    # Other agents have no table; that is an error only if no agent has one.
    more = draw_more_curves(compared, title, into, told.setdefault)
    tabular = {run: result for run, result in runs.items() if there(run / POLICIES)}
    if block is not None and not tabular:
        raise FileNotFoundError(f"No run in {out} has {POLICIES}, which the picture of a block needs.")
    policies = read_each(
        tabular,
        lambda run: draw_policies(run, runs[run], block, depth, into / run.relative_to(out)),
        lambda why: told.setdefault(f"Skipped: {why}"),
    )
    return [curves, *more, *(picture for pictures in policies.values() for picture in pictures)]


def _comparable(runs: Mapping[Path, RunResult], told: dict[str, None]) -> list[Path]:
    """Return the runs that learning curves compare, named after their folders; add messages about others to `told`."""
    named = {
        run: replace(result, settings=replace(result.settings, name=run.parent.name)) for run, result in runs.items()
    }
    kept, odd = alike(list(named.values()))
    for result, why in odd:
        told.setdefault(f"Skipped in the learning curves: {result.settings.name}, seed {result.settings.seed}: {why}")
    return [run for run, result in named.items() if result in kept]


def _finished_runs(out: Path, told: dict[str, None]) -> dict[Path, RunResult]:
    """Return the readable finished runs of a comparison."""
    finished = [path.parent for path in sorted(out.glob(f"*/seed-*/{RESULT}"))]
    runs = read_each(finished, read_result, lambda why: told.setdefault(f"Skipped: {why}"))
    if finished and not runs:
        raise CheckpointError(" ".join(told))
    if not runs:
        raise FileNotFoundError(
            f"There is neither a finished run nor a comparison with one in {out}; give such a folder."
        )
    return runs
