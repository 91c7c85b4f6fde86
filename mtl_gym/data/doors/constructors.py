"""Constructors of `MultiTaskDataset` for data that a user has on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from mtl_gym.data.doors.assembly import Splitting, assemble
from mtl_gym.data.doors.columns import Name, Names
from mtl_gym.data.doors.frame import Roles, read_frame
from mtl_gym.data.doors.huggingface import read_huggingface
from mtl_gym.data.doors.image_folders import PathLike, Size, Tasks, read_image_folders

if TYPE_CHECKING:
    import pandas


class Doors:
    """Constructors of a data set from frames, `datasets` objects and image folders."""

    if TYPE_CHECKING:

        def __init__(self, **parts: Any) -> None: ...

    @classmethod
    def from_frame(
        cls,
        name: str,
        frame: pandas.DataFrame | Mapping[str, pandas.DataFrame],
        *,
        label: Names,
        task: Name | None = None,
        inputs: Names | None = None,
        split: Name | None = None,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        normalise: bool = True,
    ) -> Self:
        """Build a data set from a pandas frame with a column of tasks, or with a column of labels per task.

        Splits that you have stay as they are. A missing one is drawn from the training rows by `seed`, with its share
        of each class of each task; equal inputs stay in one split.

        Args:
            name: Name in messages and results.
            frame: The frame, or a frame per split (``{"train": ..., "test": ...}``).
            label: Column of labels (names or whole numbers), or several in a list, array or index, each a task; rows
                without a label of a task are left out of that task.
            task: Column of tasks, if there is one column of labels.
            inputs: Columns of numbers, or one column of arrays of equal shape; the default is all other columns.
            split: Column that names the split of each row.
            validation: Share to draw for validation, if there is no such split.
            test: Share to draw for test, if there is no such split.
            seed: Seed of the draw.
            normalise: As for `from_tasks`.

        Raises:
            ValueError: If a value is missing, text or not finite, or a class cannot be split or learned; the message
                names the column, what it holds and the remedy.

        Example:
            >>> import pandas
            >>> from mtl_gym import MultiTaskDataset
            >>> rows = {"width": range(40), "shop": ["north", "south"] * 20, "sold": ["no", "no", "yes", "yes"] * 10}
            >>> MultiTaskDataset.from_frame("shops", pandas.DataFrame(rows), label="sold", task="shop")
            MultiTaskDataset('shops', 2 tasks, classes (2, 2), input [1] float32, train 28, validation 4, test 8)
        """
        samples = read_frame(name, frame, Roles.named(label, task, inputs, split))
        return cls(**assemble(name, samples, Splitting(validation, test, seed), normalise))

    @classmethod
    def from_huggingface(
        cls,
        name: str,
        dataset: object,
        *,
        label: Names,
        task: Name | None = None,
        inputs: Names | None = None,
        splits: Mapping[str, str] | None = None,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        normalise: bool = True,
    ) -> Self:
        """Build a data set from an object of the library `datasets`, or from a folder that ``save_to_disk`` wrote.

        The network is never used.

        Args:
            name: Name in messages and results.
            dataset: `datasets.Dataset`, `datasets.DatasetDict`, or the path of a folder.
            label: Column of labels, or several; a ``ClassLabel`` keeps its names.
            task: Column of tasks, if there is one column of labels.
            inputs: Columns of numbers, one column of arrays, or one of images of one size.
            splits: Name in `dataset` of each split to take, such as ``{"train": "train", "test": "validation"}``; the
                default is all, by their own names.
            validation: As for `from_frame`.
            test: As for `from_frame`.
            seed: As for `from_frame`.
            normalise: As for `from_frame`.

        Raises:
            MissingExtraError: If `datasets` is not installed.
            ValueError: As for `from_frame`.
        """
        samples = read_huggingface(name, dataset, Roles.named(label, task, inputs), splits)
        return cls(**assemble(name, samples, Splitting(validation, test, seed), normalise))

    @classmethod
    def from_image_folders(
        cls,
        name: str,
        folders: PathLike | Mapping[str, PathLike],
        *,
        tasks: Tasks = None,
        size: Size = None,
        validation: float = 0.1,
        test: float = 0.2,
        seed: int = 0,
        normalise: bool = True,
    ) -> Self:
        """Build a data set from folders of images, one folder per class, as for torchvision's `ImageFolder`.

        Folders named "train", "val" and "test" above the classes or tasks are kept as splits; others are drawn as in
        `from_frame`. Hidden folders are left out. Inputs are uint8 ``[3, height, width]``.

        Args:
            name: Name in messages and results.
            folders: Folder of each task by its name, or one folder, as `tasks` says.
            tasks: None if each task has a folder (``folder/TASK/CLASS/*.jpg``); the classes of each task (``{"pets":
                ["cat", "dog"], ...}``) or "one-vs-rest", a task per class, if one folder holds all classes.
            size: Side, or height and width, to resize images to; None if all have one size.
            validation: As for `from_frame`.
            test: As for `from_frame`.
            seed: As for `from_frame`.
            normalise: As for `from_frame`.

        Raises:
            ValueError: If a folder or class does not exist, a folder beside splits is none, an image is damaged or has
                more than 8 bits per channel, or sizes differ; otherwise as for `from_frame`.
        """
        samples = read_image_folders(name, folders, tasks, size)
        return cls(**assemble(name, samples, Splitting(validation, test, seed), normalise))
