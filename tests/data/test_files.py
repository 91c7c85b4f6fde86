"""Tests of Windows line endings and of files that differ from the published ones."""

import gzip
import hashlib
import logging
import os

import numpy as np
import pytest
import torch

from mtl_gym.data import DamagedDataError, MissingDataError, data_root, files, load
from mtl_gym.data.known import KNOWN, Known
from mtl_gym.data.sources import cifar, code_switched, conll2000, cross_modal, linear, mnist, reviews, tagging

from .fabricated import (
    cifar_arrays,
    review_lines,
    rows_of_each_task,
    write_columns,
    write_conll2000,
    write_conll2003,
    write_hindi,
    write_mnist,
    write_posts,
    write_reviews,
)

SMALL = mnist.DigitCounts(train=5, validation=2, test=3, held_out=4)


@pytest.fixture
def warnings_logged(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


def write_texts(root):
    for number, path in enumerate(cross_modal.TEXTS.values()):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(f"the cat {number} sat on the mat\n \n" * 20, encoding="utf-8")


def write_tagging(root):
    write_conll2000(root)
    write_conll2003(root)


def write_code_switched(root):
    write_conll2000(root)
    write_hindi(root)
    write_posts(root)


TEXTS = {
    "reviews": (write_reviews, reviews.build),
    "reviews-leaked": (write_reviews, reviews.build_leaked),
    "tagging": (write_tagging, tagging.build),
    "code-switched": (write_code_switched, code_switched.build),
    "words": (write_texts, cross_modal.text),
}
ENDS = {
    "Windows": lambda content: content.replace(b"\n", b"\r\n"),
    "Windows twice": lambda content: content.replace(b"\n", b"\r\r\n"),
    "Windows with a byte order mark": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "no last line end": lambda content: content.rstrip(b"\n") + b"\r\n",
}


def tensors(data):
    parts = [part if isinstance(part, tuple) else (part.x, part.task, part.y) for part in data.splits.values()]
    return [tensor for part in parts for tensor in part]


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("name", TEXTS)
def test_line_endings_do_not_change_a_text(tmp_path, name, ends):
    write, build = TEXTS[name]
    write(tmp_path)
    plain = build(tmp_path)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(ENDS[ends](path.read_bytes()))
    again = build(tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(tensors(plain), tensors(again), strict=True))


@pytest.mark.parametrize("changed", [b"\r\n", b" \n", b"\t\n"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_leak_is_found_if_the_files_have_different_line_endings(tmp_path, part, changed):
    folder = write_reviews(tmp_path)
    train = review_lines("dvd", "train", 206)
    (folder / "dvd.task.test").write_text("\n".join([*train[:3], "0\tnew", ""]))
    path = folder / f"dvd.task.{part}"
    path.write_bytes(path.read_bytes().replace(b"\n", changed))
    assert rows_of_each_task(reviews.build(tmp_path), "test")[reviews.DOMAINS.index("dvd")] == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    folder = write_reviews(tmp_path)
    (folder / "MR.task.test").unlink()
    (folder / "MR.task.test").mkdir()
    with pytest.raises(DamagedDataError, match=r"MR\.task\.test is damaged: it cannot be read \(Is a directory\)"):
        load("reviews", tmp_path)


def test_a_packed_file_that_is_a_folder_is_named(tmp_path):
    path = write_mnist(tmp_path, packed=True) / "t10k-labels-idx1-ubyte.gz"
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedDataError, match=r"t10k-labels-idx1-ubyte\.gz is damaged: it cannot be unpacked"):
        mnist.build(tmp_path, SMALL)


def test_a_loop_of_symbolic_links_counts_as_missing_data_or_an_invalid_root(tmp_path):
    (tmp_path / "MNIST").symlink_to(tmp_path / "MNIST")
    with pytest.raises(MissingDataError, match="'mnist' is not in"):
        load("mnist", tmp_path)
    with pytest.raises((ValueError, MissingDataError), match=r"form a loop|is not in"):
        load("mnist", tmp_path / "MNIST")


def test_a_truncated_review_file_is_reported_with_both_counts(tmp_path, monkeypatch, warnings_logged):
    path = write_reviews(tmp_path, train=500) / "baby.task.train"
    content = path.read_bytes()
    known = {"fdu-mtl/baby.task.train": Known(500, hashlib.sha256(content).hexdigest())}
    monkeypatch.setattr(files, "KNOWN", known)
    reviews.build(tmp_path)
    assert not warnings_logged.records
    path.write_bytes(b"\n".join(content.split(b"\n")[:250]) + b"\n")
    reviews.build(tmp_path)
    assert [record.name for record in warnings_logged.records] == ["mtl_gym.data.files"]
    assert "baby.task.train differs from the published file: it has 250 reviews where" in warnings_logged.text
    assert "has 500" in warnings_logged.text and "delete it and get the data set again" in warnings_logged.text


def test_missing_sentences_are_reported(tmp_path, warnings_logged):
    write_conll2000(tmp_path)
    conll2000.read(tmp_path)
    assert "train.txt differs from the published file: it has 20 sentences where" in warnings_logged.text
    assert "has 8,936" in warnings_logged.text


@pytest.mark.parametrize("name", mnist.UNPACKED)
@pytest.mark.parametrize("packed", [False, True])
def test_one_flipped_bit_of_mnist_is_reported(tmp_path, monkeypatch, warnings_logged, name, packed):
    write_mnist(tmp_path)
    for path in mnist.UNPACKED:
        known = Known(120 if "train" in path else 50, hashlib.sha256((tmp_path / path).read_bytes()).hexdigest())
        monkeypatch.setitem(KNOWN, path.removeprefix("MNIST/"), known)
    mnist.build(tmp_path, SMALL)
    assert not warnings_logged.records
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    if packed:
        pack(tmp_path)
    mnist.build(tmp_path, SMALL)
    what = "images" if "images" in name else "labels"
    path = f"{name}.gz" if packed else name
    assert f"{path} differs from the published file: it has the same number of {what}" in warnings_logged.text
    assert len(warnings_logged.records) == 1


def pack(root):
    for name in mnist.UNPACKED:
        (root / f"{name}.gz").write_bytes(gzip.compress((root / name).read_bytes()))
        (root / name).unlink()


def test_other_arrays_than_those_published_are_reported(tmp_path, warnings_logged):
    np.savez(tmp_path / "cifar100.npz", **cifar_arrays())
    cifar.build(tmp_path, cifar.ImageCounts(4, 1, 2))
    assert "cifar100.npz differs from the published file: it has 400 train_images where" in warnings_logged.text
    np.savez(tmp_path / "linear30.npz", **linear.generate())
    linear.build(tmp_path)
    assert "linear30.npz differs from the published file: it has the same number of tasks (30)" in warnings_logged.text


def test_another_edition_of_the_same_text_is_not_reported(tmp_path, monkeypatch, warnings_logged):
    blob = "9daeafb9864cf43055ae93beb0afd6c7d144bfa4"  # git hash-object of "test\n"
    monkeypatch.setitem(KNOWN, "wikitext-2/train.txt", Known(1, "0" * 64, blob))
    path = tmp_path / "wikitext-2" / "train.txt"
    files.tell_difference(path, b"test\n", 1, "lines")
    assert not warnings_logged.records
    files.tell_difference(path, b"text\n", 1, "lines")
    assert len(warnings_logged.records) == 1


def test_files_of_unknown_names_are_not_reported(tmp_path, warnings_logged):
    form = tagging.Format(columns=2, kept=(0, 1))
    tagging.read_columns(write_columns(tmp_path / "mine" / "a.txt", [[("a", "b")]]), form)
    assert not warnings_logged.records


# Only the readers, because building a data set takes seconds.
REAL = {
    "reviews": reviews._read,
    "sentences": conll2000.read,
    "entities": lambda root: [tagging._entities(root / name) for name in tagging.NER.values()],
    "posts": lambda root: code_switched._posts(root / code_switched.POSTS),
    "hindi": code_switched._hindi,
    "words": lambda root: [cross_modal._read(root / path) for path in cross_modal.TEXTS.values()],
    "digits": lambda root: mnist._read(root, root, train=False),
    "regressions": linear.build,
}


class TestWithTheRealFiles:
    @pytest.mark.parametrize("name", REAL)
    def test_the_published_files_are_not_reported(self, name, warnings_logged):
        if not os.environ.get("MTL_GYM_DATA"):
            pytest.skip("MTL_GYM_DATA is not set")
        try:
            REAL[name](data_root())
        except (FileNotFoundError, DamagedDataError) as error:
            pytest.skip(f"not in MTL_GYM_DATA: {error}")
        assert not warnings_logged.records
