"""Generated clinical time series: patients with known phenotypes, and tasks that share them.

Source: Xu et al. 2021 (MT-RMN) report a clinical data set in their appendix, which is not available; only its kind is
known. Channels and effects here are plausible, not estimated from patients.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.normalisation import statistics
from mtl_gym.data.sources.brain_series import autocorrelated, check_series, joined
from mtl_gym.data.split import Split
from mtl_gym.data.stratified import stratified_rows

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PHENOTYPES = ("infection", "circulation", "kidney")
DAYS, STEPS_PER_DAY = 2, 12
STEPS = DAYS * STEPS_PER_DAY
TASK_NAMES = tuple(f"{phenotype}-{day}" for phenotype in PHENOTYPES for day in range(1, DAYS + 1))
CLASS_NAMES = ("absent", "present")
VITALS = ("heart rate", "blood pressure", "breathing rate", "temperature", "oxygen saturation", "urine output")
LABS = ("lactate", "creatinine", "white cells", "potassium")
# Effect of each phenotype on each channel, vital signs first, in units of the noise.
EFFECTS = np.array(
    [
        [0.5, -0.5, 0.5, 1.0, -0.5, 0.0, 0.5, 0.0, 1.0, 0.0],
        [0.5, -1.0, 0.5, 0.0, -1.0, -0.5, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.5, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0],
    ]
)
MEASURED = 0.25  # share of steps with a new measurement of a laboratory value
CHANGE = 4  # a phenotype changes within this number of steps before or after midnight


def build(root: Path, noise: float = 1.5, sequences: int = 400, seed: int = 2021, fold: int = 0) -> MultiTaskDataset:
    """Generate the data set; ``root`` is ignored.

    A series has 24 steps, 12 a day, of six vital signs and four laboratory values. A patient has each of three
    phenotypes on the first day, on the second, on both or on neither, independently and with equal probability; it
    begins or ends up to four steps before or after midnight. A phenotype shifts the channels by its ``EFFECTS``, which
    are the same for all patients and steps. Noise is autocorrelated (AR(1), 0.5). A laboratory value is measured at a
    quarter of the steps and carried forward; before the first measurement it is 0, the normal value.

    There is a task per phenotype and day: did the patient have it on that day? The other phenotypes are a disturbance.
    Each task has patients of its own.

    Args:
        root: Unused.
        noise: Standard deviation of the noise.
        sequences: Series per task: 64% for training, 16% for validation and 20% for test, stratified by label.
        seed: Seed of the patients, the noise and the splits.
        fold: Fold for test, 0 to 4; the five are disjoint, and the series are the same.

    Returns:
        Inputs float32 ``[24, 10]``, normalised per channel; six tasks of two classes.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> data = build(Path(), sequences=50)
        >>> data.input_shape, data.task_names[:2], len(data.split("test"))
        ((24, 10), ('infection-1', 'infection-2'), 60)
    """
    check_series(noise, sequences, seed, fold, least=10)
    random = np.random.default_rng(seed)
    parts = [_task(task, noise, sequences, fold, random) for task in range(len(TASK_NAMES))]
    splits = {name: joined([part[name] for part in parts]) for name in parts[0]}
    mean, std = statistics(splits["train"].x.flatten(0, 1))
    return MultiTaskDataset("clinical-series", splits, TASK_NAMES, (CLASS_NAMES,) * len(TASK_NAMES), mean, std)


def truth() -> Floats:
    """Return the relatedness of the tasks: the cosine of the effects of their phenotypes.

    It is 1 for the two tasks of a phenotype. They read the same direction of the channels, at different steps.

    Returns:
        float64 ``[tasks, tasks]``.

    Example:
        >>> truth()[::2, ::2].round(2)  # infection, circulation, kidney
        array([[ 1.  ,  0.57, -0.08],
               [ 0.57,  1.  ,  0.  ],
               [-0.08,  0.  ,  1.  ]])
    """
    unit = np.repeat(EFFECTS / np.linalg.norm(EFFECTS, axis=1, keepdims=True), DAYS, axis=0)
    return unit @ unit.T


def _task(task: int, noise: float, sequences: int, fold: int, random: np.random.Generator) -> dict[str, Split]:
    """Generate the splits of one task."""
    phenotype, day = divmod(task, DAYS)
    present = random.integers(0, 2, (sequences, len(PHENOTYPES), DAYS))
    present[:, phenotype, day] = label = np.arange(sequences) % len(CLASS_NAMES)
    values = _severity(present, random) @ EFFECTS
    values += noise * autocorrelated((sequences, STEPS, values.shape[2]), random)
    x = torch.from_numpy(_carried_forward(values, random)).float()
    rows, y = stratified_rows(label, 0.16, 0.2, random, fold), torch.from_numpy(label)
    return {name: Split(x[own], torch.full((len(own),), task), y[own]) for name, own in rows.items()}


def _severity(present: Rows, random: np.random.Generator) -> Floats:
    """Return whether each phenotype is present; present [n, phenotypes, days] -> [n, steps, phenotypes]."""
    change = random.integers(STEPS_PER_DAY - CHANGE, STEPS_PER_DAY + CHANGE + 1, present.shape[:2])
    later = np.arange(STEPS)[:, None] >= change[:, None]
    return np.where(later, present[:, None, :, 1], present[:, None, :, 0]).astype(np.float64)


def _carried_forward(values: Floats, random: np.random.Generator) -> Floats:
    """Repeat each laboratory value until its next measurement; [n, steps, channels]."""
    measured = random.random(values.shape) < MEASURED
    measured[:, :, : len(VITALS)] = True
    latest = np.maximum.accumulate(np.where(measured, np.arange(STEPS)[:, None], -1), axis=1)
    return np.where(latest < 0, 0.0, np.take_along_axis(values, latest.clip(min=0), axis=1))
