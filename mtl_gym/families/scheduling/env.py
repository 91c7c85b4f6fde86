"""Task scheduling as an environment: which task should a shared network be trained on next?

Source: QLS ("Q-Learning Scheduler for Multi-Task Learning through the use of Histogram of Task Uncertainty").
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import TrainingResult, Transition
from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import EnvOptions, NetworkContext, shallow_dict
from mtl_gym.core.rows import Flags, Info, Rows
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.training_run_env import TrainingRunVectorEnv
from mtl_gym.data import MultiTaskDataset, resolve
from mtl_gym.families.scheduling import render
from mtl_gym.families.scheduling.held_out import Figures, HeldOut
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.options import SchedulingOptions
from mtl_gym.families.scheduling.presets import network_for
from mtl_gym.families.scheduling.reference import reference_accuracy
from mtl_gym.families.scheduling.spans import marks_spans, span_score_of_labels
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.timeline import Timeline
from mtl_gym.families.scheduling.training import Recipe, Training
from mtl_gym.integrations.torchjd import aggregator

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """How far the runs are: what schedulers that follow a rule look at.

    Attributes:
        train_loss: Loss of each task's last minibatch, before that step; NaN before the first. float32 [runs, tasks].
        validation_loss: float32 [runs, tasks].
        validation_accuracy: float32 [runs, tasks].
        gradient_norm: Norm of the gradient of each task's last minibatch at the encoder's last layer; NaN where it was
            not worked out. float32 [runs, tasks].
        trained: Minibatches that each task had; float32 [runs, tasks].
        reference: What accuracies are held against, NaN without a reference; float32 [tasks].
        updates: Gradient steps so far; int64 [runs].
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    gradient_norm: Floats
    trained: Floats
    reference: Floats
    updates: Rows


class SchedulingVectorEnv(TrainingRunVectorEnv):
    """`num_envs` training runs of a fully shared network, side by side as one stacked computation.

    An episode is one training run from fresh weights. Each action picks the task of the next minibatch, or with
    control="weights" the weight of each task's loss in a step on a minibatch of each.

    * Observation: float32 [num_envs, tasks * bins]: for each task the histogram of the network's uncertainty over its
      validation samples of highest loss.
    * Action: int64 [num_envs] in [0, tasks); with control="weights" float32 [num_envs, tasks] in [0, 1].
    * Reward: float32 [num_envs]: minus the validation loss, the mean or the sum over tasks; `penalty` where mean
      validation accuracy is below `tolerance` times the reference.
    * Truncation: after `updates` gradient steps. Nothing terminates.
    * Info, at every step: `train_loss`, `validation_loss`, `validation_accuracy`, `gradient_norm`, `trained`
      [num_envs, tasks] and `updates`, as in `Progress`, but with 0 for what is not known.
    * `final_info`: `accuracy`, `loss` [num_envs, tasks] of the validation split (in an evaluation view, of its split),
      `mean_accuracy`, `is_success` (the reference is reached), `updates`, `seed`.

    Source: QLS, sections 3 and 4.

    Deviation: Adam; the paper follows the training procedure of Søgaard and Goldberg 2016 (plain SGD). The reward has
    the mean over tasks, the paper their sum: `reward="sum"`. The state is the histogram of the hardest validation
    samples, see `Figures.histograms`.

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
    WINDOW: ClassVar[str] = render.WINDOW
    PICTURE: ClassVar[str] = "timeline.png"
    options: SchedulingOptions
    trained: RunStack

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(num_envs, **options)
        self.data = resolve(self.options.data, MultiTaskDataset, self.options.data_root).to(self.device)
        self.template = self._make_template()
        self._warned_of_all = False
        self.chooses = self.options.control == "choice"
        self._steps = self.options.updates // self.options.updates_per_step
        self._held_out = HeldOut(
            self.data, "validation", self.template.objective, self.options.uncertainty, self.options.validation_samples
        )
        self._final: HeldOut | None = None
        self._aggregate = aggregator(self.options.aggregator) if self.options.aggregator else None
        tasks, width = self.data.num_tasks, self.data.num_tasks * self.options.bins
        action = spaces.Discrete(tasks) if self.chooses else spaces.Box(0, 1, (tasks,), np.float32)
        self._set_spaces(spaces.Box(0, 1, (width,), np.float32), action)

    def _make_template(self) -> SharedNetwork:
        context = NetworkContext(self.data, self.options, self.device)
        with seeded(0):  # its weights are drawn anew for every run
            return given_network(self.options.network, SharedNetwork, context, lambda context: network_for(self.data))

    def _build(self) -> None:
        groups = 1 if self.chooses else self.data.num_tasks
        self.training = Training(
            self.data, self.options.split, self.template, self.num_envs, groups, self._recipe(), self._aggregate
        )
        self.network = self.training.runs
        self._warn_if_none_is_left_out()
        self.reference = self._reference()
        self._samples = self.episodes = self._step = 0

    def _warn_if_none_is_left_out(self) -> None:
        looked_at = int(self._held_out.samples.max())
        if self.options.hard_samples >= looked_at and self._source is None and not self._warned_of_all:
            self._warned_of_all = True
            logger.warning(
                "hard_samples=%d takes in all %d validation samples of a task that are looked at, so that the state "
                "has no batch-hard samples: make hard_samples smaller, or validation_samples larger.",
                self.options.hard_samples,
                looked_at,
            )

    def _recipe(self) -> Recipe:
        o = self.options
        return Recipe(o.minibatch, o.learning_rate, o.focal_gamma, o.gradient_norms)

    def _reference(self) -> Floats | None:
        if isinstance(self._source, SchedulingVectorEnv):
            return self._source.reference
        return reference_accuracy(self.options, self.data, self.template, self._held_out)

    @property
    def optimizer(self) -> Any:  # type: ignore[override]
        """The optimizers of all runs."""
        return self.training.optimizer

    def _begin(self, rows: Rows) -> None:
        """All runs are of one length, so they begin together."""
        self._draw_seeds()
        self.training.begin(self.run_seeds.tolist())
        shape = (self.num_envs, self.data.num_tasks)
        self._train_loss = np.full(shape, np.nan, np.float32)
        self._gradient_norm, self._trained = self._train_loss.copy(), np.zeros(shape, np.float32)
        self._new_timeline()
        self._measure()

    def _new_timeline(self) -> None:
        self.timeline = Timeline(self.num_envs, self.data.num_tasks, self.options.bins, self._steps)

    def _measure(self) -> None:
        """Look at the validation samples: the next state, and what the reward is made of."""
        figures = self._held_out.figures(self.training.runs)
        self._histograms = figures.histograms(self.options.hard_samples, self.options.bins)
        self._validation = self._per_task(figures)

    def _per_task(self, figures: Figures) -> tuple[Floats, Floats]:
        """Loss and accuracy, [runs, tasks]."""
        loss, accuracy = torch.stack([figures.task_loss(), figures.task_accuracy()]).cpu().numpy()
        self._check_finite(loss, np.arange(self.data.num_tasks))
        return loss, accuracy

    def _observe(self) -> Tensor:
        return self._histograms.flatten(1).clone()

    def _advance(self, actions: Any, valid: Flags) -> Transition:
        weights = np.eye(self.data.num_tasks, dtype=np.float32)[actions] if self.chooses else actions
        if self.options.train:
            for _ in range(self.options.updates_per_step):
                self._update(actions, weights)
        self._measure()
        loss, accuracy = self._validation
        self.timeline.add(self._step, weights, accuracy, loss, self._histograms[0].cpu().numpy())
        self._step += 1
        over = np.full(self.num_envs, self._step == self._steps)
        return Transition(self._reward(), np.zeros(self.num_envs, bool), over, self._result() if over.all() else None)

    def _update(self, actions: Any, weights: Floats) -> None:
        every = np.arange(self.data.num_tasks)
        task = actions[:, None] if self.chooses else np.broadcast_to(every, weights.shape).copy()
        update = self.training.update(task, np.take_along_axis(weights, task, 1))
        loss, norm = torch.stack([update.loss, update.gradient_norm]).cpu().numpy()
        self._check_finite(loss, task)
        np.put_along_axis(self._train_loss, task, loss, 1)
        np.put_along_axis(self._gradient_norm, task, norm, 1)
        self._trained += weights > 0
        self.updates += 1
        self._samples += task.size * self.options.minibatch

    def _reward(self) -> Floats:
        loss, _ = self._validation
        joined = loss.sum(1) if self.options.reward == "sum" else loss.mean(1)
        return np.where(self._reached(), -joined, np.float32(self.options.penalty)).astype(np.float32)

    def _reached(self) -> Flags:
        """Whether mean validation accuracy is as good as the reference asks for; all True without one."""
        if self.reference is None:
            return np.ones(self.num_envs, bool)
        return self._validation[1].mean(1) >= self.options.tolerance * self.reference.mean()

    def _result(self) -> TrainingResult:
        self.episodes += self.num_envs
        self._last = self.timeline
        loss, accuracy = self._validation
        if self._final is not None:
            loss, accuracy = self._per_task(self._final.figures(self.training.runs))
            self.trained = copy.deepcopy(self.training.runs)
        updates = np.full(self.num_envs, self._step * self.options.updates_per_step)
        measured = (self._held_out if self._final is None else self._final).labels
        return TrainingResult(
            ended=np.ones(self.num_envs, bool),
            success=self._reached(),
            accuracy=accuracy,
            loss=loss,
            labels=measured.sum(-1).cpu().numpy(),
            samples=(measured > 0).sum(-1).cpu().numpy(),
            more={"updates": updates, "seed": self.run_seeds.copy()},
        )

    @property
    def progress(self) -> Progress:
        """How far the runs are; fresh arrays."""
        loss, accuracy = self._validation
        reference = np.full(self.data.num_tasks, np.nan, np.float32) if self.reference is None else self.reference
        return Progress(
            self._train_loss.copy(),
            loss.copy(),
            accuracy.copy(),
            self._gradient_norm.copy(),
            self._trained.copy(),
            reference.copy(),
            np.full(self.num_envs, self._step * self.options.updates_per_step),
        )

    def _measures(self) -> Info:
        return {name: np.nan_to_num(value) for name, value in vars(self.progress).items() if name != "reference"}

    @property
    def _train_size(self) -> int:
        return len(self.data.split(self.options.split))

    def evaluation_view(self, split: str = "test", num_envs: int | None = None) -> MultiTaskVectorEnv:
        """New training runs, whose `final_info` has loss and accuracy on `split`; this environment's own go on.

        Every `reset()` begins the same runs, which are none of the training ones. The pass is over when they are;
        their networks are then in `trained`.

        Args:
            split: What is measured when the runs end: "test", "validation" or "train".
            num_envs: Runs side by side; by default as many as here.
        """
        return super().evaluation_view(split, num_envs)

    def _new_view(self, split: str, num_envs: int | None) -> SchedulingVectorEnv:
        options = replace(self.options, train=True, tensors=False, render_mode=None)
        view = type(self)(self.num_envs if num_envs is None else num_envs, **shallow_dict(options))
        view._final = HeldOut(self.data, split, self.template.objective, None)
        return view

    def _adopt(self, source: SchedulingVectorEnv) -> None:
        seed = np.random.SeedSequence([source.seed or 0, 1]).generate_state(1)[0]
        self._restart(int(seed))

    def evaluation_figures(self) -> dict[str, Any]:
        """What was trained when, and what came of it, in the runs that ended last or are under way.

        `timeline`; `epochs`, passes of a run over the training data; in an evaluation view `f1`, by task name, of tasks
        that mark spans.
        """
        figures = {"timeline": self._last if self.episodes else self.timeline, "epochs": self.epoch}
        return figures | ({"f1": self._f1()} if self._final is not None and self.episodes else {})

    def _f1(self) -> dict[str, float]:
        """F1 over the spans of each task that marks spans, all runs together."""
        assert self._final is not None
        if not self.data.has_sequences:
            return {}
        predicted, real = self._final.predictions(self.trained), self._final.y
        return {
            name: span_score_of_labels(
                predicted[:, task].flatten(0, 1), real[task].repeat(self.num_envs, 1), self.data.class_names[task]
            ).f1
            for task, name in enumerate(self.task_names)
            if marks_spans(self.data.class_names[task])
        }

    def evaluation_spacing(self, steps: int) -> int:
        """An evaluation is a training run, so there is not more than one to an episode."""
        return max(super().evaluation_spacing(steps), self.num_envs * self._steps)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""
        return self.data.task_names

    @property
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be loaded here."""
        names = [[name, *p.shape] for name, p in self.template.encoder.named_parameters()]
        return super().signature | {"data": self.data.name, "tasks": self.data.num_tasks, "encoder": names}

    _ARRAYS: ClassVar[tuple[str, ...]] = ("run_seeds", "_train_loss", "_gradient_norm", "_trained")

    def _state(self) -> dict[str, Any]:
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in self._ARRAYS}
        counts = {"step": self._step, "samples": self._samples, "episodes": self.episodes}
        return {"arrays": arrays, "training": self.training.state(), "timeline": self.timeline.state(), **counts}

    def _load_state(self, state: dict[str, Any]) -> None:
        for name in self._ARRAYS:
            setattr(self, name, state["arrays"][name].numpy().copy())
        self.training.load(state["training"])
        self._step, self._samples, self.episodes = state["step"], state["samples"], state["episodes"]
        self._new_timeline()
        self.timeline.load(state["timeline"])
        self._measure()

    @property
    def transferable(self) -> MultiTaskDataset:
        """The data set of which a task can be left out."""
        return self.data

    def transfer(self, data: MultiTaskDataset, task: int, folds: int, seed: int) -> NDArray[np.float64]:
        """Cross-validate new heads for a task that was left out, on the frozen encoder of each run."""
        from mtl_gym.families.scheduling.transfer import cross_validated, frozen_features

        return cross_validated(*frozen_features(self.trained, data, task), folds, seed)

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Any]:
        """Figures of matplotlib for an evaluation, by file name."""
        line = figures["timeline"]
        return {
            "timeline.png": render.timeline(line, self.task_names, title),
            "uncertainty.png": render.histograms_over_time(line, self.task_names, title),
        }

    def _render(self) -> Any:
        """The histograms now, and the time line of trained tasks above the learning curves."""
        return render.show(self.render_mode, self._histograms[0].cpu().numpy(), self.timeline, self.task_names)


class SchedulingEnv(BatchOfOne):
    """One training run at a time: what `gym.make("MTLScheduling-...")` returns.

    Args:
        **options: The fields of `SchedulingOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-Digits-v0", updates=50, reference=None)
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(4)
    """

    vector_class = SchedulingVectorEnv
