"""Best weights and assignment history of training runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import State, clone
from mtl_gym.core.state.structure import Numbers
from mtl_gym.families.alignment.history import AssignmentHistory
from mtl_gym.families.alignment.joint import JointModel
from mtl_gym.families.alignment.rewards import Measured


@dataclass
class Best:
    """Weights and assignments of each run at its lowest score on the validation samples.

    Attributes:
        state: State dict of the joint models.
        score: Score of each run with these weights, lower is better; float32 [runs].
    """

    state: dict[str, Tensor]
    score: Floats

    @classmethod
    def none_yet(cls, joint: JointModel) -> Best:
        """Return the current weights with infinite scores, which every offer improves."""
        return cls(clone(joint.state_dict()), np.full(joint.runs, np.inf, np.float32))

    def offer(self, joint: JointModel, score: Floats) -> None:
        """Save the current weights of runs with a lower score than before; float32 [runs]."""
        better = score < self.score
        if better.any():
            runs = torch.from_numpy(np.flatnonzero(better)).to(joint.contexts.device)
            for name, value in joint.state_dict().items():
                self.state[name][runs] = value[runs]
            self.score[better] = score[better]


@dataclass
class RunsCourse:
    """Best weights of all runs, and assignment history of the first run.

    Attributes:
        best: Best weights on the validation samples so far.
        history: Assignments of the first run, one per generation.
    """

    best: Best
    history: AssignmentHistory

    @classmethod
    def start(cls, joint: JointModel, generations: int) -> RunsCourse:
        """Return the course of runs of at most `generations` before the first measurement."""
        return cls(Best.none_yet(joint), AssignmentHistory(generations, joint.num_locations))

    def add(self, joint: JointModel, measured: Measured) -> None:
        """Record the runs after one more generation."""
        self.best.offer(joint, measured.relative)
        self.history.add(measured.assignment[0])

    def state(self) -> State:
        """Return copies of everything as tensors."""
        return {
            "weights": clone(self.best.state),
            "score": torch.from_numpy(self.best.score.copy()),
            "history": torch.from_numpy(self.history.assignment.copy()),
        }

    def model(self, modules: int) -> State:
        """Return the model of `state`, with so many modules."""
        state = self.state()
        weights = state["weights"] | {"assignment": Numbers(state["weights"]["assignment"], 0, modules - 1)}
        return state | {"weights": weights, "history": Numbers(state["history"], 0, modules - 1, free=1)}

    @classmethod
    def of(cls, state: State, generations: int, device: torch.device) -> RunsCourse:
        """Restore a course from `state` on a device."""
        weights = {name: value.to(device, copy=True) for name, value in state["weights"].items()}
        history = AssignmentHistory.of(state["history"].numpy(), generations)
        return cls(Best(weights, state["score"].numpy().copy()), history)
