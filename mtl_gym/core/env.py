"""The batched environment that every family builds on.

The contract of a family has nine hooks. It must implement them, or inherit them from one of two bases:
`ClassificationVectorEnv`, where an episode ends in answers to one task, and `TrainingRunVectorEnv`, where an episode
is a training run.

1. `_build`: Make network, optimizer, data order and counters anew.
2. `_begin`: Begin episodes.
3. `_advance`: Carry out one decision of every row.
4. `_learn`: Train on ended episodes.
5. `_observe`: Return the observation.
6. `_state` and 7. `_load_state`: Save and restore the family's part of the state.
8. `_adopt`: Become a view of another environment.
9. `_render`: Show the environment.

It also has two properties, `task_names` and `epoch`. Everything else has a default: `_masks` and `_valid` for choices
that are not always valid, `playing`, `_cut_short`, `_given_weights`, `_task_name`, `_new_view`, `samples`, `signature`
and `_model` for the states that can be loaded, `max_episode_steps`, and the hooks of `core/reporting.py`.

This module turns the hooks into Gymnasium's vector API: seeding, action checks, masks, autoreset, checkpoints, forks
and evaluation views.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from typing_extensions import Self

from mtl_gym.core.actions import checked
from mtl_gym.core.episode import Transition
from mtl_gym.core.errors import MaskedChoice, TrainingDiverged
from mtl_gym.core.interfaces import Interface
from mtl_gym.core.lengths import TellsLength
from mtl_gym.core.narration import Narrated, Narration
from mtl_gym.core.options import EnvOptions, choose_device, make_options, refuse_reset_options, shallow_dict
from mtl_gym.core.packing import Observed, as_arrays, as_tensors, final_info, row_not_finite
from mtl_gym.core.ranges import Range, out_of_range
from mtl_gym.core.reporting import Reporting
from mtl_gym.core.rows import AnySpace, Array, Figures, Flags, Info, Observation, Picture, Rows, State
from mtl_gym.core.state.stateful import Stateful
from mtl_gym.core.validation import bare, complaint

ROWS = Range(1, 100_000)


class MultiTaskVectorEnv(Narrated, TellsLength, Reporting, Stateful):
    """`num_envs` episodes side by side over one network that acting trains.

    Autoreset is `SAME_STEP`: a row whose episode ends begins the next one in the same step, and `info["final_obs"]`
    and `info["final_info"]` belong to the episode that ended.

    With `runs`, as many independent runs train side by side as one computation. The rows of a run follow one another,
    and each run is equal to the bit to an environment of its own, reset with its seed. Runs keep in step, so they take
    valid choices only.

    Args:
        num_envs: Episodes side by side in each run.
        **options: The fields of the family's `Options`, and `runs`, the number of runs side by side; default 1.

    Attributes:
        num_envs: Number of rows: episodes side by side, of all runs.
        runs: Number of runs.
        seeds: Seed of each run; int64 [runs].

    Raises:
        ValueError: If an option has a value that is not allowed.
    """

    Options: ClassVar[type[EnvOptions]] = EnvOptions
    # Interfaces that agents may ask for beside acting; see `mtl_gym.core.interfaces`.
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset()
    # Whether several runs fit side by side.
    STACKS: ClassVar[bool] = False
    WINDOW: ClassVar[str] = "mtl_gym"  # title of the window of render_mode="human"
    # Default num_envs of an evaluation view; None for that of the environment.
    EVALUATION_WIDTH: ClassVar[int | None] = 256
    metadata = {  # noqa: RUF012 (Gymnasium declares it as an instance attribute)
        "render_modes": ["rgb_array", "human", "ansi"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        self.rows_per_run, self.runs = (
            self._counted("num_envs", num_envs),
            self._counted("runs", options.pop("runs", 1)),
        )
        self._told_length = options.pop("max_episode_steps", None)  # of a spec, by gym.make_vec(env.spec)
        kind, rows = type(self).__name__, self.rows_per_run * self.runs
        if rows not in ROWS:
            raise ValueError(
                f"{kind}: num_envs={num_envs} in runs={self.runs} are {rows} rows; {int(ROWS.most):,} at most."
            )
        if self.runs > 1 and not self.STACKS:
            raise ValueError(f"{kind}: runs={self.runs} is not possible; its runs do not stack: use runs=1.")
        self.options = make_options(self.Options, type(self).__name__, options)
        self.num_envs, self.render_mode = self.rows_per_run * self.runs, self.options.render_mode
        self._check_render_mode()
        self.narration = Narration(self.num_envs) if self.render_mode in ("rgb_array", "human") else None
        self.device = choose_device(self.options.device)
        self.seed: int | None = None
        self._shown = {}
        self.updates = self.episodes = 0

    def _counted(self, name: str, count: object) -> int:
        count = bare(count)
        wrong = complaint(name, count, int) or out_of_range(name, count, int, ROWS)
        if wrong is not None:
            raise ValueError(f"{type(self).__name__}: {wrong}")
        assert isinstance(count, int)
        return count

    def _set_spaces(self, observation: AnySpace, action: AnySpace) -> None:
        if self._told_length not in (None, self.max_episode_steps):
            raise ValueError(
                f"{type(self).__name__}: max_episode_steps={self._told_length!r} is not possible; an episode of a "
                f"batch has up to {self.max_episode_steps} decisions: use gym.make(id, max_episode_steps=...)."
            )
        self.single_observation_space, self.single_action_space = observation, action
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(action, self.num_envs)

    def _check_render_mode(self) -> None:
        allowed = [None, *self.metadata["render_modes"]]
        if self.render_mode not in allowed:
            raise ValueError(f"render_mode={self.render_mode!r} is unknown; choose one of {allowed}.")

    @abstractmethod
    def _advance(self, actions: Array, valid: Flags) -> Transition:
        """Carry out `actions`; rows outside `valid` chose something masked."""

    @abstractmethod
    def _learn(self, done: Flags) -> None:
        """Train on the episodes that ended, once there are enough of them."""

    @abstractmethod
    def _observe(self) -> Observed:
        """Return the current observation of all rows: fresh tensors or arrays."""

    @abstractmethod
    def _adopt(self, source: Self) -> None:
        """Become a view: share `source`'s network and counters, and set up one ordered pass over the split."""

    @abstractmethod
    def _render(self) -> Picture | str | None:
        """Return what `render` returns."""

    @property
    @abstractmethod
    def epoch(self) -> float:
        """Passes over the training data so far."""

    @property
    @abstractmethod
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""

    def _cut_short(self, rows: Rows) -> None:
        """Forget the episodes that a reset ends early; int64 [n]."""

    def _masks(self) -> Flags:
        """Return the valid choices; by default every one."""
        flat = gym.spaces.utils.flatdim(self.single_action_space)
        return np.ones((self.num_envs, flat), bool)

    def _admitted(self, actions: Array) -> Array:
        """Return the actions that are carried out in place of these; by default the same."""
        return actions

    def _valid(self, actions: Array) -> Flags:
        """Return the rows whose action is valid; bool [num_envs]."""
        return np.ones(self.num_envs, bool)

    def _task_name(self, row: int) -> str:
        return "?"

    def action_masks(self) -> Flags:
        """Return the valid choices; bool [num_envs, actions], with the parts of an action side by side.

        Raises:
            ResetNeeded: Before the first `reset`.
        """
        self._require_reset("action_masks()")
        return self._masks()

    def render(self) -> Any:  # Gymnasium allows vector environments tuples of frames only
        """Return a picture or text, or show a window, as `render_mode` says; with several runs, of the first.

        With "human", every `reset` and `step` shows the window as well.

        Raises:
            ResetNeeded: Before the first `reset`.
        """
        self._require_reset("render()")
        shown = self.of_run(0)
        shown.narration = self.narration
        return shown._render()

    def _require_reset(self, what: str) -> None:
        if self.seed is None:
            raise gym.error.ResetNeeded(f"Call reset() before {what}: no episode has begun.")

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[Observation, Info]:
        """Begin a new episode in every row.

        Args:
            seed: If given, the whole environment starts anew: weights, optimizer, data order, counters and generators.
                Without it, training of the current network continues. With several runs, one seed gives run i the seed
                + i, and a sequence gives each its own.
            options: None or empty.

        Returns:
            The observation, and an info with the seed in force and the action mask.

        Raises:
            ValueError: If there are options.
        """
        refuse_reset_options(options)
        if self._source is not None:
            self._adopt(self._source)
        elif seed is not None or self.seed is None:
            self._warn_of_loss()
            self._restart(seed)
        else:
            self._refuse_if_diverged()
            self._cut_short(np.flatnonzero(self.playing))
        self._begin(np.arange(self.num_envs))
        self._interrupted = None
        if self.narration is not None:
            self.narration.cut_short()
        self._show_if_human()
        return self.current()

    def _restart(self, seed: int | Sequence[int] | None) -> None:
        super()._restart(seed)
        if self.narration is not None:  # another one, as `render` lends it to the environment of a run
            self.narration = Narration(self.num_envs)

    def _load(self, state: State) -> None:
        super()._load(state)
        if self.narration is not None:
            self.narration.resume(self._actions_so_far(), self._task_name(0))

    def current(self) -> tuple[Observation, Info]:
        """Return the observation and info of the episodes under way, as `reset` does."""
        seeds, everyone = np.repeat(self.seeds, self.rows_per_run), np.ones(self.num_envs, bool)
        return self._export(self._observe()), {"seed": seeds, "_seed": everyone, **self.mask_info()}

    def carry_on(self) -> tuple[Observation, Info]:
        """Return `current()`, and show the episode that has begun in place of the last."""
        if self.narration is not None:
            self.narration.begin()
        self._show_if_human()
        return self.current()

    def step(self, actions: object) -> tuple[Observation, Figures, Figures, Figures, Info]:
        """Carry out one decision in every row; shapes as in `action_space`.

        Raises:
            ValueError: If an action lies outside the action space.
            TrainingDiverged: If a loss, reward or observation is not finite, and at every later step and plain reset.
        """
        obs, transition, final_obs = self.advance(actions)
        info = self.mask_info()
        if final_obs is not None:
            info |= final_info(transition, final_obs, self.options.tensors)
        figures = (transition.reward, transition.terminated, transition.truncated)
        if self.options.tensors:
            return obs, *(torch.from_numpy(figure).to(self.device, non_blocking=True) for figure in figures), info
        return obs, *figures, info

    def advance(self, actions: object) -> tuple[Observation, Transition, Observation | None]:
        """Carry out one decision as `step` does, without Gymnasium's packing, for adapters to other libraries.

        Returns:
            The observation, the transition, and the final observations as one batch, or None where no row ended.
        """
        self._require_reset("step()")
        self._refuse_if_diverged()
        self._refuse_if_interrupted()
        if self.pass_over:
            raise gym.error.ResetNeeded("The pass is over: call reset() to begin it anew.")
        whole = self._admitted(checked(actions, self.action_space, self.single_action_space))
        task = None if self.narration is None else self._task_name(0)
        with self._all_or_reset():
            outcome = self._carry_out(whole)
        if self.narration is not None and task is not None:
            self.narration.add(whole[0], task, outcome[1])
            self._show_if_human()
        return outcome

    def _show_if_human(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _carry_out(self, actions: Array) -> tuple[Observation, Transition, Observation | None]:
        playing, valid = self.playing, self._valid(actions)
        if self.runs > 1 and not valid.all():
            raise MaskedChoice(int(valid.argmin()), actions[valid.argmin()])
        transition = self._advance(actions, valid)
        done = transition.done
        final_obs = None
        if done.any():
            final_obs = self._export(self._observe())
            self._learn(done)
            self._begin(np.flatnonzero(done))
        if not playing.all():  # at the end of a view's pass some rows have no sample left
            transition = transition.within(playing)
            final_obs = final_obs if transition.done.any() else None
        return self._export(self._observe()), transition, final_obs

    def mask_info(self) -> Info:
        """Return the info of a step in which no episode ends."""
        return {"action_mask": self.action_masks(), "_action_mask": np.ones(self.num_envs, bool)}

    def _export(self, obs: Observed) -> Observation:
        if self.options.tensors:
            return as_tensors(obs, self.device)
        arrays = as_arrays(obs)
        row = row_not_finite(arrays)
        if row is not None:
            raise TrainingDiverged(self.updates, self._task_name(row), "an observation")
        return arrays

    def _check_finite(self, figures: Array, task: Rows) -> None:
        """Raise `TrainingDiverged` where a figure is not finite; `task` broadcasts to the figures."""
        wrong = np.broadcast_to(task, figures.shape)[~np.isfinite(figures)]
        if wrong.size:
            raise TrainingDiverged(self.updates, self.task_names[wrong[0]])

    def evaluation_view(self, split: str = "test", num_envs: int | None = None) -> MultiTaskVectorEnv:
        """Return an environment over this one's network that never trains it and passes once over `split`, in order.

        `final_info["sample"]` is the index of the sample in the split. Every row has its share of the samples; once
        they are used up, it earns 0 and never ends. After `pass_over`, `reset()` begins the pass anew with the weights
        of that moment; a seed changes nothing.

        Raises:
            ValueError: If there are several runs.
        """
        if self.seed is None:
            self.reset()
        if self.runs > 1:
            raise ValueError(f"A view shows one network, and there are {self.runs} runs: env.of_run(0), and so on.")
        view = self._new_view(split, num_envs)
        view.follow(self)
        return view

    def _new_view(self, split: str, num_envs: int | None) -> MultiTaskVectorEnv:
        """Return an environment for a view of `split`; None for as many rows as here."""
        options = replace(self.options, split=split, train=False, tensors=False, render_mode=None)
        return type(self)(self.rows_per_run if num_envs is None else num_envs, **shallow_dict(options))

    @property
    def playing(self) -> Flags:
        """Rows with an episode under way; bool [num_envs]. Only at the end of a view's pass are some without."""
        return np.ones(self.num_envs, bool)

    @property
    def pass_over(self) -> bool:
        """True once the pass of an evaluation view is over; always False elsewhere."""
        return self._source is not None and not self.playing.any()

    @property
    def samples(self) -> int:
        """Training samples so far: one per episode, unless an episode is a training run."""
        return self.episodes

    def close_extras(self, **kwargs: object) -> None:
        """Close the window of `render_mode="human"`."""
        if self.render_mode == "human":
            from mtl_gym.core.figures import close_window

            close_window(self.WINDOW)
