"""Pictures of policies over time, of the probability of a block, and of learning curves."""

from __future__ import annotations

import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.measure import Measure
from mtl_gym.core.policies import PolicyHistory, block_over_time, policies_over_time
from mtl_gym.families.routing.render import COLOURS
from mtl_gym.lab.curves import Curve, learning_curves
from mtl_gym.lab.figures import task_accuracies
from mtl_gym.lab.records import RunResult, RunSettings

NAMES = ("cats", "dogs")
# Three moments, two tasks, two depths, two blocks and PASS.
POLICY = np.array(
    [
        [[[0.5, 0.25, 0.25], [1, 0, 0]], [[0.25, 0.5, 0.25], [0, 1, 0]]],
        [[[0.75, 0.25, 0.0], [1, 0, 0]], [[0.25, 0.25, 0.5], [0, 1, 0]]],
        [[[1.0, 0.0, 0.0], [1, 0, 0]], [[0.0, 0.25, 0.75], [0, 1, 0]]],
    ],
    np.float32,
)
HISTORY = PolicyHistory(np.array([0, 12, 48]), np.array([[0, 0], [2, 4], [8, 16]]), POLICY)


def random_history(tasks: int, actions: int) -> PolicyHistory:
    policy = np.random.default_rng(0).dirichlet(np.full(actions, 0.3), (5, tasks, 1)).astype(np.float32)
    samples = np.repeat(np.array([0, 3, 30, 300, 3000])[:, None], tasks, 1)
    return PolicyHistory(samples[:, 0] * tasks, samples, policy)


def curve(accuracy: list[float], epochs: float = 0.5) -> Curve:
    steps = np.arange(1, len(accuracy) + 1)
    return Curve(steps * 100, steps * epochs, 100 * np.array(accuracy))


def mesh(axes: Axes) -> QuadMesh:
    (found,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    return found


def bands(figure: Figure) -> list[PolyCollection]:
    return [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]


def written(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_task_has_a_strip_of_choices_by_moments() -> None:
    strips = policies_over_time(HISTORY, NAMES).axes[:2]
    assert [axes.get_ylabel() for axes in strips] == ["cats", "dogs"]
    np.testing.assert_array_equal(np.asarray(mesh(strips[0]).get_array()), POLICY[:, 0, 0].T)
    np.testing.assert_array_equal(np.asarray(mesh(strips[1]).get_array()), POLICY[:, 1, 0].T)
    assert strips[0].yaxis_inverted()


def test_the_axis_of_a_strip_counts_the_samples_of_its_task() -> None:
    strips = policies_over_time(HISTORY, NAMES).axes[:2]
    edges = [mesh(axes).get_coordinates()[0, :, 0].tolist() for axes in strips]
    assert edges == [[0, 1, 5, 8], [0, 2, 10, 16]]
    assert strips[0].get_xlim() == strips[1].get_xlim() == (0, 16)


def test_darker_is_more_probable() -> None:
    shades = mesh(policies_over_time(HISTORY, NAMES).axes[0])
    brightness = shades.to_rgba(np.array([0.0, 0.1, 0.5, 1.0]))[:, :3].sum(1)
    assert (np.diff(brightness) < 0).all()


def test_strips_label_the_likeliest_choice_at_the_requested_depth() -> None:
    assert written(policies_over_time(HISTORY, NAMES)) == ["block 0, 100%", "PASS, 75%"]
    assert written(policies_over_time(HISTORY, NAMES, depth=1)) == ["block 0, 100%", "block 1, 100%"]


def test_a_block_has_one_curve_per_task() -> None:
    figure = block_over_time(HISTORY, 1, NAMES)
    cats, dogs = figure.axes[0].lines
    np.testing.assert_array_equal(np.asarray(cats.get_xydata()), [[0, 0.25], [2, 0.25], [8, 0]])
    np.testing.assert_array_equal(np.asarray(dogs.get_xydata()), [[0, 0.5], [4, 0.25], [16, 0.25]])
    assert legend(figure) == ["cats", "dogs"]
    assert figure.axes[0].get_ylabel() == "probability of block 1 at depth 0"
    assert block_over_time(HISTORY, 2, NAMES).axes[0].get_ylabel() == "probability of PASS at depth 0"


def test_tasks_whose_final_choice_is_the_block_have_thicker_lines() -> None:
    cats, dogs = block_over_time(HISTORY, 0, NAMES).axes[0].lines
    assert cats.get_linewidth() > dogs.get_linewidth()


def test_twenty_tasks_have_distinct_line_styles() -> None:
    lines = block_over_time(random_history(20, 21), 7, [f"task {i}" for i in range(20)]).axes[0].lines
    assert len({(to_hex(line.get_color()), str(line.get_linestyle())) for line in lines}) == 20
    assert [to_hex(line.get_color()) for line in lines[:10]] == COLOURS


@pytest.mark.parametrize("tasks", [1, 10, 20])
def test_names_stay_inside_the_picture(tasks: int) -> None:
    history, names = random_history(tasks, tasks + 1), [f"a_name_of_some_length_{i}" for i in range(tasks)]
    for figure in (policies_over_time(history, names, title="$title"), block_over_time(history, 0, names, title="$t")):
        figure.savefig(BytesIO(), format="png")
        inside, canvas = figure.get_tightbbox(), figure.bbox_inches
        assert inside.x0 >= 0 and inside.y0 >= 0
        assert inside.x1 <= canvas.x1 and inside.y1 <= canvas.y1


def test_a_learning_curve_shows_mean_and_range_over_seeds() -> None:
    figure = learning_curves({"wpl": [curve([0.2, 0.6]), curve([0.4, 0.8])]})
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(np.asarray(line.get_xydata()), [[0.5, 30], [1, 70]])
    (band,) = bands(figure)
    corners = {(x, round(y, 6)) for x, y in np.asarray(band.get_paths()[0].vertices).tolist()}
    assert corners == {(0.5, 20), (0.5, 40), (1, 60), (1, 80)}
    assert figure.axes[0].get_xlabel() == "epochs"
    assert "2 seeds" in str(figure.get_supxlabel())


def test_seeds_that_are_behind_count_as_far_as_they_are() -> None:
    figure = learning_curves({"wpl": [curve([0.2, 0.6, 0.9]), curve([0.4, 0.8])]})
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [30, 70, 90])
    assert "over those that have reached it" in str(figure.get_supxlabel())


def test_an_agent_keeps_its_colour_when_ranks_change() -> None:
    before = learning_curves({"one": [curve([0.2])], "two": [curve([0.1])]}).axes[0].lines
    after = learning_curves({"one": [curve([0.2, 0.3])], "two": [curve([0.1, 0.4])]}).axes[0].lines
    colours = [{line.get_label(): line.get_color() for line in lines} for lines in (before, after)]
    assert colours[0] == colours[1]


def test_one_seed_has_no_band() -> None:
    figure = learning_curves({"wpl": [curve([0.2, 0.6])]})
    assert not bands(figure) and figure.get_supxlabel() == ""


def test_the_legend_orders_agents_by_their_final_figure() -> None:
    runs = {"low": [curve([0.9, 0.1])], "high": [curve([0.2, 0.3])]}
    assert legend(learning_curves(runs)) == ["high", "low"]
    figure = learning_curves(runs, measure=Measure("bits per byte", higher=False))
    assert legend(figure) == ["low", "high"]
    assert figure.axes[0].get_ylabel() == "validation bits per byte"


def test_without_epochs_the_axis_counts_decisions() -> None:
    figure = learning_curves({"old": [curve([0.2, 0.6], float("nan"))], "new": [curve([0.2, 0.5])]})
    assert figure.axes[0].get_xlabel() == "decisions"
    assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == [100, 200]


def test_runs_evaluated_at_different_decisions_have_no_mean() -> None:
    with pytest.raises(ValueError, match=r"'wpl' .*different decisions"):
        learning_curves({"wpl": [curve([0.2, 0.6]), Curve(np.array([150]), np.ones(1), np.ones(1))]})
    with pytest.raises(ValueError, match="no curve to draw"):
        learning_curves({"wpl": []})


def test_unknown_blocks_and_depths_and_unfit_names_are_refused() -> None:
    with pytest.raises(ValueError, match="no block 3: choices are 0 to 2"):
        block_over_time(HISTORY, 3, NAMES)
    with pytest.raises(ValueError, match="no depth 2: decisions are made at depths 0 to 1"):
        policies_over_time(HISTORY, NAMES, depth=2)
    with pytest.raises(ValueError, match="1 task names do not fit the policies of 2 tasks"):
        block_over_time(HISTORY, 0, ["cats"])
    with pytest.raises(ValueError, match="do not fit 2 moments"):
        PolicyHistory(HISTORY.decisions[:2], HISTORY.samples, HISTORY.policy)


def test_a_history_survives_writing_and_reading(tmp_path: Path) -> None:
    HISTORY.write(tmp_path / "policies.npz")
    again = PolicyHistory.read(tmp_path / "policies.npz")
    for name in ("decisions", "samples", "policy"):
        np.testing.assert_array_equal(getattr(again, name), getattr(HISTORY, name))
    assert [path.name for path in tmp_path.iterdir()] == ["policies.npz"]


def test_errors_name_damaged_histories(tmp_path: Path) -> None:
    path = tmp_path / "policies.npz"
    with pytest.raises(FileNotFoundError, match="no policies at"):
        PolicyHistory.read(path)
    HISTORY.write(path)
    whole = path.read_bytes()
    for broken in (b"", b"nonsense", whole[: len(whole) // 2], whole.replace(POLICY.tobytes(), bytes(POLICY.nbytes))):
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match=r"policies\.npz cannot be read"):
            PolicyHistory.read(path)
    np.savez(path, policy=POLICY)
    with pytest.raises(CheckpointError, match="decisions"):
        PolicyHistory.read(path)


def test_reading_a_history_executes_no_code(tmp_path: Path) -> None:
    objects = np.array([print], object)
    np.savez(tmp_path / "policies.npz", decisions=objects, samples=HISTORY.samples, policy=POLICY)
    with pytest.raises(CheckpointError, match="allow_pickle=False"):
        PolicyHistory.read(tmp_path / "policies.npz")


def test_importing_loads_no_matplotlib() -> None:
    code = "import sys, mtl_gym.core.policies, mtl_gym.lab.curves; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_of_tasks_have_room_beside_two_agents_and_one_task():
    def run_of(agent, tasks):
        return RunResult(RunSettings("id", agent, 1, 0), 0.5, dict.fromkeys(tasks, 0.5), None, None, 1.0, 1.0)

    for tasks, agents in ((("a_very_long_name_of_a_task_or_two", "short"), ("control", "ours")), (("one",), ("only",))):
        figure = task_accuracies([run_of(agent, tasks) for agent in agents])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.savefig(BytesIO(), format="png")
        (axes,) = figure.axes
        labels = [label.get_window_extent() for label in axes.get_xticklabels()]
        note = figure._supxlabel.get_window_extent()  # no public name
        assert min(box.y0 for box in labels) >= note.y1 and axes.get_window_extent().height > 20
