"""Folders of images as data sets."""

import os
import socket

import numpy as np
import pytest
import torch
from PIL import Image

from mtl_gym import MultiTaskDataset


def write_images(root, classes, count=10, size=(6, 5), seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")


def test_a_folder_of_classes_for_each_task(tmp_path):
    write_images(tmp_path / "pets", ("cat", "dog"))
    write_images(tmp_path / "cars", ("bus", "van", "tram"), seed=1)
    data = MultiTaskDataset.from_image_folders("two", tmp_path)
    assert data.task_names == ("cars", "pets") and data.class_names == (("bus", "tram", "van"), ("cat", "dog"))
    assert data.input_shape == (3, 5, 6) and data.split("train").x.dtype == torch.uint8
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 35, "validation": 5, "test": 10}
    named = MultiTaskDataset.from_image_folders("two", {"animals": tmp_path / "pets", "cars": str(tmp_path / "cars")})
    assert named.task_names == ("animals", "cars")


def test_classes_of_one_folder_are_grouped_to_tasks_or_are_tasks_each(tmp_path):
    write_images(tmp_path, ("cat", "dog", "bus", "van"))
    tasks = {"pets": ["dog", "cat"], "cars": ["bus", "van"]}
    grouped = MultiTaskDataset.from_image_folders("four", tmp_path, tasks=tasks, size=4)
    assert grouped.class_names == (("cat", "dog"), ("bus", "van")) and grouped.input_shape == (3, 4, 4)
    each = MultiTaskDataset.from_image_folders("four", tmp_path, tasks="one-vs-rest")
    assert each.task_names == ("bus", "cat", "dog", "van") and each.class_names[0] == ("another class", "this class")
    rows = [{row.numpy().tobytes() for row in split.x} for split in each.splits.values()]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 40
    assert each.task_sizes("train") == (len(rows[0]),) * 4


@pytest.mark.parametrize("layout", ["{split}/{task}", "{task}/{split}"])
def test_folders_named_as_splits_are_kept(tmp_path, layout):
    for number, split in enumerate(("train", "val", "test")):
        for task in ("pets", "cars"):
            write_images(tmp_path / layout.format(split=split, task=task), ("old", "new"), 3, seed=number)
    data = MultiTaskDataset.from_image_folders("split", tmp_path)
    assert data.task_names == ("cars", "pets")
    assert [data.task_sizes(split) for split in data.splits] == [(6, 6)] * 3


def test_images_that_do_not_fit_are_told_by_file(tmp_path):
    write_images(tmp_path / "pets", ("cat", "dog"))
    write_images(tmp_path / "cars", ("bus", "van"), size=(7, 5), seed=1)
    with pytest.raises(ValueError, match=r"different sizes, 7 by 5 and 6 by 5 pixels .* resize them with size=32"):
        MultiTaskDataset.from_image_folders("two", tmp_path)
    with pytest.raises(ValueError, match=r"task 'x': there is no class 'cow' among cat, dog"):
        MultiTaskDataset.from_image_folders("two", tmp_path / "pets", tasks={"x": ["cat", "cow"]})
    with pytest.raises(ValueError, match=r"size=0 is not possible; it takes a side such as 32"):
        MultiTaskDataset.from_image_folders("two", tmp_path, size=0)
    for size in (True, (8, 10**6)):
        with pytest.raises(ValueError, match=r"it takes a side .* of at most 4,096 pixels"):
            MultiTaskDataset.from_image_folders("two", tmp_path, size=size)
    with pytest.raises(ValueError, match=r"folders=\{\} names no task; give the folder of each"):
        MultiTaskDataset.from_image_folders("two", {})
    (tmp_path / "pets" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0\.png cannot be read as an image .* delete it or get it again"):
        MultiTaskDataset.from_image_folders("two", tmp_path, size=4)
    Image.new("1", (20_000, 20_000)).save(tmp_path / "pets" / "cat" / "0.png")
    with pytest.raises(ValueError, match=r"0\.png cannot be read as an image \(Image size .* exceeds limit"):
        MultiTaskDataset.from_image_folders("two", tmp_path, size=4)
    with pytest.raises(ValueError, match=r"needs a folder of images for each class"):
        MultiTaskDataset.from_image_folders("two", {"one": tmp_path / "pets" / "dog"})
    with pytest.raises(ValueError, match=r"is no folder; give the folder that holds a folder per class"):
        MultiTaskDataset.from_image_folders("two", tmp_path / "nowhere")


def test_a_pipe_or_a_socket_among_images_is_told(tmp_path):
    write_images(tmp_path / "pets", ("cat", "dog"))
    os.mkfifo(tmp_path / "pets" / "cat" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png is no regular file; delete it"):
        MultiTaskDataset.from_image_folders("pets", {"pets": tmp_path / "pets"})
    (tmp_path / "pets" / "cat" / "pipe.png").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "pets" / "dog" / "a.png"))
        with pytest.raises(ValueError, match=r"a\.png is no regular file; delete it"):
            MultiTaskDataset.from_image_folders("pets", {"pets": tmp_path / "pets"})


def test_a_folder_beside_splits_is_told_and_those_of_the_system_are_left_out(tmp_path):
    for number, split in enumerate(("train", "test", "Extra")):
        for task in ("pets", "cars"):
            write_images(tmp_path / split / task, ("old", "new"), 5, seed=number)
    message = r"holds 'Extra' beside the splits test, train; move away what is no split, or rename"
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset.from_image_folders("split", tmp_path)
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset.from_image_folders("split", tmp_path, tasks="one-vs-rest")
    with pytest.raises(ValueError, match=r"folders has the splits train, test, but takes the folder of each task"):
        MultiTaskDataset.from_image_folders("split", {name: tmp_path / name for name in ("train", "test")})
    (tmp_path / "Extra").rename(tmp_path / "__MACOSX")
    write_images(tmp_path / "train" / "pets", (".hidden", "__MACOSX"))
    data = MultiTaskDataset.from_image_folders("split", tmp_path)
    assert data.task_names == ("cars", "pets") and data.class_names == (("new", "old"),) * 2
    assert data.task_sizes("test") == (10, 10)


def test_a_task_without_training_images_is_told(tmp_path):
    write_images(tmp_path / "train" / "pets", ("old", "new"))
    write_images(tmp_path / "test" / "cars", ("old", "new"))
    with pytest.raises(ValueError, match=r"task 'cars' has the splits \['test'\] and no training rows; add a split"):
        MultiTaskDataset.from_image_folders("split", tmp_path)


def test_a_class_may_have_the_name_of_a_split(tmp_path):
    write_images(tmp_path, ("bus", "train", "van"))
    data = MultiTaskDataset.from_image_folders("vehicles", {"vehicles": tmp_path})
    assert data.class_names == (("bus", "train", "van"),)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_images_of_more_than_8_bits_are_told(tmp_path, dtype):
    write_images(tmp_path / "pets", ("cat", "dog"))
    Image.fromarray(np.full((5, 6), 1000, dtype)).save(tmp_path / "pets" / "dog" / "deep.tiff")
    with pytest.raises(ValueError, match=r"deep\.tiff has more than 8 bits per pixel .* save it with 8 bits"):
        MultiTaskDataset.from_image_folders("pets", tmp_path)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"p": []}, r"task 'p': \[\] is no list of classes; list two or more of cat, dog"),
        ({"p": [], "q": ["cat", "dog"]}, r"task 'p': \[\] is no list of classes"),
        ({"p": "cat"}, r"task 'p': 'cat' is no list of classes"),
        ({"p": None}, r"task 'p': there is no class 'None' among cat, dog"),
        ({"p": 3}, r"task 'p': there is no class '3' among cat, dog"),
    ],
)
def test_tasks_without_a_list_of_classes_are_told(tmp_path, tasks, message):
    write_images(tmp_path, ("cat", "dog"))
    with pytest.raises(ValueError, match=message):
        MultiTaskDataset.from_image_folders("pets", tmp_path, tasks=tasks)
    data = MultiTaskDataset.from_image_folders("pets", tmp_path, tasks={"p": np.array(["cat", "dog"])})
    assert data.class_names == (("cat", "dog"),)
