"""The base of families in which an episode takes one input to its answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor, nn
from typing_extensions import Self

from mtl_gym.core.actions import nearest_valid
from mtl_gym.core.balance import balanced_rows, class_weights
from mtl_gym.core.classification import Answers, Classes, FinalReward, final_reward, judge, one_answer_each
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import AnswerResult, Floats, Transition
from mtl_gym.core.measure import Measure
from mtl_gym.core.options import EnvOptions, NetworkContext, data_of
from mtl_gym.core.ranges import COUNTS, PART, Range
from mtl_gym.core.rows import Array, Flags, Observation, Rows, State
from mtl_gym.core.sampling import Pass, SampleStream
from mtl_gym.data.dataset import MultiTaskDataset

# Makes a stream from the task of every sample, int64 [n], and the generator that shuffles.
Order: TypeAlias = Callable[[Rows, np.random.Generator], SampleStream]


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions(EnvOptions):
    """Keyword arguments that all classification environments share, besides those of `EnvOptions`.

    Attributes:
        data: Name of a data set, or a `MultiTaskDataset`.
        reward: Final reward: "correct" (+1, -1), "loss" (minus the cross-entropy), or a callable of
            (logits [rows, classes], label [rows], task [rows]) that returns [rows].
        lr_decay: Factor on the learning rate after every `decay_epochs`.
        decay_epochs: Passes over the training data between two decays of the learning rate.
        train_batch: Least number of episodes per update.
        invalid: What a masked choice does: "end" ends the episode; "nearest" makes it the next valid choice above it,
            counting on from 0 after the last, for algorithms that know no masks.
        balanced: If True, training draws the classes of a task equally often, and accuracy is the mean over classes of
            the share of right answers ("balanced accuracy"; chance is 1 / classes).
    """

    RANGES: ClassVar[Mapping[str, Range]] = {"lr_decay": PART, "decay_epochs": COUNTS, "train_batch": COUNTS}

    data: str | MultiTaskDataset = "digits"
    reward: str | FinalReward = "loss"
    lr_decay: float = 0.97
    decay_epochs: int = 1
    train_batch: int = 64
    invalid: str = "end"
    balanced: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        self._require("invalid", self.invalid in ("end", "nearest"), "'end' or 'nearest'")


class ClassificationVectorEnv(MultiTaskVectorEnv):
    """`num_envs` labelled inputs of one data set on their way through a shared network, each until it is answered.

    A family adds these hooks, described in `MultiTaskVectorEnv` where no text follows:

    * `_build`: Make network and optimizer, then call `_set_up`.
    * `_set_up`: Make the state of the rows anew, besides what is done here.
    * `_sample`: Return the sample of each row.
    * `_begin`: Begin episodes on the samples of `_draw`, besides what is done here.
    * `_advance`: Carry out one decision; `_settle` pays the answers.
    * `_update`: Take one gradient step on the episodes that ended; `_descend` helps.
    * `_observe`, `_render`.
    * `_state` and `_load_state`: Save and restore the rest, besides what is done here.

    Defaults that it may replace: `_load_data` takes data sets with one label per input; `_resume` does nothing after an
    update; `_candidates` are all samples of the split, and `_open_stream` begins to draw from them; `_learn` counts the
    episodes that ended.

    Attributes:
        data: The data set, on the device.
        batch_size: Episodes per update of a run: `train_batch`, rounded up to a multiple of its rows, so that rows in
            step use up a batch of inputs exactly.
        episodes: Episodes of each run so far that trained.
        waiting: Rows whose episode ended and that wait for the next `reset`; bool [num_envs]. None do, unless the
            environment plays in rounds.
    """

    FAMILY: ClassVar[str]
    options: ClassificationOptions
    _template: nn.Module
    _order: Order | None = None

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        rounds = -(-self.options.train_batch // self.rows_per_run) if self.options.train else 1
        self.batch_size = self.rows_per_run * rounds
        self.run = np.repeat(np.arange(self.runs), self.rows_per_run)
        self.data = self._load_data().to(self.device)
        split = self.data.split(self.options.split)
        self._task, self._label = split.task.cpu().numpy(), split.y.cpu().numpy()
        self._final_reward = final_reward(self.options.reward)
        self._classes = Classes(self.data, self.device)
        resampled = self.options.balanced and self.options.train
        self._candidates = balanced_rows(self._task, self._label) if resampled else np.arange(len(self._task))
        self._weight = class_weights(self._task, self._label) if self.options.balanced else None
        self._ended = self.episodes = 0
        self.waiting = np.zeros(self.num_envs, bool)

    def _load_data(self) -> MultiTaskDataset:
        data = data_of(self.options, MultiTaskDataset)
        return one_answer_each(data, self.FAMILY)

    @property
    @abstractmethod
    def _sample(self) -> Rows:
        """Return the sample of each row, -1 for none; int64 [num_envs]."""

    @abstractmethod
    def _update(self) -> None:
        """Take one gradient step on the episodes that ended since the last."""

    def _resume(self, under_way: Flags) -> None:
        """Bring the episodes of `under_way` up to the weights after an update; bool [num_envs]."""

    @property
    def _context(self) -> NetworkContext:
        return NetworkContext(self.data, self.options, self.device)

    def _given_weights(self) -> State | None:
        return dict(self._template.state_dict()) if isinstance(self.options.network, nn.Module) else None

    def play_in_rounds(self, order: Order) -> None:
        """Begin episodes at `reset` alone, all together: a row whose episode ends waits for the next `reset`.

        The action of a waiting row is ignored; it trains nothing, is counted nowhere and earns 0. Call this before the
        first `reset`. Views do not play in rounds.

        Args:
            order: Makes the stream of samples.
        """
        if self.runs > 1:
            raise ValueError(f"runs={self.runs} do not play in rounds: use runs=1.")
        self._order, self.waiting = order, np.ones(self.num_envs, bool)
        self.metadata = self.metadata | {"autoreset_mode": AutoresetMode.DISABLED}

    def _set_up(self) -> None:
        self._ended = self.episodes = 0
        self.waiting = np.full(self.num_envs, self._order is not None)
        self._open_stream()

    def _open_stream(self) -> None:
        """Begin to draw from the candidates."""
        size = len(self._candidates)
        if self._source is not None:
            self._stream: SampleStream | Pass = Pass(size, self.num_envs)
        elif self._order is not None:
            self._stream = self._order(self._task[self._candidates], self.np_random)
        else:
            self._stream = SampleStream(size, *self.randoms)

    def _draw(self, rows: Rows, count: int) -> Rows:
        """Return the next `count` samples of each run while training, else the next of each of `rows`, -1 for none."""
        places = self._stream.supply(rows, count)
        return np.where(places < 0, -1, self._candidates[places])

    def _begin(self, rows: Rows) -> None:
        self.waiting[rows] = False

    def _tasks(self) -> Rows:
        """Return the task of each row; int64 [num_envs]."""
        return self._task[self._sample]

    def _task_name(self, row: int) -> str:
        return self.data.task_names[self._tasks()[row]]

    def _where(self) -> str:
        return f"{self._decisions} for {'' if self.narration is None else self.narration.task}"

    def _verdict(self) -> str:
        told = self.narration
        if told is None or not told.over or told.refused:
            return super()._verdict()
        return "The answer is right." if told.success else "The answer is wrong."

    def _admitted(self, actions: Array) -> Array:
        if self.options.invalid == "nearest" and isinstance(self.single_action_space, gym.spaces.Discrete):
            return nearest_valid(actions, self._masks())
        return actions

    def _carry_out(self, actions: Rows) -> tuple[Observation, Transition, Observation | None]:
        if self._order is None:
            return super()._carry_out(actions)
        playing = self.playing
        if not playing.any():
            raise gym.error.ResetNeeded("The round is over: call reset() to begin the next.")
        transition = self._advance(actions, self._valid(actions) & playing).within(playing)
        self.waiting = self.waiting | transition.done
        self._learn(transition.done)
        obs = self._export(self._observe())
        return obs, transition, obs if transition.done.any() else None

    def _settle(
        self, rows: Rows, label: Rows, logits: Tensor, reward: Floats, losses: Tensor | None = None
    ) -> tuple[Floats, Floats]:
        """Add the final reward of `rows` to `reward`.

        Args:
            rows: Rows that answer; int64 [n].
            label: Right answers; int64 [n].
            logits: Answers; float32 [n, classes].
            reward: float32 [num_envs].
            losses: Losses of the answers; float32 [n], or None for their cross-entropy.

        Returns:
            Losses and predicted classes; float32 [n] each.
        """
        task = self._tasks()[rows]
        target = torch.from_numpy(np.stack([label, task])).to(self.device, non_blocking=True)
        logits = self._classes.restrict(logits, target[1])
        if losses is None:
            losses = nn.functional.cross_entropy(logits, target[0], reduction="none")
        earned, loss, named = figures = judge(self._final_reward, logits, losses, target)
        self._check_finite(figures[:2], task)
        reward[rows] += earned
        return loss, named

    def _judged(self, answers: Answers, ended: Flags, **more: Array) -> AnswerResult:
        """Return the result of the episodes that ended with these answers, weighted by class if `balanced`."""
        weight = None if self._weight is None else self._weight[self._sample]
        return answers.result(ended, self._tasks(), weight=weight, **more)

    def _learn(self, done: Flags) -> None:
        if not self.options.train:
            return
        ended = int(done.sum()) // self.runs
        self._ended += ended
        self.episodes += ended
        self._update_if_due(done)

    def _update_if_due(self, done: Flags) -> None:
        """Update once `batch_size` episodes have ended; rows outside `done` are under way."""
        if self._ended < self.batch_size:
            return
        rate = self.options.learning_rate * self.options.lr_decay ** int(self.epoch // self.options.decay_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._update()
        self._ended = 0
        self._resume(self.playing & ~done)

    def _deliver(self) -> None:
        """Bring gradients to where the optimizer looks for them; by default they are there."""

    def _descend(self, losses: Sequence[Tensor]) -> None:
        """Take one gradient step of each run on the mean of its losses, unless nothing trains; float32 [n] each."""
        loss = torch.cat([part.view(self.runs, -1) for part in losses], 1).mean(1).sum()
        if not loss.requires_grad:
            return
        loss.backward()
        self._deliver()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1

    def _adopt(self, source: ClassificationVectorEnv) -> None:
        self._np_random, self.seed, self.updates = source.np_random, source.seed, source.updates
        self.randoms, self.seeds, self.generators = source.randoms, source.seeds, source.generators
        self.network, self.optimizer = source.network, source.optimizer
        self._set_up()

    @property
    def signature(self) -> State:
        """Plain values that a checkpoint must agree on to be loaded here."""
        rounds = {} if self._order is None else {"rounds": True}
        return super().signature | {"data": self.data.name, "tasks": self.data.num_tasks, **rounds}

    def _show(self, shown: Self, run: int) -> None:
        mine = self.run == run
        shown._ended, shown.episodes, shown.waiting = self._ended, self.episodes, self.waiting[mine]
        if isinstance(self._stream, SampleStream):
            shown._stream = self._stream.of_run(run)

    def _join(self, solos: Sequence[Self]) -> None:
        self._ended, self.episodes = solos[0]._ended, solos[0].episodes
        self.waiting = np.concatenate([solo.waiting for solo in solos])
        streams = [solo._stream for solo in solos if isinstance(solo._stream, SampleStream)]
        if isinstance(self._stream, SampleStream):
            self._stream.join(streams)

    def _state(self) -> State:
        counts = {"ended": self._ended, "episodes": self.episodes}
        return {"stream": self._stream.state(), "waiting": torch.from_numpy(self.waiting.copy()), **counts}

    def _model(self) -> State:
        return self._state() | {"stream": self._stream.model()}

    def _load_state(self, state: State) -> None:
        self._stream.load(state["stream"])
        self.waiting = state["waiting"].numpy().copy()
        self._ended, self.episodes = int(state["ended"]), int(state["episodes"])

    @property
    def playing(self) -> Flags:
        """Rows with an episode under way; bool [num_envs]."""
        return (self._sample >= 0) & ~self.waiting

    @classmethod
    def measure_of(cls, options: EnvOptions) -> Measure:
        """Return accuracy in per cent, balanced over classes if `balanced`."""
        balanced = isinstance(options, ClassificationOptions) and options.balanced
        return Measure("balanced accuracy", "%") if balanced else super().measure_of(options)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""
        return self.data.task_names

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.episodes / len(self._candidates)
