import copy
import pickle

import numpy as np
import pytest
import torch

from mtl_gym import data
from mtl_gym.data import TaskCollection, TaskData
from mtl_gym.data.sources import linear

NAMES = ["linear", "linear-noisy", "generated-linear", "generated-linear-noisy"]


def solved(arrays):
    """Solve the clean test samples for the weight vectors; [tasks, inputs]."""
    pairs = zip(arrays["test_x"], arrays["test_y"], strict=True)
    return np.stack([np.linalg.lstsq(x, y, rcond=None)[0] for x, y in pairs])


def everything(task):
    return torch.cat([torch.cat([x, y], 1) for x, y in task.splits.values()])


@pytest.mark.parametrize("name", NAMES)
def test_there_are_three_groups_of_ten_tasks_with_10_5_and_50_samples(name):
    found = data.load(name)
    assert found.num_tasks == 30 and found.groups == (0,) * 10 + (1,) * 10 + (2,) * 10
    for task in found.tasks:
        assert {split: tuple(x.shape) for split, (x, _) in task.splits.items()} == {
            "train": (10, 20),
            "validation": (5, 20),
            "test": (50, 20),
        }
        assert len(everything(task).unique(dim=0)) == 65


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_uniform_in_minus_one_to_one(name):
    x = torch.cat([task.splits["test"][0] for task in data.load(name).tasks])
    assert x.abs().max() <= 1 and x.var().item() == pytest.approx(1 / 3, abs=0.01)


def test_the_stand_in_has_one_direction_per_group_and_half_normal_norms():
    weights = solved(linear.generate()).reshape(3, 10, 20)
    norms = np.linalg.norm(weights, axis=-1)
    cosine = np.einsum("gti,gi->gt", weights, weights[:, 0]) / norms / norms[:, :1]
    assert cosine == pytest.approx(1)
    assert norms.min(1) == pytest.approx(0.2195, abs=1e-4) and norms.max(1) == pytest.approx(6.8599, abs=1e-4)
    # Of half-normal numbers of standard deviation 3.5, 38.3% lie below 1.75.
    assert ((norms < 1.75).sum(1) == 4).all()


def test_the_noise_of_the_stand_in_has_the_papers_standard_deviation():
    arrays = linear.generate(3)
    noise = np.concatenate([(arrays[f"noisy_{part}_y"] - arrays[f"{part}_y"]).ravel() for part in ("train", "test")])
    assert noise.std() == pytest.approx(0.32, abs=0.02) and abs(noise.mean()) < 0.03


def test_the_seed_determines_the_generated_data():
    first, again, other = linear.generate(0), linear.generate(0), linear.generate(1)
    assert np.array_equal(first["train_x"], again["train_x"])
    assert not np.allclose(first["train_x"], other["train_x"])


def test_the_papers_file_is_used_if_present(tmp_path):
    arrays = linear.generate(7)
    np.savez(tmp_path / "linear30.npz", **arrays)
    task = data.load("linear-noisy", tmp_path).tasks[4]
    assert task.splits["test"][1][:, 0].numpy() == pytest.approx(arrays["noisy_test_y"][4].astype(np.float32))
    assert task.splits["validation"][1][:, 0].numpy() == pytest.approx(arrays["noisy_train_y"][4, 10:], rel=1e-6)
    stand_in = data.load("generated-linear-noisy", tmp_path).tasks[4].splits["test"][1]
    assert not torch.equal(stand_in, task.splits["test"][1])


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda a: a.pop("test_y"), "no array test_y"),
        (lambda a: a.update(train_x=a["train_x"][:, :, :19]), r"train_x is float64 \[30, 15, 19\]"),
        (lambda a: a["train_y"].__setitem__((0, 0), np.nan), "train_y holds NaN"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, spoil, problem):
    arrays = linear.generate()
    spoil(arrays)
    np.savez(tmp_path / "linear30.npz", **arrays)
    with pytest.raises(data.DamagedDataError, match=rf"linear30.npz is damaged: .*{problem}"):
        data.load("linear", tmp_path)


def test_a_file_that_is_not_an_archive_is_refused(tmp_path):
    (tmp_path / "linear30.npz").write_bytes(b"nothing")
    with pytest.raises(data.DamagedDataError, match="cannot be read as npz"):
        data.load("linear", tmp_path)


def pair(rows=4):
    return torch.rand(rows, 3), torch.rand(rows, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ranking"}, "kind='ranking' is unknown"),
        ({"splits": {"train": pair()}}, "has the splits"),
        ({"outputs": 2}, r"\[rows, 2\], not \[4, 1\]"),
        ({"kind": "classification"}, "labels are whole numbers"),
    ],
)
def test_an_inconsistent_task_is_refused_with_the_reason(change, message):
    arguments = {"name": "line", "kind": "regression", "splits": dict.fromkeys(data.SPLITS, pair()), "outputs": 1}
    with pytest.raises(ValueError, match=message):
        TaskData(**arguments | change)


def test_labels_out_of_range_and_different_numbers_of_rows_are_refused():
    x = torch.rand(4, 3)
    with pytest.raises(ValueError, match="row 3 has label 3, but labels are 0 to 2"):
        TaskData("a", "classification", dict.fromkeys(data.SPLITS, (x, torch.arange(4))), 3)
    with pytest.raises(ValueError, match="4 inputs and 3 outputs"):
        TaskData("a", "regression", dict.fromkeys(data.SPLITS, (x, torch.rand(3, 1))), 1)


def test_a_collection_is_shared_by_copies_and_survives_pickling():
    found = data.load("generated-linear")
    assert copy.deepcopy(found) is found
    again = pickle.loads(pickle.dumps(found))
    assert again.task_names == found.task_names and again.groups == found.groups
    assert torch.equal(everything(again.tasks[3]), everything(found.tasks[3]))


def test_some_tasks_can_be_chosen_by_name():
    chosen = data.load("generated-linear").part(["task 25", 3])
    assert chosen.task_names == ("task 25", "task 3") and chosen.groups == (2, 0)
    with pytest.raises(ValueError, match="no task 'task 99'"):
        chosen.part(["task 99"])


def test_repeated_names_wrong_groups_and_unknown_attributes_are_refused():
    task = data.load("generated-linear").tasks[0]
    with pytest.raises(ValueError, match="each its own name"):
        TaskCollection("twice", [task, task])
    with pytest.raises(ValueError, match="2 groups for 1 tasks"):
        TaskCollection("one", [task], (0, 1))
    with pytest.raises(AttributeError, match=r"has no 'num_classes'.*MultiTaskDataset"):
        data.load("linear").num_classes  # noqa: B018


def test_arrays_become_tensors_and_splits_must_agree():
    x, y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
    task = TaskData("a", "regression", dict.fromkeys(data.SPLITS, (x, y)), 1)
    assert task.splits["train"][0].dtype == torch.float32
    wide = TaskData("a", "regression", dict.fromkeys(data.SPLITS, (x.astype(float), y)), 1)
    assert wide.splits["test"][0].dtype == torch.float32
    splits = dict.fromkeys(data.SPLITS, (x, y)) | {"test": (x[:, :2], y)}
    with pytest.raises(
        ValueError, match=r"input of split 'test' is torch.float32 \[2\] on cpu, of 'train' torch.float32 \[3\] on cpu"
    ):
        TaskData("a", "regression", splits, 1)
