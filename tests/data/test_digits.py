import hashlib

import pytest
import torch

from mtl_gym.data.sources import digits

from .fabricated import assert_no_image_in_two_splits, images_of, rows_of_each_task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return digits.build(tmp_path_factory.mktemp("empty"))


def test_all_1797_images_are_split_60_20_20_and_none_is_in_two_splits(data):
    found = {name: len(images) for name, images in images_of(data).items()}
    assert found == {"train": 1079, "validation": 359, "test": 359}
    assert_no_image_in_two_splits(data)


@pytest.mark.parametrize(("split", "images"), [("train", 1079), ("validation", 359), ("test", 359)])
def test_each_task_has_all_images_of_a_split(data, split, images):
    assert rows_of_each_task(data, split) == [images] * 10


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_each_image_is_positive_in_exactly_one_task(data, split):
    part = data.split(split)
    assert part.y.reshape(10, -1).sum(dim=0).eq(1).all()


def test_positives_are_the_images_of_the_tasks_digit(data):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    known = {tuple(image): label for image, label in zip(pixels, labels, strict=True)}
    part = data.split("test")
    for x, task, y in zip(part.x[::7], part.task[::7], part.y[::7], strict=True):
        assert int(y) == int(known[tuple((x * 16).tolist())] == task)


def test_inputs_are_64_numbers_normalised_by_one_mean_and_std(data):
    assert data.input_shape == (64,)
    assert data.mean.shape == data.std.shape == (1,)
    x = data.split("train").x
    assert (x.min(), x.max()) == (0, 1)
    normalised = data.inputs("train", torch.arange(len(x)))
    assert normalised.mean().abs() < 1e-4
    assert (normalised.std() - 1).abs() < 1e-4


def test_the_split_has_not_changed_since_version_0(data):
    rows = data.split("test").x[:359].mul(16).to(torch.uint8).numpy()
    assert hashlib.sha256(rows.tobytes()).hexdigest()[:16] == "1974b743b73933f0"
