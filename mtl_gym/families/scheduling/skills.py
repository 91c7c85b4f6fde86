"""Environment in which a learner's skills are practised: schedules in closed form, without network and data.

Source: the dynamics are our own; the question is that of curriculum learning (Bengio et al. 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
from mtl_gym.core.rows import Array, Rows, State
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.structure import Maybe
from mtl_gym.core.training_run_env import TrainingRunVectorEnv
from mtl_gym.families.scheduling import render
from mtl_gym.families.scheduling.progress import Progress
from mtl_gym.families.scheduling.skills_chain import Chain, Chains, Levels
from mtl_gym.families.scheduling.skills_search import best_mix, best_schedule
from mtl_gym.families.scheduling.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OBSERVATIONS = ("levels", "progress")
# Name of the curves in pictures.
LEVEL = "level"
# Share of the optimum from which on a run is a success.
SUCCESS = 0.9


@dataclass(frozen=True, kw_only=True)
class SkillsOptions(GeneratedOptions):
    """Keyword arguments of `MTLScheduling-Skills`, besides those of `GeneratedOptions`.

    There is neither a data set nor a network: `data`, `data_root` and `learning_rate` have no effect, and with
    `train=False` levels stay at 0.

    Attributes:
        instance: As in `GeneratedOptions`, or several numbers: the runs take these instances in turn, so that a
            scheduler can be trained on many chains.
        observation: "levels", or "progress", which also has the share of the budget that each task had.
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

    instance: int | Sequence[int] = 0  # type: ignore[assignment]  # other environments have one instance
    observation: str = "levels"
    skills: int = 5
    noise_tasks: int = 1
    forgetting: float = 0.0
    budget: int = 60

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        super().__post_init__()
        self._only("there is no network", network=None)
        self._require("observation", self.observation in OBSERVATIONS, f"one of {OBSERVATIONS}")
        self._require("instance", len(self.instances) > 0, "a number, or a list of at least one")

    @property
    def instances(self) -> list[int]:
        """Numbers of the hidden truths."""
        return [self.instance] if isinstance(self.instance, int) else list(self.instance)

    @property
    def chains(self) -> list[Chain]:
        """The hidden truths."""
        return [Chain.drawn(self.skills, self.noise_tasks, self.forgetting, number) for number in self.instances]


class SkillsVectorEnv(TrainingRunVectorEnv[Progress]):
    """`num_envs` learners side by side, each of which practises one task per decision.

    The tasks are skills, each the prerequisite of the next, and `noise_tasks` tasks that teach nothing. The order of
    the chain and the rates of the skills are hidden: `instance` draws them. Of n instances, run i of row r uses
    instance (r + i * num_envs) mod n, counted from 0 in the order given. All learners begin with levels of 0.
    A decision changes the levels x as `Chain` says:

        x_k <- x_k + rate_k * x_(k-1)^8 * (1 - x_k)    for the practised skill k, with x_0 = 1
        x_j <- (1 - forgetting) * x_j                  for every other skill j

    * Observation: float32 [num_envs, tasks + 1] in [0, 1]: the level of each task, 0 for one that teaches nothing, and
      the share of the budget that is left. With observation="progress" float32 [num_envs, 2 * tasks + 1]: the share
      of the budget that each task had stands after the levels.
    * Action: int64 [num_envs] in [0, tasks): the task to practise.
    * Reward: float32 [num_envs]: the gain of the mean level of the skills in points, so that rewards sum to the figure
      of the run.
    * Termination: after `budget` decisions, which are part of the problem. Episodes are never truncated.
    * Info, at every step: `train_loss` (1 - level before the last practice), `validation_loss` (1 - level),
      `validation_accuracy` (level), `trained` [num_envs, tasks] and `updates` [num_envs], as in `Progress`.
    * `final_info`: `accuracy` (level), `loss` [num_envs, skills], `mean_accuracy`, `is_success` (at least 0.9 of the
      optimum), `seed`.

    Dials: `forgetting`, `skills`, `noise_tasks`, `budget`.

    Optimum: proven without forgetting, searched with it; see `skills_search`. `best_actions` plays this schedule, which
    is the best for learners that have followed it from the beginning.

    Attributes:
        chain: The hidden truth; of several instances, the first.
        all_names: Name of every task; `task_names` has those of the skills alone or, with several instances, the places
            of skills in their chain.

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
    STACKS: ClassVar[bool] = True
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({RUNS, ORACLE, GAINS, MIX})
    PROGRESS: ClassVar[type[Any]] = Progress
    TERMINATES: ClassVar[bool] = True
    WINDOW: ClassVar[str] = render.WINDOW
    SEEN: ClassVar[str] = render.SEEN
    PICTURE: ClassVar[str] = "timeline.png"
    # Reward of a gain of 1 in the mean level: rewards are in points, as the measure is.
    REWARD: ClassVar[float] = 100.0
    options: SkillsOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self._every = self.options.chains
        self._stacked = Chains.of(self._every)
        self.chain, self._several = self._every[0], len(self._every) > 1
        self.all_names = tuple(f"task {number}" for number in range(len(self.chain.order)))
        tasks = len(self.all_names)
        self._parts = 1 + (self.options.observation == "progress")
        self._set_spaces(spaces.Box(0, 1, (self._parts * tasks + 1,), np.float32), spaces.Discrete(tasks))

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
        """Names of the skills, in the order of their numbers; with several instances, in the order of their chains."""
        if self._several:
            return tuple(f"skill {place + 1}" for place in range(self.chain.skills))
        return tuple(self.all_names[task] for task in np.sort(self.chain.tasks))

    def _build_runs(self) -> None:
        # The levels are the only parameters of the runs; the optimizer never steps.
        self.network = nn.ParameterList([torch.zeros(self.num_envs, self.chain.skills, dtype=torch.float64)])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self._ended: Timeline | None = None

    def _measures(self) -> dict[str, Array]:
        return self._progress.measures()

    @property
    def _levels(self) -> Levels:
        """Levels in the order of the chain; float64 [num_envs, skills], shared with the network."""
        levels: Levels = next(self.network.parameters()).detach().numpy()
        return levels

    def _begin_runs(self) -> Progress:
        self._take_chains()
        self._levels[:] = 0
        tasks = len(self.all_names)
        self.timeline = Timeline.empty(self.num_envs, tasks, 0, self.run_length)
        return self._after(Progress.none_yet(self.num_envs, np.full(tasks, np.nan, np.float32)))

    def _take_chains(self) -> None:
        """Set the chain of every row, and the tasks that its result measures; int64 [num_envs, skills]."""
        self._taken: Rows = (self.episodes // self.runs + np.arange(self.num_envs) % self.rows_per_run) % len(
            self._every
        )
        self._chains = self._stacked.taken(self._taken)
        self._measured = self._chains.tasks if self._several else np.sort(self._chains.tasks, 1)

    def _after(self, progress: Progress) -> Progress:
        """Return the progress with the levels of now."""
        accuracy = np.zeros_like(progress.trained)
        np.put_along_axis(accuracy, self._chains.tasks, self._levels.astype(np.float32), 1)
        return replace(progress, validation_accuracy=accuracy, validation_loss=1 - accuracy)

    def _train_runs(self, actions: Array) -> Progress:
        before, rows = self._progress, np.arange(self.num_envs)
        if self.options.train:
            self._levels[:] = self._chains.practised(self._levels, actions)
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
        skills = np.take_along_axis(after.validation_accuracy, self._measured, 1)
        np.put_along_axis(known, self._measured, skills, 1)
        self.timeline.add(self._step, weights, known, 1 - known, np.empty((len(self.all_names), 0), np.float32))

    def _reward(self, before: Progress, after: Progress) -> Floats:
        gain = (after.validation_accuracy - before.validation_accuracy).sum(1)
        return (self.REWARD / self.chain.skills * gain).astype(np.float32)

    def _observe(self) -> Floats:
        left = np.full((self.num_envs, 1), 1 - self._step / self.run_length, np.float32)
        parts = (self._progress.validation_accuracy, self._progress.trained / np.float32(self.run_length))
        return np.concatenate([*parts[: self._parts], left], 1)

    def _result(self, split: str) -> TrainingResult:
        self._ended, accuracy = self.timeline, np.take_along_axis(self._progress.validation_accuracy, self._measured, 1)
        each = np.ones(self.chain.skills, np.int64)
        return TrainingResult(
            ended=np.ones(self.num_envs, bool),
            success=accuracy.mean(1) >= SUCCESS * self._optima[self._taken],
            accuracy=accuracy,
            loss=1 - accuracy,
            labels=each,
            samples=each,
        )

    @cached_property
    def _schedules(self) -> Rows:
        """Best schedule of every instance, in places; int64 [instances, budget]."""
        return np.array([best_schedule(chain, self.run_length) for chain in self._every])

    @cached_property
    def _optima(self) -> Levels:
        """Mean level at the end of the best schedule of every instance; float64 [instances]."""
        pairs = zip(self._every, self._schedules, strict=True)
        return np.array([chain.values(schedule[None])[0] for chain, schedule in pairs])

    def _only_chain(self, what: str) -> Chain:
        """Return the chain of the only instance."""
        if self._several:
            raise ValueError(f"{what} needs one hidden truth, but instance={self.options.instance!r}: give one number.")
        return self.chain

    def best_actions(self) -> Array:
        """Return the next task of the best schedule, in every row; int64 [num_envs]."""
        self._require_reset("best_actions()")
        place = self._schedules[self._taken, self._step]
        task: Rows = self._chains.tasks[np.arange(self.num_envs), place]
        return task

    def best_mix(self) -> Levels:
        """Return the best constant share of each task; float64 [tasks].

        Raises:
            ValueError: If there are several instances.
        """
        chain, shares = self._only_chain("best_mix()"), np.zeros(len(self.all_names))
        shares[chain.tasks] = best_mix(chain, self.run_length)
        return shares

    def next_gains(self, accuracy: Array) -> Levels:
        """Return what practising each task adds to the mean level, beyond practising none.

        Args:
            accuracy: Level of each task; float [rows, tasks].

        Returns:
            float64 [rows, tasks].

        Raises:
            ValueError: If there are several instances.
        """
        chain = self._only_chain("next_gains()")
        levels, gains = accuracy[:, chain.tasks].astype(float), np.zeros(accuracy.shape)
        gains[:, chain.tasks] = (chain.gains(levels) + chain.forgetting * levels) / chain.skills
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
        self._take_chains()
        self.timeline = arrays_of(Timeline, state["timeline"])
        self._ended = None if state["ended"] is None else arrays_of(Timeline, state["ended"])

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Figure]:
        """Draw the timeline of an evaluation."""
        return {"timeline.png": render.timeline(figures["timeline"], self.all_names, title, LEVEL)}

    def _render(self) -> Array | str | None:
        """Show the practice so far above the levels; as text, decisions and levels of the first row."""
        told = self.narration
        weights = None if told is None else np.zeros(len(self.all_names), np.float32)
        if told is not None and weights is not None and told.actions:
            weights[int(told.actions[-1])] = 1
        line = self._line_shown()
        return render.show_timeline(self.render_mode, self._text, line, self.all_names, LEVEL, weights, self.heading)

    def _line_shown(self) -> Timeline:
        return self._ended if self._shows_end and self._ended is not None else self.timeline

    def _named(self, action: Array) -> str:
        return f"practise {self.all_names[int(action)]}"

    def _reached_text(self) -> str:
        return render.reached(self._line_shown(), LEVEL)

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
