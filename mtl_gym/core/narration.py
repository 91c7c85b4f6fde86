"""Words beside the pictures of `render`: what is seen, the last decision, and what has been reached so far."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mtl_gym.core.episode import Transition
from mtl_gym.core.rows import Array

REMEMBERED = 200


class Narration:
    """Decisions of the first row and outcomes of recent episodes, kept for pictures and no part of states.

    Loading a state resets them; `actions` are then the state's own, if the episode under way has some.

    Args:
        rows: Number of rows.

    Attributes:
        actions: Actions of the first row in the episode under way or, until the next decision, in the last one.
        task: Name of the task of these actions.
        reward: Reward of the last of them; None before the first decision and after loading a state.
        total: Their rewards.
        over: Whether the last of them ended the episode.
        success: Whether that episode reached its goal.
        refused: Whether the last of them was not allowed.
        successes: Whether recent episodes of all rows reached their goal.
        returns: Rewards of recent episodes of all rows.
    """

    def __init__(self, rows: int) -> None:
        self._totals = np.zeros(rows)
        self.successes: deque[bool] = deque(maxlen=REMEMBERED)
        self.returns: deque[float] = deque(maxlen=REMEMBERED)
        self.begin()

    def begin(self) -> None:
        """Begin an episode in the first row."""
        self.actions: list[Array] = []
        self.task, self.total = "", 0.0
        self.reward: float | None = None
        self.over = self.success = self.refused = False

    def resume(self, actions: Array, task: str) -> None:
        """Continue an episode of the first row after these actions of a loaded state; [decisions, ...]."""
        self.actions, self.task = [np.array(action) for action in actions], task if len(actions) else ""

    def cut_short(self) -> None:
        """Begin an episode in every row."""
        self._totals[:] = 0
        self.begin()

    def add(self, action: Array, task: str, transition: Transition) -> None:
        """Add a decision of all rows: the first row's action and task, and the outcomes."""
        if self.over:
            self.begin()
        self._totals += transition.reward
        self.actions.append(np.array(action))
        self.task, self.reward, self.total = task, float(transition.reward[0]), float(self._totals[0])
        if transition.result is not None:
            self._end(transition)

    def _end(self, transition: Transition) -> None:
        done, result = transition.done, transition.result
        assert result is not None
        self.successes.extend(result.success[done].tolist())
        self.returns.extend(self._totals[done].tolist())
        self._totals[done] = 0
        refused = result.more.get("invalid_action")
        self.over, self.success = bool(done[0]), bool(result.success[0])
        self.refused = self.over and refused is not None and bool(refused[0])


class Narrated:
    """Heading of pictures, for environments; a family names its choices.

    Attributes:
        narration: What the heading is made of; None unless pictures are rendered.
    """

    # What a picture of `render` shows, in a line.
    SEEN: ClassVar[str] = "State of the training"
    narration: Narration | None = None
    if TYPE_CHECKING:
        num_envs: int
        episodes: int
        updates: int

    def heading(self) -> tuple[str, str, str]:
        """Return three lines: what is seen, the last decision of the first row, and what has been reached so far."""
        told, seen = self.narration, self.SEEN
        if self.num_envs > 1:
            seen = f"{seen} (row 0 of {self.num_envs})"
        if told is None or not self._decisions:
            return seen, "The episode begins: no decision yet.", self._standing()
        if told.reward is None:
            return seen, f"Decisions before this state was loaded: {self._decisions:,}.", self._standing()
        decision = f"Decision {self._where()}: {self._named(told.actions[-1])}. Reward {told.reward:+.3g}."
        return seen, f"{decision} {self._verdict()}".strip(), self._standing()

    def _where(self) -> str:
        """Return the place of the last decision."""
        return f"{self._decisions}"

    @property
    def _decisions(self) -> int:
        """Number of decisions of the episode that is shown."""
        return 0 if self.narration is None else len(self.narration.actions)

    @property
    def _shows_end(self) -> bool:
        """Return whether pictures show the episode that has just ended: no decision of the next is made."""
        return self.narration is not None and self.narration.over

    def _actions_so_far(self) -> Array:
        """Return the first row's actions in the episode under way, as far as states have them; [decisions, ...]."""
        return np.zeros(0)

    def _named(self, action: Array) -> str:
        """Return an action in words."""
        return f"action {action.tolist()}"

    def _verdict(self) -> str:
        """Return the outcome of the episode if it is over."""
        told = self.narration
        if told is None or not told.over:
            return ""
        if told.refused:
            return "This choice is not allowed: the episode is over."
        return "The episode reached its goal." if told.success else "The episode is over."

    def _standing(self) -> str:
        """Return what has been reached so far."""
        told = self.narration
        if told is None or not told.returns:
            return f"{self.updates:,} updates. No episode has ended yet."
        right, reward = np.mean(told.successes), np.mean(told.returns)
        recent = f"Last {len(told.returns)} episodes: {right:.0%} right, mean reward {reward:.2f}."
        return f"{self.updates:,} updates. {recent}"
