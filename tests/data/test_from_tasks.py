import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_gym.data import SPLITS, MultiTaskDataset
from mtl_gym.data.stratified import split_sizes


def table(rows=20, width=2, classes=2):
    return np.arange(rows * width, dtype=float).reshape(rows, width), np.arange(rows) % classes


@st.composite
def tables(draw):
    """Draw tasks whose first feature is unique to each row."""
    tasks, start = {}, 1
    for number in range(draw(st.integers(1, 4))):
        counts = draw(st.lists(st.integers(3, 12), min_size=1, max_size=4))
        labels = np.repeat(np.arange(len(counts)), counts)
        labels = labels[draw(st.permutations(range(len(labels))))]
        x = np.ones((len(labels), draw(st.integers(1, 4))))
        x[:, 0] = np.arange(start, start + len(labels))
        tasks[f"task {number}"] = (x, labels)
        start += len(labels)
    return tasks


@settings(deadline=None, max_examples=50)
@given(tables(), st.integers(0, 5), st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_every_row_is_in_one_split_with_its_task_and_label(tasks, seed, validation, test):
    data = MultiTaskDataset.from_tasks("t", tasks, validation=validation, test=test, seed=seed, normalise=False)
    found = {}
    for split in data.splits.values():
        for x, task, y in zip(split.x, split.task, split.y, strict=True):
            assert int(x[0]) not in found
            found[int(x[0])] = (int(task), int(y), x.tolist())
    wanted = {
        int(row[0]): (task, int(label), [*row, *[0] * (data.input_shape[0] - len(row))])
        for task, (x, y) in enumerate(tasks.values())
        for row, label in zip(x, y, strict=True)
    }
    assert found == wanted


@settings(deadline=None, max_examples=50)
@given(tables(), st.integers(0, 5))
def test_every_class_is_in_every_split(tasks, seed):
    data = MultiTaskDataset.from_tasks("t", tasks, seed=seed)
    wanted = {(task, label) for task, classes in enumerate(data.num_classes) for label in range(classes)}
    for split in data.splits.values():
        assert set(zip(split.task.tolist(), split.y.tolist(), strict=True)) == wanted


@settings(deadline=None, max_examples=50)
@given(tables())
def test_training_inputs_have_mean_0_and_std_1_or_are_constant_0(tasks):
    data = MultiTaskDataset.from_tasks("t", tasks)
    train = data.split("train")
    x = data.inputs("train", torch.arange(len(train))).double()
    related = len({inputs.shape[1] for inputs, _ in tasks.values()}) == 1
    for rows in [x] if related else [x[train.task == task] for task in range(len(tasks))]:
        std = rows.std(dim=0, correction=0)
        assert torch.allclose(rows.mean(dim=0), torch.zeros(len(std)).double(), atol=1e-5)
        assert all(abs(value - 1) < 1e-4 or value == 0 for value in std.tolist())


@pytest.mark.parametrize(
    ("rows", "validation", "test", "sizes"),
    [
        (10, 0.1, 0.2, (1, 2)),
        (3, 0.1, 0.2, (1, 1)),
        (3, 0.9, 0.05, (1, 1)),
        (4, 0.45, 0.45, (2, 1)),
        (3, 0.01, 0.98, (1, 1)),
    ],
)
def test_split_sizes_are_rounded_so_that_no_split_is_empty(rows, validation, test, sizes):
    assert split_sizes(rows, validation, test) == sizes


@given(st.integers(3, 30) | st.integers(3, 10**6), st.floats(1e-9, 0.999), st.floats(1e-9, 0.999))
def test_no_split_is_ever_empty(rows, validation, test):
    for_validation, for_test = split_sizes(rows, validation, test)
    assert min(for_validation, for_test, rows - for_validation - for_test) >= 1


def test_shares_hold_in_each_class():
    x, y = np.arange(200.0).reshape(100, 2), np.repeat([0, 1], [60, 40])
    data = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    counts = {name: torch.bincount(split.y).tolist() for name, split in data.splits.items()}
    assert counts == {"train": [42, 28], "validation": [6, 4], "test": [12, 8]}


def test_the_seed_determines_the_split():
    first, again, other = (MultiTaskDataset.from_tasks("t", {"a": table(60)}, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(first.split(name).x, again.split(name).x) for name in SPLITS)
    assert not torch.equal(first.split("test").x, other.split("test").x)


def test_the_global_generators_are_not_used():
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    MultiTaskDataset.from_tasks("t", {"a": table()})
    assert np.array_equal(states[0], np.random.get_state()[1])
    assert torch.equal(states[1], torch.get_rng_state())


def test_another_task_does_not_change_the_splits_of_the_others():
    alone = MultiTaskDataset.from_tasks("t", {"a": table()}, normalise=False).split("test")
    both = MultiTaskDataset.from_tasks("t", {"a": table(), "b": table(30)}, normalise=False).split("test")
    assert torch.equal(both.x[both.task == 0], alone.x)


def test_the_statistics_are_of_the_training_rows_only():
    x, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
    data = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    train = data.split("train").x
    assert torch.allclose(data.mean, train.mean(dim=0))
    assert torch.allclose(data.std, train.std(dim=0, correction=0))


def test_tables_of_different_widths_are_normalised_separately():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(40, 2)), 1000 + 500 * rng.normal(size=(60, 3))
    data = MultiTaskDataset.from_tasks("t", {"small": (small, np.arange(40) % 2), "large": (large, np.arange(60) % 2)})
    train = data.split("train")
    for task, width in ((0, 2), (1, 3)):
        x = data.inputs("train", torch.arange(len(train)))[train.task == task]
        assert torch.allclose(x.mean(dim=0), torch.zeros(3), atol=1e-5)
        assert torch.allclose(x.std(dim=0, correction=0)[:width], torch.ones(width), atol=1e-4)
        assert (x[:, width:] == 0).all()


def test_a_constant_feature_becomes_0():
    x, y = table(30)
    x[:, 1] = 0.1
    data = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    assert data.std[1] == 1
    assert data.inputs("test", torch.arange(6))[:, 1].tolist() == [0] * 6


def test_images_stay_uint8_and_are_normalised_per_channel():
    images = np.zeros((20, 3, 4, 4), np.uint8)
    images[:, 1] = 10
    images[:, 2, :2] = 255
    data = MultiTaskDataset.from_tasks("t", {"a": (images, np.arange(20) % 2)})
    assert data.split("train").x.dtype == torch.uint8
    assert data.mean.flatten().tolist() == [0, 10, 127.5]
    assert data.std.flatten().tolist() == [1, 1, 127.5]
    assert data.mean.shape == (3, 1, 1)


def test_sequences_are_normalised_by_one_mean_and_std():
    x, y = np.arange(240.0).reshape(20, 4, 3), np.arange(20) % 2
    data = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    assert data.mean.shape == (1, 1)
    assert data.input_shape == (4, 3)


def test_without_normalisation_there_are_no_statistics():
    data = MultiTaskDataset.from_tasks("t", {"a": table()}, normalise=False)
    assert data.mean is None
    assert data.std is None


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list, lambda values: np.asarray(values)[::-1][::-1]])
def test_arrays_tensors_lists_and_views_give_the_same_data_set(kind):
    x, y = table()
    reference = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    data = MultiTaskDataset.from_tasks("t", {"a": (kind(x), kind(y))})
    assert torch.equal(data.split("test").x, reference.split("test").x)


def test_a_tensor_with_a_gradient_is_detached():
    x, y = table()
    data = MultiTaskDataset.from_tasks("t", {"a": (torch.tensor(x, requires_grad=True), y)})
    assert not data.split("train").x.requires_grad


def test_a_bfloat16_tensor_becomes_float32():
    x, y = table()
    data = MultiTaskDataset.from_tasks("t", {"a": (torch.tensor(x, dtype=torch.bfloat16), torch.tensor(y))})
    assert data.split("train").x.dtype == torch.float32


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float64, np.uint32])
def test_labels_may_have_any_dtype_with_whole_numbers(dtype):
    x, y = table()
    data = MultiTaskDataset.from_tasks("t", {"a": (x, y.astype(dtype))})
    assert data.num_classes == (2,)


def test_changes_of_the_users_arrays_do_not_change_the_data_set():
    x, y = table()
    data = MultiTaskDataset.from_tasks("t", {"a": (x.astype(np.float32), y)})
    before = data.split("train").x.clone()
    x[:], y[:] = 0, 0
    assert torch.equal(data.split("train").x, before)


def test_class_names_may_be_given_for_some_tasks():
    tasks = {"a": table(), "b": table(classes=3)}
    data = MultiTaskDataset.from_tasks("t", tasks, class_names={"a": ("no", "yes")})
    assert data.class_names == (("no", "yes"), ("0", "1", "2"))


X, Y = table()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({}, "'t' has no tasks"),
        ({"a": (X, Y[:-1])}, r"task 'a': y has shape \[19\], but x has 20 rows"),
        ({"a": (X, Y.reshape(-1, 1))}, r"y has shape \[20, 1\]"),
        ({"a": (X[:, 0], Y)}, r"x has shape \[20\], but must be \[rows, \*input_shape\]"),
        ({"a": (X[:, :0], Y)}, "no axis of 0"),
        ({"a": (X, Y + 0.5)}, r"row 0 of y is 0\.5, but labels are whole numbers"),
        ({"a": (X, Y * np.nan)}, "row 0 of y is nan"),
        (
            {"a": (X, [str(label) for label in Y])},
            "y has dtype <U1: text; give a dense tensor, a NumPy array or a list of real numbers",
        ),
        ({"a": (X.astype(complex), Y)}, "x has dtype complex128: complex numbers"),
        ({"a": ([[1.0], [1.0, 2.0]], [0, 1])}, r"x is ragged: row 1 has shape \[2\], and row 0 \[1\]"),
        ({"a": (X, Y - 1)}, "row 0 has label -1, but labels must be 0 to 0; relabel"),
        ({"a": (X, Y + 1)}, "no row has label 0, but labels must use all of 0 to 2; relabel"),
        ({"a": (X, Y * 7)}, "no row has label 1, but labels must use all of 0 to 7; relabel"),
        ({"a": (X, Y * 10**12)}, "no row has label 1"),
        ({"a": (X, np.arange(20) // 18)}, r"class 1 has 2 row\(s\), but needs 3"),
        ({"a": (X, Y), "b": (np.zeros((20, 3, 4)), Y)}, r"inputs have different shapes .*'b': \[3, 4\]"),
        ({"a": (np.where(X == 5, np.nan, X), Y)}, "task 'a': row 2 of x holds NaN"),
        ({"a": (np.where(X == 9, 1e300, X), Y)}, "task 'a': row 4 of x holds .* beyond float32"),
    ],
)
def test_an_invalid_array_is_named_with_its_task_and_the_problem(tasks, message):
    with pytest.raises(ValueError, match=message) as caught:
        MultiTaskDataset.from_tasks("t", tasks)
    assert "data set 't'" in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"b": ("n", "y")}, r"class names for \['b'\], but the tasks are \['a'\]"),
        ({"a": ("n",)}, "row 1 has label 1, but labels must be 0 to 0"),
        ({"a": ("n", "y", "?")}, "no row has label 2, but labels must use all of 0 to 2"),
    ],
)
def test_class_names_that_do_not_fit_the_labels_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset.from_tasks("t", {"a": table()}, class_names=names)


@pytest.mark.parametrize(("validation", "test"), [(0, 0.2), (0.1, 0), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.2)])
def test_shares_that_leave_a_split_empty_are_refused(validation, test):
    with pytest.raises(ValueError, match="must each be above 0 and together below 1"):
        MultiTaskDataset.from_tasks("t", {"a": table()}, validation=validation, test=test)


def test_columns_of_objects_are_numbers_where_their_values_are():
    x, y = table()
    plain = MultiTaskDataset.from_tasks("t", {"a": (x, y)})
    boxed = MultiTaskDataset.from_tasks("t", {"a": (np.asarray(x).astype(object), np.asarray(y).astype(object))})
    assert torch.equal(plain.splits["train"].x, boxed.splits["train"].x)
    assert torch.equal(plain.splits["train"].y, boxed.splits["train"].y)


def test_the_name_comes_before_the_tasks():
    with pytest.raises(ValueError, match=r"The name comes first, from_tasks\(name, tasks\)") as caught:
        MultiTaskDataset.from_tasks({"a": table()}, "t")
    assert len(str(caught.value)) < 300
