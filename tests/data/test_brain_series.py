from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_gym import data
from mtl_gym.data.sources import brain_series
from mtl_gym.data.sources.brain_series import STEPS_PER_REGIME, build, truth


def means(series):
    """Return the mean series of every region at the peak of its response; [tasks, classes, regimes, features]."""
    split = series.split("train")
    at = torch.arange(1, 28, STEPS_PER_REGIME)
    return torch.stack(
        [torch.stack([split.x[(split.task == k) & (split.y == c)][:, at].mean(0) for c in range(3)]) for k in range(4)]
    ).numpy()


def test_shapes_and_splits_are_those_of_the_paper():
    series = data.load("brain-series")
    assert series.input_shape == (28, 10) and series.num_classes == (3, 3, 3, 3)
    assert {name: len(part) for name, part in series.splits.items()} == {"train": 2304, "validation": 576, "test": 720}
    x = series.inputs("train", torch.arange(2304)).flatten(0, 1)
    torch.testing.assert_close(x.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0), torch.ones(10), atol=1e-3, rtol=0)
    for part in series.splits.values():
        assert torch.bincount(part.task * 3 + part.y).unique().numel() == 1  # regions are even in every split


def test_the_seed_determines_the_data_set():
    first, again, other = (build(Path(), sequences=30, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.split("test").x, again.split("test").x)
    assert not torch.equal(first.split("test").x, other.split("test").x)


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
def test_responses_of_related_tasks_have_the_expected_cosine(dial):
    """Average over many draws of the directions: single cosines in 10 dimensions are far from their expectation."""
    cosines = []
    for seed in range(40):
        answers = means(build(Path(), relatedness=dial, noise=0.0, sequences=15, seed=seed))
        unit = answers / np.linalg.norm(answers, axis=-1, keepdims=True)
        cosines.append(np.einsum("acrf,bcrf->rab", unit, unit) / 3)
    np.testing.assert_allclose(np.mean(cosines, 0), truth(dial), atol=0.12)


def test_group_1_is_more_related_than_group_2_and_both_scale_with_relatedness():
    def mean_of(group, dial):
        pairs = np.array([(a, b) for a in group for b in group if a < b])
        return truth(dial).mean(0)[pairs[:, 0], pairs[:, 1]].mean()

    group_1, group_2 = (0, 1, 2), (0, 2, 3)
    for dial in (0.25, 0.75):
        assert mean_of(group_1, dial) == pytest.approx(dial * 11 / 21)
        assert mean_of(group_2, dial) == pytest.approx(dial * 3 / 21)
    assert mean_of(group_1, 0.0) == mean_of(group_2, 0.0) == 0


def test_noise_is_autocorrelated_with_the_given_strength():
    series = build(Path(), relatedness=0.0, noise=2.0, sequences=1500)
    quiet = build(Path(), relatedness=0.0, noise=0.0, sequences=1500)
    noise = (series.split("train").x - quiet.split("train").x).numpy()
    assert noise.std() == pytest.approx(2.0, rel=0.01)
    assert np.corrcoef(noise[:, 3].ravel(), noise[:, 4].ravel())[0, 1] == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(noise[:, 3].ravel(), noise[:, 6].ravel())[0, 1] == pytest.approx(0.125, abs=0.02)


def test_load_passes_arguments_on_and_shares_one_object_per_value():
    far = data.load("brain-series", relatedness=0.0)
    assert far is data.load("brain-series", relatedness=0.0) and far is not data.load("brain-series")
    with pytest.raises(ValueError, match=r"'brain-series' has no argument 'dial'; it takes relatedness, noise"):
        data.load("brain-series", dial=0.0)
    with pytest.raises(ValueError, match=r"'digits' has no argument 'relatedness'; it takes no arguments"):
        data.load("digits", relatedness=0.0)


@pytest.mark.parametrize(("name", "value"), [("relatedness", 1.5), ("noise", -1.0), ("sequences", 3), ("fold", 5)])
def test_impossible_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} is not possible"):
        build(Path(), **{name: value})


def test_every_task_has_one_of_three_systems_in_every_regime():
    assert brain_series.SYSTEMS.shape == (4, 7) and set(brain_series.SYSTEMS.ravel()) == set("CAS")
