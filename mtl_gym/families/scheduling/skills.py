"""Environment in which a learner's skills are practised: schedules in closed form, without network and data.

Source: the dynamics are our own; the question is that of curriculum learning (Bengio et al. 2009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from mtl_gym.core.episode import Floats, TrainingResult
from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.interfaces import GAINS, MIX, ORACLE, RUNS, Interface
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import SHARES, Range
from mtl_gym.core.rows import Array, State
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.structure import Maybe
from mtl_gym.core.training_run_env import TrainingRunVectorEnv
from mtl_gym.families.scheduling import render
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.families.scheduling.skills_chain import Chain, Levels
from mtl_gym.families.scheduling.skills_search import best_mix, best_schedule
from mtl_gym.families.scheduling.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Share of the best known result from which on a run is a success.
SUCCESS = 0.9


@dataclass(frozen=True, kw_only=True)
class SkillsOptions(GeneratedOptions):
    """Keyword arguments of `MTLScheduling-Skills`, besides those of `GeneratedOptions`.

    There is neither a data set nor a network: `data`, `data_root` and `learning_rate` have no effect, and with
    `train=False` levels stay at 0.

    Attributes:
        skills: Number of skills, the length of the chain.
        noise_tasks: Number of tasks that teach nothing.
        forgetting: Share of its level that a skill loses in a decision that does not practise it.
        budget: Decisions of a run.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        "skills": Range(2, 10),  # longer chains and budgets outgrow the search for the best schedule
        "noise_tasks": Range(0, 100),
        "forgetting": SHARES,
        "budget": Range(2, 200),
    }

    skills: int = 5
    noise_tasks: int = 1
    forgetting: float = 0.0
    budget: int = 60

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        self._only("there is no network", network=None)

    @property
    def chain(self) -> Chain:
        """The hidden truth."""
        return Chain.drawn(self.skills, self.noise_tasks, self.forgetting, self.instance)


class SkillsVectorEnv(TrainingRunVectorEnv[Progress]):
    """`num_envs` learners side by side, each of which practises one task per decision.

    The tasks are skills, each the prerequisite of the next, and `noise_tasks` tasks that teach nothing. The order of
    the chain and the rates of the skills are hidden: `instance` draws them. All learners begin with levels of 0. A
    decision changes the levels x as `Chain` says:

        x_k <- x_k + rate_k * x_(k-1)^8 * (1 - x_k)    for the practised skill k, with x_0 = 1
        x_j <- (1 - forgetting) * x_j                  for every other skill j

    * Observation: float32 [num_envs, tasks + 1] in [0, 1]: the level of each task, 0 for one that teaches nothing, and
      the share of the budget that is left.
    * Action: int64 [num_envs] in [0, tasks): the task to practise.
    * Reward: float32 [num_envs]: the gain of the mean level of the skills in points, so that rewards sum to the figure
      of the run.
    * Termination: after `budget` decisions, which are part of the problem. Episodes are never truncated.
    * Info, at every step: `train_loss` (1 - level before the last practice), `validation_loss` (1 - level),
      `validation_accuracy` (level), `trained` [num_envs, tasks] and `updates` [num_envs], as in `Progress`.
    * `final_info`: `accuracy` (level), `loss` [num_envs, skills], `mean_accuracy`, `is_success` (at least 0.9 of the
      best known result), `seed`.

    Dials: `forgetting`, `skills`, `noise_tasks`, `budget`.

    Optimum: proven without forgetting, searched with it; see `skills_search`. `best_actions` plays this schedule, which
    is the best for learners that have followed it from the beginning.

    Attributes:
        chain: The hidden truth.
        all_names: Name of every task; `task_names` has those of the skills alone.

    Example:
        >>> env = SkillsVectorEnv(num_envs=2)
        >>> obs, info = env.reset(seed=0)
        >>> obs.shape, env.best_actions().tolist()
        ((2, 7), [3, 3])
        >>> obs, reward, terminated, truncated, info = env.step(np.array([3, 0]))
        >>> [round(float(level), 3) for level in info["validation_accuracy"][:, 3]]
        [0.268, 0.0]
    """

    Options: ClassVar[type[EnvOptions]] = SkillsOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({RUNS, ORACLE, GAINS, MIX})
    PROGRESS: ClassVar[type[Any]] = Progress
    TERMINATES: ClassVar[bool] = True
    WINDOW: ClassVar[str] = render.WINDOW
    PICTURE: ClassVar[str] = "timeline.png"
    # Reward of a gain of 1 in the mean level: rewards are in points, as the measure is.
    REWARD: ClassVar[float] = 100.0
    options: SkillsOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self.chain = self.options.chain
        self.all_names = tuple(f"task {number}" for number in range(len(self.chain.order)))
        # Tasks that are skills, in the order of their numbers.
        self._measured = np.sort(self.chain.tasks)
        tasks = len(self.all_names)
        self._set_spaces(spaces.Box(0, 1, (tasks + 1,), np.float32), spaces.Discrete(tasks))

    @property
    def run_length(self) -> int:
        """Decisions of a run."""
        return self.options.budget

    @property
    def samples_per_epoch(self) -> int:
        """Decisions that practise every task once."""
        return len(self.all_names)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the skills, in the order of their numbers."""
        return tuple(self.all_names[task] for task in self._measured)

    def _build_runs(self) -> None:
        # The levels are the only parameters of the runs; the optimizer never steps.
        self.network = nn.ParameterList([torch.zeros(self.num_envs, self.chain.skills, dtype=torch.float64)])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self._ended: Timeline | None = None

    @property
    def _levels(self) -> Levels:
        """Levels in the order of the chain; float64 [num_envs, skills], shared with the network."""
        levels: Levels = next(self.network.parameters()).detach().numpy()
        return levels

    def _begin_runs(self) -> Progress:
        self._levels[:] = 0
        tasks = len(self.all_names)
        self.timeline = Timeline.empty(self.num_envs, tasks, 0, self.run_length)
        return self._after(Progress.none_yet(self.num_envs, np.full(tasks, np.nan, np.float32)))

    def _after(self, progress: Progress) -> Progress:
        """Return the progress with the levels of now."""
        accuracy = np.zeros_like(progress.trained)
        accuracy[:, self.chain.tasks] = self._levels
        return replace(progress, validation_accuracy=accuracy, validation_loss=1 - accuracy)

    def _train_runs(self, actions: Array) -> Progress:
        before, rows = self._progress, np.arange(self.num_envs)
        if self.options.train:
            self._levels[:] = self.chain.practised(self._levels, self.chain.places[actions])
        trained, loss = before.trained.copy(), before.train_loss.copy()
        trained[rows, actions] += 1
        loss[rows, actions] = before.validation_loss[rows, actions]
        self._count(updates=1, samples=self.num_envs)
        after = self._after(replace(before, trained=trained, train_loss=loss, updates=before.updates + 1))
        self._record(trained - before.trained, after)
        return after

    def _record(self, weights: Floats, after: Progress) -> None:
        """Add a decision to the timeline, in which tasks that teach nothing have no accuracy."""
        known = np.full_like(after.validation_accuracy, np.nan)
        known[:, self._measured] = after.validation_accuracy[:, self._measured]
        self.timeline.add(self._step, weights, known, 1 - known, np.empty((len(self.all_names), 0), np.float32))

    def _reward(self, before: Progress, after: Progress) -> Floats:
        gain = (after.validation_accuracy - before.validation_accuracy).sum(1)
        return (self.REWARD / self.chain.skills * gain).astype(np.float32)

    def _observe(self) -> Floats:
        left = np.full((self.num_envs, 1), 1 - self._step / self.run_length, np.float32)
        return np.concatenate([self._progress.validation_accuracy, left], 1)

    def _result(self, split: str) -> TrainingResult:
        self._ended, accuracy = self.timeline, self._progress.validation_accuracy[:, self._measured]
        each = np.ones(self.chain.skills, np.int64)
        return TrainingResult(
            ended=np.ones(self.num_envs, bool),
            success=accuracy.mean(1) >= SUCCESS * self._optimum(),
            accuracy=accuracy,
            loss=1 - accuracy,
            labels=each,
            samples=each,
        )

    def _optimum(self) -> float:
        """Return the mean level at the end of the best schedule."""
        return float(self.chain.values(np.array([best_schedule(self.chain, self.run_length)]))[0])

    def best_actions(self) -> Array:
        """Return the next task of the best schedule, in every row; int64 [num_envs]."""
        self._require_reset("best_actions()")
        place = best_schedule(self.chain, self.run_length)[self._step]
        return np.full(self.num_envs, self.chain.order[place])

    def best_mix(self) -> Levels:
        """Return the best constant share of each task; float64 [tasks]."""
        shares = np.zeros(len(self.all_names))
        shares[self.chain.tasks] = best_mix(self.chain, self.run_length)
        return shares

    def next_gains(self, accuracy: Array) -> Levels:
        """Return what practising each task adds to the mean level, beyond practising none.

        Args:
            accuracy: Level of each task; float [rows, tasks].

        Returns:
            float64 [rows, tasks].
        """
        skills = self.chain.tasks
        levels, gains = accuracy[:, skills].astype(float), np.zeros(accuracy.shape)
        gains[:, skills] = (self.chain.gains(levels) + self.chain.forgetting * levels) / self.chain.skills
        return gains

    def evaluation_figures(self) -> dict[str, Any]:
        """Return `timeline` of the last completed runs or, before any has ended, of those under way; and `epochs`."""
        return {**super().evaluation_figures(), "timeline": self.timeline if self._ended is None else self._ended}

    def _runs_state(self) -> State:
        ended = None if self._ended is None else tensors_of(self._ended)
        return {"timeline": tensors_of(self.timeline), "ended": ended}

    def _runs_model(self) -> State:
        return self._runs_state() | {"ended": Maybe(tensors_of(self.timeline))}

    def _load_runs(self, state: State) -> None:
        self.timeline = arrays_of(Timeline, state["timeline"])
        self._ended = None if state["ended"] is None else arrays_of(Timeline, state["ended"])

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Figure]:
        """Draw the timeline of an evaluation."""
        return {"timeline.png": render.timeline(figures["timeline"], self.all_names, title)}

    def _render(self) -> Array | str | None:
        """Show the practice so far above the levels; as text, decisions and levels of the first row."""
        return render.show_timeline(self.render_mode, self._text, self.timeline, self.all_names)

    def _text(self) -> str:
        trained, level = self._progress.trained[0], self._progress.validation_accuracy[0]
        rows = zip(self.all_names, trained, level, strict=True)
        return "\n".join(["task    practised  level", *(f"{name:8}{count:9.0f}{x:7.1%}" for name, count, x in rows)])


class SkillsEnv(BatchOfOne):
    """A single learner; the result of `gym.make("MTLScheduling-Skills-v0")`.

    Args:
        **options: Fields of `SkillsOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLScheduling-Skills-v0", budget=30)
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(3)
    """

    vector_class = SkillsVectorEnv
