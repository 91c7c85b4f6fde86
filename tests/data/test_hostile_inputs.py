"""Invalid or unusual inputs of users: each is converted correctly or refused with one error message of ours."""

import copy
import logging
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch

from mtl_gym.data import SPLITS, MissingDataError, MultiTaskDataset, Split, TaskCollection, TaskData, load, word_vectors
from mtl_gym.data.text import padded

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1])
TASK = np.array([0, 0, 0, 1, 1, 1])
BOTH = np.array([0, 1, 0, 1, 0, 1])


def split(x=X, task=TASK, y=BOTH):
    return Split(x, task, y)


def data_set(x=X, task=TASK, y=BOTH, **changes):
    """Return a data set of two tasks with the given training split."""
    splits = dict.fromkeys(SPLITS, split()) | {"train": split(x, task, y)}
    parts = {"splits": splits, "task_names": ("a", "b"), "class_names": (("n", "y"),) * 2} | changes
    return MultiTaskDataset(**{"name": "t"} | parts)


def from_tasks(x=X, y=Y, **options):
    return MultiTaskDataset.from_tasks("t", {"a": (x, y)}, normalise=False, **options)


def regression(x=X, y=X[:, :1], **changes):
    splits = dict.fromkeys(SPLITS, (X, X[:, :1])) | {"train": (x, y)}
    return TaskData(**{"name": "a", "kind": "regression", "splits": splits, "outputs": 1} | changes)


def classification(x=X, y=Y, outputs=2):
    return TaskData("a", "classification", dict.fromkeys(SPLITS, (x, y)), outputs)


def with_gradient(values):
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def masked(values, row):
    mask = np.zeros(np.shape(values), bool)
    mask[row] = True
    return np.ma.array(values, mask=mask)


def quantised():
    # torch warns that quantised tensors are deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(6, 2), 1.0, 0, torch.qint8)


def compressed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.zeros(6, 2).to_sparse_csc()


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


def endless():
    rows = []
    rows.append(rows)
    return rows


class Broken:
    def __array__(self, *arguments, **options):
        raise ZeroDivisionError("inside")


READERS = {"Split": split, "from_tasks": from_tasks, "TaskData": regression}
UNREADABLE = {
    "a sparse tensor": (lambda: torch.zeros(6, 2).to_sparse(), r"not dense \(sparse_coo\); .*\.to_dense\(\)"),
    "a compressed sparse tensor": (compressed, r"not dense \(sparse_csc\)"),
    "a nested tensor": (nested, r"not dense \(nested\); pad its rows"),
    "a quantised tensor": (quantised, r"quantised; .*\.dequantize\(\)"),
    "a tensor without values": (lambda: torch.zeros(6, 2, device="meta"), "without values .*give one on the CPU"),
    "complex numbers": (lambda: torch.zeros(6, 2, dtype=torch.complex64), "complex numbers; give a dense tensor"),
    "complex NumPy numbers": (lambda: X.astype(complex), "dtype complex128: complex numbers; give"),
    "text": (lambda: "abc", "x is 'abc'; give"),
    "bytes": (lambda: b"abc", "x is b'abc'; give"),
    "an array of text": (lambda: X.astype(str), "dtype <U32: text; give"),
    "rows of text": (lambda: [["1", "2"]] * 6, "dtype <U1: text; give"),
    "dates": (lambda: np.array(["2020-01-01"] * 6, "M8[D]"), r"dtype datetime64\[D\]: dates; give"),
    "records": (lambda: np.zeros(6, [("f", float)]), "records; give"),
    "objects": (lambda: np.array([[1, object()]] * 6), "holds an object in row 0; give"),
    "None in a row": (lambda: [[1.0, 2.0]] * 3 + [[1.0, None]] * 3, "holds None in row 3; give"),
    "None": (lambda: None, "x is None; give"),
    "a set": (lambda: {1, 2}, "x is a set; give"),
    "a mapping": (lambda: {"x": X}, "x is a dict; give"),
    "a generator": (lambda: (row for row in X), "x is a generator; give"),
    "a number": (lambda: 3.0, r"x is 3\.0, but must be \[rows, \*input_shape\]"),
    "rows of different lengths": (
        lambda: [[1.0, 2.0]] * 3 + [[1.0]],
        r"ragged: row 3 has shape \[1\], and row 0 \[2\]",
    ),
    "tensors of different lengths": (lambda: [torch.zeros(2), torch.zeros(3)], r"ragged: row 1 has shape \[3\]"),
    "a list that holds itself": (endless, "ragged"),
    "an object that cannot be read": (Broken, r"a Broken, which cannot be converted to an array \(ZeroDivisionError\)"),
    "masked values": (lambda: masked(X, 4), "a masked value in row 4; fill it or drop the row"),
    "numbers beyond 63 bits": (lambda: np.full((6, 2), 2**63, np.uint64), r"in row 0, beyond 2\*\*63 - 1"),
    "a tensor beyond 63 bits": (lambda: torch.full((6, 2), 2**63, dtype=torch.uint64), r"beyond 2\*\*63 - 1 in row 0"),
    "numbers beyond 64 bits": (lambda: [[2**70, 0]] * 6, "whole numbers beyond 64 bits; give"),
    "no features": (lambda: X[:, :0], "no axis of 0"),
}
LABELS = {
    "half labels": (Y / 2, r"row 3 of y.* is 0\.5, but labels are whole numbers 0, 1, 2"),
    "NaN": (np.where(np.arange(6) == 4, np.nan, Y), "row 4 of y.* is nan, but labels are whole"),
    "infinity": (torch.tensor([0, 0, 0, 1, 1, torch.inf]), "row 5 of y.* is inf, but labels are whole"),
    "whole numbers beyond 64 bits": (Y * 1e30, r"row 3 of y.* is 1e\+30, but labels are whole"),
    "a label of 2**63": (
        np.array([0, 0, 0, 1, 1, 2**63], np.uint64),
        r"9223372036854775808 in row 5, beyond 2\*\*63 - 1",
    ),
    "2**63 beside a float": ([0.0, 0, 0, 1, 1, 2**63], r"row 5 of y.* is 9\.22337e\+18"),
    "text": (["n"] * 3 + ["y"] * 3, "y has dtype <U1: text; give"),
    "objects": (np.array([None] * 6), "y holds None in row 0"),
    "sparse labels": (torch.tensor(Y).to_sparse(), r"y is a tensor .*\.to_dense\(\)"),
    "a masked label": (masked(Y, 2), "y has a masked value in row 2"),
}
OTHERS = {
    "tasks in a list": (lambda: MultiTaskDataset.from_tasks("t", [(X, Y)]), "'t': tasks is a list of 1, but must be {"),
    "an array as a pair": (
        lambda: MultiTaskDataset.from_tasks("t", {"a": X}),
        "task 'a' is an array .* must be a pair",
    ),
    "text as a pair": (lambda: MultiTaskDataset.from_tasks("t", {"a": "xy"}), "task 'a' is 'xy', but must be a pair"),
    "a mapping as a pair": (
        lambda: MultiTaskDataset.from_tasks("t", {"a": {1: X, 2: Y}}),
        "is a dict, but must be a pair",
    ),
    "three of a pair": (lambda: MultiTaskDataset.from_tasks("t", {"a": (X, Y, Y)}), "a tuple of 3, but must be a pair"),
    "a number as a task's name": (lambda: MultiTaskDataset.from_tasks("t", {0: (X, Y)}), "task_names is .*of texts"),
    "class names as text": (
        lambda: from_tasks(class_names={"a": "ny"}),
        r"task 'a': class_names is 'ny', but must be a list",
    ),
    "class names in a set": (
        lambda: from_tasks(class_names={"a": {"n", "y"}}),
        "class_names is a set, but must be a list",
    ),
    "class names of numbers": (lambda: from_tasks(class_names={"a": (0, 1)}), r"class_names is \(0, 1\), but must be"),
    "class names in a list": (
        lambda: from_tasks(class_names=[("n", "y")]),
        "class_names is a list of 1, but must be {",
    ),
    "text as a share": (lambda: from_tasks(test="0.2"), "must each be above 0"),
    "a seed below 0": (lambda: from_tasks(seed=-1), "seed=-1 is not possible; it takes a whole number of 0 or more"),
    "text as a seed": (lambda: from_tasks(seed="a"), "seed='a' is not possible"),
    "a name of no text": (lambda: data_set(name=None), "name=None is not possible; it takes text"),
    "a name with NUL": (lambda: data_set(name="a\0b"), "is not possible; it takes text, without NUL"),
    "a task's name with NUL": (lambda: data_set(task_names=("a", "\0")), "is not possible; it takes text, without NUL"),
    "task names as text": (lambda: data_set(task_names="ab"), r"task_names is 'ab', but must be .* write \('ab',\)"),
    "no task names": (lambda: data_set(task_names=None), "task_names is None, but must be a list"),
    "class names of all as text": (lambda: data_set(class_names="ab"), "class_names is 'ab', but must be"),
    "class names of one as text": (lambda: data_set(class_names=("ny", ("n", "y"))), "task 'a': class_names is 'ny'"),
    "class names as a mapping": (lambda: data_set(class_names={"a": ("n", "y")}), "class_names is a dict, but must be"),
    "splits in a list": (lambda: data_set(splits=[split()] * 3), "splits is a list of 3, but must be a mapping"),
    "a split that is a pair": (
        lambda: data_set(splits=dict.fromkeys(SPLITS, (X, Y))),
        r"must be a Split\(x, task, y\)",
    ),
    "splits named by numbers": (lambda: data_set(splits={0: split(), "test": split()}), "but exactly"),
    "a mean of text": (lambda: data_set(mean="0", std="1"), "mean is '0'; give a dense tensor"),
    "a mean of None and a std": (lambda: data_set(std=[1.0, 1.0]), "only one of mean and std"),
    "NaN in an input": (lambda: data_set(x=np.where(X == 7, np.nan, X)), r"'train': row 3 of x \(task 'b'\) holds NaN"),
    "half a label in a Split": (lambda: split(y=BOTH / 2), r"a Split: row 1 of y \(task 0\) is 0\.5"),
    "half a task in a Split": (lambda: split(task=TASK / 2), r"row 3 of task is 0\.5, but labels are whole"),
    "labels of three axes": (
        lambda: data_set(y=np.zeros((6, 1, 1), int)),
        r"y has shape \[6, 1, 1\], but x has 6 rows",
    ),
    "a label that is no row": (lambda: data_set(y=1), r"y has shape \[\], but x has 6 rows"),
    "a vocabulary of text": (lambda: data_set(vocabulary="abc"), "vocabulary is 'abc', but must be a list"),
    "a pair that is none in TaskData": (
        lambda: regression(splits=dict.fromkeys(SPLITS, X)),
        "split 'train' is an array",
    ),
    "text for a split of TaskData": (
        lambda: regression(splits=dict.fromkeys(SPLITS, "xy")),
        "'train' is 'xy', but must",
    ),
    "splits of TaskData in a list": (lambda: regression(splits=[(X, Y)] * 3), "splits is a list of 3, but must be a"),
    "text as outputs": (lambda: regression(outputs="1"), "outputs='1' is not possible; it takes 1 or more"),
    "no outputs": (lambda: regression(outputs=0), "outputs=0 is not possible"),
    "NaN in a regression": (lambda: regression(y=X[:, :1] * np.nan), "split 'train': row 0 of y holds NaN"),
    "a number beyond float32": (lambda: regression(x=X * 1e300), "row 0 of x holds .*beyond float32"),
    "a label that is too high": (lambda: classification(y=Y + 1), "row 3 has label 2, but labels are 0 to 1"),
    "a kind of no name": (lambda: regression(kind=["regression"]), r"kind=\['regression'\] is unknown"),
    "lists for a collection": (
        lambda: TaskCollection("t", [[X, Y]]),
        "tasks holds a list of 2, but must be .*TaskData",
    ),
    "a task for a collection": (lambda: TaskCollection("t", regression()), "tasks is a TaskData, but must be a list"),
    "a mapping for a collection": (
        lambda: TaskCollection("t", {"a": regression()}),
        "tasks is a dict, but must be a list",
    ),
    "text as groups": (lambda: TaskCollection("t", [regression()], "a"), "groups is 'a'; give"),
    "a part of a collection by text": (
        lambda: TaskCollection("t", [regression()]).part("a"),
        r"tasks='a' is not possible.* write \('a',\)",
    ),
    "a part by text": (lambda: data_set().part("ab"), r"each once.* write \('ab',\)"),
    "a part by one number": (lambda: data_set().part(1), r"each once.* write \(1,\)"),
    "a part by halves": (lambda: data_set().part([0.0]), r"no task 0\.0.* from 0 to 1"),
    "a part by a set": (lambda: data_set().part({0, 1}), "list or tuple"),
    "a part by a switch": (lambda: data_set().part([True]), "no task True"),
    "a split of no name": (lambda: data_set().split(["train"]), "choose one of train, validation, test"),
    "a text that is too long": (lambda: padded(np.arange(4), [4], steps=3), "row 0 has 4 .*steps=3"),
    "lengths that do not fit": (lambda: padded(np.arange(4), [1, 2], steps=3), "3 tokens in all, but flat has 4"),
    "a vocabulary of vectors as text": (lambda: word_vectors(__file__, "ab", 2), "vocabulary is 'ab', but must be"),
    "no width of vectors": (lambda: word_vectors(__file__, ("a", "b"), 0), "width=0 is not possible"),
    "a path of vectors with NUL": (lambda: word_vectors("a\0b", ("a", "b"), 2), "there is no file of word vectors"),
    "a root with NUL": (lambda: load("digits", "a\0b"), "is no folder.*NUL"),
    "a root of numbers": (lambda: load("digits", 5), "root=5 is not possible; it takes a path"),
    "a name of a list": (lambda: load(["digits"]), "there is no data set"),
    "an argument of a list": (lambda: load("brain-series", relatedness=[0.5]), r"relatedness=\[0\.5\] is not possible"),
    "an argument of text": (lambda: load("brain-series", sequences="many"), "sequences='many' is not possible"),
}


def refused(make, message):
    """Check that the error is raised by mtl_gym, with a short message in one line."""
    with pytest.raises((ValueError, MissingDataError), match=message) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    frames = [str(entry.path) for entry in caught.traceback]
    assert "mtl_gym" in frames[-1]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", UNREADABLE)
def test_unreadable_inputs_are_refused_by_every_reader(reader, what):
    make, message = UNREADABLE[what]
    refused(lambda: READERS[reader](x=make()), message)


@pytest.mark.parametrize("reader", [split, from_tasks, classification])
@pytest.mark.parametrize("what", LABELS)
def test_invalid_labels_are_refused_by_every_reader_with_their_row(reader, what):
    labels, message = LABELS[what]
    refused(lambda: reader(y=labels), message)


@pytest.mark.parametrize("what", OTHERS)
def test_other_mistakes_are_refused(what):
    refused(*OTHERS[what])


def test_the_message_names_the_task_if_the_reader_has_its_name():
    refused(lambda: from_tasks(y=Y / 2), r"^data set 't', task 'a': row 3 of y is 0\.5")
    refused(lambda: classification(y=Y / 2), r"^task 'a', split 'train': row 3 of y is 0\.5")


def memory_mapped(values, folder, mode):
    np.save(folder / "rows.npy", values)
    return np.load(folder / "rows.npy", mmap_mode=mode)


FORMS = {
    "lists": np.ndarray.tolist,
    "tuples": lambda values: tuple(map(tuple, values.tolist())) if values.ndim > 1 else tuple(values.tolist()),
    "tensors": torch.tensor,
    "a list of tensors": lambda values: list(torch.tensor(values)),
    "a list of arrays": list,
    "float16": lambda values: values.astype(np.float16),
    "float128": lambda values: values.astype(np.longdouble),
    "bfloat16": lambda values: torch.tensor(values, dtype=torch.bfloat16),
    "big-endian numbers": lambda values: values.astype(">f8"),
    "a reversed view": lambda values: values[::-1].copy()[::-1],
    "column-major order": np.asfortranarray,
    "a tensor with a gradient": with_gradient,
    "a list of tensors with gradients": lambda values: list(with_gradient(values)),
    "a parameter": lambda values: torch.nn.Parameter(torch.tensor(values).float()),
    "unsigned numbers": lambda values: values.astype(np.uint16),
    "an unsigned tensor": lambda values: torch.tensor(values.astype(np.uint64)),
    "nothing masked": np.ma.array,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", ["Split", "from_tasks", "TaskData"])
def test_every_form_of_the_same_numbers_gives_the_same_tensors(reader, form):
    make = {"Split": split, "from_tasks": from_tasks, "TaskData": classification}[reader]
    data, expected = make(x=FORMS[form](X), y=FORMS[form](Y)), make(x=X, y=Y)
    first, second = (part if reader == "Split" else part.splits["train"] for part in (data, expected))
    pairs = [(part.x, part.y) if isinstance(part, Split) else part for part in (first, second)]
    for found, wanted in zip(*pairs, strict=True):
        assert torch.equal(found.double(), wanted.double())
        assert not found.requires_grad and found.dtype in (torch.float32, torch.int64) and type(found) is torch.Tensor


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("reader", [split, from_tasks, classification])
def test_memory_mapped_and_read_only_arrays_are_copied(reader, mode, tmp_path):
    rows = memory_mapped(X.astype(np.float32), tmp_path, mode)
    data = reader(x=rows)
    found = data.x if isinstance(data, Split) else data.splits["train"]
    found = found.x if isinstance(found, Split) else found
    found = found[0] if isinstance(found, tuple) else found
    assert all(row in X.tolist() for row in found.tolist())
    found[:] = 9
    assert rows[0].tolist() == [0, 1]


def test_changes_of_a_users_array_or_tensor_do_not_change_the_data():
    x, weights = X.copy(), with_gradient(X)
    data, trained = split(x=x), split(x=weights, y=(weights[:, 0] > 4).float())
    x[:] = 0
    with torch.no_grad():
        weights.zero_()
    assert torch.equal(data.x, trained.x) and torch.equal(trained.x, split().x)


def test_no_gradient_reaches_a_users_tensor():
    weights = with_gradient(X)
    data = data_set(x=weights, y=(weights * 0)[:, 0])
    layer = torch.nn.Linear(2, 2)
    layer(data.inputs("train", torch.arange(6))).sum().backward()
    assert weights.grad is None and layer.weight.grad is not None


def test_a_tensor_without_a_gradient_is_shared():
    x = torch.tensor(X).float()
    assert split(x=x).x.data_ptr() == x.data_ptr()


def test_a_split_keeps_integer_dtypes_and_converts_booleans_to_float32():
    kept = [torch.uint8, torch.int16, torch.int32, torch.int64]
    assert [split(x=torch.zeros(6, 2, dtype=dtype)).x.dtype for dtype in kept] == kept
    assert split(x=X > 4).x.dtype == torch.float32


def test_mean_and_std_may_be_arrays_or_lists():
    data = data_set(mean=np.array([1.0, 2.0]), std=[2.0, 4.0])
    assert data.inputs("train", torch.tensor([1])).tolist() == [[0.5, 0.25]]
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.std, data.std) and copy.deepcopy(data) is data


def test_names_may_come_from_keys_arrays_and_other_mappings():
    tasks = OrderedDict(a=(X, Y))
    data = MultiTaskDataset.from_tasks("t", tasks, class_names=OrderedDict(a=np.array(["n", "y"])))
    assert data.class_names == (("n", "y"),) and type(data.class_names[0][0]) is str
    assert data_set(task_names={"a": 1, "b": 2}.keys()).task_names == ("a", "b")


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultiTaskDataset.from_tasks("t", {"a": (X, Y * 0), "b": (X, Y)}),
        lambda: data_set(
            splits=dict.fromkeys(SPLITS, split(y=TASK)), class_names=(("only",), ("n", "y")), task_names=("a", "b")
        ),
        lambda: TaskData("a", "classification", dict.fromkeys(SPLITS, (X, Y * 0)), 2),
    ],
)
def test_a_task_of_one_class_is_reported(make, caplog):
    with caplog.at_level(logging.WARNING):
        make()
    assert "task 'a' has rows of one class only (label 0)" in caplog.text
    assert "100% and lifts every mean" in caplog.text


def test_tasks_of_several_classes_are_not_reported(caplog):
    with caplog.at_level(logging.WARNING):
        data_set(), from_tasks(), classification()
    assert not caplog.text


def test_labels_on_another_device_than_inputs_are_named():
    bad = split()
    object.__setattr__(bad, "y", bad.y.to("meta"))
    refused(lambda: data_set(splits=dict.fromkeys(SPLITS, bad)), "y is on meta, but x is on cpu; put them on one")
