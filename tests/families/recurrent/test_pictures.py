import numpy as np
import pytest

from mtl_gym.families.recurrent import render
from mtl_gym.families.recurrent.connections import ConnectionLayout
from mtl_gym.families.recurrent.usage import ConnectionUsage, overlap
from tests.families.recurrent.series import STEPS, make, roll

LAYOUT = ConnectionLayout.of_layers((2, 2, 2))


def shares(tasks=3, steps=4, seed=0):
    return np.random.default_rng(seed).random((tasks, steps, LAYOUT.size))


def test_picture_has_panel_per_task_and_pairwise_overlap():
    values = shares()
    figure = render.routing_patterns(values, LAYOUT, ["one", "two", "a_$3"], title="A title")
    left, middle, right = figure.subfigs
    assert len(left.axes) == 3 and [axes.get_title(loc="left") for axes in left.axes] == ["one", "two", "a_$3"]
    drawn = left.axes[1].collections[0].get_array()
    np.testing.assert_allclose(drawn, values[1, :, 8:].T)
    written = [text.get_text() for text in right.axes[0].texts]
    expected = overlap(values[:, :, 8:]).mean(0)
    assert written == [f"{value:.2f}" for value in expected.ravel()]
    heights = np.array([[bar.get_height() for bar in group] for group in middle.axes[0].containers])
    np.testing.assert_allclose(heights.sum(0), 1)


def test_text_contains_sub_encoders_and_shares():
    values = np.zeros((2, 4, LAYOUT.size))
    values[0, :, 8] = 1
    values[1, ::2, 11] = 1
    lines = render.ansi(values, LAYOUT, ["long name", "b"]).splitlines()
    assert lines[0].split() == ["task", "A", "B", "C", "D"]
    assert lines[1].split() == ["long", "name", "100%", "0%", "0%", "0%"]
    assert lines[2].split() == ["b", "0%", "0%", "0%", "50%"]


def test_shares_of_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 12\) .*2 tasks"):
        render.routing_patterns(shares(), LAYOUT, ["one", "two"])


def test_window_without_display_only_warns(caplog):
    env = make(render_mode="human")
    env.reset(seed=0)
    env.render()
    env.close()


@pytest.mark.parametrize("options", [{"sharing": None}, {"sharing": "rrn", "base": None}])
def test_networks_without_encoder_can_be_rendered(options):
    env = make(render_mode="ansi", **options)
    env.reset(seed=0)
    roll(env, STEPS)
    assert "second" in env.render()


def test_usage_counts_existing_steps_only():
    usage = ConnectionUsage(2, 3, 1)
    actions = np.array([[[1], [1], [0]], [[1], [0], [0]], [[0], [0], [1]]], np.int8)
    usage.add(np.array([0, 0, 1]), np.array([2, 1, 3]), actions)
    assert usage.shares[:, :, 0].tolist() == [[1, 1, 0], [0, 0, 1]]


def test_old_episodes_decay():
    usage = ConnectionUsage(1, 1, 1, fades=True)
    on, off = np.ones((100, 1, 1), np.int8), np.zeros((100, 1, 1), np.int8)
    for actions in [on] * 10 + [off] * 10:
        usage.add(np.zeros(100, int), np.ones(100, int), actions)
    assert usage.shares[0, 0, 0] < 0.02
    assert usage.seen[0, 0] == pytest.approx(200, rel=0.4)
