"""Generated time series in the shape of task-fMRI data, with an adjustable relatedness of tasks.

Source: Xu et al. 2021 (MT-RMN), section "Task-Evoked Functional Brain Activity". Their series are not public.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.core.validation import complaint, short
from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.split import Split
from mtl_gym.data.stratified import FOLDS, stratified_rows

Floats = npt.NDArray[np.float64]

TASK_NAMES = ("task-1", "task-2", "task-3", "task-4")
CLASS_NAMES = ("region 1", "region 2", "region 3")
REGIMES, STEPS_PER_REGIME, FEATURES = 7, 4, 10
STEPS = REGIMES * STEPS_PER_REGIME
# The brain system of each task's regions in each regime: cognition, attention or sensory.
SYSTEMS = np.array(["CCCCCCC", "CCCCCSS", "CCCAAAA", "SSSSSSS"]).view("U1").reshape(4, REGIMES)
RESPONSE = np.array([0.5, 1.0, 1.0, 0.5])
MEMORY = 0.5


def build(
    root: Path, relatedness: float = 0.75, noise: float = 0.8, sequences: int = 900, seed: int = 2021, fold: int = 0
) -> MultiTaskDataset:
    """Generate the data set; ``root`` is ignored.

    Each task is to classify a series of 28 steps by its region, one of three. A series has seven regimes of four steps.
    In each regime every region responds with its own direction in the 10 features, a mixture of a direction of the
    region's system and a direction of the task alone: tasks with the same system in a regime share the former. Noise is
    autocorrelated (AR(1), 0.5).

    Args:
        root: Unused.
        relatedness: Squared weight of the system's direction, 0 to 1. At 0 no two tasks have anything in common; at 1
            tasks of one system are identical in that regime.
        noise: Standard deviation of the noise; a region's response has length 1 at its peak.
        sequences: Series per task: 64% for training, 16% for validation and 20% for test, stratified by region.
        seed: Seed of the directions, the noise and the splits.
        fold: Fold for test, 0 to 4; the five are disjoint, and the series are the same.

    Returns:
        Inputs float32 ``[28, 10]``, normalised per feature; four tasks of three classes.

    Raises:
        ValueError: If an argument is out of range.

    Source: MT-RMN, figure 2: 28 steps, 10 features, "every 4 time steps represent the time period when the participant
    conducted a task", 80% train and 20% test.

    Example:
        >>> build(Path(), relatedness=0.2, sequences=75)
        MultiTaskDataset('brain-series', 4 tasks, classes 3, input [28, 10] float32, train 192, validation 48, test 60)
    """
    _check(relatedness, noise, sequences, seed, fold)
    random = np.random.default_rng(seed)
    answers = _directions(relatedness, random)[:, np.arange(STEPS) // STEPS_PER_REGIME]
    answers = answers * np.tile(RESPONSE, REGIMES)[:, None, None]
    parts = [_task(task, answers[task], noise, sequences, fold, random) for task in range(len(TASK_NAMES))]
    splits = {name: joined([part[name] for part in parts]) for name in parts[0]}
    mean, std = statistics(splits["train"].x.flatten(0, 1))
    return MultiTaskDataset("brain-series", splits, TASK_NAMES, (CLASS_NAMES,) * len(TASK_NAMES), mean, std)


def truth(relatedness: float = 0.75) -> Floats:
    """Return the relatedness of two tasks in each regime: the expected cosine of their regions' responses.

    It is ``relatedness`` if both tasks have the same system, otherwise 0; and 1 for a task with itself.

    Args:
        relatedness: As for ``build``.

    Returns:
        float64 ``[regimes, tasks, tasks]``.

    Example:
        >>> truth(0.5).mean(0)[0].round(2)  # task 1 with all tasks, over the regimes
        array([1.  , 0.36, 0.21, 0.  ])
    """
    same = SYSTEMS.T[:, :, None] == SYSTEMS.T[:, None]
    return np.where(np.eye(len(TASK_NAMES), dtype=bool), 1.0, relatedness * same)


def _check(relatedness: float, noise: float, sequences: int, seed: int, fold: int) -> None:
    if complaint("relatedness", relatedness, float) or not 0 <= relatedness <= 1:
        raise ValueError(f"relatedness={short(relatedness)} is not possible; it takes 0 to 1.")
    check_series(noise, sequences, seed, fold, least=15)


def check_series(noise: float, sequences: int, seed: int, fold: int, least: int) -> None:
    """Check the arguments that generated series share.

    Raises:
        ValueError: If one is out of range, such as fewer sequences than `least`.
    """
    if complaint("noise", noise, float) or not 0 <= noise < float("inf"):
        raise ValueError(f"noise={short(noise)} is not possible; it takes 0 or more.")
    if complaint("sequences", sequences, int) or sequences < least:
        raise ValueError(f"sequences={short(sequences)} is not possible; it takes {least} or more per task.")
    if complaint("seed", seed, int) or seed < 0:
        raise ValueError(f"seed={short(seed)} is not possible; it takes a whole number of 0 or more.")
    if complaint("fold", fold, int) or not 0 <= fold < FOLDS:
        raise ValueError(f"fold={short(fold)} is not possible; it takes 0 to {FOLDS - 1}.")


def _directions(relatedness: float, random: np.random.Generator) -> Floats:
    """Draw the direction of every region; [tasks, regimes, classes, features]."""
    shape = REGIMES, len(CLASS_NAMES), FEATURES
    systems = {name: _unit(random.standard_normal(shape)) for name in "CAS"}
    shared = np.stack([[systems[name][regime] for regime, name in enumerate(row)] for row in SYSTEMS])
    own = _unit(random.standard_normal((len(TASK_NAMES), *shape)))
    return np.sqrt(relatedness) * shared + np.sqrt(1 - relatedness) * own


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _task(
    task: int, answers: Floats, noise: float, sequences: int, fold: int, random: np.random.Generator
) -> dict[str, Split]:
    """Generate the splits of one task; `answers` are [steps, classes, features]."""
    label = np.arange(sequences) % len(CLASS_NAMES)
    noises = noise * autocorrelated((sequences, STEPS, FEATURES), random)
    x = torch.from_numpy(answers[:, label].swapaxes(0, 1) + noises).float()
    rows = stratified_rows(label, 0.16, 0.2, random, fold)
    y = torch.from_numpy(label)
    return {name: Split(x[own], torch.full((len(own),), task), y[own]) for name, own in rows.items()}


def autocorrelated(shape: tuple[int, int, int], random: np.random.Generator) -> Floats:
    """Draw noise of variance 1; [sequences, steps, features]."""
    noise = random.standard_normal(shape)
    for step in range(1, shape[1]):
        noise[:, step] = MEMORY * noise[:, step - 1] + np.sqrt(1 - MEMORY**2) * noise[:, step]
    return noise


def joined(parts: list[Split]) -> Split:
    """Return the rows of all parts as one split."""
    return Split(*(torch.cat([getattr(part, name) for part in parts]) for name in ("x", "task", "y")))
