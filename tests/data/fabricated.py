"""Small data sets in the file formats of the bundled ones, and checks for every data set."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import torch

from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.copies import fingerprints
from mtl_gym.data.sources import cifar, reviews


def images_of(data: MultiTaskDataset) -> dict[str, set[int]]:
    return {name: set(fingerprints(split.x.numpy()).tolist()) for name, split in data.splits.items()}


def assert_no_image_in_two_splits(data: MultiTaskDataset) -> None:
    found = images_of(data)
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]


def digest(data: MultiTaskDataset, *splits: str) -> str:
    """Return a digest of the inputs, tasks and labels of some splits, in order."""
    parts = [part for name in splits for part in (data.split(name).x, data.split(name).task, data.split(name).y)]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


def rows_of_each_task(data: MultiTaskDataset, split: str) -> list[int]:
    return torch.bincount(data.split(split).task, minlength=data.num_tasks).tolist()


def write_mnist(root: Path, train: int = 12, test: int = 5, packed: bool = False) -> Path:
    """Write the four MNIST files with random images, `train` or `test` of each digit; return their folder."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part, per_digit in (("train", train), ("t10k", test)):
        labels = generator.permutation(np.repeat(np.arange(10), per_digit)).astype(np.uint8)
        images = generator.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        images[:, 0, 0] = labels
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
            path = folder / f"{part}-{kind}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def cifar_arrays(train: int = 4, test: int = 2) -> dict[str, np.ndarray]:
    """Return the arrays of cifar100.npz with random images, `train` or `test` of each fine class."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {"fine_to_coarse": np.array(cifar.FINE_TO_COARSE, np.uint8)}
    for part, per_class in (("train", train), ("test", test)):
        fine = generator.permutation(np.repeat(np.arange(100), per_class)).astype(np.uint8)
        images = generator.integers(0, 256, (len(fine), 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = fine
        arrays |= {f"{part}_images": images, f"{part}_fine": fine}
    return arrays


def write_columns(path: Path, sentences: list[list[tuple[str, ...]]], separator: str = " ") -> Path:
    """Write sentences with one token per line, columns with a separator, and an empty line after each sentence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["".join(f"{separator.join(token)}\n" for token in sentence) for sentence in sentences]
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")
    return path


def write_conll2000(root: Path, train: int = 20, test: int = 5) -> None:
    """Write sentences "The dogN runs ." that differ in N, with parts of speech and chunks."""
    for part, first, count in (("train", 0, train), ("test", train, test)):
        sentences = [
            [("The", "DT", "B-NP"), (f"dog{n}", "NN", "I-NP"), ("runs", "VBZ", "B-VP"), (".", ".", "O")]
            for n in range(first, first + count)
        ]
        write_columns(root / "conll2000" / f"{part}.txt", sentences)


def write_hindi(root: Path, train: int = 20, test: int = 5) -> None:
    """Write sentences of two words in CoNLL-U, with comments, a contraction, and an omitted word."""
    for part, first, count in (("dev", 0, train), ("test", train, test)):
        rows = [
            f"# sent_id = {n}\n1-2\tकाक\t" + "\t".join("_" * 8) + "\n"
            f"1\tकाल{n}\t_\tNOUN\tNN\t_\t2\tnmod\t_\t_\n1.1\tखाली\t_\tVERB\t_\t_\t_\t_\t_\t_\n2\tमें\t_\tADP\tPSP\t_\t1\tcase\t_\t_\n"
            for n in range(first, first + count)
        ]
        path = root / "ud" / f"hi-ud-{part}.conllu"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_posts(root: Path, posts: int = 20, longest: int = 100) -> None:
    """Write posts "yeh postN hai #tag", the first with `longest` tokens."""
    sentences = [
        [("yeh", "hi", "G_PRP"), (f"post{n}", "en", "G_N"), ("hai", "hi", "G_V"), ("#tag", "univ", "#")]
        for n in range(posts)
    ]
    sentences[0] *= longest // 4
    write_columns(root / "icon2016" / "FB_HI_EN_CR.txt", sentences, "\t")


def labels_by_text(data: MultiTaskDataset, split: str, task: int) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the known words and the tags of each row of a task, without padding."""
    part = data.split(split)
    found = set()
    for row in (part.task == task).nonzero().flatten().tolist():
        length = int((part.y[row] >= 0).sum())
        words = part.x[row, :length, 0] if part.x.ndim == 3 else part.x[row, :length]
        tags = part.y[row, :length]
        found.add((tuple(data.vocabulary[word] for word in words), tuple(data.class_names[task][tag] for tag in tags)))
    return found


def tokens_of_each_task(data: MultiTaskDataset, split: str) -> list[int]:
    part = data.split(split)
    return [int((part.y[part.task == task] >= 0).sum()) for task in range(data.num_tasks)]


def review_lines(domain: str, part: str, count: int) -> list[str]:
    """Return reviews "this DOMAIN PART NUMBER is good" and "... bad" in turn."""
    return [f"{n % 2}\tthis {domain} {part} {n} is {('bad', 'good')[n % 2]}" for n in range(count)]


def write_reviews(root: Path, train: int = 206, test: int = 4) -> Path:
    """Write the 32 files of reviews; return their folder."""
    folder = root / "fdu-mtl"
    folder.mkdir(parents=True)
    for domain in reviews.DOMAINS:
        for part, count in (("train", train), ("test", test)):
            content = "\n".join(review_lines(domain, part, count)) + "\n"
            (folder / f"{domain}.task.{part}").write_bytes(content.encode())
    return folder


def write_conll2003(root: Path, train: int = 12, others: int = 4) -> None:
    """Write documents of one sentence "John P. visits Rome Paris ." with its entities in IOB1."""
    sentence = [
        ("P.", "NNP", "I-NP", "I-PER"),
        ("visits", "VBZ", "I-VP", "O"),
        ("Rome", "NNP", "I-NP", "I-LOC"),
        ("Paris", "NNP", "I-NP", "B-LOC"),
        (".", ".", "O", "O"),
    ]
    for part, count in (("train", train), ("testa", others), ("testb", others)):
        documents = [
            block
            for n in range(count)
            for block in ([("-DOCSTART-", "-X-", "O", "O")], [(f"John{part}{n}", "NNP", "I-NP", "I-PER"), *sentence])
        ]
        write_columns(root / "conll2003" / f"eng.{part}", documents)
