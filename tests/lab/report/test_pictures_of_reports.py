"""Figures of a report show every agent, including outliers."""

import io

import numpy as np
import pytest

from mtl_gym.core.measure import ACCURACY
from mtl_gym.lab.report.aggregate import Scores, statistics_of
from mtl_gym.lab.report.figures import draw_differences, draw_metrics, draw_profiles
from mtl_gym.lab.statistics import Estimate

pytestmark = pytest.mark.usefixtures("quick")


def statistics(**scores):
    values = {name: np.array(column)[:, None] for name, column in scores.items()}
    return statistics_of(Scores(("digits",), (0, 1), (), values), "low")


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def labels(figure):
    figure.draw_without_rendering()
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_values_outside_an_axis_are_labelled_at_its_edge():
    figure = draw_metrics(statistics(low=[0.0, 0.1], far=[-30.0, -20.0], wide=[-8.0, 7.0]), "title")
    assert labels(figure) == ["low", "wide", "far"]  # the best on top
    assert texts(figure) == {"◂ -25.0", "◂", "▸"}
    assert figure.axes[0].get_xlim()[0] > -1.2


def test_names_are_not_rendered_as_formulas():
    apart = {"$x_1$": Estimate(1.0, -1.0, 3.0), "<b>": Estimate(-2.0)}
    figure = draw_differences(apart, "$control$", ACCURACY, "$title$")
    assert labels(figure) == ["$x_1$", "<b>"] and not texts(figure)
    figure.savefig(io.BytesIO(), format="svg")


def test_few_lines_share_axes_and_many_get_separate_axes():
    few = statistics(low=[0.0, 0.1], high=[0.9, 1.0])
    assert len(draw_profiles(few, "title").axes) == 1
    many = statistics(low=[0.0, 0.1], **{f"agent-{n}": [0.1 * n, 0.2 * n] for n in range(4)})
    axes = draw_profiles(many, "title").axes
    assert [each.get_title() for each in axes if each.get_visible()] == many.ranking
    assert all(len(each.lines) == 6 for each in axes if each.get_visible())  # all in grey, plus its own line


def test_a_profile_is_the_share_of_runs_above_each_score():
    found = statistics(low=[0.0, 0.5], high=[0.9, 1.0])
    at = dict(zip(found.thresholds.round(2), found.profiles["low"][0], strict=True))
    assert found.profiles["low"][0, 0] == 1 and found.profiles["low"][0, -1] == 0
    assert {share for threshold, share in at.items() if 0 < threshold < 0.5} == {0.5}
