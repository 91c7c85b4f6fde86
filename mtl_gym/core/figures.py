"""Output of `render()` in each mode: pixels, text or a window, from one drawing function."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

import numpy as np
from gymnasium import logger
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw: TypeAlias = "Callable[[Figure], None]"

DOTS_PER_INCH = 100
WITHOUT_WINDOWS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}
# Petroff 2021: ten colours that remain distinct under colour vision deficiencies.
COLOURS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadf"]
INK, FAINT = "#333333", "#b8b8b8"
# Each group of ten lines has its own dash pattern.
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = ("solid", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
INCHES_PER_CHARACTER = 0.085
# Lines above a rendered picture: a title, then sentences.
HEADING_INCHES, HEADING_LINE = 0.8, 0.23
HEADING_STYLES: tuple[dict[str, Any], dict[str, Any]] = ({"fontsize": 11, "fontweight": "bold"}, {"fontsize": 9.5})


def show(
    mode: str | None,
    draw: Draw,
    text: Callable[[], str],
    size: tuple[float, float],
    window: str,
    heading: Callable[[], Sequence[str]] | None = None,
) -> NDArray[np.uint8] | str | None:
    """Return pixels for "rgb_array", text for "ansi", else None; a mode of None logs a warning.

    Args:
        mode: The render mode.
        draw: Function that draws into a figure.
        text: Function that returns the text.
        size: Width and height of the figure in inches.
        window: Title of the window for "human".
        heading: Function that returns lines above the drawing, the first a title; equally many every time.
    """
    if heading is not None and mode in ("rgb_array", "human"):
        draw, size = _under_heading(draw, size, heading())
    if mode == "rgb_array":
        return pixels(figure_of(draw, size))
    if mode == "ansi":
        return text()
    if mode == "human":
        _show_window(draw, size, window)
    else:
        logger.warn('render() was called without a render mode; choose one: gym.make(id, render_mode="rgb_array").')
    return None


def _under_heading(draw: Draw, size: tuple[float, float], lines: Sequence[str]) -> tuple[Draw, tuple[float, float]]:
    """Return a function that draws under lines of text, and the size of its figure."""
    width, height = size[0], size[1] + HEADING_INCHES

    def whole(figure: Figure) -> None:
        draw(figure)
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.set(rect=(0, 0, 1, size[1] / height))  # type: ignore[call-arg]
        for number, line in enumerate(lines):
            style, top = HEADING_STYLES[min(number, 1)], 1 - (0.08 + HEADING_LINE * number) / height
            words = _fitting(line, width, style["fontsize"])
            text = figure.text(0.1 / width, top, words, va="top", color=INK, parse_math=False, **style)
            text.set_in_layout(False)

    return whole, (width, height)


def _fitting(line: str, width: float, size: float) -> str:
    most = int(width / (0.0082 * size)) - 1
    return line if len(line) <= most else f"{line[: most - 1]}…"


def figure_of(draw: Draw, size: tuple[float, float]) -> Figure:
    """Return a figure filled by `draw`."""
    from matplotlib.figure import Figure

    figure = Figure(size, DOTS_PER_INCH, layout="constrained", facecolor="white")
    draw(figure)
    return figure


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return the pixels of a figure; uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[..., :3], np.uint8)


def close_window(window: str) -> None:
    """Close the window with a title, if there is one."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(window)


def _show_window(draw: Draw, size: tuple[float, float], window: str) -> None:
    import matplotlib.pyplot as plt

    if plt.get_backend().lower() in WITHOUT_WINDOWS:
        _no_window(plt.get_backend())
        return
    there = plt.fignum_exists(window)
    # Large figures get smaller type, so that the window is not taller than the screen.
    resolution = min(DOTS_PER_INCH, 900 / size[1])
    draw(plt.figure(window, clear=True) if there else plt.figure(window, size, resolution, layout="constrained"))
    # Otherwise the window would take the keyboard focus from the user at every step.
    with plt.rc_context({"figure.raise_window": False}):
        plt.pause(0.001)


@cache
def _no_window(backend: str) -> None:
    message = 'render_mode="human" shows nothing: matplotlib\'s backend %s has no display here; "rgb_array" needs none.'
    logging.getLogger(__name__).warning(message, backend)


def blank_figure(width: float, height: float, title: str | None) -> Figure:
    """Return an empty figure of a size in inches, with a title."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), DOTS_PER_INCH, layout="constrained", facecolor="white")
    if title is not None:
        figure.suptitle(title, color=INK)
    return figure


def figure_with_legend(names: Sequence[str], title: str | None, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, large enough for lines and a legend beside them."""
    width = 3.7 + 4 * panels + INCHES_PER_CHARACTER * max(map(len, names))
    figure = blank_figure(width, max(4.3, 0.6 + 0.2 * len(names)), title if panels > 1 else None)
    found: list[Axes] = list(figure.subplots(1, panels, squeeze=False)[0])
    if panels == 1:
        found[0].set_title(title or "", color=INK)
    for axes in found:
        axes.grid(color="#e8e8e8", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(FAINT)
        axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
    return figure, found


class LineStyle(TypedDict):
    """Colour and dash pattern of a line, as matplotlib arguments."""

    color: str
    ls: str | tuple[int, tuple[float, ...]]


def line_style(number: int) -> LineStyle:
    """Return the style of a line."""
    return {"color": COLOURS[number % len(COLOURS)], "ls": DASHES[number // len(COLOURS) % len(DASHES)]}


def add_caption(figure: Figure, text: str) -> None:
    """Write a sentence below the axes."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=INK)


def add_legend(figure: Figure) -> None:
    """Add a legend of the first panel's lines beside the axes."""
    lines = figure.axes[0].get_legend_handles_labels()
    legend = figure.legend(*lines, loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK, handlelength=3)
    for text in legend.get_texts():
        text.set_parse_math(False)
