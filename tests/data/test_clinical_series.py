from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_gym import data
from mtl_gym.data.sources.clinical_series import CHANGE, EFFECTS, STEPS_PER_DAY, TASK_NAMES, build, truth


def test_shapes_and_splits():
    series = data.load("clinical-series")
    assert series.input_shape == (24, 10) and series.num_classes == (2,) * 6
    assert {name: len(part) for name, part in series.splits.items()} == {"train": 1536, "validation": 384, "test": 480}
    x = series.inputs("train", torch.arange(1536)).flatten(0, 1)
    torch.testing.assert_close(x.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0), torch.ones(10), atol=1e-3, rtol=0)
    for part in series.splits.values():
        assert torch.bincount(part.task * 2 + part.y).unique().numel() == 1  # labels are even in every split


def test_the_seed_determines_the_data_set():
    first, again, other = (build(Path(), sequences=30, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.split("test").x, again.split("test").x)
    assert not torch.equal(first.split("test").x, other.split("test").x)


@pytest.mark.parametrize("name", ["brain-series", "clinical-series"])
def test_every_series_is_for_test_in_one_of_five_folds(name):
    folds = [data.load(name, sequences=60, fold=fold) for fold in range(5)]
    whole = {series.tobytes() for part in folds[0].splits.values() for series in part.x.numpy()}
    tested = [series.tobytes() for fold in folds for series in fold.split("test").x.numpy()]
    assert len(tested) == len(whole) and set(tested) == whole
    for fold in folds:
        parts = [{series.tobytes() for series in part.x.numpy()} for part in fold.splits.values()]
        assert set.union(*parts) == whole and sum(map(len, parts)) == len(whole)


@pytest.mark.parametrize("task", range(6))
def test_a_label_shifts_the_vital_signs_on_its_day_by_the_effects_of_its_phenotype(task):
    split = build(Path(), noise=0.0, sequences=4000).split("train")
    days = split.x[:, :, :6].numpy()[:, [0, -1]]  # the other phenotypes average out
    own = (split.task == task).numpy()
    present, absent = (days[own & (split.y == label).numpy()].mean(0) for label in (1, 0))
    phenotype, day = divmod(task, 2)
    np.testing.assert_allclose(present[day] - absent[day], EFFECTS[phenotype, :6], atol=0.12)
    np.testing.assert_allclose(present[1 - day] - absent[1 - day], 0, atol=0.12)


def test_phenotypes_change_near_midnight_only():
    vitals = build(Path(), noise=0.0).split("train").x[:, :, :6]
    changing = (vitals.diff(dim=1) != 0).any(2).any(0).nonzero().ravel() + 1
    assert changing.min() == STEPS_PER_DAY - CHANGE and changing.max() == STEPS_PER_DAY + CHANGE


def test_laboratory_values_are_carried_forward_and_normal_at_first():
    labs = build(Path()).split("train").x[:, :, 6:]
    assert (labs.diff(dim=1) != 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert (labs[:, 0] == 0).float().mean().item() == pytest.approx(0.75, abs=0.03)


def test_tasks_of_one_phenotype_are_most_related():
    cosines = truth()
    for task in range(len(TASK_NAMES)):
        others = np.delete(cosines[task], task)
        assert cosines[task, task ^ 1] == pytest.approx(1) == others.max()
    assert cosines[2, 4] == pytest.approx(0)  # circulation and kidney


@pytest.mark.parametrize(("name", "value"), [("noise", -1.0), ("sequences", 3), ("seed", -1), ("fold", 5)])
def test_impossible_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} is not possible"):
        build(Path(), **{name: value})
