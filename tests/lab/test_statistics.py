from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mtl_gym.lab.run import RunResult, RunSettings
from mtl_gym.lab.statistics import differences


def runs(agent, accuracies):
    return [
        RunResult(RunSettings("id", agent, 1, seed), accuracy, {}, None, None, 1.0, 1.0)
        for seed, accuracy in enumerate(accuracies)
    ]


def test_differences_are_paired_by_seed_with_students_interval():
    low, high = [0.50, 0.61, 0.55], [0.52, 0.64, 0.55]
    (found,) = differences(runs("random-fixed", low) + runs("wpl", high), "random-fixed")
    values = 100 * (np.array(high) - np.array(low))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def in_folds(results, folds):
    return [
        replace(result, settings=replace(result.settings, env_kwargs={"data_kwargs": {"fold": seed % folds}}))
        for seed, result in enumerate(results)
    ]


def test_intervals_of_a_cross_validation_are_wider_because_training_samples_overlap():
    """Expect the corrected resampled t-test of Nadeau and Bengio: 1/10 + 1/4 in place of 1/10."""
    control, agent = runs("random-fixed", np.linspace(0.6, 0.7, 10)), runs("wpl", [0.61, 0.6, 0.64, 0.66, 0.7] * 2)
    (plain,) = differences(control + agent, "random-fixed")
    (folded,) = differences(in_folds(control, 5) + in_folds(agent, 5), "random-fixed")
    assert folded.mean == plain.mean
    assert folded.high - folded.mean == pytest.approx((plain.high - plain.mean) * np.sqrt((1 / 10 + 1 / 4) / (1 / 10)))
    assert differences(in_folds(control, 1) + in_folds(agent, 1), "random-fixed") == [plain]


def test_differences_are_sorted_and_ignore_seeds_without_control():
    found = differences(runs("random-fixed", [0.5]) + runs("a", [0.4, 0.9]) + runs("b", [0.6]), "random-fixed")
    assert [difference.agent for difference in found] == ["b", "a"]
    assert str(found[1]) == "a -10.00 (one seed: no interval)"


def test_without_the_control_there_are_no_differences():
    assert differences(runs("a", [0.4]) + runs("b", [0.6]), "random-fixed") == []
