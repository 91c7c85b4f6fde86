"""One generation of a competition: training with the soft merge, then selection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtl_gym.core.episode import Floats
from mtl_gym.families.alignment.competition import Competition
from mtl_gym.families.alignment.joint import Index
from mtl_gym.families.alignment.training import JointTraining


@dataclass(frozen=True)
class Generation:
    """Outcome of a generation.

    Attributes:
        assignment: The selected module of each location; int64 [runs, locations].
        score: Final score of each challenger, 0 where none was named; float32 [runs, locations * challengers].
        loss: Last training losses; float32 [runs, tasks].
    """

    assignment: Index
    score: Floats
    loss: Floats


def generation(
    training: JointTraining, competition: Competition, iterations: int, random: np.random.Generator | None
) -> Generation:
    """Train the modules that compete for the locations, and select one for each.

    Args:
        training: Training of the joint models; their assignment does not change.
        competition: Competing modules.
        iterations: Gradient steps.
        random: Generator of a random selection; None selects by score.

    Source: MUiR, algorithm 1, lines 3 to 9.
    """
    belief, loss = training.generation(competition, iterations)
    scores = competition.scores(belief)
    assignment = competition.best(scores) if random is None else competition.random(random)
    score = np.where(competition.real, scores[..., 1:], 0).reshape(len(scores), -1).clip(0, 1)
    return Generation(assignment, score, loss)
