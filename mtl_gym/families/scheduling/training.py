"""Gradient steps of N training runs as one stacked computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.nn.adam import MaskedAdam, Place
from mtl_gym.core.nn.stacked import Named
from mtl_gym.core.rows import Rows, State
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.minibatches import Minibatches
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Classification, Focal, Objective, TaskClasses
from mtl_gym.families.scheduling.padding import Padding
from mtl_gym.families.scheduling.stack import RunStack

Aggregate: TypeAlias = Callable[[Tensor], Tensor]
# Gradients in the order of parameters; None for one without part in an update.
Gradients: TypeAlias = Sequence[Tensor | None]


@dataclass(frozen=True)
class RunRecipe:
    """Hyperparameters of a run, as in `SchedulingOptions`."""

    minibatch: int = 16
    learning_rate: float = 1e-3
    focal_gamma: float = 0.0
    gradient_norms: bool = False


@dataclass(frozen=True)
class Update:
    """Figures of one gradient step, on the device.

    Attributes:
        loss: Mean loss of each minibatch before the step; float32 [runs, groups].
        gradient_norm: Norm of each group's gradient at the encoder's last layer, NaN if not computed; float32
            [runs, groups].
    """

    loss: Tensor
    gradient_norm: Tensor


class RunTraining:
    """Networks, optimizers and minibatches of N runs that begin together.

    Args:
        data: Data set, on the device of the runs.
        split: Split of the minibatches.
        template: Network of every run.
        runs: Number of runs.
        groups: Minibatches per gradient step, of one task each.
        recipe: Hyperparameters.
        aggregate: Combination of the tasks' gradients, [groups, parameters] -> [parameters]; None sums them.
    """

    def __init__(
        self,
        data: MultiTaskDataset,
        split: str,
        template: SharedNetwork,
        runs: int,
        groups: int,
        recipe: RunRecipe,
        aggregate: Aggregate | None = None,
    ) -> None:
        self.data, self.split, self.recipe, self.aggregate = data, split, recipe, aggregate
        self.device = data.split(split).x.device
        self.runs = RunStack(template, data.num_tasks, runs, self.device)
        self.objective = training_objective(template.objective, recipe.focal_gamma)
        self._classes = TaskClasses(data, self.objective, self.device)
        self.minibatches = Minibatches(data, split, groups, recipe.minibatch)
        self.optimizer = self._new_optimizer()
        self._padding = Padding(data, split)

    def begin(self, seeds: Sequence[int]) -> None:
        """Restart every run, each from its own seed."""
        self.runs.renew(seeds)
        self.optimizer.state.clear()
        self.minibatches.begin(seeds)

    def _new_optimizer(self) -> MaskedAdam:
        shared = {"params": self.runs.encoder_parameters, "axes": 0}
        heads = {"params": self.runs.head_parameters, "axes": 2}
        return MaskedAdam([shared, heads], self.recipe.learning_rate)

    def update(self, task: NDArray[np.int64], weight: NDArray[np.float32]) -> Update:
        """Carry out one gradient step of every run, on the sum of weighted losses divided by the number of groups.

        Args:
            task: Task of each minibatch, distinct within a run; int64 [runs, groups].
            weight: Weight of each minibatch's loss; float32 [runs, groups].
        """
        rows, places = self.minibatches.take(task), self.runs.places(task)
        heads = self.runs.heads_at(places)
        losses = self._losses(rows, task, heads)
        norms = self._norms(losses) if self.recipe.gradient_norms else None
        weights = torch.from_numpy(weight if task.shape[1] == 1 else weight * np.float32(1 / task.shape[1]))
        shared, own = self._gradients(losses, weights.to(self.device), list(heads.values()))
        norms = self._own_norm(losses, shared) if norms is None else norms
        trained = weight > 0
        if not trained.all():
            places, own = self._only(np.flatnonzero(trained), places, own)
        self.optimizer.step_by((shared, own), places)
        return Update(losses.detach(), norms)

    def _only(self, groups: Rows, places: Place, gradients: Gradients) -> tuple[Place, Gradients]:
        """Return the places and gradients of some groups out of those of all."""
        if not len(groups):
            return places, [None] * len(gradients)
        chosen = torch.from_numpy(groups).to(self.device)
        own = [gradient if gradient is None else gradient[chosen] for gradient in gradients]
        return chosen + places.start if isinstance(places, slice) else places[chosen], own

    def _losses(self, rows: NDArray[np.int64], task: Rows, heads: Named) -> Tensor:
        """Return the mean loss of each minibatch; float32 [runs, groups]."""
        index = torch.from_numpy(rows).to(self.device)
        x, y = self.data.inputs(self.split, index), self.data.split(self.split).y[index]
        x, y = self._padding.cut(rows, x, y)
        scores = self.runs.run(x, heads, self.minibatches.keys)
        losses = self.objective.losses(self._classes.restrict(scores, task, rows.shape[2]), y.flatten(0, 2))
        return losses.view(rows.shape).mean(-1)

    def _gradients(self, losses: Tensor, weights: Tensor, heads: list[Tensor]) -> tuple[Gradients, Gradients]:
        """Return the gradients of the encoders and of the heads of an update."""
        shared = self.runs.encoder_parameters
        if self.aggregate is not None:
            losses = losses * weights
            return self._aggregated(losses, shared, self.aggregate), torch.autograd.grad(losses.sum(), heads)
        found = torch.autograd.grad(losses, [*shared, *heads], weights, allow_unused=True)
        # Fused Adam ignores strides.
        return [g if g is None else g.contiguous() for g in found[: len(shared)]], found[len(shared) :]

    def _aggregated(self, losses: Tensor, shared: list[Tensor], aggregate: Aggregate) -> Gradients:
        """Return the aggregate of all tasks' gradients, by parameter of the encoders."""
        flat = torch.cat([part.flatten(2) for part in self._per_group(losses, shared)], -1).transpose(0, 1)
        joined = torch.stack([aggregate(own) for own in flat])
        parts = joined.split([p[0].numel() for p in shared], -1)
        return [part.reshape(p.shape).contiguous() for p, part in zip(shared, parts, strict=True)]

    def _per_group(self, losses: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
        """Return the gradient of each group's losses; [groups, *parameter.shape] per parameter."""
        groups = losses.shape[1]
        each = torch.eye(groups, device=self.device)[:, None].expand(groups, *losses.shape)
        return torch.autograd.grad(losses, parameters, each, retain_graph=True, is_grads_batched=True)

    def _norms(self, losses: Tensor) -> Tensor:
        layer = self.runs.last_shared
        if not layer:
            return torch.full_like(losses, torch.nan)
        return torch.cat([part.flatten(2) for part in self._per_group(losses, layer)], -1).norm(dim=-1).T

    def _own_norm(self, losses: Tensor, shared: Gradients) -> Tensor:
        """Return the gradient norm of the only group, whose gradient is that of the step; NaN with several groups."""
        gradients = [shared[place] for place in self.runs.last_places]
        flat = [gradient.flatten(1) for gradient in gradients if gradient is not None]
        if losses.shape[1] > 1 or not flat:
            return torch.full_like(losses, torch.nan)
        return (flat[0] if len(flat) == 1 else torch.cat(flat, -1)).norm(dim=-1, keepdim=True)

    def state(self) -> State:
        """Return seeds and position of the draws; the environment saves weights and optimizer."""
        return {"seeds": list(self.minibatches.seeds), "taken": self.minibatches.taken}

    def load(self, state: State) -> None:
        """Restore the result of `state`."""
        self.minibatches.begin(state["seeds"], state["taken"])


def training_objective(objective: Objective, focal_gamma: float) -> Objective:
    """Return the objective, with the focal loss if `focal_gamma` is above 0.

    Raises:
        ValueError: If the focal loss is requested for an objective other than `Classification`.
    """
    if not focal_gamma:
        return objective
    if type(objective) is not Classification:
        raise ValueError(
            f"focal_gamma={focal_gamma} needs the objective Classification, but the network has "
            f"{type(objective).__name__}: set focal_gamma to 0."
        )
    return Focal(focal_gamma)
