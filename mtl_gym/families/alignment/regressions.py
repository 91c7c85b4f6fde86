"""Training of linear regressions with gradients in closed form, without a graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mtl_gym.core.episode import Floats
from mtl_gym.core.packing import read_together
from mtl_gym.data.collection import TaskCollection
from mtl_gym.families.alignment.competition import Competition
from mtl_gym.families.alignment.joint import JointModel
from mtl_gym.families.alignment.training import JointRecipe, JointTraining, TaskFigures


class RegressionTraining(JointTraining):
    """Joint models of linear regressions without bias; one block with a context of 1 is a task's whole network.

    The numbers equal those of `JointTraining` up to rounding, in a fraction of its time.

    Args:
        data: Regressions with one output and equal numbers of inputs and samples.
        joint: The joint models.
        split: Split to train on.
        recipe: Hyperparameters, without a minibatch.
    """

    def __init__(self, data: TaskCollection, joint: JointModel, split: str, recipe: JointRecipe) -> None:
        super().__init__(data, joint, split, recipe)
        (self._samples,) = self.samples

    @torch.no_grad()
    def generation(self, competition: Competition, iterations: int) -> tuple[Floats, Floats]:
        """Train as `JointTraining.generation` does."""
        device = self.joint.contexts.device
        scores = competition.first_scores(self.recipe.challenger_share, device).detach().movedim(-1, 0).contiguous()
        ranking = torch.optim.Adam([scores], self.recipe.score_learning_rate, fused=True)
        slots = torch.from_numpy(np.moveaxis(competition.slots, -1, 0)).to(device)
        choice = functional.one_hot(slots, self.joint.num_modules).to(scores)
        losses = torch.zeros(())
        used = torch.from_numpy(competition.used(self.joint.num_modules)).to(device)
        with self.optimizer.masked({self.joint.hypermodules: used}):
            for _ in range(iterations):
                belief = scores.softmax(0)
                losses, gradient = self._descend((belief[..., None] * choice).sum(0))
                towards = (gradient * choice).sum(-1)
                scores.grad = belief * (towards - (towards * belief).sum(0))
                ranking.step()
                self.updates += 1
        # Layouts stay: sums over another one differ in their last bits.
        read = read_together([scores.softmax(0), losses.T])
        return np.moveaxis(read[0], 0, -1), read[1].T

    def _descend(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Make a gradient step of modules and contexts.

        Args:
            mixture: Share of each module in each location; float32 [runs, locations, modules].

        Returns:
            Loss of each task, [runs, tasks], and gradient of their mean by `mixture`, of its shape.
        """
        x, y = self._samples.splits[self.split]
        modules, contexts = self.joint.hypermodules.flatten(2), self.joint.contexts
        blocks = torch.bmm(mixture, modules)
        errors = torch.baddbmm(y, x, (blocks * contexts).permute(1, 2, 0), beta=-1)
        by_weight = torch.bmm(x.transpose(1, 2), errors).permute(2, 0, 1) * (2 / x.shape[1] / len(x))
        by_block = by_weight * contexts
        contexts.grad = (by_weight * blocks).sum(-1, keepdim=True)
        self.joint.hypermodules.grad = torch.bmm(mixture.transpose(1, 2), by_block).view_as(self.joint.hypermodules)
        gradient = torch.bmm(by_block, modules.transpose(1, 2))
        self.optimizer.step()
        return errors.square().mean(1).T, gradient

    @torch.no_grad()
    def figures(self, split: str, limit: int | None = None) -> TaskFigures:
        """Measure as `JointTraining.figures` does."""
        x, y = (part[:, :limit] for part in self._samples.splits[split])
        modules = self.joint.hypermodules.flatten(2)
        blocks = modules.gather(1, self.joint.assignment[..., None].expand(-1, -1, modules.shape[2]))
        errors = torch.baddbmm(y, x, (blocks * self.joint.contexts).permute(1, 2, 0), beta=-1)
        loss = errors.square().mean(1).T
        accuracy = self._samples.accuracy(-loss, split, limit)
        read = read_together([loss.T, accuracy.T])
        return TaskFigures(read[0].T, read[1].T)
