"""`recommend_groups`: separate, shared and grouped training of a data set, at the cost of at most ten trainings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

import numpy as np

from mtl_gym.core.arguments import SEEDS
from mtl_gym.core.ranges import PART, SIZES, Range, out_of_range
from mtl_gym.core.rows import Rows
from mtl_gym.core.validation import complaint, short
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.bags import bag_of_words
from mtl_gym.data.resolution import resolve
from mtl_gym.recommend.grouping import HeldOutAnswers, agglomerate, together
from mtl_gym.recommend.recommendation import GROUPED, SEPARATE, SHARED, Recommendation
from mtl_gym.recommend.training import Body, Setup, Trained, default_body

LEAST_SAMPLES, LEAST_EPOCHS = 40_000, 5
MOST_SEEDS = 3
# Cost of a forward pass, in training samples, which need a backward pass as well.
FORWARD = 1 / 3
logger = logging.getLogger(__name__)
Tell = Callable[[str, float], object]
_TYPES = {"seeds": Sequence[int], "samples": int | None, "hidden": int, "learning_rate": float}
_RANGES = {"seeds": SEEDS, "samples": Range(1, 1e9), "hidden": SIZES, "learning_rate": PART}


def recommend_groups(
    data: str | MultiTaskDataset,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    samples: int | None = None,
    hidden: int = 32,
    learning_rate: float = 3e-3,
    body: Body | None = None,
    data_root: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    progress: Tell = lambda doing, share: None,
) -> Recommendation:
    """Recommend which tasks should share a network, and measure what separate, shared and grouped training reach.

    1. A network per task is trained, for each seed.
    2. The networks answer validation samples of all tasks. Tasks are merged into groups as long as the mean of their
       networks answers no worse than each does for its own task; see `agglomerate`. Repeating this for seeds and
       samples drawn anew tells how sure the groups are.
    3. One network for all tasks, and one network per group, are trained for each seed. The training with the best
       validation accuracy is the recommended one; test samples are used for nothing but its figures.

    A network is a body and a head. Tasks whose classes have the same names share both within a group; otherwise they
    share the body, and each task has its own head.

    Three seeds make nine trainings, and the forward passes of step 2 cost at most as much as one more, if `samples` is
    at least four times the square of the number of tasks; with fewer, a warning is logged. If all tasks form one group,
    or none do, the grouped training is one of the other two and is not repeated.

    Args:
        data: Name of a data set, or the data set. Texts are taken as bags of their 5,000 most frequent words.
        seeds: Distinct seeds, two or three: of weights and of the order of samples.
        samples: Training samples of one training, repetitions counted; by default 40,000, or 5 passes over the data if
            these are more.
        hidden: Units of the hidden layer of the default body; see `default_body`.
        learning_rate: Learning rate of Adam, in (0, 1].
        body: Function of the data set that returns a fresh body, a module from inputs float32 [rows, *input_shape] to
            features [rows, features], to which ReLU is applied.
        data_root: Folder of the data; ignored for an object.
        device: Device of the networks.
        progress: Called with the training under way and the share of all trainings done, in [0, 1].

    Returns:
        The recommendation; print it for a table.

    Raises:
        ValueError: If an argument is invalid, there are fewer than two tasks, or a task lacks samples in a split.

    Example:
        >>> from mtl_gym.families.routing.groups import taught
        >>> truth = taught(tasks=4, groups=2, samples=40, instance=1)
        >>> recommend_groups(truth.data, seeds=(0, 1), samples=8_000).groups
        (('task 0', 'task 3'), ('task 1', 'task 2'))
    """
    _check_arguments(seeds, samples=samples, hidden=hidden, learning_rate=learning_rate)
    found = resolve(data, MultiTaskDataset, data_root)
    _check_data(found)
    if found.has_text and not found.has_sequences:
        found = bag_of_words(found)
    samples = samples or max(LEAST_SAMPLES, LEAST_EPOCHS * len(found.split("train")))
    _warn_of_cost(samples, found.num_tasks)
    setup = Setup(found, samples, body or default_body(hidden), learning_rate, device)
    return _Search(setup, tuple(seeds), progress).carry_out()


class _Search:
    """Trainings under way, with their accuracies."""

    def __init__(self, setup: Setup, seeds: tuple[int, ...], progress: Tell) -> None:
        self.setup, self.seeds, self.progress = setup, seeds, progress
        self.done, self.forward_passes = 0, 0
        self.validation: dict[str, tuple[float, ...]] = {}
        self.test: dict[str, tuple[float, ...]] = {}

    def carry_out(self) -> Recommendation:
        """Train, group and compare."""
        data = self.setup.data
        tasks = data.num_tasks
        answers = self._answers(self._train(SEPARATE, np.arange(tasks)))
        group = agglomerate(answers)
        pairs = together(answers, np.random.default_rng(self.seeds[0]))
        self._train(SHARED, np.zeros(tasks, np.int64))
        same = {1: SHARED, tasks: SEPARATE}.get(int(group.max()) + 1)
        if same is None:
            self._train(GROUPED, group)
        else:
            self.validation[GROUPED], self.test[GROUPED] = self.validation[same], self.test[same]
        # The first of equals needs fewest networks.
        choice = max((SHARED, GROUPED, SEPARATE), key=lambda name: np.mean(self.validation[name]))
        choice = same if same is not None and choice == GROUPED else choice
        cost = self.done + FORWARD * self.forward_passes / self.setup.samples
        figures = (self.validation, self.test, self.setup.samples, cost)
        return Recommendation(data.name, data.task_names, choice, group, pairs, *figures)

    def _train(self, name: str, group: Rows) -> list[Trained]:
        trained = [self._train_one(name, group, seed) for seed in self.seeds]
        self.validation[name] = tuple(network.accuracy("validation") for network in trained)
        self.test[name] = tuple(network.accuracy("test") for network in trained)
        return trained

    def _train_one(self, name: str, group: Rows, seed: int) -> Trained:
        def tick(samples: int) -> None:
            done = self.done + samples / self.setup.samples
            self.progress(f"{name}, seed {seed}", min(done / (3 * len(self.seeds)), 1.0))

        trained = self.setup.train(group, seed, tick)
        self.done += 1
        return trained

    def _answers(self, trained: list[Trained]) -> HeldOutAnswers:
        """Return the answers to validation samples, with forward passes for at most the cost of one training."""
        data, random = self.setup.data, np.random.default_rng(self.seeds[0])
        budget = int(self.setup.samples / FORWARD / (len(trained) * data.num_tasks**2))
        query = _rows(data, "validation", budget if self.setup.one_meaning else budget // 2, random)
        support = None if self.setup.one_meaning else _rows(data, "train", budget // 2, random)
        self.forward_passes = len(trained) * data.num_tasks * (len(query) + (0 if support is None else len(support)))
        scores = np.stack([network.scores(query, support) for network in trained])
        split = data.split("validation")
        return HeldOutAnswers(scores, split.y.numpy()[query], split.task.numpy()[query])


def _rows(data: MultiTaskDataset, split: str, most: int, random: np.random.Generator) -> Rows:
    """Draw rows of each task, at most `most` and at least two, as far as there are; int64 [rows]."""
    task = data.split(split).task.numpy()
    drawn = random.permutation(len(task))
    return np.sort(np.concatenate([drawn[task[drawn] == t][: max(most, 2)] for t in range(data.num_tasks)]))


def _warn_of_cost(samples: int, tasks: int) -> None:
    """Log a warning if forward passes of the fewest rows may cost more than one training.

    Three seeds x `tasks` networks x `tasks` tasks x four rows (two query rows, two support rows) x `FORWARD`.
    """
    least = 4 * tasks**2
    if samples < least:
        logger.warning(
            "samples=%s for %s tasks may cost more than ten trainings; give at least 4 x %s x %s = %s.",
            *(f"{samples:,}", tasks, tasks, tasks, f"{least:,}"),
        )


def _check_arguments(seeds: Sequence[int], **numbers: object) -> None:
    """Raise ValueError for seeds or numbers that cannot be used."""
    for name, value in ({"seeds": seeds} | numbers).items():
        wrong = complaint(name, value, _TYPES[name]) or out_of_range(name, value, _TYPES[name], _RANGES[name])
        if wrong is not None:
            raise ValueError(f"recommend_groups: {wrong}")
    if not 2 <= len(set(seeds)) == len(seeds) <= MOST_SEEDS:
        raise ValueError(
            f"recommend_groups: seeds={short(seeds)} is not possible; give two or three distinct seeds: each "
            "takes three trainings."
        )


def _check_data(data: MultiTaskDataset) -> None:
    """Raise ValueError if there is nothing to group, or a task cannot be trained or measured."""
    if data.num_tasks < 2:
        raise ValueError(f"data set {data.name!r} has one task; recommend_groups needs two or more.")
    for split in data.splits:
        sizes = data.task_sizes(split)
        if not all(sizes):
            task = data.task_names[sizes.index(0)]
            raise ValueError(f"task {task!r} of {data.name!r} has no {split} sample; give it some.")
