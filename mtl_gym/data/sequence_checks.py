"""Consistency checks of label sequences and token ids, each with an error that names the remedy."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtl_gym.data.split import NO_LABEL, Split


def check_label_shape(where: str, split: Split) -> None:
    """Check that there is a label for every step of every row.

    Raises:
        ValueError: If the shapes differ; the message names both.
    """
    if split.y.shape != split.x.shape[:2]:
        raise ValueError(
            f"{where}: y has shape {list(split.y.shape)}, but x has {len(split.x)} rows of {split.x.shape[1]} steps, "
            f"so label sequences must be {list(split.x.shape[:2])}; give one label per step, {NO_LABEL} after the end"
        )


def check_label_sequences(where: str, split: Split, task_names: Sequence[str], allowed: Tensor) -> None:
    """Check that every label is a class of its task, and that padding only follows the last label.

    Args:
        where: Data set and split, for the message.
        split: Split with ``y`` of shape ``[rows, steps]``.
        task_names: Names of the tasks.
        allowed: Number of classes of each row's task, int64 ``[rows]``.

    Raises:
        ValueError: If a label is invalid; the message names row, task, step, label and the allowed labels.
    """
    wrong = (split.y < NO_LABEL) | (split.y >= allowed[:, None])
    if bool(wrong.any()):
        row, step = (int(place) for place in wrong.nonzero()[0])
        classes = int(allowed[row])
        raise ValueError(
            f"{where}: row {row} of task {task_names[int(split.task[row])]!r} has label {int(split.y[row, step])} at "
            f"step {step}, but the task has {classes} classes, so it must be 0 to {classes - 1}, or {NO_LABEL} after "
            "the sequence's end; relabel it or name more classes"
        )
    _check_ends(where, split.y != NO_LABEL, "label")


def check_tokens(
    name: str, splits: Mapping[str, Split], vocabulary: Sequence[str], characters: Sequence[str], normalised: bool
) -> None:
    """Check that texts are token ids of the vocabulary, padded at the end, with one label per token of a sequence task.

    Raises:
        ValueError: If they are not; the message names the data set, the split, the row and the allowed values.
    """
    if normalised:
        raise ValueError(f"data set {name!r} has texts and a mean; token ids cannot be normalised, so give no mean")
    if not vocabulary:
        raise ValueError(f"data set {name!r} has characters but no vocabulary; name the words that the ids stand for")
    for split_name, split in splits.items():
        where = f"data set {name!r}, split {split_name!r}"
        _check_text_shape(where, split.x, bool(characters))
        words = split.x if split.x.ndim == 2 else split.x[..., 0]
        _check_ids(where, words, len(vocabulary), "token id", "words")
        if characters:
            _check_ids(where, split.x[..., 1:], len(characters), "character id", "characters")
        _check_ends(where, words != 0, "token")
        if split.has_sequences and not torch.equal(words != 0, split.y != NO_LABEL):
            row = int(((words != 0) != (split.y != NO_LABEL)).any(1).nonzero()[0])
            raise ValueError(f"{where}: the numbers of labels and tokens of row {row} differ; give one label per token")


def _check_text_shape(where: str, x: Tensor, with_characters: bool) -> None:
    axes, shape = (3, "[rows, steps, 1 + characters]") if with_characters else (2, "[rows, steps]")
    if x.ndim != axes or x.is_floating_point() or x.dtype == torch.uint8:
        raise ValueError(
            f"{where}: x has shape {list(x.shape)} and dtype {x.dtype}, but with a vocabulary it holds token ids, "
            f"{shape} of a signed integer dtype such as torch.int64; leave the vocabulary out if inputs are numbers"
        )


def _check_ids(where: str, ids: Tensor, known: int, what: str, names: str) -> None:
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= known:
        wrong = lowest if lowest < 0 else highest
        row = int((ids == wrong).flatten(1).any(1).nonzero()[0])
        raise ValueError(
            f"{where}: row {row} has {what} {wrong}, but there are {known} {names}, so it must be 0 to {known - 1}; "
            "0 is padding and 1 is unknown"
        )


def _check_ends(where: str, real: Tensor, what: str) -> None:
    """Check that each row of a bool ``[rows, steps]`` tensor is True up to its end, then False."""
    broken = ~real[:, 0] | (real[:, 1:] & ~real[:, :-1]).any(1)
    if bool(broken.any()):
        raise ValueError(
            f"{where}: row {int(broken.nonzero()[0])} has no {what} at its first step, or one after padding; every "
            f"row begins with a {what}, and padding only follows the last"
        )
