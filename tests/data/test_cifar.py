import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_gym.data import DamagedDataError
from mtl_gym.data.sources import cifar
from mtl_gym.data.vision import import_torchvision

from .fabricated import assert_no_image_in_two_splits, cifar_arrays, digest, rows_of_each_task

SMALL = cifar.ImageCounts(train=4, validation=1, test=2)


def build(root, **changes):
    np.savez(root / "cifar100.npz", **{**cifar_arrays(), **changes})
    return cifar.build(root, SMALL)


def write_pickles(root, arrays, monkeypatch):
    """Write torchvision's files and set their md5 sums as the expected ones."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    contents = {"meta": {"fine_label_names": list(cifar.FINE_NAMES)}}
    for part in ("train", "test"):
        images = arrays[f"{part}_images"].transpose(0, 3, 1, 2).reshape(-1, 3072)
        contents[part] = {"data": images, "fine_labels": arrays[f"{part}_fine"].tolist()}
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    published = import_torchvision().datasets.CIFAR100
    monkeypatch.setattr(published, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(published, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(published, "meta", {**published.meta, "md5": sums["meta"]})
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return build(tmp_path_factory.mktemp("cifar"))


def test_each_of_20_coarse_classes_has_five_of_100_fine_classes():
    assert len(set(cifar.FINE_NAMES)) == 100
    assert np.bincount(cifar.FINE_TO_COARSE).tolist() == [5] * 20
    assert list(cifar.CLASSES) == sorted(cifar.CLASSES)
    assert all(list(classes) == sorted(classes) for classes in cifar.CLASSES.values())


def test_task_and_rank_identify_the_fine_label():
    assert len(set(zip(cifar.FINE_TO_COARSE, cifar.FINE_TO_RANK, strict=True))) == 100
    assert set(cifar.FINE_TO_RANK) == set(range(5))


def test_the_rank_follows_the_order_of_the_fine_labels():
    fine_of_fish = [fine for fine, coarse in enumerate(cifar.FINE_TO_COARSE) if coarse == 1]
    assert fine_of_fish == [1, 32, 67, 73, 91]
    assert [cifar.FINE_TO_RANK[fine] for fine in fine_of_fish] == [0, 1, 2, 3, 4]


def test_each_row_has_the_task_and_class_of_its_fine_label(small):
    for part in small.splits.values():
        for x, task, y in zip(part.x, part.task, part.y, strict=True):
            assert small.class_names[task][y] == cifar.FINE_NAMES[int(x[0, 0, 0])]


@pytest.mark.parametrize(("split", "rows"), [("train", 15), ("validation", 5), ("test", 10)])
def test_each_task_has_the_expected_number_of_rows(small, split, rows):
    assert rows_of_each_task(small, split) == [rows] * 20


def test_channels_are_the_first_axis_and_pixels_are_unchanged(small, tmp_path):
    arrays = cifar_arrays()
    test = small.split("test").x
    assert torch.equal(test, torch.from_numpy(arrays["test_images"]).permute(0, 3, 1, 2))


def test_training_images_that_are_also_test_images_are_dropped(tmp_path):
    images = cifar_arrays()["train_images"]
    images[:3] = cifar_arrays()["test_images"][:3]
    data = build(tmp_path, train_images=images)
    assert len(data.split("train")) == 297
    assert_no_image_in_two_splits(data)


def test_training_images_that_are_also_test_images_are_not_held_out(tmp_path):
    arrays = cifar_arrays()
    for label in range(100):
        rows, test_rows = (np.flatnonzero(arrays[f"{part}_fine"] == label)[:2] for part in ("train", "test"))
        arrays["train_images"][rows] = arrays["test_images"][test_rows]
    data = build(tmp_path, train_images=arrays["train_images"])
    assert_no_image_in_two_splits(data)
    assert len(data.split("train")) == 100


def test_an_image_that_occurs_twice_in_the_training_file_is_not_held_out(tmp_path):
    images, fine = cifar_arrays()["train_images"], cifar_arrays()["train_fine"]
    for label in range(100):
        rows = np.flatnonzero(fine == label)
        images[rows[1]] = images[rows[0]]
    data = build(tmp_path, train_images=images)
    assert_no_image_in_two_splits(data)
    assert len(data.split("train")) == 300


def test_torchvisions_files_are_preferred_and_give_the_same_rows(small, tmp_path, monkeypatch):
    write_pickles(tmp_path, cifar_arrays(), monkeypatch)
    (tmp_path / "cifar100.npz").write_bytes(b"ignored")
    data = cifar.build(tmp_path, SMALL)
    for name, split in data.splits.items():
        assert torch.equal(split.x, small.split(name).x)
        assert torch.equal(split.y, small.split(name).y)


def test_the_arrays_are_used_if_torchvision_files_are_incomplete(tmp_path, monkeypatch):
    (write_pickles(tmp_path, cifar_arrays(), monkeypatch) / "meta").unlink()
    assert len(build(tmp_path).split("test")) == 200


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_torchvision_files_with_a_wrong_sum_are_refused_before_they_are_unpickled(tmp_path, monkeypatch, name):
    path = write_pickles(tmp_path, cifar_arrays(), monkeypatch) / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedDataError, match="cifar-100-python is damaged: torchvision rejects it"):
        cifar.build(tmp_path, SMALL)


@pytest.mark.parametrize("keep", [0, 100, 100_000, -1, -50])
def test_a_truncated_npz_is_named(tmp_path, keep):
    build(tmp_path)
    path = tmp_path / "cifar100.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedDataError, match=r"cifar100\.npz is damaged: it cannot be read as npz"):
        cifar.build(tmp_path, SMALL)


def test_an_npz_with_one_flipped_byte_is_named(tmp_path):
    build(tmp_path)
    path = tmp_path / "cifar100.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"cifar100\.npz is damaged: it cannot be read"):
        cifar.build(tmp_path, SMALL)


def test_a_pickled_array_is_refused(tmp_path):
    with pytest.raises(DamagedDataError, match="cannot be read as npz"):
        build(tmp_path, train_fine=np.array([{"a": 1}], dtype=object))


def test_a_single_array_instead_of_an_npz_is_refused(tmp_path):
    np.save(tmp_path / "cifar100.npy", np.zeros(3))
    (tmp_path / "cifar100.npy").rename(tmp_path / "cifar100.npz")
    with pytest.raises(DamagedDataError, match="cannot be read as npz"):
        cifar.build(tmp_path, SMALL)


def test_a_missing_array_is_named(tmp_path):
    arrays = cifar_arrays()
    del arrays["test_fine"]
    np.savez(tmp_path / "cifar100.npz", **arrays)
    with pytest.raises(DamagedDataError, match="it has no array test_fine"):
        cifar.build(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fine_to_coarse", np.zeros(100), "fine_to_coarse is not that of CIFAR-100"),
        ("train_fine", np.zeros(400, np.uint8), "training labels are not 0 to 99, each on 4 images"),
        ("test_fine", np.arange(200), "test labels are not 0 to 99, each on 2 images"),
        ("test_fine", np.zeros(0), r"test images are uint8 .*, not uint8 \[0, 32, 32, 3\]"),
        ("train_images", np.zeros((400, 3, 32, 32), np.uint8), r"training images are uint8 \[400, 3, 32, 32\]"),
        ("train_images", np.zeros((400, 32, 32, 3)), "training images are float64"),
    ],
)
def test_wrong_contents_are_named(tmp_path, key, value, message):
    with pytest.raises(DamagedDataError, match=message):
        build(tmp_path, **{key: value})


def test_identical_images_are_refused(tmp_path):
    with pytest.raises(DamagedDataError, match="class 0 has 0 usable images where 1 are needed"):
        build(tmp_path, train_images=np.zeros((400, 32, 32, 3), np.uint8))


class TestWithTheRealFiles:
    def test_the_constants_are_those_of_the_file(self, load_real):
        load_real("cifar")
        path = Path(os.environ["MTL_GYM_DATA"]) / "cifar100.npz"
        if not path.is_file():
            pytest.skip("cifar: no cifar100.npz in MTL_GYM_DATA")
        with np.load(path) as arrays:
            assert arrays["fine_to_coarse"].tolist() == list(cifar.FINE_TO_COARSE)
            assert arrays["fine_names"].tolist() == list(cifar.FINE_NAMES)
            assert arrays["coarse_names"].tolist() == list(cifar.CLASSES)

    def test_each_task_has_2500_training_and_validation_images_and_500_test_images(self, load_real):
        data = load_real("cifar")
        train = np.array(rows_of_each_task(data, "train"))
        assert rows_of_each_task(data, "validation") == [250] * 20
        assert rows_of_each_task(data, "test") == [500] * 20
        # 10 of the 50,000 training images are exact copies of test images.
        assert train.sum() == 44_990
        assert np.flatnonzero(train < 2250).tolist() == [0, 1, 14, 17]

    @pytest.mark.parametrize(("split", "rows"), [("validation", 50), ("test", 100)])
    def test_each_class_has_the_same_number_of_rows(self, load_real, split, rows):
        part = load_real("cifar").split(split)
        assert torch.bincount(part.task * 5 + part.y).tolist() == [rows] * 100

    def test_no_image_is_in_two_splits(self, load_real):
        assert_no_image_in_two_splits(load_real("cifar"))

    def test_the_splits_have_not_changed_since_version_0(self, load_real):
        # Without the test split, whose order in torchvision's files differs from that in the npz.
        assert digest(load_real("cifar"), "train", "validation") == "051201f5b91698fb"

    def test_the_channel_means_are_the_published_ones(self, load_real):
        mean = load_real("cifar").mean.flatten() / 255
        assert mean.tolist() == pytest.approx([0.5071, 0.4865, 0.4409], abs=1e-3)
