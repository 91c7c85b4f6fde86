"""Frames and objects of the library `datasets` as data sets."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mtl_gym import MultiTaskDataset
from mtl_gym.core.extras import MissingExtraError
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.doors.assembly import _units
from mtl_gym.data.doors.dealing import deal


def frame(rows=60, **columns):
    random = np.random.default_rng(0)
    table = {
        "width": random.normal(size=rows),
        "height": random.normal(size=rows),
        "shop": np.tile(["south", "north"], rows // 2),
        "sold": np.repeat(["yes", "no"], rows // 2),
    }
    return pd.DataFrame(table | columns)


def shops(table=None, **arguments):
    return MultiTaskDataset.from_frame(
        "shops", frame() if table is None else table, **{"label": "sold", "task": "shop", **arguments}
    )


def rows_of(data, split):
    return [row.numpy().tobytes() for row in data.split(split).x]


def test_a_column_of_tasks_makes_a_task_of_each_of_its_values():
    data = shops()
    assert data.task_names == ("north", "south") and data.class_names == (("no", "yes"),) * 2
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 40, "validation": 8, "test": 12}
    assert data.inputs("train", torch.arange(40)).mean(0).abs().max() < 1e-6
    table, part = frame(), data.split("test")
    for x, task, y in zip(part.x.numpy(), part.task, part.y, strict=True):
        (row,) = np.flatnonzero(np.isclose(table["width"], x[0]))
        assert (table["shop"][row], table["sold"][row]) == (data.task_names[task], data.class_names[task][y])


def test_the_seed_draws_the_split_and_nothing_else():
    assert rows_of(shops(), "test") == rows_of(shops(), "test") != rows_of(shops(seed=1), "test")
    first, second = (
        {row for split in data.splits for row in rows_of(data, split)} for data in (shops(), shops(seed=1))
    )
    assert first == second and len(first) == 60


def test_whole_numbers_are_classes_in_their_order_and_other_columns_stay_out():
    marks = np.tile(np.repeat([10.0, 2.0, 3.0], 20), 1)
    data = shops(frame(mark=marks, name=np.repeat("text", 60)), label="mark", inputs=["height"])
    assert data.class_names == (("2", "3", "10"),) * 2 and data.input_shape == (1,)
    assert shops(frame(sold=np.repeat([True, False], 30))).class_names[0] == ("False", "True")


def test_large_numbers_stay_apart_and_booleans_keep_their_names_beside_missing_ones():
    data = shops(frame(shop=np.tile([2**53, 2**53 + 1], 30)))
    assert data.task_names == ("9007199254740992", "9007199254740993")
    data = shops(frame(shop=pd.Series([-1, 2**63, -1, 2**63 + 1] * 15, dtype=object)))
    assert data.task_names == ("-1", "9223372036854775808", "9223372036854775809")
    data = shops(frame(open=[True, False] * 29 + [None, None]).drop(columns="shop"), label=["sold", "open"], task=None)
    assert data.class_names == (("no", "yes"), ("False", "True"))


def test_a_column_and_its_number_as_text_are_told():
    with pytest.raises(ValueError, match=r"column '1' occurs twice; rename one"):
        shops(frame(**{"1": 0.0}).assign(**{"2": 0.0}).rename(columns={"2": 1}))


def test_splits_of_the_user_are_kept_and_a_missing_one_is_drawn_from_training_alone():
    part = np.repeat(["train", "test", "train", "test", "train"], 12)
    table = frame(part=part)
    data = shops(table, split="part")
    tested = table[part == "test"][["width", "height"]].to_numpy(np.float32)
    assert sorted(rows_of(data, "test")) == sorted(row.tobytes() for row in tested)
    assert len(data.split("train")) == 32 and len(data.split("validation")) == 4
    by_split = {"train": table[part == "train"], "val": table[part == "test"]}
    parted = shops({name: own.drop(columns="part") for name, own in by_split.items()})
    assert sorted(rows_of(parted, "validation")) == sorted(rows_of(data, "test"))


def test_columns_of_labels_are_tasks_whose_rows_share_a_split():
    random = np.random.default_rng(1)
    labels = {name: random.integers(0, 2, 200).astype(float) for name in ("smiles", "hat", "tie")}
    labels["tie"][:150] = np.nan
    table = pd.DataFrame({"x": np.arange(200.0), **labels})
    data = MultiTaskDataset.from_frame("faces", table, label=list(labels))
    assert data.task_names == ("smiles", "hat", "tie")
    assert sum(map(len, data.splits.values())) == 450
    rows = [set(rows_of(data, split)) for split in data.splits]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 200


def test_columns_may_be_named_by_an_index_an_array_or_an_iterator():
    table = frame(hat=np.tile([0, 1, 1], 20))[["width", "height", "sold", "hat"]]
    wanted = MultiTaskDataset.from_frame("shops", table, label=["sold", "hat"], inputs=["width", "height"])
    for named in (lambda names: names, np.array, iter, lambda names: names.to_series()):
        arguments = {"label": named(table.columns[2:]), "inputs": named(table.columns[:2])}
        data = MultiTaskDataset.from_frame("shops", table, **arguments)
        assert data.task_names == wanted.task_names and rows_of(data, "test") == rows_of(wanted, "test")
    with pytest.raises(ValueError, match=r"no column .*\[\'shop\'\]"):
        shops(task=["shop"])


def test_columns_may_be_named_by_their_numbers():
    numbered = frame(part=np.tile(["train", "train", "test"], 20)).set_axis(range(5), axis=1)
    data = MultiTaskDataset.from_frame("shops", numbered, label=3, task=2, inputs=[np.int64(0), 1], split=4)
    assert data.task_names == ("north", "south") and data.input_shape == (2,) and len(data.split("test")) == 20
    with pytest.raises(ValueError, match=r"no column '9'\. Its columns are 0, 1, 2, 3, 4"):
        MultiTaskDataset.from_frame("shops", numbered, label=9, task=2)


def test_equal_inputs_stay_in_one_split_and_rare_classes_are_in_all():
    random = np.random.default_rng(0)
    cell, unit = np.where(np.arange(600) < 590, random.integers(0, 3, 600), 3), random.integers(0, 300, 600)
    unit[590:] = 300 + np.arange(10)
    split = deal(cell, unit, {1: 0.1, 2: 0.2}, random)
    assert all(len(set(split[unit == one])) == 1 for one in np.unique(unit))
    assert np.bincount(split[590:]).tolist() == [7, 1, 2]
    assert np.abs(np.bincount(split) / 600 - [0.7, 0.1, 0.2]).max() < 0.05


def test_training_inputs_in_the_test_split_are_told(caplog):
    table = frame(part=np.tile(["train", "train", "train", "test", "test"], 12))
    table.loc[3, ["width", "height"]] = table.loc[0, ["width", "height"]]
    with caplog.at_level(logging.WARNING):
        shops(table, split="part")
    assert "1 test rows have inputs that are training inputs as well" in caplog.text


def test_validation_inputs_in_the_test_split_are_told(caplog):
    table = frame(part=np.tile(["train", "train", "train", "val", "test"], 12))
    table.loc[4, ["width", "height"]] = table.loc[3, ["width", "height"]]
    with caplog.at_level(logging.WARNING):
        shops(table, split="part")
    assert "1 test rows have inputs that are validation inputs as well" in caplog.text and len(caplog.messages) == 1
    assert "Drop them from 'validation'" in caplog.text


def test_zeros_of_both_signs_are_equal_inputs():
    table = frame(width=np.tile([0.0, -0.0], 30), height=np.repeat(np.arange(30.0), 2))
    data = shops(table)
    heights = [set(split.x[:, 1].tolist()) for split in data.splits.values()]
    assert sum(map(len, heights)) == 30


def test_a_negative_zero_without_a_copy_draws_the_same_split():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    x[::2, 0] = -0.0
    assert _units(x).tolist() == np.unique(fingerprints(x.numpy()), return_inverse=True)[1].tolist()


def test_numbers_far_from_zero_whose_differences_float32_rounds_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        shops(frame(width=1.7e9 + np.arange(60)))
    assert "column 'width' holds numbers up to 1.7e+09 that differ by at most 59, which float32 rounds" in caplog.text
    caplog.clear()
    far = torch.arange(60.0, dtype=torch.float64)[:, None] + torch.tensor([0, 2**40, 2**30])
    for x in (far, far.numpy(), far.tolist()):
        MultiTaskDataset.from_tasks("far", {"only": (x, np.arange(60) % 2)})
    assert caplog.text.count("feature 1 of x holds numbers up to") == 3 and "(2 features are such)" in caplog.text
    caplog.clear()
    close = {"years": 2000 + np.arange(60), "noise": 1 + 1e-16 * np.arange(60), "constant": 1.7e9, "far": 2.0**24}
    shops(frame(**close, outlier=np.where(np.arange(60), 1.0, 1e12)))
    MultiTaskDataset.from_tasks("near", {"only": (far.float(), np.arange(60) % 2)})
    assert not caplog.messages


def test_a_column_of_arrays_is_one_input():
    images = list(np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8))
    data = shops(frame().assign(image=images), inputs="image")
    assert data.input_shape == (3, 4, 4) and data.split("train").x.dtype == torch.uint8


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"width": [np.nan] * 2 + [1.0] * 58}, {}, r"column 'width' has no value in row 0 \(2 of 60 rows\); fill"),
        ({"width": [np.inf] + [1.0] * 59}, {}, r"row 0 of column 'width' holds NaN, infinity"),
        ({"width": ["wide"] * 60}, {}, r"column 'width' holds text \('wide' in row 0\), but inputs are numbers"),
        ({"width": pd.Timestamp("2020-01-01")}, {}, r"column 'width' holds dates .* leave it out of inputs"),
        ({"sold": ["yes", None] * 30}, {}, r"column 'sold' has no value in row 1 \(30 of 60 rows\)"),
        ({"sold": "yes"}, {}, r"'sold' has the one class 'yes' in all 30 rows of task 'north'.* nothing to learn"),
        ({"sold": np.linspace(0, 1, 60)}, {}, r"'sold' holds 0.0169492 in row 1, but classes .* whole numbers; round"),
        ({"sold": [0.0, np.inf] * 30}, {}, r"'sold' holds inf in row 1, but classes .* whole numbers"),
        ({"sold": ["yes"] * 58 + ["no"] * 2}, {}, r"class 'no' of column 'sold' has 1 row\(s\) to split, but needs 3"),
        ({"shop": [None] * 60}, {}, r"column 'shop' has no value in row 0"),
        (
            {},
            {"label": "solds"},
            r"no column 'solds'\. Did you mean 'sold'\? Its columns are width, height, shop, sold",
        ),
        ({}, {"task": None}, r"label=\['sold'\] and task=None do not tell the tasks; name one column of labels and"),
        ({}, {"inputs": ["width", "sold"]}, r"column 'sold' is an input and a label, task or split"),
        (
            {"part": "south"},
            {"split": "part"},
            r"column 'part': 'south' is no split; name the splits train, validation, test",
        ),
        ({"part": "test"}, {"split": "part"}, r"column 'part' has no training rows; name them 'train'"),
        ({}, {"validation": 0.0}, r"validation=0.0 is not possible; it takes a share above 0"),
        ({}, {"seed": -1}, r"seed=-1 is not possible"),
        ({}, {"label": []}, r"label=\[\] and task='shop' do not tell the tasks"),
        ({}, {"task": "sold"}, r"column 'sold' is named twice among labels, task and split; name it once"),
        ({}, {"inputs": ["width", "width"]}, r"column 'width' is named twice in inputs; name it once"),
        ({"width": pd.to_timedelta(range(60), "s")}, {}, r"column 'width' holds dates or durations"),
        ({"sold": [b"a", b"\xff"] * 30}, {}, r"column 'sold' holds bytes that are no text .*; decode them"),
        ({"part": [["train"]] * 60}, {"split": "part"}, r"column 'part': \['train'\] is no split; name the splits"),
    ],
)
def test_what_does_not_fit_is_told_by_column_and_remedy(change, arguments, message):
    with pytest.raises(ValueError, match=message):
        shops(frame(**change), **arguments)


def test_arrays_of_two_shapes_are_told_by_row():
    images = [np.zeros((4, 4), np.uint8)] * 59 + [np.zeros((5, 4), np.uint8)]
    with pytest.raises(ValueError, match=r"column 'image' is ragged: row 59 has shape \[5, 4\], and row 0 \[4, 4\]"):
        shops(frame().assign(image=images), inputs="image")


def test_classes_and_tasks_that_training_lacks_are_told():
    part = np.array(["train"] * 40 + ["test"] * 20)
    with pytest.raises(ValueError, match=r"class 'new' of column 'sold' has 10 row\(s\) and none for training"):
        shops(frame(part=part, sold=["yes", "yes", "no", "no"] * 10 + ["new"] * 20), split="part")
    with pytest.raises(ValueError, match=r"task 'north' has no row in 'test', but every task needs rows in every"):
        shops(frame(part=part, sold=["a", "b", "b"] * 20, shop=["north", "south"] * 20 + ["south"] * 20), split="part")


def test_an_empty_training_split_is_told():
    with pytest.raises(ValueError, match=r"no training rows: its split 'train' is empty; add rows"):
        shops({"train": frame().iloc[:0], "test": frame()})


def test_something_else_than_a_frame_is_refused():
    with pytest.raises(ValueError, match=r"frame is None, but must be a pandas DataFrame or a mapping"):
        MultiTaskDataset.from_frame("shops", None, label="sold", task="shop")
    with pytest.raises(ValueError, match=r"frame is a list of 1, but must be a pandas DataFrame or a mapping"):
        shops([1])
    with pytest.raises(ValueError, match=r"column 'height' is in only one of the splits 'train' and 'test'"):
        shops({"train": frame(), "test": frame().drop(columns="height")})


def test_without_the_library_a_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(
        MissingExtraError, match=r'from_huggingface needs datasets: pip install "mtl-gym\[huggingface\]"'
    ):
        MultiTaskDataset.from_huggingface("shops", "folder", label="sold", task="shop")


def test_a_dataset_on_disk_gives_what_its_frame_gives(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_pandas(frame()).save_to_disk(str(tmp_path / "shops"))
    stored = MultiTaskDataset.from_huggingface("shops", tmp_path / "shops", label="sold", task="shop")
    assert repr(stored) == repr(shops())
    assert all(torch.equal(stored.split(name).x, shops().split(name).x) for name in stored.splits)


def test_named_classes_and_images_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    random = np.random.default_rng(0)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["zebra", "ape"]),
            "place": datasets.Value("string"),
            "text": datasets.Value("string"),
        }
    )
    table = {
        "image": [Image.fromarray(pixels) for pixels in random.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)],
        "label": [0, 1] * 20,
        "place": ["zoo", "zoo", "wild", "wild"] * 10,
        "text": ["unused"] * 40,
    }
    whole = datasets.Dataset.from_dict(table, features=features)
    parts = datasets.DatasetDict({"train": whole.select(range(28)), "unsupervised": whole.select(range(28, 40))})
    arguments = {"label": "label", "task": "place", "inputs": "image"}
    with pytest.raises(ValueError, match=r"'unsupervised' is none of train, validation, test; tell which to take"):
        MultiTaskDataset.from_huggingface("animals", parts, **arguments)
    splits = {"train": "train", "test": "unsupervised"}
    data = MultiTaskDataset.from_huggingface("animals", parts, splits=splits, **arguments)
    assert data.class_names == (("zebra", "ape"),) * 2 and data.task_names == ("wild", "zoo")
    assert data.input_shape == (3, 6, 5) and len(data.split("test")) == 12
    with pytest.raises(ValueError, match=r"column 'text' holds text \('unused' in row 0\)"):
        MultiTaskDataset.from_huggingface("animals", whole, label="label", task="place", inputs="text")


def test_missing_labels_and_values_of_datasets_are_told():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "x": datasets.Value("float32"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "task": datasets.Value("string"),
        }
    )
    given = {"x": [0.0, 1.0] * 20, "label": [0, 1] * 20, "task": ["a", "a", "b", "b"] * 10}
    train = datasets.Dataset.from_dict(given, features=features)
    hidden = datasets.Dataset.from_dict(given | {"label": [-1] * 40}, features=features)
    parts = datasets.DatasetDict({"train": train, "test": hidden})
    with pytest.raises(ValueError, match=r"split 'test': column 'label' is -1 or None, no label, in 40 row\(s\)"):
        MultiTaskDataset.from_huggingface("hidden", parts, label="label", task="task")
    empty = datasets.Dataset.from_dict(given | {"x": [None, 1.0] * 20}, features=features)
    with pytest.raises(ValueError, match=r"column 'x' has no value in row 0 \(20 of 40 rows\)"):
        MultiTaskDataset.from_huggingface("empty", empty, label="label", task="task")
    with pytest.raises(ValueError, match=r"no split 'val'; its splits are train, test"):
        MultiTaskDataset.from_huggingface("typo", parts, label="label", task="task", splits={"train": "val"})


def test_a_missing_class_of_one_task_leaves_the_row_out_of_this_task_alone():
    datasets = pytest.importorskip("datasets")
    labels = {"smiles": [0, 1, 1, 0] * 15, "hat": [1, 0, -1, None] * 15}
    kinds = {name: datasets.ClassLabel(names=["no", "yes"]) for name in labels}
    features = datasets.Features({"x": datasets.Value("float32"), **kinds})
    given = datasets.Dataset.from_dict({"x": range(60), **labels}, features=features)
    data = MultiTaskDataset.from_huggingface("faces", given, label=list(labels))
    assert data.task_names == ("smiles", "hat") and data.class_names == (("no", "yes"),) * 2
    sizes = [sum(data.task_sizes(split)[task] for split in data.splits) for task in (0, 1)]
    assert sizes == [60, 30]
    empty = given.map(lambda row: {"hat": -1}, features=features)
    with pytest.raises(ValueError, match=r"column 'hat' has no value in any of 60 rows; drop it from label"):
        MultiTaskDataset.from_huggingface("faces", empty, label=list(labels))


@pytest.mark.parametrize("code", [7, -5])
def test_a_number_that_no_class_has_is_told(code):
    datasets = pytest.importorskip("datasets")
    given = datasets.Dataset.from_dict({"x": range(40), "label": [0, 1, code, 1] * 10, "task": ["a", "b"] * 20})
    names = datasets.ClassLabel(names=["no", "yes"])
    given = given.cast_column("label", datasets.Value("int64"))
    given.info.features["label"] = names
    with pytest.raises(ValueError, match=rf"column 'label' holds {code} in row 2, and its 2 classes are"):
        MultiTaskDataset.from_huggingface("x", given, label="label", task="task")


def test_damaged_and_empty_datasets_are_told(tmp_path):
    datasets = pytest.importorskip("datasets")
    given, folder = datasets.Dataset.from_pandas(frame()), tmp_path / "shops"
    arguments = {"label": "sold", "task": "shop"}
    given.save_to_disk(str(folder))
    file = folder / "data-00000-of-00001.arrow"
    whole, state = file.read_bytes(), (folder / "state.json").read_text()
    for path, content in ((file, whole[:-700]), (folder / "state.json", b"[]"), (folder / "state.json", b"{}")):
        file.write_bytes(whole)
        (folder / "state.json").write_text(state)
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"shops' holds no data set .*; correct it or make it again"):
            MultiTaskDataset.from_huggingface("shops", folder, **arguments)
    empty = datasets.DatasetDict({"train": given.select([]), "test": given})
    with pytest.raises(ValueError, match=r"no training rows: its split 'train' is empty; add rows"):
        MultiTaskDataset.from_huggingface("shops", empty, **arguments)
    with pytest.raises(ValueError, match=r"splits=\['train'\] is not possible; it takes a mapping"):
        MultiTaskDataset.from_huggingface("shops", given, splits=["train"], **arguments)


def test_classes_of_two_splits_must_have_the_same_numbers():
    datasets = pytest.importorskip("datasets")

    def part(names):
        features = datasets.Features(
            {
                "x": datasets.Value("float32"),
                "label": datasets.ClassLabel(names=names),
                "task": datasets.Value("string"),
            }
        )
        given = {"x": range(40), "label": [0, 1] * 20, "task": ["a", "a", "b", "b"] * 10}
        return datasets.Dataset.from_dict(given, features=features)

    parts = datasets.DatasetDict({"train": part(["cat", "dog"]), "test": part(["dog", "cat"])})
    with pytest.raises(ValueError, match=r"classes \['cat', 'dog'\] in split 'train' and \['dog', 'cat'\] in 'test'"):
        MultiTaskDataset.from_huggingface("pets", parts, label="label", task="task")


def test_a_column_that_one_split_lacks_is_told_with_the_split():
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_pandas(frame())
    parts = datasets.DatasetDict({"train": whole, "test": whole.remove_columns("height")})
    with pytest.raises(ValueError, match=r"split 'test' has no column 'height'\. Its columns are width, shop, sold"):
        MultiTaskDataset.from_huggingface("shops", parts, label="sold", task="shop")
    with pytest.raises(ValueError, match=r"split 'train' has no column 'wide'"):
        MultiTaskDataset.from_huggingface("shops", parts, label="sold", task="shop", inputs=np.array(["wide"]))


def test_a_named_task_without_rows_is_left_out():
    datasets = pytest.importorskip("datasets")
    kinds = {"x": datasets.Value("float32"), "label": datasets.Value("int64")}
    features = datasets.Features(kinds | {"task": datasets.ClassLabel(names=["none", "b", "a"])})
    given = {"x": range(40), "label": [0, 1] * 20, "task": [2, 2, 1, 1] * 10}
    data = MultiTaskDataset.from_huggingface(
        "x", datasets.Dataset.from_dict(given, features=features), label="label", task="task"
    )
    assert data.task_names == ("b", "a") and data.class_names == (("0", "1"),) * 2
