"""The exceptions of the package that are worth catching by name."""

from __future__ import annotations


class TrainingDiverged(ArithmeticError):  # noqa: N818 (an event, as StopIteration is)
    """The trained network produced a number that is not finite; the environment stops before it reaches an agent.

    Attributes:
        update: Optimizer steps taken before.
        task: The task in which it showed.
    """

    def __init__(self, update: int, task: str, what: str = "the loss or reward") -> None:
        self.update, self.task = update, task
        super().__init__(
            f"Training diverged: {what} of task {task!r} is not finite after {update} updates. "
            "Lower the learning rate, check the data and the reward, and start anew with reset(seed=...)."
        )


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to a different environment or agent."""
