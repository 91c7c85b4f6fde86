"""`MultiTaskDataset`, the form in which environments take their data, bundled or the user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from mtl_gym.core.validation import short
from mtl_gym.data.arrays import Values
from mtl_gym.data.checks import check_name, check_splits, read_all_names, read_statistics, tell_single_class
from mtl_gym.data.doors import Doors
from mtl_gym.data.normalisation import standardised, statistics
from mtl_gym.data.sequence_checks import check_tokens
from mtl_gym.data.split import SPLITS, Split
from mtl_gym.data.tables import name_classes, read_tables, split_tables
from mtl_gym.data.task_numbers import task_numbers

if TYPE_CHECKING:
    from mtl_gym.data.doors import PathLike

__all__ = ["SPLITS", "MultiTaskDataset", "Split"]


@dataclass(frozen=True, eq=False, repr=False)
class MultiTaskDataset(Doors):
    """Several classification tasks over inputs of one shape, in three splits.

    It is checked on construction and immutable afterwards. Environments share it, so ``copy.deepcopy`` (which Gymnasium
    applies to every environment specification) returns the same object.

    Attributes:
        name: Name in messages and results.
        splits: ``"train"``, ``"validation"`` and ``"test"``, each a ``Split``.
        task_names: One distinct name per task.
        class_names: Names of each task's classes; tasks may have different numbers of classes.
        mean: Mean that ``inputs`` subtracts; float32, broadcastable to ``input_shape`` (``[channels, 1, 1]`` for
            images).
        std: Standard deviation that ``inputs`` divides by; as ``mean``, and above 0.
        vocabulary: Words of the token ids of a text, in order: padding first, then the unknown word. Empty if inputs
            are numbers.
        characters: Characters of the character ids, in the same form, if the characters of words are part of the
            inputs.

    A task with rows of one class only is accepted with a warning in the log: its accuracy is always 100%.

    Raises:
        ValueError: If the parts do not fit together; the message names the split, the offending value and the remedy.

    Example:
        >>> import numpy as np
        >>> x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
        >>> parity = MultiTaskDataset.from_tasks("parity", {"is odd": (x, y), "is even": (x, 1 - y)})
        >>> parity
        MultiTaskDataset('parity', 2 tasks, classes (2, 2), input [2] float32, train 28, validation 4, test 8)
        >>> parity.inputs("train", torch.tensor([0, 5])).shape
        torch.Size([2, 2])
    """

    name: str
    splits: Mapping[str, Split]
    task_names: tuple[str, ...]
    class_names: tuple[tuple[str, ...], ...]
    mean: Tensor | None = None
    std: Tensor | None = None
    vocabulary: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    # Copies on other devices and parts by their tasks, shared by all environments and freed with the last of them.
    _copies: "WeakValueDictionary[torch.device | tuple[int, ...], MultiTaskDataset]" = field(
        init=False, default_factory=WeakValueDictionary
    )

    def __post_init__(self) -> None:
        """Freeze the containers and check that all parts fit together."""
        check_name(self.name)
        own = vars(self)
        names = {part: own[part] for part in ("task_names", "class_names", "vocabulary", "characters")}
        _set(self, **read_all_names(self.name, **names))
        check_splits(self.name, self.splits, self.task_names, self.num_classes)
        _set(self, splits=MappingProxyType({split: self.splits[split] for split in SPLITS}))
        mean, std = read_statistics(self.name, self.mean, self.std, self.splits["train"].x)
        _set(self, mean=mean, std=std)
        if self.vocabulary or self.characters:
            check_tokens(self.name, self.splits, self.vocabulary, self.characters, normalised=mean is not None)
        for task, name in enumerate(self.task_names):
            labels = [split.y[split.task == task] for split in self.splits.values()]
            tell_single_class(f"data set {self.name!r}, task {name!r}", labels)

    @classmethod
    def from_tasks(
        cls,
        name: str,
        tasks: Mapping[str, tuple[Values, Values]],
        *,
        class_names: Mapping[str, Sequence[str]] | None = None,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        normalise: bool = True,
    ) -> "MultiTaskDataset":
        """Build a data set from your own arrays, one pair per task.

        Each class of each task is split at random by ``seed``, with at least one row in each split. If several tasks
        have the same row, it may be a training row of one and a test row of another; build the ``Split`` objects
        yourself to prevent this.

        Args:
            name: Name in messages and results.
            tasks: Inputs ``[rows, *input_shape]`` and labels ``[rows]`` (whole numbers 0 to classes - 1) of each task,
                as NumPy arrays, tensors or lists, which are copied. Feature vectors (``[rows, features]``) of different
                widths are padded with zeros to the widest. uint8 inputs stay uint8, others become float32.
            class_names: Names of each task's classes, by task name; the default is the label as text.
            validation: Validation share of each class.
            test: Test share of each class.
            seed: Seed of the split, and of nothing else.
            normalise: Whether ``inputs`` has mean 0 and standard deviation 1 over the training rows: per feature of a
                vector, per channel of an image ``[channels, height, width]``, over all values of other inputs. Constant
                features become 0. Tables of different widths are unrelated: each is normalised over its own rows.

        Returns:
            The data set.

        Raises:
            ValueError: If an array or label is not as above, or a class has fewer than 3 rows; the message names the
                task, the offending value and the remedy.

        Example:
            >>> import numpy as np
            >>> rng = np.random.default_rng(0)
            >>> iris, wine = rng.normal(size=(30, 4)), rng.normal(size=(60, 13))
            >>> data = MultiTaskDataset.from_tasks(
            ...     "plants",
            ...     {"iris": (iris, np.arange(30) % 3), "wine": (wine, np.arange(60) % 2)},
            ...     class_names={"wine": ("red", "white")},
            ... )
            >>> data.input_shape, data.num_classes, data.class_names
            ((13,), (3, 2), (('0', '1', '2'), ('red', 'white')))
            >>> {split: len(rows) for split, rows in data.splits.items()}
            {'train': 63, 'validation': 9, 'test': 18}
        """
        if not isinstance(name, str):
            raise ValueError(f"The name comes first, from_tasks(name, tasks); {short(name)} is no name.")
        tables = read_tables(name, tasks)
        named = name_classes(name, tables, class_names)
        splits = split_tables(list(tables.values()), validation, test, seed)
        x = splits["train"].x
        if normalise and len({table.width for table in tables.values()}) > 1:
            return cls(name, standardised(splits, len(tables)), tuple(tables), named)
        mean, std = statistics(x, per_channel=x.ndim in (2, 4)) if normalise else (None, None)
        return cls(name, splits, tuple(tables), named, mean, std)

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.task_names)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Number of classes of each task."""
        return tuple(len(classes) for classes in self.class_names)

    @property
    def max_classes(self) -> int:
        """Largest number of classes of a task."""
        return max(self.num_classes)

    @property
    def has_text(self) -> bool:
        """True if inputs are token ids."""
        return bool(self.vocabulary)

    @property
    def has_sequences(self) -> bool:
        """True if each input has a label for every step instead of one label."""
        return self.splits["train"].has_sequences

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the axis of rows."""
        return tuple(self.splits["train"].x.shape[1:])

    def split(self, name: str) -> Split:
        """Return one split.

        Args:
            name: ``"train"``, ``"validation"`` or ``"test"``.

        Raises:
            ValueError: If there is no such split.
        """
        if not isinstance(name, str) or name not in SPLITS:
            raise ValueError(f"data set {self.name!r} has no split {short(name)}; choose one of {', '.join(SPLITS)}")
        return self.splits[name]

    def task_sizes(self, split: str) -> tuple[int, ...]:
        """Return the number of samples of each task in a split."""
        return tuple(torch.bincount(self.split(split).task, minlength=self.num_tasks).tolist())

    def inputs(self, split: str, indices: Tensor) -> Tensor:
        """Return rows of a split as inputs of a network.

        Args:
            split: Name of the split.
            indices: Row numbers, int64, any shape, on the data's device.

        Returns:
            ``(x - mean) / std``, or ``x`` if there is no mean, as float32 ``[*indices.shape, *input_shape]``; token ids
            as int64. Always a copy.

        Raises:
            ValueError: If there is no such split.
        """
        rows = self.split(split).x[indices]
        if self.has_text:
            return rows.to(torch.int64, copy=True)
        if self.mean is None or self.std is None:
            return rows.to(torch.float32, copy=True)
        return (rows.float() - self.mean).div_(self.std)

    def part(self, tasks: Sequence[str | int]) -> "MultiTaskDataset":
        """Return the data set with the given tasks only, in the given order.

        Calls for the same tasks share one part while it is in use.

        Args:
            tasks: Names or numbers of tasks, each at most once.

        Raises:
            ValueError: If no task is given, or a task does not exist or is repeated.

        Example:
            >>> from mtl_gym.data import load
            >>> load("digits").part([3, "digit 5"]).task_names
            ('digit 3', 'digit 5')
        """
        numbers = task_numbers(self, tasks)
        part = self._copies.get(numbers)
        if part is None:
            part = self._copies[numbers] = self._made_of(numbers)
        return part

    def _made_of(self, numbers: tuple[int, ...]) -> "MultiTaskDataset":
        names = tuple(self.task_names[number] for number in numbers)
        classes = tuple(self.class_names[number] for number in numbers)
        splits = {name: split.part(numbers) for name, split in self.splits.items()}
        words = (self.vocabulary, self.characters)
        name = f"{self.name}, {len(numbers)} of {self.num_tasks} tasks"
        return MultiTaskDataset(name, splits, names, classes, self.mean, self.std, *words)

    def with_features(
        self, encoder: nn.Module | str, *, cache: "PathLike | None" = None, batch: int = 256
    ) -> "MultiTaskDataset":
        """Return the data set with features of a frozen encoder as inputs, normalised over the training rows.

        Features are computed once, in batches, and cached in ``cache/features``. The cache file belongs to these
        weights, these inputs and their normalisation; one that is damaged or foreign is replaced, with a warning in
        the log.

        Args:
            encoder: Module from ``inputs``, ``[rows, *input_shape]``, to features ``[rows, *shape]``; it runs on its
                own device, in evaluation mode and without gradients. Or a name: "patches" (k-means of image patches) or
                "lsa" (latent semantic analysis of texts), fitted to the training inputs without labels; or that of a
                file in ``cache/encoders``.
            cache: Folder of the cache and of encoders by name; the default is the data root.
            batch: Inputs per call of the encoder.

        Raises:
            ValueError: If there is no such encoder, or it does not give one finite row of features per input.

        Example:
            >>> from tempfile import TemporaryDirectory
            >>> from mtl_gym.data import load
            >>> with TemporaryDirectory() as folder:
            ...     load("digits").with_features(torch.nn.Linear(64, 5), cache=folder).input_shape
            (5,)
        """
        from mtl_gym.data.features import with_features

        return with_features(self, encoder, cache, batch)

    def to(self, device: str | torch.device) -> "MultiTaskDataset":
        """Return the data set with its tensors on ``device``.

        Returns the object itself if its tensors are already there; calls for the same device share one copy while it is
        in use.
        """
        # An empty tensor has the full name of its device: "cuda" alone would not equal "cuda:0".
        target = torch.empty(0, device=device).device
        if target == self.splits["train"].x.device:
            return self
        copy = self._copies.get(target)
        if copy is None:
            copy = self._copies[target] = self._moved(target)
        return copy

    def _moved(self, device: torch.device) -> "MultiTaskDataset":
        # Built without __init__: the values have been checked, and on a GPU each check would wait for the device.
        moved = object.__new__(type(self))
        values = {part.name: vars(self)[part.name] for part in fields(self)}
        values["splits"] = MappingProxyType({name: split.to(device) for name, split in self.splits.items()})
        values["mean"] = None if self.mean is None else self.mean.to(device)
        values["std"] = None if self.std is None else self.std.to(device)
        values["_copies"] = WeakValueDictionary()
        _set(moved, **values)
        return moved

    def __deepcopy__(self, memo: dict[int, object]) -> "MultiTaskDataset":
        """Return the data set itself, because it is immutable."""
        return self

    def __reduce__(self) -> tuple[type["MultiTaskDataset"], tuple[object, ...]]:
        """Return the fields with a plain dictionary of splits, because a mapping proxy cannot be pickled."""
        given = {part.name: vars(self)[part.name] for part in fields(self) if part.init}
        return type(self), tuple((given | {"splits": dict(self.splits)}).values())

    def __repr__(self) -> str:
        """Return a summary with sizes instead of tensors."""
        classes = self.num_classes if len(set(self.num_classes)) > 1 or self.num_tasks < 4 else self.max_classes
        dtype = str(self.splits["train"].x.dtype).removeprefix("torch.")
        words = f", {len(self.vocabulary)} words" if self.has_text else ""
        rows = ", ".join(f"{name} {len(split)}" for name, split in self.splits.items())
        return (
            f"MultiTaskDataset({self.name!r}, {self.num_tasks} tasks, classes {classes}, "
            f"input {list(self.input_shape)} {dtype}{words}, {rows})"
        )


def _set(data: MultiTaskDataset, **values: object) -> None:
    """Set fields of a frozen data set that is being made."""
    for name, value in values.items():
        object.__setattr__(data, name, value)
