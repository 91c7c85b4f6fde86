"""Metrics of scores against rliable, and curves against values computed by hand."""

import csv
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mtl_gym.lab.report import aggregate
from mtl_gym.lab.report.aggregate import (
    NoStatisticsError,
    align,
    estimate,
    interquartile_curve,
    probability_of_improvement,
    rliable,
    statistics_of,
)
from mtl_gym.lab.report.collection import read_comparisons, write_results
from mtl_gym.lab.report.content import Scope
from mtl_gym.lab.report.efficiency import efficiency_of
from mtl_gym.lab.score import scale_of

from .conftest import PATHS, write_run

rliable()  # import it once: that takes two seconds


def test_align_keeps_agents_and_seeds_present_in_every_comparison():
    scores = align(
        {
            "a": {("wpl", 0): 1.0, ("wpl", 1): 2.0, ("wpl", 2): 3.0, ("ppo", 0): 9.0},
            "b": {("wpl", 0): 4.0, ("wpl", 2): 6.0},
        }
    )
    assert (scores.comparisons, scores.seeds, scores.left_out) == (("a", "b"), (0, 2), ("ppo",))
    np.testing.assert_array_equal(scores.values["wpl"], [[1, 4], [3, 6]])
    with pytest.raises(NoStatisticsError, match="no agent"):
        align({"a": {("wpl", 0): 1.0}, "b": {("ppo", 0): 1.0}})
    with pytest.raises(NoStatisticsError, match="no seed that all of wpl, ppo finished"):
        align({"a": {("wpl", 0): 1.0, ("ppo", 1): 1.0}})


@pytest.mark.slow
def test_statistics_equal_those_of_rliable_on_results_csv(comparison, tmp_path):
    """Compute interquartile mean, median, mean and their intervals from results.csv without our code."""
    for seed in range(3):
        write_run(tmp_path / "more", "random-fixed", seed, 0.1 + 0.02 * seed, env_id=PATHS)
        write_run(tmp_path / "more", "wpl", seed, 0.3 + 0.1 * seed**2, env_id=PATHS)
        write_run(tmp_path / "more", "shared", seed, 0.5 + 0.1 * seed, env_id=PATHS)
        write_run(tmp_path / "more", "oracle", seed, 0.8 + 0.05 * seed, env_id=PATHS)
        write_run(comparison, "shared", seed, 0.6 + 0.05 * seed, env_id=PATHS)
    comparisons = read_comparisons(tmp_path)
    write_results(comparisons, tmp_path / "results.csv")
    scales = [scale_of(each.results) for each in comparisons]
    ours = statistics_of(Scope("", "", comparisons, scales, "shared").scores(), "shared")

    by_hand = scores_of_the_sheet(tmp_path / "results.csv", {"more": "shared", "paths": "shared"})
    library, metrics = rliable()
    names = ("iqm", "median", "mean", "optimality_gap")

    def all_four(scores):
        return np.array([getattr(metrics, f"aggregate_{name}")(scores) for name in names])

    assert ours.scores.values.keys() == by_hand.keys() == {"random-fixed", "shared", "wpl", "oracle"}
    for agent, scores in by_hand.items():
        np.random.seed(0)
        points, intervals = library.get_interval_estimates({agent: scores}, all_four, reps=2000)
        for number, metric in enumerate(("interquartile mean", "median", "mean", "optimality gap")):
            found = ours.metrics[metric][agent]
            expected = [points[agent][number], *intervals[agent][:, number]]
            assert [found.value, found.low, found.high] == pytest.approx(expected)
        np.random.seed(0)
        profiles, bands = library.create_performance_profile({agent: scores}, ours.thresholds)
        np.testing.assert_allclose(ours.profiles[agent], [profiles[agent], *bands[agent]])
    expected = metrics.probability_of_improvement(by_hand["wpl"], by_hand["shared"])
    assert ours.improvement["wpl"].value == pytest.approx(expected)


def scores_of_the_sheet(path, best):
    """Return scores by agent, float64 [seeds, comparisons]; `best` names each comparison's best control."""
    lines = list(csv.DictReader(path.read_text().splitlines()))

    def of(where, agent):
        return np.array(
            [float(line["accuracy"]) for line in lines if (line["comparison"], line["name"]) == (where, agent)]
        )

    def score(where, agent):
        low, high = of(where, best[where]).mean(), of(where, "oracle").mean()
        return (of(where, agent) - low) / (high - low)

    agents = ("random-fixed", "shared", "wpl", "oracle")
    return {agent: np.stack([score(where, agent) for where in best], 1) for agent in agents}


def test_intervals_are_reproducible_and_leave_the_global_generator_unchanged():
    values = np.random.default_rng(0).random((4, 2))
    np.random.seed(7)
    expected = np.random.random(3)
    np.random.seed(7)
    first = estimate(values, lambda scores: scores.mean((0, 1), keepdims=True)[0])
    np.testing.assert_array_equal(np.random.random(3), expected)
    np.testing.assert_array_equal(first, estimate(values, lambda scores: scores.mean((0, 1), keepdims=True)[0]))
    value, low, high = first[:, 0]
    assert low < value < high


def test_one_seed_has_no_interval():
    value, low, high = estimate(np.array([[0.25, 0.75]]), lambda scores: scores.mean((1,)))[:, 0]
    assert value == 0.5 and np.isnan([low, high]).all()
    assert str(aggregate.Estimate(value, low, high)) == "0.50"
    assert str(aggregate.Estimate(-0.001, -0.004, 0.2)) == "0.00 [0.00, 0.20]"


@given(*[arrays(np.float64, (3, 2), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])) for _ in range(2)])
def test_probability_of_improvement_counts_pairs(scores, base):
    found = probability_of_improvement(scores, base)[0]
    wins = [(x > y) + 0.5 * (x == y) for column in (0, 1) for x in scores[:, column] for y in base[:, column]]
    assert found == pytest.approx(np.mean(wins))
    assert found == pytest.approx(1 - probability_of_improvement(base, scores)[0])


def test_the_interquartile_mean_of_curves_trims_at_every_point():
    curves = np.arange(16.0).reshape(4, 2, 2)
    _, metrics = rliable()
    expected = [metrics.aggregate_iqm(curves[..., point]) for point in (0, 1)]
    np.testing.assert_allclose(interquartile_curve(curves), expected)


def test_sample_efficiency_is_scored_on_validation(comparison, quick):
    """Final validation accuracies are 0.5 of random-fixed and 0.9 of the oracle; evaluate at each quarter."""
    found = efficiency_of(read_comparisons(comparison))
    np.testing.assert_allclose(found.shares, np.linspace(0.25, 1, 16))
    np.testing.assert_allclose(found.curves["random-fixed"][0], 0, atol=1e-12)
    np.testing.assert_allclose(found.curves["oracle"][0], np.linspace(0.25, 1, 16))
    assert found.curves["wpl"][0, [0, 5, 10, 15]] == pytest.approx([0, 0.25, 0.25, 0.5])
    assert found.scores.seeds == (0, 1, 2)


def test_without_progress_there_are_no_curves(tmp_path):
    write_run(tmp_path, "random", 0, 0.5)
    with pytest.raises(NoStatisticsError, match=r"no run of .* has a progress\.csv with several"):
        efficiency_of(read_comparisons(tmp_path))
    write_run(tmp_path, "wpl", 0, 0.5, [0.5])
    with pytest.raises(NoStatisticsError, match="several evaluations"):
        efficiency_of(read_comparisons(tmp_path))


@pytest.mark.parametrize("reason", ["ImportError('no arch')", "TypeError('arch 7 beside pandas 3')"])
def test_a_missing_rliable_error_names_the_extra(monkeypatch, tmp_path, reason):
    (tmp_path / "rliable.py").write_text(f"raise {reason}")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rliable"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"mtl-gym\[report\].*arch"):
        rliable()
