"""Environments that schedule the tasks of a shared network.

Source: QLS ("Q-Learning Scheduler for Multi-Task Learning through the use of Histogram of Task Uncertainty").
"""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.episode import Floats, TrainingResult
from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.interfaces import RUNS, TARGETS, Interface
from mtl_gym.core.options import EnvOptions, NetworkContext, data_of
from mtl_gym.core.packing import read_together
from mtl_gym.core.rows import Array, Flags, Rows, State
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.structure import Maybe
from mtl_gym.core.training_run_env import TrainingRunVectorEnv
from mtl_gym.core.validation import short
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.split import NO_LABEL
from mtl_gym.data.task_numbers import task_numbers
from mtl_gym.families.scheduling import render
from mtl_gym.families.scheduling.early_stopping import BestWeights
from mtl_gym.families.scheduling.held_out import HeldOut
from mtl_gym.families.scheduling.making import make_template
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.observation import observation_space, progress_features
from mtl_gym.families.scheduling.options import SchedulingOptions
from mtl_gym.families.scheduling.presets import network_for
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.families.scheduling.reference import reference_accuracy
from mtl_gym.families.scheduling.spans import f1_by_task
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.timeline import Timeline
from mtl_gym.families.scheduling.training import RunTraining
from mtl_gym.integrations.torchjd import aggregator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)


class SchedulingVectorEnv(TrainingRunVectorEnv[Progress]):
    """`num_envs` training runs of a fully shared network, side by side as one stacked computation.

    An episode is one training run from fresh weights. Each action picks the task of the next minibatch or, with
    control="weights", the weight of each task's loss in a gradient step on one minibatch of every task.

    * Observation: float32 [num_envs, tasks * bins]: for each task, the histogram of the network's uncertainty over the
      validation samples of highest loss. With observation="progress" float32 [num_envs, 3 * tasks + 1], see
      `progress_features`.
    * Action: int64 [num_envs] in [0, tasks); with control="weights" float32 [num_envs, tasks] in [0, 1].
    * Reward: float32 [num_envs]: minus the validation loss, the mean or the sum over tasks, or the gain in mean
      validation accuracy; `penalty` where mean validation accuracy is below `tolerance` times the reference. With
      `target_tasks`, over these alone.
    * Truncation: after `updates` gradient steps. Episodes never terminate.
    * Info, at every step: `train_loss`, `validation_loss`, `validation_accuracy`, `gradient_norm`, `trained`
      [num_envs, tasks] and `updates`, as in `Progress`, with 0 in place of NaN.
    * `final_info`: `accuracy`, `loss` [num_envs, tasks] on the validation split (in an evaluation view, on its split),
      `mean_accuracy`, `is_success` (the reference is reached), `updates`, `seed`.

    Evaluation views train their own runs, the same after every `reset()`. When the runs end, `final_info` has loss and
    accuracy on the view's split, and `trained` the networks.

    Source: QLS, sections 3 and 4.

    Deviation: Adam; the paper follows the training procedure of Søgaard and Goldberg 2016 (plain SGD). The reward is
    the mean over tasks; the paper's is the sum: `reward="sum"`. For the choice of hard samples see
    `HeldOutFigures.histograms`.

    Example:
        >>> env = SchedulingVectorEnv(num_envs=2, data="digits", updates=100, reference=None)
        >>> obs, info = env.reset(seed=0)
        >>> obs.shape, info["validation_loss"].shape
        ((2, 200), (2, 10))
        >>> obs, reward, terminated, truncated, info = env.step(np.array([3, 7]))
        >>> info["trained"][1].astype(int).tolist()
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    """

    Options: ClassVar[type[EnvOptions]] = SchedulingOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({RUNS, TARGETS})
    PROGRESS: ClassVar[type[Any]] = Progress
    WINDOW: ClassVar[str] = render.WINDOW
    SEEN: ClassVar[str] = render.SEEN
    PICTURE: ClassVar[str] = "timeline.png"
    options: SchedulingOptions
    data: MultiTaskDataset
    trained: RunStack

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self.data = self._load_data().to(self.device)
        self.template = make_template(
            NetworkContext(self.data, self.options, self.device), self.data, self._network_for
        )
        self._warned_of_all = False
        self.chooses = self.options.control == "choice"
        self._bins = self.options.bins if self.options.observation == "histogram" else 0
        measure = self.options.uncertainty if self._bins else None
        self._held_out = HeldOut(
            self.data, "validation", self.template.objective, measure, self.options.validation_samples
        )
        self._aggregate = aggregator(self.options.aggregator) if self.options.aggregator else None
        tasks = self.data.num_tasks
        self._tasks, self._one_hot = np.arange(tasks), np.eye(tasks, dtype=np.float32)
        self._paying: slice | Rows = slice(None) if self.options.target_tasks is None else self.targets
        action = spaces.Discrete(tasks) if self.chooses else spaces.Box(0, 1, (tasks,), np.float32)
        self._set_spaces(observation_space(tasks, self._bins), action)

    def _load_data(self) -> MultiTaskDataset:
        return data_of(self.options, MultiTaskDataset)

    def _network_for(self, data: MultiTaskDataset) -> SharedNetwork:
        """Make the network where the option `network` gives none."""
        return network_for(data)

    @cached_property
    def targets(self) -> Rows:
        """Numbers of the tasks that count: `target_tasks`, or all; int64 [targets]."""
        chosen = self.options.target_tasks
        return np.array(range(self.data.num_tasks) if chosen is None else task_numbers(self.data, chosen))

    @property
    def run_length(self) -> int:
        """Decisions of a run."""
        return self.options.updates // self.options.updates_per_step

    def _build_runs(self) -> None:
        groups = 1 if self.chooses else self.data.num_tasks
        self.training = RunTraining(
            self.data, self.options.split, self.template, self.num_envs, groups, self.options.recipe, self._aggregate
        )
        self.network, self.optimizer = self.training.runs, self.training.optimizer
        self._warn_if_none_is_left_out()
        self.reference = self._reference()
        self._ended: Timeline | None = None

    def _warn_if_none_is_left_out(self) -> None:
        looked_at = int(self._held_out.samples.max())
        if self._bins and self.options.hard_samples >= looked_at and self._source is None and not self._warned_of_all:
            self._warned_of_all = True
            logger.warning(
                "hard_samples=%d selects all %d validation samples of a task, so that no batch-hard samples are left "
                "out: decrease hard_samples or increase validation_samples.",
                self.options.hard_samples,
                looked_at,
            )

    def _reference(self) -> Floats | None:
        if isinstance(self._source, SchedulingVectorEnv):
            return self._source.reference
        return reference_accuracy(self.options, self.data, self.template, self._held_out)

    def _begin_runs(self) -> Progress:
        self.training.begin(self.run_seeds.tolist())
        tasks = self.data.num_tasks
        self.timeline = Timeline.empty(self.num_envs, tasks, self._bins, self.run_length)
        unknown = np.full(tasks, np.nan, np.float32)
        reference = unknown if self.reference is None else self.reference
        progress = self._measured(Progress.none_yet(self.num_envs, reference))
        if self.options.early_stopping:
            self._best = BestWeights(self.training.runs, self._worth_of(progress))
        return progress

    def _measured(self, progress: Progress) -> Progress:
        """Measure the validation samples for the next observation; return the progress with their loss and accuracy."""
        (loss, accuracy), _ = self._look()
        self._check_losses(loss, self._tasks)
        return replace(progress, validation_loss=loss, validation_accuracy=accuracy)

    def _look(self, *more: Tensor) -> list[Floats]:
        """Measure the validation samples for the next observation, and read figures from the device at once.

        Returns:
            Loss and accuracy, [2, runs, tasks]; histograms of the first run, [tasks, bins]; and the values of `more`.
        """
        figures = self._held_out.figures(self.training.runs)
        self._histograms = figures.histograms(self.options.hard_samples, self._bins)
        return read_together([figures.per_task(), self._histograms[0], *more])

    def _check_losses(self, loss: Floats, task: Rows) -> None:
        if not np.isfinite(loss).all():
            self._check_finite(loss, task)

    def _observe(self) -> Tensor:
        if self._bins:
            return self._histograms.flatten(1).clone()
        features = progress_features(self._progress, np.array(self.data.num_classes), self.options.updates)
        return torch.from_numpy(features).to(self.device)

    def _train_runs(self, actions: Array) -> Progress:
        steps, runs = self.options.updates_per_step, self.num_envs
        if self.chooses:
            task, own, weights = actions[:, None], np.ones((runs, 1), np.float32), self._one_hot[actions]
        else:
            task, own, weights = np.tile(self._tasks, (runs, 1)), actions, actions
        updates = [self.training.update(task, own) for _ in range(steps if self.options.train else 0)]
        trained = [torch.stack([update.loss, update.gradient_norm]) for update in updates]
        validation, histogram, *read = self._look(*trained)
        after = self._progress.after(steps, validation)
        for loss, norm in read:
            self._record(after, task, weights, loss, norm)
        self._check_losses(validation[0], self._tasks)
        self.timeline.add(self._step, weights, after.validation_accuracy, after.validation_loss, histogram)
        return after

    def _record(self, progress: Progress, task: Rows, weights: Floats, loss: Floats, norm: Floats) -> None:
        """Record a gradient step of every run; task, loss and norm [runs, groups], weights [runs, tasks]."""
        self._check_losses(loss, task)
        where = (np.arange(self.num_envs)[:, None], task)
        progress.train_loss[where], progress.gradient_norm[where] = loss, norm
        progress.trained[:] += weights > 0
        self._count(updates=1, samples=task.size * self.options.minibatch)

    def _reward(self, before: Progress, after: Progress) -> Floats:
        loss = after.validation_loss[:, self._paying]
        gain = self._gain(before, after)
        if self.options.reward == "gain":
            paid = gain
        else:
            paid = -(loss.sum(1) if self.options.reward == "sum" else loss.mean(1))
        return np.where(self._reached(after), paid, np.float32(self.options.penalty)).astype(np.float32)

    def _gain(self, before: Progress, after: Progress) -> Floats:
        """Return what a decision added to a run's worth; with early stopping, to its highest so far."""
        worth = self._worth_of(after)
        return (
            self._best.offer(self.training.runs, worth)
            if self.options.early_stopping
            else worth - self._worth_of(before)
        )

    def _worth_of(self, progress: Progress) -> Floats:
        return self._worth(progress.validation_accuracy, progress.validation_loss)

    def _worth(self, accuracy: Array, loss: Array) -> Array:
        """Return what a run is worth, higher is better; [..., tasks] -> [...]. By default mean accuracy."""
        return accuracy[..., self._paying].mean(-1)

    def figure(self, accuracy: NDArray[np.float64], loss: NDArray[np.float64]) -> float:
        """Return the mean accuracy of the targets in per cent."""
        return super().figure(accuracy[self._paying], loss[self._paying])

    @property
    def figure_tasks(self) -> tuple[str, ...]:
        """Names of the targets; empty if all tasks count."""
        chosen = sorted(self.targets.tolist())
        return () if len(chosen) == self.data.num_tasks else tuple(self.task_names[task] for task in chosen)

    def _reached(self, progress: Progress) -> Flags:
        """Return the runs whose mean validation accuracy reaches `tolerance` times the reference; all without one."""
        if self.reference is None:
            return np.ones(self.num_envs, bool)
        accuracy, needed = progress.validation_accuracy[:, self._paying], self.reference[self._paying]
        reached: Flags = accuracy.mean(1) >= self.options.tolerance * needed.mean()
        return reached

    def _result(self, split: str) -> TrainingResult:
        self._ended, progress = self.timeline, self._at_end()
        loss, accuracy = progress.validation_loss, progress.validation_accuracy
        if self.evaluated_split is not None:
            loss, accuracy = self._measured_at_end.figures(self.training.runs).per_task().cpu().numpy()
            self._check_losses(loss, self._tasks)
            self.trained = copy.deepcopy(self.training.runs)
        return TrainingResult(
            ended=np.ones(self.num_envs, bool),
            success=self._reached(progress),
            accuracy=accuracy,
            loss=loss,
            labels=self._measured_at_end.total,
            samples=self._measured_at_end.samples,
            more={"updates": progress.updates},
        )

    def _at_end(self) -> Progress:
        """Return the progress of runs that end; with early stopping, restore and measure their best weights."""
        if not self.options.early_stopping:
            return self.progress
        self._best.restore(self.training.runs)
        loss, accuracy = self._held_out.figures(self.training.runs).per_task().cpu().numpy()
        return replace(self.progress, validation_loss=loss, validation_accuracy=accuracy)

    @cached_property
    def _measured_at_end(self) -> HeldOut:
        """Samples that measure the runs at their end."""
        if self.evaluated_split is None:
            return self._held_out
        return HeldOut(self.data, self.evaluated_split, self.template.objective, None)

    def _measures(self) -> dict[str, Array]:
        return self._progress.measures()

    def evaluation_figures(self) -> dict[str, Any]:
        """Return figures of the last completed runs or, before any has ended, of the runs under way.

        `timeline`; `epochs`, passes of a run over the training data; in an evaluation view, `f1` by task name for tasks
        whose tags mark spans.
        """
        figures = {**super().evaluation_figures(), "timeline": self.timeline if self._ended is None else self._ended}
        return figures | ({"f1": self._f1()} if self.evaluated_split is not None and self.episodes else {})

    def _f1(self) -> dict[str, float]:
        if not self.data.has_sequences:
            return {}
        measured = self._measured_at_end
        # Tasks with fewer sentences are padded with copies of one.
        real = measured.y.masked_fill(measured.labels[..., None] == 0, NO_LABEL)
        return f1_by_task(measured.predictions(self.trained), real, self.data)

    @property
    def signature(self) -> dict[str, Any]:
        """Plain values that must be equal in a checkpoint and in the environment that loads it."""
        shapes = [[name, *p.shape] for name, p in self.template.encoder.named_parameters()]
        return super().signature | {"data": self.data.name, "encoder": shapes}

    def _runs_state(self) -> State:
        ended = None if self._ended is None else tensors_of(self._ended)
        best = {"best": self._best.state()} if self.options.early_stopping else {}
        return {"training": self.training.state(), "timeline": tensors_of(self.timeline), "ended": ended, **best}

    def _runs_model(self) -> State:
        return self._runs_state() | {"ended": Maybe(tensors_of(self.timeline))}

    def _load_runs(self, state: State) -> None:
        self.training.load(state["training"])
        self.timeline = replace(arrays_of(Timeline, state["timeline"]), step=self.timeline.step)
        self._ended = None if state["ended"] is None else arrays_of(Timeline, state["ended"])
        if self.options.early_stopping:
            self._best.load(state["best"])
        self._progress = self._measured(self._progress)

    @property
    def transferable(self) -> MultiTaskDataset | None:
        """Data set whose tasks can be held out; None if the environment makes it, as a whole.

        Raises:
            ValueError: If an option is of all tasks; a training without one of them does not have it.
        """
        if isinstance(self.options, GeneratedOptions):
            return None
        for name in ("target_tasks", "reference"):
            value = getattr(self.options, name)
            if value is not None and not isinstance(value, str | float | int):
                raise ValueError(
                    f"{name}={short(value)} is of all tasks, and a transfer trains on all but one; leave it out."
                )
        return self.data

    def transfer(self, data: MultiTaskDataset, task: int, folds: int, seed: int) -> NDArray[np.float64]:
        """Cross-validate new heads for a held-out task on the frozen encoder of each run; float64 [runs, folds]."""
        from mtl_gym.families.scheduling.transfer import cross_validated, frozen_features

        return cross_validated(*frozen_features(self.trained, data, task), folds, seed)

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Figure]:
        """Draw the pictures of an evaluation, by file name."""
        line = figures["timeline"]
        drawn = {"timeline.png": render.timeline(line, self.task_names, title)}
        if self._bins:
            drawn["uncertainty.png"] = render.histograms_over_time(line, self.task_names, title)
        return drawn

    def _render(self) -> Array | str | None:
        """Show the current histograms, and the timeline of trained tasks above the learning curves."""
        line, histogram = self.timeline, self._histograms[0].cpu().numpy()
        if self._shows_end and self._ended is not None:
            line, histogram = self._ended, self._ended.histogram[-1]
        return render.show(self.render_mode, histogram, line, self.task_names, self._last_weights(), self.heading)

    def _last_weights(self) -> Floats | None:
        """Return the weight of each task in the last decision; float32 [tasks], or None."""
        if self.narration is None:
            return None
        if not self.narration.actions:
            return np.zeros(self.data.num_tasks, np.float32)
        action = self.narration.actions[-1]
        return self._one_hot[int(action)] if self.chooses else action

    def _named(self, action: Array) -> str:
        if self.chooses:
            return f"train {self.task_names[int(action)]}"
        heaviest = np.argsort(-action, kind="stable")[:3]
        names = ", ".join(f"{self.task_names[task]} {action[task]:.2f}" for task in heaviest)
        return f"weights {names}{' and less' * (len(action) > len(heaviest))}"

    def _reached_text(self) -> str:
        line = self._ended if self._shows_end and self._ended is not None else self.timeline
        return render.reached(line)


class SchedulingEnv(BatchOfOne):
    """A single training run; the result of `gym.make("MTLScheduling-...")`.

    Args:
        **options: Fields of `SchedulingOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-Digits-v0", updates=50, reference=None)
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(4)
    """

    vector_class = SchedulingVectorEnv
