"""Exceptions of the package for callers to catch by name."""

from __future__ import annotations


class TrainingDiverged(ArithmeticError):  # noqa: N818 (an event, as StopIteration is)
    """Non-finite number from a trained network, raised by the environment before an agent receives it.

    Attributes:
        update: Number of optimizer steps before the failure.
        task: Task of the non-finite number.
    """

    def __init__(self, update: int, task: str, what: str = "the loss or reward") -> None:
        self.update, self.task = update, task
        super().__init__(
            f"Training diverged: {what} of task {task!r} is not finite after {update} updates. "
            "Lower the learning rate, check the data and the reward, and restart with reset(seed=...)."
        )


class MaskedChoice(ValueError):  # noqa: N818 (an event, as StopIteration is)
    """Masked choice in a batch of several runs, raised before anything has changed."""

    def __init__(self, row: int, choice: object) -> None:
        super().__init__(
            f"Row {row} chose {choice}, which is masked, but several runs keep in step and take valid choices only: "
            "follow action_masks(), or make the environment with invalid='nearest'."
        )


class CheckpointError(ValueError):
    """Damaged checkpoint, or a checkpoint of a different environment or agent."""
