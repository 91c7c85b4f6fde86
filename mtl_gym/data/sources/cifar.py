"""CIFAR-100 as twenty tasks of five classes (CIFAR-MTL): the coarse label is the task.

Source: Rosenbaum et al. 2018, section 4: 2,500 training and 500 test images per task.
Deviation: 250 of the 2,500 are for validation, and the 10 training images that are copies of test images are dropped.
"""

import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.data.copies import fingerprints, hold_out
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.files import tell_difference
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.split import Split
from mtl_gym.data.vision import import_torchvision

# The public numbering of both kinds of label is alphabetical, so these names define the map between them.
CLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
FINE_NAMES = tuple(sorted(fine for classes in CLASSES.values() for fine in classes))
_PLACES = {fine: (task, rank) for task, classes in enumerate(CLASSES.values()) for rank, fine in enumerate(classes)}
FINE_TO_COARSE = tuple(_PLACES[fine][0] for fine in FINE_NAMES)
FINE_TO_RANK = tuple(_PLACES[fine][1] for fine in FINE_NAMES)

PICKLES = tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta"))
ARRAYS = ("cifar100.npz",)
_KEYS = ("train_images", "train_fine", "test_images", "test_fine", "fine_to_coarse")
_SEED = 20182

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ImageCounts:
    """Numbers of images of each fine class.

    Attributes:
        train: Images in the training file.
        validation: Images of the training file that are held out for validation.
        test: Images in the test file.
    """

    train: int = 500
    validation: int = 50
    test: int = 100


def build(root: Path, counts: ImageCounts | None = None) -> MultiTaskDataset:
    """Build the data set from torchvision's files in ``root`` or, without them, from ``root/cifar100.npz``.

    Inputs are uint8 ``[3, 32, 32]``; the label is the rank of the fine label within its coarse label.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    counts = counts or ImageCounts()
    pickled = all((root / name).is_file() for name in PICKLES)
    origin = root / (Path(PICKLES[0]).parent if pickled else ARRAYS[0])
    (images, fine), (test_images, test_fine) = _pickled(root) if pickled else _arrays(origin)
    labels = _check(origin, "training", images, fine, counts.train)
    test_labels = _check(origin, "test", test_images, test_fine, counts.test)
    keys = fingerprints(images), fingerprints(test_images)
    rows, held_out = hold_out(*keys, labels, counts.validation, np.random.default_rng(_SEED), origin)
    splits = {
        "train": _split(images, labels, rows),
        "validation": _split(images, labels, held_out),
        "test": _split(test_images, test_labels, np.arange(len(test_labels))),
    }
    return MultiTaskDataset("cifar", splits, tuple(CLASSES), tuple(CLASSES.values()), *statistics(splits["train"].x))


def _split(images: Pixels, fine: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Split:
    chosen = torch.from_numpy(rows)
    labels = torch.from_numpy(fine)[chosen]
    return Split(
        x=torch.from_numpy(images)[chosen].permute(0, 3, 1, 2).contiguous(),
        task=torch.tensor(FINE_TO_COARSE)[labels],
        y=torch.tensor(FINE_TO_RANK)[labels],
    )


def _pickled(root: Path) -> list[tuple[Pixels, Labels]]:
    datasets = import_torchvision().datasets
    try:
        with warnings.catch_warnings():
            # The files were pickled by a NumPy of 2009; newer ones warn about its dtypes.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            # torchvision compares md5 sums before it unpickles anything.
            parts = [datasets.CIFAR100(root, train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise damaged(root / PICKLES[0].split("/")[0], f"torchvision rejects it ({error})") from error
    return [(part.data, np.asarray(part.targets)) for part in parts]


def _arrays(path: Path) -> list[tuple[Pixels, Labels]]:
    found = _load_arrays(path)
    missing = [key for key in _KEYS if key not in found]
    if missing:
        raise damaged(path, f"it has no array {', '.join(missing)}")
    if not np.array_equal(found["fine_to_coarse"], FINE_TO_COARSE):
        raise damaged(path, "its fine_to_coarse is not that of CIFAR-100")
    for key in _KEYS[:4]:
        array = np.ascontiguousarray(np.atleast_1d(found[key]))
        tell_difference(path, array.data, len(array), key, key=f"{ARRAYS[0]}:{key}")
    return [(found[f"{part}_images"], found[f"{part}_fine"]) for part in ("train", "test")]


def _load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        # Opened here, because NumPy does not close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in _KEYS if key in archive}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise damaged(path, f"it cannot be read as npz ({error})") from error


def _check(origin: Path, part: str, images: Pixels, fine: Labels, per_class: int) -> npt.NDArray[np.int64]:
    if images.dtype != np.uint8 or images.shape != (len(fine), 32, 32, 3):
        raise damaged(
            origin, f"its {part} images are {images.dtype} {list(images.shape)}, not uint8 [{fine.size}, 32, 32, 3]"
        )
    labels, counts = np.unique(fine, return_counts=True)
    if not np.array_equal(labels, np.arange(len(FINE_NAMES))) or set(counts.tolist()) != {per_class}:
        raise damaged(origin, f"its {part} labels are not 0 to 99, each on {per_class} images")
    return fine.astype(np.int64)
