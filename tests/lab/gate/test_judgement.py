"""Lines of the gate and tiers, on figures made by hand."""

from dataclasses import replace

import pytest

from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.lab.gate.judgement import differ, judge, tiers
from mtl_gym.lab.gate.plan import Trial
from mtl_gym.lab.run import RunResult, RunSettings
from mtl_gym.lab.statistics import Estimate
from mtl_gym.registration import card

PATHS = "MTLRouting-Paths-v0"
CARD = replace(card(PATHS), controls=("shared", "random-fixed"), learners=("wpl",))
GOOD = {
    "oracle": [96.0, 95.0, 97.0],
    "shared": [40.0, 41.0, 39.0],
    "random-fixed": [60.0, 61.0, 59.0],
    "wpl": [80.0, 81.0, 79.0],
    "ppo": [70.0, 71.0, 69.0],
    "a2c": [50.0, 51.0, 49.0],
}


def results_of(figures, measure=ACCURACY, seconds=10.0):
    return [
        RunResult(
            RunSettings(PATHS, agent, CARD.steps, seed),
            0.5, {"a": 0.5}, None, None, 1.0, 1.0, figure=figure, measure=measure, cpu_seconds=seconds,
        )
        for agent, by_seed in figures.items()
        for seed, figure in enumerate(by_seed)
    ]  # fmt: skip


def judged(figures, longer=None, **more):
    results = results_of(figures, **more)
    trial = Trial(PATHS, CARD, [result.settings for result in results])
    known = {name: runs for name, runs in (longer or figures).items() if name in ("oracle", *CARD.controls)}
    return judge(trial, results, {"x4": results_of(known, **more)})


def test_an_id_that_passes():
    found = judged(GOOD)
    assert found.lines == (True,) * 5 and found.passed
    assert (found.control, found.learner) == ("random-fixed", "wpl")
    assert found.row("wpl").score.value == pytest.approx(20 / 36)
    assert found.tiers == [["ppo"], ["a2c"]]
    assert found.distances == {"": "36.00 (sd 1.00)", "x4": "36.00 (sd 1.00)"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"random-fixed": [86.5, 87.5, 85.5]}, 1),  # 9.5 points
        ({"random-fixed": [75.0, 80.0, 85.0]}, 1),  # 16 points, but 5 standard deviations are 25
        ({"wpl": [77.0, 78.0, 76.0]}, 2),
        ({"a2c": [68.0, 70.0, 66.0]}, 3),
    ],
)
def test_an_id_that_fails_one_line(changes, line):
    found = judged(GOOD | changes, longer=GOOD)
    assert not found.lines[line - 1] and not found.passed
    assert found.lines[4]


def test_a_distance_that_melts_fails_the_last_line_only():
    melted = GOOD | {"shared": [94.0, 93.0, 95.0]}
    assert judged(GOOD, longer=melted).lines == (True, True, True, True, False)
    assert judged(GOOD, longer={"oracle": GOOD["oracle"]}).lines[4] is False


def test_a_long_run_fails_the_fourth_line():
    assert judged(GOOD, seconds=181.0).lines == (True, True, True, False, True)


def test_the_privileged_and_the_untrained_are_no_learners():
    figures = GOOD | {"wpl": [60.0] * 3, "ppo-untrained": [90.0] * 3, "random": [90.0] * 3}
    found = judged(figures)
    assert found.learner == "ppo" and not found.lines[1]


def test_where_lower_is_better_points_are_not_asked_for():
    bits = Measure("bits per byte", higher=False)
    figures = {
        "oracle": [3.40, 3.41, 3.39],
        "shared": [3.70, 3.71, 3.69],
        "random-fixed": [3.60, 3.61, 3.59],
        "wpl": [3.48, 3.49, 3.47],
        "ppo": [3.50, 3.51, 3.49],
        "a2c": [3.65, 3.66, 3.64],
    }
    found = judged(figures, measure=bits)
    assert found.passed and (found.control, found.learner) == ("random-fixed", "wpl")
    assert found.tiers == [["ppo"], ["a2c"]] and found.distances[""] == "0.200 (sd 0.010)"
    assert not judged(figures | {"oracle": [3.56, 3.57, 3.55]}, measure=bits).lines[0]


def test_one_seed_decides_nothing_about_spread():
    found = judged({name: figures[:1] for name, figures in GOOD.items()})
    assert found.lines == (False, True, False, True, False)


def test_a_tier_opens_below_the_best_member_of_the_one_above():
    """b overlaps a and stays; c overlaps b, but lies below a."""
    found = {"a": Estimate(90, 88, 92), "b": Estimate(80, 71, 89), "c": Estimate(70, 68, 72), "d": Estimate(50, 40, 60)}
    assert tiers(found, ACCURACY) == [["a", "b"], ["c"], ["d"]]
    assert differ(list(found.values())) and differ([found["a"], found["c"]]) and not differ([found["a"], found["b"]])
    assert tiers({}, ACCURACY) == []
