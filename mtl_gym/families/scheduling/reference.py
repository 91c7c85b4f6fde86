"""Accuracy of single-task networks, the reference of a schedule.

Source: QLS, section 4.3, "Reward".
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.roots import cache_root
from mtl_gym.families.scheduling.held_out import HeldOut
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.options import SchedulingOptions
from mtl_gym.families.scheduling.training import RunRecipe, RunTraining

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

_known: dict[str, Floats] = {}


def reference_accuracy(
    options: SchedulingOptions, data: MultiTaskDataset, template: SharedNetwork, held_out: HeldOut
) -> Floats | None:
    """Return the reference accuracy of each task on the validation split; float32 [tasks], or None without a reference.

    Single-task networks have the architecture of the environment's network. Each is trained on one task, for as many
    updates as a uniform schedule gives it. Their accuracies are cached in `references/` in the user's cache folder.

    Raises:
        ValueError: If given accuracies are outside [0, 1] or do not match the number of tasks.
    """
    given = options.reference
    if given is None:
        return None
    if not isinstance(given, str):
        return _given(given, data)
    settings = _settings(options, data, template, held_out)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    if key not in _known:
        path = cache_root() / "references" / f"{_slug(data.name)}-{key}.json"
        kept = _read(path, settings, data)
        _known[key] = _train(options, data, template, held_out) if kept is None else kept
        if kept is None:
            _write(path, settings, _known[key], data)
    return _known[key]


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _given(given: float | Sequence[float], data: MultiTaskDataset) -> Floats:
    values = np.asarray(given, np.float32)
    if values.shape not in ((), (data.num_tasks,)) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"reference={given!r} is not possible: give one accuracy from 0 to 1, or {data.num_tasks}, one for each "
            f"task of {data.name!r}."
        )
    return np.broadcast_to(values, data.num_tasks).copy()


def _settings(
    options: SchedulingOptions, data: MultiTaskDataset, template: SharedNetwork, held_out: HeldOut
) -> dict[str, object]:
    """Return everything that determines the accuracies, as plain values."""
    return {
        "minibatch": options.minibatch,
        "learning_rate": options.learning_rate,
        "updates": _updates(options, data),
        "network": _identity(data, template, _recipe(options)),
        "data": _fingerprint(data),
        "validation": hashlib.sha256(held_out.rows.tobytes()).hexdigest(),
    }


def _updates(options: SchedulingOptions, data: MultiTaskDataset) -> int:
    """Return the number of minibatches of each task in a uniform schedule."""
    return options.updates if options.control == "weights" else max(1, options.updates // data.num_tasks)


def _recipe(options: SchedulingOptions) -> RunRecipe:
    return RunRecipe(options.minibatch, options.learning_rate)


def _identity(data: MultiTaskDataset, template: SharedNetwork, recipe: RunRecipe) -> list[object]:
    """Return values that identify a network: parameter shapes, and losses and weight norms of two updates from a seed.

    The updates depend on the initial weights, forward and backward pass, losses and dropout. Rounding to five digits
    makes differences in the summation order of another machine unlikely to count.
    """
    training = RunTraining(data, "train", template, 1, 1, recipe)
    training.begin([0])
    task, weight = np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32)
    losses = [float(training.update(task, weight).loss) for _ in range(2)]
    shapes = [[name, *p.shape[1:]] for name, p in training.runs.named_parameters()]
    norms = [float(p.detach().double().norm()) for p in training.runs.parameters()]
    return [shapes, [f"{figure:.4e}" for figure in losses + norms]]


def _fingerprint(data: MultiTaskDataset) -> list[object]:
    """Return the name, split sizes and content hash of a data set."""
    digest = hashlib.sha256()
    for split in data.splits.values():
        for part in (split.task, split.y, split.x):
            digest.update(part.cpu().contiguous().numpy().tobytes())
    return [data.name, *(len(split) for split in data.splits.values()), digest.hexdigest()]


def _train(options: SchedulingOptions, data: MultiTaskDataset, template: SharedNetwork, held_out: HeldOut) -> Floats:
    """Train one stacked run per task, each on its own task; return the accuracies, float32 [tasks]."""
    tasks = data.num_tasks
    training = RunTraining(data, "train", template, tasks, 1, _recipe(options))
    training.begin(list(range(tasks)))
    task, weight = np.arange(tasks)[:, None], np.ones((tasks, 1), np.float32)
    for _ in _bar(range(_updates(options, data)), f"Single-task networks of {data.name}"):
        training.update(task, weight)
    return held_out.own_figures(training.runs).task_accuracy()[:, 0].cpu().numpy()


def _bar(steps: range, title: str) -> Iterable[int]:
    logger.info(title)
    try:
        from rich.console import Console
        from rich.progress import track
    except ModuleNotFoundError:
        return steps
    console = Console(stderr=True)
    return track(steps, title, console=console, disable=not console.is_terminal, transient=True)


def _read(path: Path, settings: dict[str, object], data: MultiTaskDataset) -> Floats | None:
    """Return the cached accuracies; None if there is no file, or with a warning if it is invalid."""
    try:
        return _checked(json.loads(path.read_text()), settings, data)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError, OSError) as error:
        logger.warning("%s cannot be used (%r); retraining the single-task networks.", path, error)
        return None


def _checked(kept: Any, settings: dict[str, object], data: MultiTaskDataset) -> Floats:
    """Return cached accuracies in the order of the tasks; float32 [tasks].

    Raises:
        ValueError, TypeError or KeyError: If the settings or tasks differ, or a value is not a number from 0 to 1.
    """
    if kept["settings"] != settings:
        raise ValueError("its settings differ from the environment's")
    accuracy = kept["accuracy"]
    if set(accuracy) != set(data.task_names):
        raise ValueError(f"its tasks are {', '.join(accuracy)}, the environment's {', '.join(data.task_names)}")
    wrong = {name: value for name, value in accuracy.items() if type(value) not in (int, float) or not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"accuracies must be numbers from 0 to 1, not {wrong}")
    return np.array([accuracy[name] for name in data.task_names], np.float32)


def _write(path: Path, settings: dict[str, object], accuracy: Floats, data: MultiTaskDataset) -> None:
    named = dict(zip(data.task_names, map(float, accuracy), strict=True))
    text = json.dumps({"accuracy": named, "settings": settings, "torch": torch.__version__}, indent=2)
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as error:
        logger.warning("Cannot cache the single-task accuracies (%s); the next process will retrain them.", error)
