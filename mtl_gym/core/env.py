"""The batched environment that every family builds on.

A family implements five hooks (`_build`, `_begin`, `_advance`, `_learn`, `_observe`); this module turns them into
Gymnasium's vector API: seeding, action checks, masks, autoreset, checkpoints, forks and evaluation views.
"""

from __future__ import annotations

import dataclasses
import logging
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import MultiBinary
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.classification import count_answers
from mtl_gym.core.errors import TrainingDiverged
from mtl_gym.core.options import EnvOptions, choose_device, make_options, shallow_dict
from mtl_gym.core.ranges import Range, out_of_range
from mtl_gym.core.rows import Flags, Info, Observation, Rows, array_of, clone, rows_of
from mtl_gym.core.state.stateful import Stateful
from mtl_gym.core.validation import bare, complaint, short

logger = logging.getLogger(__name__)

EVALUATIONS = 10
ROWS = Range(1, 100_000)


@dataclass
class Transition:
    """What one decision of every row led to, before finished rows begin their next episode.

    Attributes:
        reward: [num_envs] float32.
        terminated: [num_envs] bool.
        truncated: [num_envs] bool.
        final_info: Figures of the episodes that ended: per key an array [num_envs, ...] and, under `_key`, the rows
            (bool [num_envs]) in which it counts.
    """

    reward: NDArray[np.float32]
    terminated: Flags
    truncated: Flags
    final_info: Info

    @property
    def done(self) -> Flags:
        """Rows whose episode ended; bool [num_envs]."""
        return self.terminated | self.truncated

    def within(self, playing: Flags) -> Transition:
        """The same where only these rows, bool [num_envs], had a part in it: no other ended or earned anything."""
        info = {key: value & playing if key[0] == "_" else value for key, value in self.final_info.items()}
        reward = np.where(playing, self.reward, np.float32(0))
        return Transition(reward, self.terminated & playing, self.truncated & playing, info)


class MultiTaskVectorEnv(Stateful):
    """`num_envs` episodes side by side over one network that acting trains.

    Autoreset is `SAME_STEP`: a finished row begins its next episode in the step that finished it, and what it ended
    with is in `info["final_obs"]` and `info["final_info"]`.

    Args:
        num_envs: Episodes side by side.
        **options: The fields of the family's `Options`.

    Raises:
        ValueError: If an option has a value that is not allowed.
    """

    Options: ClassVar[type[EnvOptions]] = EnvOptions
    # Title of the window of render_mode="human".
    WINDOW: ClassVar[str] = "mtl_gym"
    # Rows of an evaluation, unless it is told; None takes as many as the environment has.
    EVALUATION_WIDTH: ClassVar[int | None] = 256
    # The split that the pictures of a run are drawn from.
    PICTURES_OF: ClassVar[str] = "validation"
    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium declares it as an instance attribute)
        "render_modes": ["rgb_array", "human", "ansi"],
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    options: Any
    network: nn.Module
    optimizer: torch.optim.Optimizer

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        num_envs = bare(num_envs)
        wrong = complaint("num_envs", num_envs, int) or out_of_range("num_envs", num_envs, int, ROWS)
        if wrong is not None:
            raise ValueError(f"{type(self).__name__}: {wrong}")
        self.options = make_options(self.Options, type(self).__name__, options)
        self.num_envs = num_envs
        self.render_mode = self.options.render_mode
        self._check_render_mode()
        self.device = choose_device(self.options.device)
        self.seed: int | None = None
        self.updates = self.episodes = 0
        self._warned_restart = False
        self._source: MultiTaskVectorEnv | None = None
        self._diverged: TrainingDiverged | None = None

    def _set_spaces(self, observation: gym.Space[Any], action: gym.Space[Any]) -> None:
        self.single_observation_space, self.single_action_space = observation, action
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(action, self.num_envs)

    def _check_render_mode(self) -> None:
        allowed = [None, *self.metadata["render_modes"]]
        if self.render_mode not in allowed:
            raise ValueError(f"render_mode={self.render_mode!r} is unknown; choose one of {allowed}.")

    @abstractmethod
    def _build(self) -> None:
        """Make network, optimiser, data order and counters anew; torch's CPU generator is seeded meanwhile."""

    @abstractmethod
    def _begin(self, rows: Rows) -> None:
        """Begin an episode in each of `rows`; int64 [n]."""

    @abstractmethod
    def _advance(self, actions: Any, valid: Flags) -> Transition:
        """Carry out `actions`; rows that are not `valid` chose something masked."""

    def _cut_short(self, rows: Rows) -> None:
        """Forget what is kept of episodes that a reset ends before their time; int64 [n]."""

    @abstractmethod
    def _learn(self, done: Flags) -> None:
        """Train on finished episodes, if enough have come together."""

    @abstractmethod
    def _observe(self) -> dict[str, Any] | Any:
        """The current observation of all rows: tensors or NumPy arrays, fresh ones."""

    def action_masks(self) -> Flags:
        """The choices that are valid now; bool [num_envs, actions], the last axis flat if an action has parts.

        Raises:
            ResetNeeded: Before the first `reset`.
        """
        self._require_reset("action_masks()")
        return self._masks()

    def render(self) -> Any:
        """Show what `render_mode` asks for: a picture, a window or text.

        Raises:
            ResetNeeded: Before the first `reset`.
        """
        self._require_reset("render()")
        return self._render()

    def _require_reset(self, what: str) -> None:
        if self.seed is None:
            raise gym.error.ResetNeeded(f"Call reset() before {what}: no episode has begun.")

    @abstractmethod
    def _render(self) -> Any:
        """What `render` shows."""

    def _masks(self) -> Flags:
        """Valid choices; every one where a family does not say otherwise."""
        flat = gym.spaces.utils.flatdim(self.single_action_space)
        return np.ones((self.num_envs, flat), bool)

    def _valid(self, actions: Any) -> Flags:
        return np.ones(self.num_envs, bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin a new episode in every row.

        Args:
            seed: If given, the whole environment starts anew: weights, optimiser, data order, counters and generators.
                Without it, the network that is there goes on learning.
            options: Unused.

        Returns:
            The observation, and an info with the seed in force and the action mask.
        """
        if self._source is not None:
            self._adopt(self._source)
        elif seed is not None or self.seed is None:
            self._warn_of_loss()
            self._restart(seed)
        else:
            self._refuse_if_diverged()
            self._cut_short(np.flatnonzero(self.playing))
        self._begin(np.arange(self.num_envs))
        return self.current()

    def current(self) -> tuple[Observation, Info]:
        """What `reset` gives of the episodes that are under way: the observation and the info."""
        seeds, everyone = np.full(self.num_envs, self.seed), np.ones(self.num_envs, bool)
        return self._export(self._observe()), {"seed": seeds, "_seed": everyone, **self.mask_info()}

    def _warn_of_loss(self) -> None:
        if self.updates and self._kept() is None and not self._warned_restart:
            logger.warning("reset(seed=...) throws away a network trained for %d updates.", self.updates)
            self._warned_restart = True

    def _restart(self, seed: int | None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        if not (isinstance(seed, (int, np.integer)) and seed >= 0):
            raise ValueError(f"seed={short(seed)} is not possible: one seed >= 0 starts the whole batch of episodes.")
        self._np_random, used = gym.utils.seeding.np_random(int(seed))
        self.seed = self._np_random_seed = int(used)
        self.generator = torch.Generator(self.device).manual_seed(self.seed % 2**63)
        kept = self._kept()
        self._diverged = None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed % 2**63)
            self._build()
        self.updates = self.updates if kept else 0
        if kept:
            self.network.load_state_dict(kept)

    def _kept(self) -> dict[str, Any] | None:
        """The weights that a new start leaves as they are: those of a shared network that nothing trains."""
        if self.options.train or not self.SHARED or self._source is not None:
            return None
        return clone(dict(self.network.state_dict())) if hasattr(self, "network") else self._given_weights()

    def _given_weights(self) -> dict[str, Any] | None:
        """The weights that a network came with that was given as an object; None if they are still to be drawn."""
        return None

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """Carry out one decision in every row; shapes as in `action_space`.

        Raises:
            ValueError: If an action lies outside the action space.
            TrainingDiverged: If a loss, reward or observation is not finite, and at every step and plain reset after.
        """
        obs, transition, final_obs = self.advance(actions)
        info = self.mask_info()
        if final_obs is not None:
            info |= self._final_info(final_obs, transition)
        figures = (transition.reward, transition.terminated, transition.truncated)
        if self.options.tensors:
            return obs, *(torch.from_numpy(figure).to(self.device) for figure in figures), info
        return obs, *figures, info

    def advance(self, actions: Any) -> tuple[Observation, Transition, Observation | None]:
        """`step` without Gymnasium's packing: the observation, the transition and the final observations as one batch.

        Adapters to other libraries build on it. The final observations are None where no row ended.
        """
        self._require_reset("step()")
        self._refuse_if_diverged()
        if self.pass_over:
            raise gym.error.ResetNeeded("The pass is over: call reset() to begin it anew.")
        actions = self._check_actions(actions)
        try:
            return self._carry_out(actions)
        except TrainingDiverged as error:
            self._diverged = error
            raise

    def _refuse_if_diverged(self) -> None:
        if self._diverged is not None:
            raise self._diverged

    def _carry_out(self, actions: Any) -> tuple[Observation, Transition, Observation | None]:
        playing = self.playing
        transition = self._advance(actions, self._valid(actions))
        done = transition.done
        final_obs = None
        if done.any():
            final_obs = self._export(self._observe())
            self._learn(done)
            self._begin(np.flatnonzero(done))
        if not playing.all():  # behind the pass of a view rows go round without a sample
            transition = transition.within(playing)
            final_obs = final_obs if transition.done.any() else None
        return self._export(self._observe()), transition, final_obs

    def _check_actions(self, actions: Any) -> Any:
        array = array_of(actions)
        space = self.action_space
        # SB3's policies give binary actions as floats.
        whole = np.issubdtype(space.dtype, np.integer) and not isinstance(self.single_action_space, MultiBinary)
        kinds = "biu" if whole else "biuf"
        if array.shape != space.shape or array.dtype.kind not in kinds:
            raise ValueError(
                f"actions of shape {array.shape} and dtype {array.dtype} do not fit {space}: "
                f"give one action per row, {space.shape} of {space.dtype}."
            )
        with np.errstate(invalid="ignore", over="ignore"):  # NaN as a whole number; what comes of it is refused
            cast = array.astype(space.dtype, copy=False)
        if not space.contains(cast) or (np.issubdtype(space.dtype, np.integer) and (cast != array).any()):
            row = next(i for i, a in enumerate(array) if not self.single_action_space.contains(a))
            raise ValueError(f"action {array[row]} in row {row} lies outside {self.single_action_space}.")
        return cast

    def mask_info(self) -> Info:
        """The info of a step in which no episode ends."""
        return {"action_mask": self.action_masks(), "_action_mask": np.ones(self.num_envs, bool)}

    def _final_info(self, final_obs: Observation, transition: Transition) -> Info:
        done = transition.done
        info = {"final_info": transition.final_info, "_final_info": done, "_final_obs": done}
        if self.options.tensors:
            return {"final_obs": final_obs, **info}
        objects = np.full(self.num_envs, None, dtype=object)
        rows = np.flatnonzero(done)
        objects[rows] = rows_of(final_obs, rows)
        return {"final_obs": objects, **info}

    def _export(self, obs: Any) -> Observation:
        if isinstance(obs, dict):
            return {key: self._export(part) for key, part in obs.items()}
        if self.options.tensors:
            return torch.as_tensor(obs, device=self.device)
        array = obs.cpu().numpy() if isinstance(obs, Tensor) else obs
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise TrainingDiverged(self.updates, self._task_name(row), "an observation")
        return array

    def _check_finite(self, figures: NDArray[np.floating[Any]], task: NDArray[np.int64]) -> None:
        """Raise `TrainingDiverged` where a figure is not finite; `task`, whose it is, broadcasts to the figures."""
        wrong = np.broadcast_to(task, figures.shape)[~np.isfinite(figures)]
        if wrong.size:
            raise TrainingDiverged(self.updates, self.task_names[wrong[0]])

    def _task_name(self, row: int) -> str:
        return "?"

    def evaluation_view(self, split: str = "test", num_envs: int | None = None) -> MultiTaskVectorEnv:
        """An environment over this one's network that never trains it and passes once over `split`, in order.

        `final_info["sample"]` is the index of the sample in the split. Each row has its share of the samples and waits
        behind them: it earns 0 and never ends. Once `pass_over`, `reset()` begins the pass anew, with the weights of
        that moment; a seed changes nothing.
        """
        if self.seed is None:
            self.reset()
        options = dataclasses.replace(self.options, split=split, train=False, tensors=False, render_mode=None)
        view = type(self)(self.num_envs if num_envs is None else num_envs, **shallow_dict(options))
        view._source = self
        return view

    @abstractmethod
    def _adopt(self, source: Any) -> None:
        """Become a view: share `source`'s network and counters, and set up one ordered pass over the split."""

    @property
    def playing(self) -> Flags:
        """Rows that are in an episode; bool [num_envs]. Only at the end of a view's pass are there others."""
        return np.ones(self.num_envs, bool)

    @property
    def pass_over(self) -> bool:
        """Whether every sample of the split has been used up; always False outside an evaluation view."""
        return self._source is not None and not self.playing.any()

    @property
    def samples(self) -> int:
        """Samples that were trained on so far: one to an episode, unless an episode is a training run."""
        return self.episodes

    @property
    @abstractmethod
    def epoch(self) -> float:
        """Passes over the training data so far."""

    @property
    @abstractmethod
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""

    def evaluation_spacing(self, steps: int) -> int:
        """How many decisions apart a training of so many is evaluated by default: ten times in all."""
        return max(1, steps // EVALUATIONS)

    def evaluation_counts(self, final_info: Info) -> NDArray[np.float64]:
        """What an evaluation adds up over the episodes that ended in a step; [4, tasks].

        Per task the sum of answers, right ones, answers with a loss, and losses.
        """
        return count_answers(final_info, len(self.task_names))

    def evaluation_figures(self) -> dict[str, Any]:
        """Figures of the family over the episodes so far, beside accuracy and loss."""
        return {}

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Any]:
        """Figures of matplotlib that show an evaluation, by file name; `figures` is what `evaluation_figures` gave."""
        return {}

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window of `render_mode="human"`."""
        if self.render_mode == "human":
            from mtl_gym.core.figures import close_window

            close_window(self.WINDOW)
