"""Timelines of runs and their pictures."""

import numpy as np
import pytest

from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.families.scheduling.render import ansi, histograms_over_time, timeline
from mtl_gym.families.scheduling.timeline import SEGMENTS, Timeline


def recorded(runs=2, tasks=3, bins=4, steps=1000, until=None):
    line = Timeline.empty(runs, tasks, bins, steps)
    for step in range(until or steps):
        weights = np.eye(tasks)[np.full(runs, step * tasks // steps)]
        accuracy = np.full((runs, tasks), step / steps)
        line.add(step, weights, accuracy, 1 - accuracy, np.full((tasks, bins), 1 / max(1, bins)))
    return line


def test_long_runs_are_recorded_in_parts_that_add_up():
    line = recorded(steps=1003)
    assert len(line.step) == SEGMENTS and line.step[-1] == 1003 and np.ptp(np.diff(line.step)) <= 1
    assert line.trained.sum() == 2 * 1003
    assert line.shares[0].tolist() == [1, 0, 0] and line.shares[-1].tolist() == [0, 0, 1]
    assert line.accuracy[-1, 0, 0] == pytest.approx(1002 / 1003)


def test_short_runs_record_every_step_and_nan_for_the_future():
    line = recorded(steps=10, until=4)
    assert line.step.tolist() == list(range(1, 11))
    assert np.isfinite(line.accuracy[:4]).all() and np.isnan(line.accuracy[4:]).all()


def test_a_timeline_survives_a_round_trip_through_tensors():
    line = recorded()
    copy = arrays_of(Timeline, tensors_of(line))
    assert all(np.array_equal(value, vars(copy)[name]) for name, value in vars(line).items())


def test_the_timeline_picture_shows_shares_and_curves():
    figure = timeline(recorded(), ["a", "b", "c"], "title")
    heat, curves = figure.axes
    shown = heat.collections[0].get_array().reshape(3, SEGMENTS)
    assert shown[0, 0] == 1 and shown[2, -1] == 1 and shown[0, -1] == 0
    assert [line.get_label() for line in curves.lines] == ["a", "b", "c", "mean"]
    assert curves.lines[3].get_ydata()[-1] == pytest.approx(0.999)


def test_histograms_over_time_have_a_panel_per_task():
    figure = histograms_over_time(recorded(tasks=7), list("abcdefg"))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == list("abcdefg")


def test_an_unfinished_run_can_be_drawn_and_printed():
    line = recorded(steps=10, until=3)
    timeline(line, ["a", "b", "c"])
    text = ansi(np.full((3, 4), 0.25), line, ["a", "b", "c"])
    assert text.splitlines()[1].split() == ["a", "0.50", "100%", "20.0%"]
    assert ansi(np.full((3, 4), 0.25), Timeline.empty(1, 3, 4, 10), ["a", "b", "c"]).count("nan%") == 3


def test_a_wrong_number_of_names_is_rejected():
    with pytest.raises(ValueError, match=r"2 task_names.*3 tasks"):
        timeline(recorded(), ["a", "b"])


def test_runs_without_histograms_are_printed_without_uncertainty():
    line = recorded(bins=0, steps=10, until=3)
    text = ansi(np.zeros((3, 0)), line, ["a", "b", "c"])
    assert [row.split() for row in text.splitlines()[:2]] == [["task", "trained", "accuracy"], ["a", "100%", "20.0%"]]
