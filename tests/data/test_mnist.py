import gzip

import numpy as np
import pytest
import torch

from mtl_gym.data import DamagedDataError
from mtl_gym.data.sources import mnist

from .fabricated import assert_no_image_in_two_splits, digest, rows_of_each_task, write_mnist

SMALL = mnist.DigitCounts(train=5, validation=2, test=3, held_out=4)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("mnist")
    write_mnist(root)
    return mnist.build(root, SMALL)


@pytest.mark.parametrize(("split", "per_digit"), [("train", 5), ("validation", 2), ("test", 3)])
def test_each_task_has_the_expected_number_of_each_digit(small, split, per_digit):
    part = small.split(split)
    digits = part.x[:, 0, 0, 0].long()
    for task in range(10):
        assert torch.bincount(digits[part.task == task]).tolist() == [per_digit] * 10
    assert torch.equal(part.y, (digits == part.task).long())


def test_no_image_is_in_two_splits(small):
    assert_no_image_in_two_splits(small)


def test_a_task_has_no_image_twice(small):
    part = small.split("train")
    for task in range(10):
        images = part.x[part.task == task].flatten(1)
        assert len(images.unique(dim=0)) == len(images)


def test_packed_files_give_the_same_data_and_are_unpacked_elsewhere(tmp_path, small):
    folder = write_mnist(tmp_path, packed=True)
    before = sorted(folder.iterdir())
    assert torch.equal(mnist.build(tmp_path, SMALL).split("train").x, small.split("train").x)
    assert sorted(folder.iterdir()) == before


def test_rows_do_not_depend_on_the_global_seed(tmp_path, small):
    write_mnist(tmp_path)
    np.random.seed(1)
    torch.manual_seed(1)
    again = mnist.build(tmp_path, SMALL)
    assert all(torch.equal(again.split(name).x, small.split(name).x) for name in small.splits)


@pytest.mark.parametrize("name", [name.split("/")[-1] for name in mnist.UNPACKED])
@pytest.mark.parametrize("keep", [0, 6, -1])
def test_a_truncated_file_is_named(tmp_path, name, keep):
    path = write_mnist(tmp_path) / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedDataError, match=f"{name} is damaged"):
        mnist.build(tmp_path, SMALL)


@pytest.mark.parametrize("name", [name.split("/")[-1] for name in mnist.PACKED])
def test_a_truncated_packed_file_is_named(tmp_path, name):
    path = write_mnist(tmp_path, packed=True) / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedDataError, match=f"{name} is damaged: it cannot be unpacked"):
        mnist.build(tmp_path, SMALL)


def test_a_packed_file_that_is_not_gzip_is_named(tmp_path):
    path = write_mnist(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DamagedDataError, match=r"train-images-idx3-ubyte\.gz is damaged: it cannot be unpacked"):
        mnist.build(tmp_path, SMALL)


def test_a_packed_file_with_a_short_idx_inside_is_named_as_packed(tmp_path):
    path = write_mnist(tmp_path, packed=True) / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(DamagedDataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged: it has 57 bytes"):
        mnist.build(tmp_path, SMALL)


def test_labels_instead_of_images_are_refused(tmp_path):
    folder = write_mnist(tmp_path)
    (folder / "train-images-idx3-ubyte").write_bytes((folder / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DamagedDataError, match="starts with 0x00000801, but an idx file with 0x00000803"):
        mnist.build(tmp_path, SMALL)


def test_labels_of_the_other_part_are_refused(tmp_path):
    folder = write_mnist(tmp_path)
    (folder / "train-labels-idx1-ubyte").write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DamagedDataError, match=r"train-labels.* does not have one label for each of the 120 images"):
        mnist.build(tmp_path, SMALL)


def test_a_label_above_9_is_refused(tmp_path):
    path = write_mnist(tmp_path) / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\x0a")
    with pytest.raises(DamagedDataError, match=r"train-labels.* holds the label 10"):
        mnist.build(tmp_path, SMALL)


def test_images_of_another_size_are_refused(tmp_path):
    path = write_mnist(tmp_path) / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:8] + (56).to_bytes(4, "big") + (14).to_bytes(4, "big") + content[16:])
    with pytest.raises(DamagedDataError, match=r"t10k-images.* images are \(56, 14\), not 28 by 28"):
        mnist.build(tmp_path, SMALL)


def test_too_few_images_of_a_digit_are_refused(tmp_path):
    write_mnist(tmp_path)
    with pytest.raises(DamagedDataError, match="usable images where 1000 are needed"):
        mnist.build(tmp_path)


class TestWithTheRealFiles:
    @pytest.mark.parametrize(("split", "rows"), [("train", 10_000), ("validation", 1_000), ("test", 200)])
    def test_the_papers_counts_hold_with_a_tenth_of_each_task_positive(self, load_real, split, rows):
        data = load_real("mnist")
        assert rows_of_each_task(data, split) == [rows] * 10
        part = data.split(split)
        assert torch.bincount(part.task[part.y == 1]).tolist() == [rows // 10] * 10

    def test_no_image_is_in_two_splits(self, load_real):
        assert_no_image_in_two_splits(load_real("mnist"))

    def test_the_splits_have_not_changed_since_version_0(self, load_real):
        assert digest(load_real("mnist"), "train", "validation", "test") == "73ac5b2ca1ee61a7"

    def test_images_are_one_channel_of_bytes(self, load_real):
        data = load_real("mnist")
        assert data.input_shape == (1, 28, 28)
        assert data.split("train").x.dtype == torch.uint8
        assert data.mean.item() == pytest.approx(0.1307 * 255, abs=0.5)
        assert data.std.item() == pytest.approx(0.3081 * 255, abs=0.5)
