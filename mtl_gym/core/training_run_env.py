"""The base of families in which an episode is a training run from fresh weights.

A family has a dataclass of arrays, its progress: the figures of the runs under way, [num_envs, ...] each. They stand
in the info of every step and are part of states. The family subclasses `TrainingRunVectorEnv[Progress]`, declares
`PROGRESS = Progress`, sets `data` and calls `_set_spaces` in `__init__`, and adds these hooks. One without a data set
overrides `task_names` and `samples_per_epoch` instead of setting `data`.

1. `run_length`: Decisions of a run, at least 1 (Gymnasium's `check_env` asks for 2).
2. `_build_runs`: Make `network` and `optimizer` of all runs; called at the first reset and every `reset(seed=...)`.
3. `_begin_runs`: Draw fresh weights from `run_seeds`; return the first progress.
4. `_train_runs`: Carry out one decision in every run; return the next progress, which is then `_progress`.
5. `_reward`: Return the reward from the progress before and after a decision; float32 [num_envs].
6. `_observe`: Return the observation of all rows, in fresh arrays, from `_progress`.
7. `_result`: Measure the runs at their end on a split; return a `TrainingResult`.
8. `_render`: Return what `render` returns for `render_mode`; the text of "ansi" names every task.

Everything else has a default, above all `_measures` for the figures in info, and `_runs_state` and `_load_runs` for
state beside progress, weights and optimizer, with `_runs_model` where parts of it change their shape. A family calls
`_count` for gradient steps and samples, and `_check_tasks` for losses. `examples/own_family.py` is a whole family.
"""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from typing_extensions import Self

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import Floats, TrainingResult, Transition, described, is_array
from mtl_gym.core.errors import TrainingDiverged
from mtl_gym.core.options import EnvOptions, shallow_dict
from mtl_gym.core.rows import Array, Flags, Info, Rows, State
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.moments import after_a_step
from mtl_gym.core.state.parts import merged, part_of
from mtl_gym.core.state.structure import Whole
from mtl_gym.core.validation import short
from mtl_gym.data import MultiTaskDataset, TaskCollection

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Progress = TypeVar("Progress", bound=DataclassInstance)
else:
    Progress = TypeVar("Progress")


# Parts of a state that are divided among runs side by side.
PARTS = ("network", "optimizer", "family")


class TrainingRunVectorEnv(MultiTaskVectorEnv, Generic[Progress]):
    """`num_envs` training runs side by side, each with weights of its own.

    All runs have the same length: they begin and end together, with `truncated` or, with `TERMINATES = True`, with
    `terminated`. An evaluation view either trains runs of its own, which begin alike after every `reset()`, and
    measures them on its split at their end; or, with `VIEWS_TRAIN = False`, it measures the weights of its environment
    in a single step without reward.

    Info at every step: the fields of the progress, with 0 in place of NaN. `final_info`: those of the `TrainingResult`,
    and `seed`, the seed of the run; int64 [num_envs].

    Attributes:
        data: Data set, on the device.
        run_seeds: Seed of each run under way; int64 [num_envs].
        evaluated_split: Split that an evaluation view measures; None in other environments.
    """

    SHARED: ClassVar[bool] = False
    EVALUATION_WIDTH: ClassVar[int | None] = None
    PICTURES_OF: ClassVar[str] = "test"  # pictures show validation curves of runs that are trained for either split
    # Dataclass of the figures of runs under way.
    PROGRESS: ClassVar[type[Any]]
    # Whether an evaluation view trains runs of its own.
    VIEWS_TRAIN: ClassVar[bool] = True
    # Whether the end of a run is part of the problem: observations tell what is left, and nothing counts afterwards.
    TERMINATES: ClassVar[bool] = False
    data: MultiTaskDataset | TaskCollection
    run_seeds: Rows
    evaluated_split: str | None = None
    _progress: Progress
    _samples: int = 0
    _step: int = 0

    @property
    @abstractmethod
    def run_length(self) -> int:
        """Decisions of a run."""

    @property
    def max_episode_steps(self) -> int:
        """Decisions of an episode, which is a run."""
        return self.run_length

    @abstractmethod
    def _build_runs(self) -> None:
        """Make `network` and `optimizer` of all runs; torch's CPU generator is seeded meanwhile."""

    @abstractmethod
    def _begin_runs(self) -> Progress:
        """Give every run fresh weights, drawn from `run_seeds`, and a fresh optimizer; return the first progress."""

    @abstractmethod
    def _train_runs(self, actions: Array) -> Progress:
        """Carry out one decision in every run; return the next progress, in fresh arrays."""

    @abstractmethod
    def _reward(self, before: Progress, after: Progress) -> Floats:
        """Return the reward of a decision from the progress before and after it; float32 [num_envs]."""

    @abstractmethod
    def _result(self, split: str) -> TrainingResult:
        """Measure the runs, which have ended, on a split."""

    def _runs_state(self) -> State:
        """Return what runs continue from beside progress, weights and optimizer: tensors and plain values."""
        return {}

    def _runs_model(self) -> State:
        """Return the model of `_runs_state`, as `mtl_gym.core.state.structure` has it; by default, what it is now."""
        return self._runs_state()

    def _load_runs(self, state: State) -> None:
        """Undo `_runs_state`; progress, weights and optimizer are loaded before."""

    def _measures(self) -> Mapping[str, Array]:
        """Return the figures in the info of every step, finite, [num_envs, ...] each; by default the progress."""
        return {name: np.nan_to_num(figure) for name, figure in vars(self._progress).items()}

    @property
    def progress(self) -> Progress:
        """Figures of the runs under way, in fresh arrays."""
        return copy.deepcopy(self._progress)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""
        return self.data.task_names

    @property
    def samples(self) -> int:
        """Training samples of all runs so far; a sample counts every time."""
        return self._samples

    @property
    def epoch(self) -> float:
        """Passes of one run over the training data so far."""
        return self._samples / self.num_envs / self.samples_per_epoch

    @property
    def samples_per_epoch(self) -> int:
        """Training samples of all tasks."""
        return sum(self.data.task_sizes(self.options.split))

    @property
    def pass_over(self) -> bool:
        """True once the runs of an evaluation view are over; always False elsewhere."""
        return self._source is not None and self.episodes > 0

    def _count(self, updates: int, samples: int) -> None:
        """Count gradient steps of each run and training samples of all runs."""
        self.updates += updates
        self._samples += samples

    def _task_name(self, row: int) -> str:
        return "all"

    def _check_tasks(self, figures: Floats) -> None:
        """Raise `TrainingDiverged`, with the task, where a figure is not finite; [num_envs, tasks]."""
        self._check_finite(figures, np.arange(len(self.task_names)))

    @property
    def _decisions(self) -> int:
        """Number of decisions of the run that is shown, also of those before its state was loaded."""
        return self.run_length if self._shows_end else self._step

    def _where(self) -> str:
        return f"{self._decisions:,} of {self.run_length:,}"

    def _verdict(self) -> str:
        return "The run is over." if self._shows_end else ""

    def _standing(self) -> str:
        told = self.narration
        if told is None:
            return ""
        run = self.episodes // self.num_envs + (not told.over)
        past = f" Mean reward of {len(told.returns)} finished: {np.mean(told.returns):+.3g}." if told.returns else ""
        reached = self._reached_text()
        return f"Run {run}: reward so far {told.total:+.3g}{reached and f', {reached}'}.{past}"

    def _reached_text(self) -> str:
        """Return what the first run that is shown has reached, in words without a full stop."""
        return ""

    def _build(self) -> None:
        self._check_declarations()
        self._build_runs()
        for name in ("network", "optimizer"):
            if not hasattr(self, name):
                raise ValueError(f"{self._hook('_build_runs')} did not set {name}; assign self.{name} there.")
        self._samples = self.episodes = self._step = 0

    def _hook(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"

    def _check_declarations(self) -> None:
        """Refuse a family without progress, spaces, data or a whole number of decisions."""
        progress: object = getattr(self, "PROGRESS", None)
        if not (isinstance(progress, type) and dataclasses.is_dataclass(progress)):
            raise ValueError(f"{self._hook('PROGRESS')} is {progress!r}; set it to the dataclass of the progress.")
        if not hasattr(self, "single_action_space"):
            raise ValueError(f"{self._hook('__init__')} set no spaces; call self._set_spaces(observation, action).")
        own = ("task_names", "samples_per_epoch")
        defaults = [name for name in own if getattr(type(self), name) is getattr(TrainingRunVectorEnv, name)]
        if defaults and not hasattr(self, "data"):
            raise ValueError(
                f"{type(self).__name__} has no data set for {' and '.join(defaults)}; set self.data in __init__, or "
                "override both properties."
            )
        length: object = self.run_length
        if not isinstance(length, (int, np.integer)) or length < 1:
            raise ValueError(f"{self._hook('run_length')} is {length!r}; it takes a whole number of decisions >= 1.")

    def _checked_progress(self, hook: str, progress: Progress) -> Progress:
        """Return the progress that a hook returned; refuse one that is not `PROGRESS` with arrays."""
        if not isinstance(progress, self.PROGRESS):
            raise ValueError(
                f"{self._hook(hook)} returned {described(progress)}; return {self.PROGRESS.__name__}, its PROGRESS."
            )
        for field in dataclasses.fields(self.PROGRESS):
            name, figure = field.name, getattr(progress, field.name)
            if not isinstance(figure, np.ndarray):
                raise ValueError(
                    f"{self._hook(hook)} returned {name}={described(figure)}; return a NumPy array [num_envs, ...]."
                )
        return progress

    def _begin(self, rows: Rows) -> None:
        """Begin all runs: they are of one length and so begin together."""
        drawn = [random.integers(2**63, size=self.rows_per_run) for random in self.randoms]
        self.run_seeds = np.concatenate(drawn)
        self._step = 0
        self._progress = self._checked_progress("_begin_runs", self._begin_runs())

    def _advance(self, actions: Array, valid: Flags) -> Transition:
        reward = np.zeros(self.num_envs, np.float32) if self._measures_source else self._train(actions)
        self._step += 1
        over = self._measures_source or self._step == self.run_length
        nowhere, everywhere = np.zeros(self.num_envs, bool), np.full(self.num_envs, over)
        ends = (everywhere, nowhere) if self.TERMINATES else (nowhere, everywhere)
        return Transition(reward, *ends, self._end() if over else None)

    @property
    def _measures_source(self) -> bool:
        return self._source is not None and not self.VIEWS_TRAIN

    def _train(self, actions: Array) -> Floats:
        before, self._progress = self._progress, self._checked_progress("_train_runs", self._train_runs(actions))
        reward = self._reward(before, self._progress)
        if not is_array(reward, "f", 1) or len(reward) != self.num_envs:
            raise ValueError(
                f"{self._hook('_reward')} returned {described(reward)}; return a NumPy array float32 [num_envs], and "
                f"num_envs is {self.num_envs}."
            )
        if not np.isfinite(reward).all():
            raise TrainingDiverged(self.updates, "all", "the reward")
        return reward.astype(np.float32, copy=False)

    def _end(self) -> TrainingResult:
        self.episodes += self.num_envs
        result: object = self._result(self.evaluated_split or "validation")
        if not isinstance(result, TrainingResult):
            raise ValueError(f"{self._hook('_result')} returned {described(result)}; return a TrainingResult.")
        expected = (self.num_envs, len(self.task_names))
        if result.accuracy.shape != expected:
            raise ValueError(
                f"{self._hook('_result')} returned accuracy as {described(result.accuracy)}; return [num_envs, "
                f"tasks], which is {list(expected)}."
            )
        return replace(result, more={**result.more, "seed": self.run_seeds.copy()})

    def _learn(self, done: Flags) -> None:
        """Do nothing: a run is trained while it is under way."""

    def mask_info(self) -> Info:
        """Return the info of a step in which no episode ends."""
        figures, everyone = self._measures(), np.ones(self.num_envs, bool)
        return {**super().mask_info(), **figures} | {f"_{name}": everyone.copy() for name in figures}

    def _new_view(self, split: str, num_envs: int | None) -> MultiTaskVectorEnv:
        width = self.num_envs if num_envs is None else num_envs
        if not self.VIEWS_TRAIN and (not isinstance(width, (int, np.integer)) or width != self.num_envs):
            raise ValueError(f"num_envs={short(num_envs)}: there are {self.num_envs} runs to measure; leave it out.")
        view = type(self)(width, **shallow_dict(self._view_options(split)))
        view.evaluated_split = split
        return view

    def _view_options(self, split: str) -> EnvOptions:
        measured = replace(self.options, split=split, train=self.VIEWS_TRAIN, tensors=False, render_mode=None)
        return replace(measured, split=self.options.split) if self.VIEWS_TRAIN else measured

    def _adopt(self, source: MultiTaskVectorEnv) -> None:
        """Begin anew: a view that trains does so from a seed that gives it other runs than the source's."""
        other = int(np.random.SeedSequence([source.seed or 0, 1]).generate_state(1)[0])
        self._restart(other if self.VIEWS_TRAIN else source.seed)

    def evaluation_spacing(self, steps: int) -> int:
        """Return the default number of decisions between two evaluations; at least a run where views train one."""
        spacing = super().evaluation_spacing(steps)
        return max(spacing, self.num_envs * self.run_length) if self.VIEWS_TRAIN else spacing

    def evaluation_figures(self) -> Info:
        """Return the family's own figures; where views train, `epochs`: passes of a run over the training data."""
        return {"epochs": self.epoch} if self.VIEWS_TRAIN else {}

    def _show(self, shown: Self, run: int) -> None:
        if not hasattr(shown, "optimizer"):
            shown._restart(int(self.seeds[run]))
            shown._begin(np.arange(shown.num_envs))
        part = part_of(self._learned(), shown._model_of_learned(), run, self.runs, self.num_envs)
        counts = part["family"]["counts"]
        own = {"samples": counts["samples"] // self.runs, "episodes": counts["episodes"] // self.runs}
        part["family"]["counts"] = counts | own
        random, generator = self.randoms[run].bit_generator.state, self.generators[run].get_state()
        told = {"seed": int(self.seeds[run]), "signature": shown.signature}
        shown.load_state_dict(part | told | {"np_random": random, "generator": generator})

    def _learned(self) -> State:
        """Return the state without what a single run has of its own: seed, generators and signature."""
        return {key: value for key, value in self._whole_state().items() if key in ("updates", *PARTS)}

    def _model_of_learned(self) -> State:
        """Return the model of `_learned`, with what there is only after some steps."""
        own = self._learned()
        optimizer = own["optimizer"] | {"state": after_a_step(self.optimizer)}
        return own | {"optimizer": optimizer, "family": self._model()}

    def _join(self, solos: Sequence[Self]) -> None:
        self._begin(np.arange(self.num_envs))
        whole = merged([solo._learned() for solo in solos], self._model_of_learned(), self.num_envs)
        counts = whole["family"]["counts"]
        sums = {name: sum(getattr(solo, name) for solo in solos) for name in ("samples", "episodes")}
        whole["family"]["counts"] = counts | sums
        random, generator = self.np_random.bit_generator.state, self.generator.get_state()
        self._load_learned(whole)
        self._load_under_way(whole | {"np_random": random, "generator": generator})

    @property
    def signature(self) -> State:
        """Plain values that a checkpoint must agree on to be loaded here; a family adds data and network."""
        return super().signature | {"tasks": list(self.task_names)}

    def _state(self) -> State:
        return {
            "counts": {"step": self._step, "samples": self._samples, "episodes": self.episodes},
            "seeds": torch.from_numpy(self.run_seeds.copy()),
            "progress": tensors_of(self._progress),
            "runs": self._runs_state(),
        }

    def _model(self) -> State:
        counts = {"step": Whole(self.run_length - 1), "samples": 0, "episodes": 0}
        return self._state() | {"counts": counts, "runs": self._runs_model()}

    def _load_state(self, state: State) -> None:
        self._step, self._samples, self.episodes = (state["counts"][name] for name in ("step", "samples", "episodes"))
        self.run_seeds = state["seeds"].numpy().copy()
        self._progress = arrays_of(self.PROGRESS, state["progress"])
        self._load_runs(state["runs"])
