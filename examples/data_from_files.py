"""Make data sets of your own files: a pandas frame, folders of images, and a folder of the library `datasets`.

All three hold scikit-learn's digits, written to a folder first, so that nothing is downloaded. A router then learns
which tasks of the frame share blocks.

    python examples/data_from_files.py
    python examples/data_from_files.py --epochs 20 --folder /tmp/digits
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import numpy as np
import pandas as pd
from mtl_agents import WPL
from PIL import Image
from sklearn.datasets import load_digits

import mtl_gym
from mtl_gym import MultiTaskDataset
from mtl_gym.families.routing import RoutingVectorEnv


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    epochs: Annotated[int, "Passes over the training samples of all tasks."] = 5
    seed: Annotated[int, "Seed of the split, the network and the router."] = 0
    folder: Annotated[Path, "Folder for the files; the default is a temporary one."] = Path()


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


def write_images(folder: Path) -> None:
    """Write FOLDER/DIGIT/NUMBER.png."""
    for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(digit) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype(np.uint8)).save(path)


def with_datasets(folder: Path) -> MultiTaskDataset:
    """Write the frame as a `datasets.DatasetDict`, whose test split is kept, and read it."""
    import datasets

    parted = datasets.Dataset.from_pandas(frame).train_test_split(0.2, seed=args.seed)
    parted.save_to_disk(folder)
    return MultiTaskDataset.from_huggingface("digits", folder, label=list(tasks), seed=args.seed)


args = from_command_line()
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name) if args.folder == Path() else args.folder
digits = load_digits()

# A frame: a column for each pixel, and a column of labels for each task.
tasks = {"odd": [1, 3, 5, 7, 9], "round": [0, 6, 8, 9], "large": [5, 6, 7, 8, 9]}
frame = pd.DataFrame(digits.data.astype(np.float32)).rename(columns="pixel {}".format)
frame = frame.assign(**{name: np.isin(digits.target, members) for name, members in tasks.items()})
data = MultiTaskDataset.from_frame("digits", frame, label=list(tasks), seed=args.seed)
print("frame        ", data)

# Folders of images: the classes of each task, or a task for each class.
write_images(folder / "images")
groups = {"round": ["0", "6", "8", "9"], "straight": ["1", "4", "7"]}
print("image folders", MultiTaskDataset.from_image_folders("groups", folder / "images", tasks=groups))
print("image folders", MultiTaskDataset.from_image_folders("each", folder / "images", tasks="one-vs-rest"))

try:
    print("datasets     ", with_datasets(folder / "datasets"))
except ImportError:
    print('datasets      is not installed: pip install "mtl-gym[huggingface]"')

env = RoutingVectorEnv(64, data=data, depth=2, blocks=3, hidden=32)
router = WPL(env, seed=args.seed)
router.learn(args.epochs * len(data.split("train")) * env.routed_depth)
result = mtl_gym.evaluate(router, env, split="test")
print(f"\n{'task':<10}{'test rows':>10}{'accuracy %':>12}   route")
for task, name in enumerate(result.task_names):
    route = result.figures["usage"][task].argmax(-1).tolist()
    print(f"{name:<10}{result.episodes[task]:>10}{100 * result.accuracy[task]:>12.1f}   {route}")
temporary.cleanup()
