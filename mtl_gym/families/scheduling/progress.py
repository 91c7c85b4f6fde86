"""Figures of training runs under way, the inputs of scheduling rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import Array, Rows


@dataclass(frozen=True)
class Progress:
    """Figures of the runs under way.

    Attributes:
        train_loss: Loss of each task's last minibatch before its gradient step; NaN before the first. float32
            [runs, tasks].
        validation_loss: float32 [runs, tasks].
        validation_accuracy: float32 [runs, tasks].
        gradient_norm: Norm of the gradient of each task's last minibatch at the encoder's last layer; NaN if unknown.
            float32 [runs, tasks].
        trained: Minibatches of each task so far; float32 [runs, tasks].
        reference: Reference accuracies of the reward, NaN without a reference; float32 [tasks].
        updates: Gradient steps so far; int64 [runs].
    """

    train_loss: Floats
    validation_loss: Floats
    validation_accuracy: Floats
    gradient_norm: Floats
    trained: Floats
    reference: Floats
    updates: Rows

    @classmethod
    def none_yet(cls, runs: int, reference: Floats) -> Progress:
        """Return the progress before the first measurement, with NaN for what is unknown."""
        zeros = np.zeros((runs, len(reference)), np.float32)
        unknown = [zeros + np.float32(np.nan) for _ in range(4)]
        return cls(unknown[0], unknown[1], unknown[2], unknown[3], zeros, reference, np.zeros(runs, np.int64))

    def measures(self) -> dict[str, Array]:
        """Return the figures of each run, with 0 for what is unknown; the reference is one for all runs."""
        return {name: np.nan_to_num(value) for name, value in vars(self).items() if name != "reference"}

    def after(self, steps: int, validation: Floats) -> Progress:
        """Return a copy with more gradient steps, whose own figures are to be filled in.

        Args:
            steps: Gradient steps.
            validation: Validation losses and accuracies; float32 [2, runs, tasks].
        """
        return Progress(
            self.train_loss.copy(),
            validation[0],
            validation[1],
            self.gradient_norm.copy(),
            self.trained.copy(),
            self.reference,
            self.updates + steps,
        )
