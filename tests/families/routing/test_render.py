"""Routing map as pixels, as text and in a window."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from numpy.typing import NDArray

from mtl_gym.core import figures as pictures
from mtl_gym.families.routing import render

NAMES = ("pos", "chunking", "ner")
# Three tasks, two depths, two blocks and PASS; nothing has been seen of the last task.
USAGE = np.array([[[87, 13, 0], [40, 0, 60]], [[0, 5, 0], [0, 5, 0]], [[0, 0, 0], [0, 0, 0]]], np.float64)


def random_usage(tasks: int, depth: int, choices: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet(np.full(choices, 0.2), (tasks, depth))


def lines(figure: Figure, depth: int) -> PathCollection:
    (found,) = [c for c in figure.axes[0].collections if c.get_gid() == f"lines to depth {depth}"]
    assert isinstance(found, PathCollection)
    return found


def box(figure: Figure, depth: int, name: str) -> Patch:
    (found,) = [p for p in figure.axes[0].patches if p.get_gid() == f"depth {depth} block {name}"]
    return found


def test_text_contains_most_frequent_block_per_task_and_used_blocks() -> None:
    assert render.ansi(USAGE, NAMES).splitlines() == [
        "task         depth 0  depth 1",
        "pos          0 87%    PASS 60%",
        "chunking     1 100%   1 100%",
        "ner          -        -",
        "blocks used  2 of 2   2 of 2",
    ]


def test_rarely_taken_block_is_not_counted_as_used() -> None:
    usage = np.array([[[96.0, 4.0, 0.0]], [[0.0, 0.0, 1.0]]])
    assert render.ansi(usage, ["a", "b"]).endswith("blocks used  1 of 2")


def test_text_has_no_control_characters_except_line_breaks() -> None:
    assert render.ansi(random_usage(20, 3, 21), [f"task {i}" for i in range(20)]).replace("\n", "").isprintable()


def test_pixels_are_nonempty_rgb_image_with_even_sides() -> None:
    image = render.rgb_array(USAGE, NAMES)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert image.shape[0] % 2 == image.shape[1] % 2 == 0
    assert image.flags.c_contiguous and image.min() < 100 and image.max() == 255


def test_different_usage_gives_different_picture_of_equal_size() -> None:
    first, second = render.rgb_array(USAGE, NAMES), render.rgb_array(USAGE[:, ::-1], NAMES)
    assert first.shape == second.shape
    assert (first != second).any()
    assert np.array_equal(first, render.rgb_array(USAGE, NAMES))


def test_picture_depends_on_shares_not_on_number_of_episodes() -> None:
    assert np.array_equal(render.rgb_array(USAGE, NAMES), render.rgb_array(7 * USAGE.astype(np.float32), NAMES))


def test_figure_contains_task_names_and_title() -> None:
    names = ["costs $5 to $9", "large_natural_outdoor_scenes", "c"]
    figure = render.routing_map(USAGE, names, title="after 100 episodes")
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert texts >= {*names, "after 100 episodes", "PASS", "0", "1", "depth 0", "depth 1"}


def test_lines_between_blocks_show_products_of_shares() -> None:
    figure = render.routing_map(USAGE, NAMES)
    # Down to depth 0: pos to 0 and 1, chunking to 1.
    assert len(lines(figure, 0).get_paths()) == 3
    # Down to depth 1: pos 0-0 (35%), 0-PASS (52%), 1-0 (5.2%), 1-PASS (7.8%), and chunking 1-1.
    assert len(lines(figure, 1).get_paths()) == 5


def test_lines_under_five_percent_are_omitted() -> None:
    usage = np.array([[[96.0, 4.0, 0.0], [50.0, 50.0, 0.0]], [[95.0, 5.0, 0.0], [50.0, 50.0, 0.0]]])
    figure = render.routing_map(usage, ["a", "b"])
    assert len(lines(figure, 0).get_paths()) == 1 + 2
    assert len(lines(figure, 1).get_paths()) == 2 + 2


def test_larger_share_gives_wider_and_more_opaque_line() -> None:
    often, seldom, _ = range(3)
    drawn = lines(render.routing_map(USAGE, NAMES), 0)
    widths, colours = np.asarray(drawn.get_linewidth()), np.asarray(drawn.get_edgecolor())
    assert widths[often] > widths[seldom]
    assert colours[often, 3] > colours[seldom, 3]
    assert (colours[often, :3] == colours[seldom, :3]).all()


def test_tasks_beyond_tenth_reuse_colours_with_another_dash() -> None:
    drawn = lines(render.routing_map(np.ones((11, 1, 1)), [str(i) for i in range(11)]), 0)
    colours, dashes = np.asarray(drawn.get_edgecolor()), list(drawn.get_linestyle())
    assert (colours[0] == colours[10]).all()
    assert len(np.unique(colours[:10], axis=0)) == 10
    assert dashes[0] != dashes[10]


def test_unused_blocks_are_hollow_and_shared_blocks_darker() -> None:
    usage = np.zeros((3, 1, 4))
    usage[[0, 1, 2], 0, [0, 0, 1]] = 1
    figure = render.routing_map(usage, NAMES)
    shared, single, unused = (sum(to_rgb(box(figure, 0, name).get_facecolor())) for name in "012")
    assert shared < single < unused == 3
    assert box(figure, 0, "2").get_linestyle() == "dashed"
    assert type(box(figure, 0, "PASS")) is not type(box(figure, 0, "0"))


def test_usage_without_episodes_is_drawn_without_lines() -> None:
    figure = render.routing_map(np.zeros((3, 2, 3)), NAMES)
    assert [len(lines(figure, depth).get_paths()) for depth in range(2)] == [0, 0]
    assert render.rgb_array(np.zeros((3, 2, 3)), NAMES).min() < 255
    assert render.ansi(np.zeros((1, 1, 3)), ["a"]).splitlines()[1:] == ["a            -", "blocks used  0 of 2"]


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 3, 4), (20, 3, 4), (3, 3, 21), (20, 3, 21), (4, 8, 5)])
def test_all_labels_lie_within_picture(shape: tuple[int, int, int]) -> None:
    names = [f"large_natural_outdoor_scenes_{i}" for i in range(shape[0])]
    figure = render.routing_map(random_usage(*shape), names)
    figure.savefig(BytesIO(), format="png")
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible():
            extent = text.get_window_extent()
            assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1, text
            assert figure.bbox.y0 <= extent.y0 and extent.y1 <= figure.bbox.y1, text


@pytest.mark.parametrize("usage", [USAGE[0], USAGE[:2]])
def test_usage_of_wrong_shape_is_refused(usage: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="3 task names"):
        render.routing_map(usage, NAMES)


def test_show_returns_output_of_render_mode() -> None:
    assert render.show("ansi", USAGE, NAMES) == render.ansi(USAGE, NAMES)
    assert np.array_equal(np.asarray(render.show("rgb_array", USAGE, NAMES)), render.rgb_array(USAGE, NAMES))


def test_rendering_without_mode_warns_and_returns_none() -> None:
    with pytest.warns(UserWarning, match="without a render mode"):
        assert render.show(None, USAGE, NAMES) is None


def test_images_do_not_use_pyplot() -> None:
    before = plt.get_fignums()
    render.rgb_array(USAGE, NAMES)
    assert plt.get_fignums() == before


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Simulate a backend with windows and return the pauses of its event loop."""
    made: list[float] = []
    monkeypatch.setattr(pictures, "WITHOUT_WINDOWS", set())
    monkeypatch.setattr(plt, "pause", made.append)
    yield made
    plt.close("all")


def test_window_is_reused_and_closed(pauses: list[float]) -> None:
    for _ in range(3):
        assert render.show("human", USAGE, NAMES) is None
    assert len(plt.get_fignums()) == 1 and pauses == [0.001] * 3
    assert len(plt.figure(render.WINDOW).axes) == 1 + USAGE.shape[1]
    pictures.close_window(render.WINDOW)
    pictures.close_window(render.WINDOW)
    assert not plt.get_fignums()


@pytest.mark.parametrize("backend", ["agg", "tkagg"])
def test_human_mode_without_display_warns_once_and_continues(backend: str) -> None:
    code = (
        "import logging, numpy as np\n"
        "from mtl_gym.core import figures as pictures\n"
        "from mtl_gym.families.routing import render\n"
        "logging.basicConfig(format='%(message)s')\n"
        "for _ in range(3): render.show('human', np.ones((1, 1, 2)), ['a'])\n"
        "pictures.close_window(render.WINDOW)"
    )
    environment = {"MPLBACKEND": backend, "PYTHONPATH": ":".join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("shows nothing") == 1


def test_importing_module_does_not_import_matplotlib() -> None:
    code = "import sys, mtl_gym.families.routing.render; sys.exit('matplotlib' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_first_decision_of_dispatcher_is_labelled():
    usage = np.zeros((2, 3, 4))
    usage[:, :, 1] = 1
    assert render.ansi(usage, ["cats", "dogs"], dispatched=True).splitlines()[0].split() == [
        *("task", "agent", "depth", "0", "depth", "1")
    ]
    figure = render.routing_map(usage, ["cats", "dogs"], dispatched=True)
    assert [axes.get_title() for axes in figure.axes[1:]] == ["agent", "depth 0", "depth 1"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["agent\n1 of 3 used", "depth 0\n1 of 3 used", "depth 1\n1 of 3 used"]


def test_tasks_stand_under_their_true_groups_and_have_their_colours() -> None:
    groups = np.array([2, 0, 2, 1, 0])
    usage = np.eye(4)[[0, 1, 0, 2, 1]][:, None]  # [tasks, 1, blocks + 1]
    figure = render.routing_map(usage, ["a", "b", "c", "d", "e"], groups=groups)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["b", "e", "d", "a", "c"]
    strip = {p.get_gid(): p for p in figure.axes[0].patches if str(p.get_gid()).startswith("group")}
    assert list(strip) == ["group 0", "group 1", "group 2"]
    x = figure.axes[0].get_xticks()
    for name, own in {"group 0": x[:2], "group 1": x[2:3], "group 2": x[3:]}.items():
        left, right = strip[name].get_extents().transformed(figure.axes[0].transData.inverted()).intervalx
        assert [left < place < right for place in x] == [place in own for place in x]
    drawn = [strip[f"group {group}"].get_facecolor()[:3] for group in (0, 0, 1, 2, 2)]
    assert [tuple(colour[:3]) for colour in lines(figure, 0).get_edgecolors()] == drawn
    assert render.ansi(usage, ["a", "b", "c", "d", "e"]) == render.show(
        "ansi", usage, ["a", "b", "c", "d", "e"], groups=groups
    )
