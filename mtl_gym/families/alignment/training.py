"""Training of N joint models side by side, and measurement of losses and accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl_gym.core.episode import Floats
from mtl_gym.core.nn.adam import MaskedAdam
from mtl_gym.core.nn.dropout import RunKeys
from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.core.nn.stacked import Named
from mtl_gym.core.packing import read_together
from mtl_gym.core.rows import State
from mtl_gym.data.collection import TaskCollection
from mtl_gym.families.alignment.competition import Competition
from mtl_gym.families.alignment.joint import Index, JointModel
from mtl_gym.families.alignment.mixture import Mixture
from mtl_gym.families.alignment.samples import Samples


@dataclass(frozen=True)
class JointRecipe:
    """Hyperparameters of training, as in `AlignmentOptions`."""

    learning_rate: float = 1e-3
    score_learning_rate: float = 1e-2
    challenger_share: float | None = None
    minibatch: int | None = None


@dataclass(frozen=True)
class TaskFigures:
    """Loss and accuracy of every run on every task.

    Attributes:
        loss: Squared error, or cross-entropy; float32 [runs, tasks].
        accuracy: Share of right labels, or of explained variance; float32 [runs, tasks].
    """

    loss: Floats
    accuracy: Floats


class JointTraining:
    """Joint models with their optimizer and samples.

    Args:
        data: Tasks, one per architecture, on the device of the joint model.
        joint: The joint models.
        split: Split to train on.
        recipe: Hyperparameters.
    """

    def __init__(self, data: TaskCollection, joint: JointModel, split: str, recipe: JointRecipe) -> None:
        self.data, self.joint, self.split, self.recipe = data, joint, split, recipe
        kinds = joint.stacks
        self.samples = [
            Samples([data.tasks[member] for member in kind.members], number, recipe.minibatch)
            for number, kind in enumerate(kinds)
        ]
        order = [member for kind in kinds for member in kind.members]
        self._in_order = torch.from_numpy(np.argsort(order)).to(joint.contexts.device)
        trained = [p for p in joint.parameters() if p.requires_grad]
        self.optimizer = MaskedAdam(trained, recipe.learning_rate, axes=0)
        self.begin([0] * joint.runs)

    def begin(self, seeds: Sequence[int], updates: int = 0) -> None:
        """Reset the optimizer, and set the seed of each run's draws and the number of updates so far."""
        self.resume(seeds, updates)
        self.optimizer.state.clear()

    def resume(self, seeds: Sequence[int], updates: int) -> None:
        """Restore the result of `state`; keep the optimizer."""
        self.seeds, self.updates, self._keys = list(seeds), updates, RunKeys(seeds)

    @property
    def samples_per_update(self) -> int:
        """Training samples of all tasks in one gradient step of one run."""
        return sum(len(s.members) * (s.minibatch or s.splits[self.split][0].shape[1]) for s in self.samples)

    def generation(self, competition: Competition, iterations: int) -> tuple[Floats, Floats]:
        """Train with the soft merge of the modules that compete for each location.

        Modules in no slot keep their values and optimizer states bit for bit.

        Args:
            competition: Competing modules.
            iterations: Number of gradient steps, n_iter.

        Returns:
            softmax(s) of every slot, [runs, locations, slots], and the last training losses, [runs, tasks].

        Source: MUiR, section 3.3.
        """
        contested = competition.contested
        slots = competition.slots if contested else competition.slots[..., :1]
        device = self.joint.contexts.device
        mixture = self.joint.mixture(torch.from_numpy(slots).to(device))
        scores = competition.first_scores(self.recipe.challenger_share if contested else None, device)
        # A separate optimizer, because the logits s and their Adam state are reset in every generation.
        ranking = torch.optim.Adam([scores], self.recipe.score_learning_rate, fused=True)
        losses = torch.zeros(())
        used = torch.from_numpy(competition.used(self.joint.num_modules)).to(device)
        with self.optimizer.masked({self.joint.hypermodules: used}):
            for _ in range(iterations):
                belief = competition.spread(scores) if contested else None
                losses = self._update(mixture, belief)
                if contested:
                    ranking.step()
                    ranking.zero_grad(set_to_none=True)
        read = read_together([competition.spread(scores.detach()), losses])
        return read[0], read[1]

    def _update(self, mixture: Tensor | Mixture, belief: Tensor | None) -> Tensor:
        losses = self._losses(self.joint.weights(self.joint.blocks(mixture, belief)))
        losses.mean(1).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        return losses.detach()

    def _losses(self, weights: list[Named]) -> Tensor:
        """Return the mean loss of the samples of a gradient step; float32 [runs, tasks]."""
        parts, keys = [], self._keys.at(self.updates)
        for kind, samples, named in zip(self.joint.stacks, self.samples, weights, strict=True):
            x, y = samples.draw(self.split, self.seeds, self.updates)
            parts.append(samples.losses(kind.run(named, x, keys), y).mean(-1))
        return torch.cat(parts, 1)[:, self._in_order]

    @torch.no_grad()
    def figures(self, split: str, limit: int | None = None) -> TaskFigures:
        """Measure all runs under their assignments on the first `limit` samples of each task of a split."""
        with eval_mode(self.joint):
            weights = self.joint.weights()
            parts = [self._measured(number, weights[number], split, limit) for number in range(len(weights))]
        return TaskFigures(*read_together([torch.cat(part, 1)[:, self._in_order] for part in zip(*parts, strict=True)]))

    def _measured(self, number: int, weights: Named, split: str, limit: int | None) -> tuple[Tensor, Tensor]:
        samples, kind = self.samples[number], self.joint.stacks[number]
        pieces = [(kind.run(weights, x), y) for x, y in samples.part(split, limit)]
        loss = torch.cat([samples.losses(*piece) for piece in pieces], -1).mean(-1)
        right = torch.cat([samples.right(*piece) for piece in pieces], -1).mean(-1)
        return loss, samples.accuracy(right, split, limit)

    def assign(self, assignment: Index) -> None:
        """Set the module of each location; int64 [runs, locations]."""
        self.joint.assignment.copy_(torch.from_numpy(assignment))

    def state(self) -> State:
        """Return seeds and position of the draws; the environment saves weights and optimizer."""
        return {"seeds": self.seeds, "updates": self.updates}
