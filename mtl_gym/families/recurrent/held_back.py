"""Held-back task, trained after all others.

Source: MT-RMN, table 2.
"""

from __future__ import annotations

from mtl_gym.core.rows import Rows, State
from mtl_gym.data.task_numbers import task_number
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.sequences import SequenceSplit


class HeldBack:
    """Order of training: first all other tasks, then the held-back task alone with frozen shared parameters.

    Args:
        task: Name or number of the held-back task; None trains all tasks throughout.
        updates: Number of updates on the other tasks.
        split: Split of the samples.

    Attributes:
        arrived: True once the held-back task is trained.
        episodes: Number of episodes before the switch.

    Raises:
        ValueError: If `task` is unknown or there is no other task.
    """

    def __init__(self, task: str | int | None, updates: int, split: SequenceSplit) -> None:
        if task is not None and split.data.num_tasks < 2:
            raise ValueError(f"unseen_task={task!r} leaves no other task to train on first; use two tasks or more.")
        self._task = None if task is None else task_number(split.data, task)
        self._updates, self._split = updates, split
        self.arrived, self.episodes = False, 0

    def anew(self) -> HeldBack:
        """Return a copy in its state before the first update."""
        return HeldBack(self._task, self._updates, self._split)

    @property
    def samples(self) -> Rows:
        """Samples of the currently trained tasks; int64 [n]."""
        tasks = range(self._split.data.num_tasks)
        return self._split.of_tasks([task for task in tasks if (task == self._task) == self.arrived])

    def is_due(self, updates: int) -> bool:
        """Return whether to switch to the held-back task after this number of updates."""
        return self._task is not None and updates == self._updates

    def arrive(self, network: MultiTaskNetwork, episodes: int) -> None:
        """Freeze shared parameters and switch to the held-back task, with untrained task-specific parts."""
        self.arrived, self.episodes = True, episodes
        for parameter in network.shared_parameters():
            parameter.requires_grad_(False)

    def state(self) -> State:
        """Return the attributes as plain values."""
        return {"arrived": self.arrived, "episodes": self.episodes}

    def load(self, state: State, network: MultiTaskNetwork) -> None:
        """Restore `state` before the first update."""
        if state["arrived"]:
            self.arrive(network, int(state["episodes"]))
