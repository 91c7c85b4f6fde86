"""Early stopping: the weights of each run when its validation figure was best."""

from __future__ import annotations

import numpy as np
import torch

from mtl_gym.core.episode import Floats
from mtl_gym.core.rows import State, clone
from mtl_gym.core.state.structure import Numbers, check
from mtl_gym.families.scheduling.stack import RunStack


class BestWeights:
    """Weights of all runs at their best decisions so far.

    Args:
        runs: Networks of the runs, before their first decision.
        worth: What they are worth, higher is better; float32 [runs].

    Attributes:
        worth: Highest worth of each run so far; float32 [runs].
        weights: Weights of that time by name, the first of equals; [runs, ...] each.

    Example:
        >>> from torch import nn
        >>> from mtl_gym.families.scheduling.network import SharedNetwork
        >>> stack = RunStack(SharedNetwork(nn.Linear(3, 4), nn.Linear(4, 2)), 1, runs=2, device=torch.device("cpu"))
        >>> best = BestWeights(stack, np.float32([0.5, 0.5]))
        >>> best.offer(stack, np.float32([0.75, 0.25])).tolist(), best.worth.tolist()
        ([0.25, 0.0], [0.75, 0.5])
    """

    def __init__(self, runs: RunStack, worth: Floats) -> None:
        self.worth = worth.copy()
        self.weights = {name: value.detach().clone() for name, value in runs.named_parameters()}

    def offer(self, runs: RunStack, worth: Floats) -> Floats:
        """Keep the weights of runs that are better than before; return the increases, 0 or more, float32 [runs]."""
        better = worth > self.worth
        if better.any():
            places = torch.from_numpy(np.flatnonzero(better)).to(next(runs.parameters()).device)
            for name, value in runs.named_parameters():
                self.weights[name][places] = value.detach()[places]
        increase = np.where(better, worth - self.worth, np.float32(0))
        self.worth = np.where(better, worth, self.worth)
        return increase

    @torch.no_grad()
    def restore(self, runs: RunStack) -> None:
        """Give the runs their best weights."""
        for name, value in runs.named_parameters():
            value.copy_(self.weights[name])

    def state(self) -> State:
        """Return copies of worth and weights as tensors."""
        return {"worth": torch.from_numpy(self.worth.copy()), "weights": clone(self.weights)}

    def load(self, state: State) -> None:
        """Undo `state`.

        Raises:
            CheckpointError: If a number is not finite.
        """
        finite = {name: Numbers(value, finite=True) for name, value in self.weights.items()}
        check(state, {"worth": Numbers(torch.from_numpy(self.worth), finite=True), "weights": finite}, "best")
        self.worth, self.weights = state["worth"].numpy().copy(), clone(state["weights"])
