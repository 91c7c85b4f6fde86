import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from mtl_gym.core.state import scratch
from mtl_gym.data import DamagedDataError, caching
from mtl_gym.data.sources import decoded, mini_imagenet

from .fabricated import assert_no_image_in_two_splits, rows_of_each_task

SMALL = mini_imagenet.Sizes(tasks=3, classes=2, validation=1)
WNIDS = tuple(f"n0000000{digit}" for digit in range(6))


def write_images(root, side=84, per_class=4):
    """Write noisy grey images whose brightness is determined by their class."""
    generator = np.random.default_rng(0)
    folder = root / "mini-imagenet"
    for part in ("train", "test"):
        for label, wnid in enumerate(WNIDS):
            (folder / part / wnid).mkdir(parents=True)
            for number in range(per_class):
                noise = generator.integers(-5, 6, (side, side, 3))
                pixels = (20 + 40 * label + noise).astype(np.uint8)
                Image.fromarray(pixels).save(folder / part / wnid / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path)


def build(folder):
    return mini_imagenet.build(folder.parent, SMALL)


def test_each_task_has_the_expected_number_of_rows(folder):
    data = build(folder)
    assert rows_of_each_task(data, "train") == [6] * 3
    assert rows_of_each_task(data, "validation") == [2] * 3
    assert rows_of_each_task(data, "test") == [8] * 3
    assert data.input_shape == (3, 84, 84)
    assert_no_image_in_two_splits(data)


def test_each_class_is_in_one_random_task(folder):
    data = build(folder)
    assert sorted(name for classes in data.class_names for name in classes) == list(WNIDS)
    assert data.class_names != (WNIDS[:2], WNIDS[2:4], WNIDS[4:])


def test_each_row_has_the_task_and_class_of_its_folder(folder):
    data = build(folder)
    for part in data.splits.values():
        brightness = part.x.float().mean(dim=(1, 2, 3))
        for level, task, y in zip(brightness, part.task, part.y, strict=True):
            assert data.class_names[task][y] == WNIDS[round((float(level) - 20) / 40)]


def test_class_names_come_from_classes_txt(folder):
    (folder / "classes.txt").write_text(f"{WNIDS[0]} house finch\n\n{WNIDS[1]}\n")
    named = {name for classes in build(folder).class_names for name in classes}
    assert named == {"house finch", *WNIDS[1:]}


def test_the_second_load_reads_the_cache_and_gives_the_same_images(folder, monkeypatch):
    first = build(folder)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["decoded-v1.npz"]
    monkeypatch.setattr(mini_imagenet, "decode", lambda paths: pytest.fail("decoded again"))
    second = build(folder)
    assert all(torch.equal(first.split(name).x, second.split(name).x) for name in first.splits)


@pytest.mark.parametrize("keep", [0, 1000, -100])
def test_a_damaged_cache_is_reported_and_rewritten(folder, caplog, keep):
    first = build(folder)
    cache = folder / decoded.CACHE_NAME
    cache.write_bytes(cache.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        again = build(folder)
    assert "decoded-v1.npz is damaged" in caplog.text
    assert torch.equal(first.split("train").x, again.split("train").x)
    caplog.clear()
    build(folder)
    assert not caplog.messages


@pytest.mark.parametrize(
    "changes",
    [
        {"images": np.zeros((48, 84, 84, 3), np.uint8)},
        {"images": np.zeros((48, 3, 84, 84))},
        {"images": np.zeros((47, 3, 84, 84), np.uint8)},
        {"fingerprints": np.zeros(48)},
        {"digest": np.array("of other files")},
    ],
)
def test_a_cache_of_the_wrong_shape_dtype_or_files_is_not_used(folder, caplog, changes):
    build(folder)
    with np.load(folder / decoded.CACHE_NAME) as archive:
        arrays = dict(archive)
    np.savez(folder / decoded.CACHE_NAME, **{**arrays, **changes})
    with caplog.at_level(logging.WARNING):
        data = build(folder)
    assert "does not belong to the images beside it" in caplog.text
    assert data.split("train").x.float().mean() > 20


def test_a_cache_without_an_array_or_with_a_pickle_is_not_used(folder, caplog):
    build(folder)
    np.savez(folder / decoded.CACHE_NAME, digest=np.array("x"))
    build(folder)
    np.savez(folder / decoded.CACHE_NAME, digest=np.array([None], dtype=object))
    build(folder)
    assert caplog.text.count("decoded-v1.npz is damaged") == 2


def test_a_renamed_or_removed_image_invalidates_the_cache(folder):
    build(folder)
    (folder / "train" / WNIDS[0] / "0.jpg").rename(folder / "train" / WNIDS[0] / "9.jpg")
    (folder / "train" / WNIDS[0] / "1.jpg").unlink()
    assert len(build(folder).split("train")) == 17


def test_a_replaced_image_invalidates_the_cache(folder):
    before = build(folder).split("test").x
    Image.new("RGB", (84, 84), "white").save(folder / "test" / WNIDS[0] / "0.jpg")
    assert not torch.equal(build(folder).split("test").x, before)


def test_a_read_only_folder_is_reported_and_used_without_a_cache(folder, caplog, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr(scratch.tempfile, "mkstemp", refuse)
    with caplog.at_level(logging.WARNING):
        data = build(folder)
    assert len(data.split("test")) == 24
    assert "cannot cache the decoded images" in caplog.text
    assert not (folder / decoded.CACHE_NAME).exists()


def test_a_full_disk_leaves_no_partial_file(folder, monkeypatch):
    def fill(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(caching.np, "savez", fill)
    build(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train"]


def spoil_with_text(path):
    path.write_text("<html>")


def spoil_by_cutting(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [spoil_with_text, spoil_by_cutting])
def test_a_broken_image_is_named(folder, spoil):
    path = folder / "test" / WNIDS[3] / "2.jpg"
    spoil(path)
    with pytest.raises(DamagedDataError, match=rf"test.{WNIDS[3]}.2\.jpg is damaged: it cannot be decoded"):
        build(folder)


def test_an_image_of_another_size_is_named(folder):
    path = folder / "train" / WNIDS[0] / "0.jpg"
    Image.new("RGB", (84, 85)).save(path)
    with pytest.raises(DamagedDataError, match=r"0\.jpg is damaged: it is 84 by 85 pixels, not 84 by 84"):
        build(folder)


def test_grey_images_are_converted_to_colour(folder):
    Image.new("L", (84, 84), 20).save(folder / "train" / WNIDS[0] / "0.jpg")
    assert build(folder).input_shape == (3, 84, 84)


def test_a_class_without_images_is_named(folder):
    for path in (folder / "train" / WNIDS[2]).iterdir():
        path.unlink()
    with pytest.raises(DamagedDataError, match=f"train is damaged: it needs one folder per class.*{WNIDS[2]}"):
        build(folder)


def test_classes_that_differ_between_train_and_test_are_named(folder):
    (folder / "test" / WNIDS[2]).rename(folder / "test" / "n99999999")
    with pytest.raises(DamagedDataError, match=rf"only one has \['{WNIDS[2]}', 'n99999999'\]"):
        build(folder)


def test_a_wrong_number_of_classes_is_refused(folder):
    with pytest.raises(DamagedDataError, match="it has 6 classes where 50 are needed"):
        mini_imagenet.build(folder.parent)


@pytest.mark.slow  # decoding takes over 1 GB
class TestWithTheRealFiles:
    def test_each_task_has_2250_training_250_validation_and_500_test_images(self, load_real):
        data = load_real("mini-imagenet")
        assert data.num_classes == (5,) * 10
        for split, rows in {"train": 2250, "validation": 250, "test": 500}.items():
            assert rows_of_each_task(data, split) == [rows] * 10
            part = data.split(split)
            assert torch.bincount(part.task * 5 + part.y).tolist() == [rows // 5] * 50

    def test_no_image_is_in_two_splits(self, load_real):
        assert_no_image_in_two_splits(load_real("mini-imagenet"))

    def test_each_of_the_fifty_classes_is_in_one_task(self, load_real):
        data = load_real("mini-imagenet")
        names = [name for classes in data.class_names for name in classes]
        assert len(set(names)) == 50
        if os.path.exists(os.path.join(os.environ["MTL_GYM_DATA"], "mini-imagenet", "classes.txt")):
            assert data.class_names[0] == ("komondor", "malamute", "oboe", "photocopier", "solar_dish")


def test_a_class_with_fewer_images_than_the_others_is_reported(folder, caplog):
    with caplog.at_level(logging.WARNING):
        build(folder)
        assert not caplog.messages
        (folder / "train" / WNIDS[2] / "3.jpg").unlink()
        build(folder)
    assert f"train/{WNIDS[2]} has 3 images where other classes have 4" in caplog.text
