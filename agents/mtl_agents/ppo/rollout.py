"""Steps of all runs between two updates, and minibatches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtl_agents.ppo.actions import ActionKind
from mtl_agents.ppo.losses import generalised_advantages
from mtl_gym.core.rows import State
from mtl_gym.core.state.structure import Maybe, Numbers


@dataclass(frozen=True)
class Decisions:
    """Decisions of all runs.

    Attributes:
        features: float32 [runs, rows, inputs].
        masks: Valid choices; bool [runs, rows, choices], or None if all are valid.
        actions: [runs, rows, numbers].
        log_prob: Log-probabilities of the actions; float32 [runs, rows].
        values: The critic's values of what was observed; float32 [runs, rows].
    """

    features: Tensor
    masks: Tensor | None
    actions: Tensor
    log_prob: Tensor
    values: Tensor


@dataclass(frozen=True)
class Minibatch(Decisions):
    """Decisions with what came of them.

    Attributes:
        advantages: float32 [runs, rows].
        returns: float32 [runs, rows].
    """

    advantages: Tensor
    returns: Tensor


class Rollout:
    """Steps of all rows.

    Args:
        shape: Steps of a full rollout, runs, and rows of each run.
        inputs: Number of features.
        kind: Kind of the actions.
        device: Device of the arrays.

    Attributes:
        steps: Steps of a full rollout.
        filled: Steps so far.
    """

    def __init__(self, shape: tuple[int, int, int], inputs: int, kind: ActionKind, device: str) -> None:
        steps, runs, _ = shape
        floats = ("log_prob", "values", "rewards")
        self._arrays = {
            "features": torch.zeros(*shape, inputs, device=device),
            "actions": torch.zeros(*shape, len(kind.sizes), dtype=kind.dtype, device=device),
            "ended": torch.zeros(shape, dtype=torch.bool, device=device),
            **{name: torch.zeros(shape, device=device) for name in floats},
        }
        # Valid choices, [*shape, choices]; None until one is masked.
        self._masks: Tensor | None = None
        self._all_valid = torch.ones((), dtype=torch.bool, device=device).expand(*shape, sum(kind.sizes))
        self.steps, self.filled = steps, 0
        # Place of each decision of a run among the decisions of all runs.
        self._places = torch.arange(torch.Size(shape).numel()).view(shape).transpose(0, 1).reshape(runs, -1)

    @property
    def full(self) -> bool:
        """Return whether the rollout is complete."""
        return self.filled == self.steps

    def clear(self) -> None:
        """Begin anew."""
        self.filled, self._masks = 0, None

    def add(self, decisions: Decisions, rewards: Tensor, ended: Tensor) -> None:
        """Add a step of all rows.

        Args:
            decisions: The decisions.
            rewards: float32 [rows of all runs].
            ended: Whether an episode ended; bool [rows of all runs].
        """
        parts = {**vars(decisions), "rewards": rewards, "ended": ended}
        masks = parts.pop("masks")
        for name, part in parts.items():
            place = self._arrays[name][self.filled]
            place.copy_(part.view_as(place))
        if masks is not None:
            self._masks = self._all_valid.clone() if self._masks is None else self._masks
            self._masks[self.filled] = masks
        self.filled += 1

    def advantages_and_returns(self, last: Tensor, gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
        """Return advantages and targets of the values of a full rollout; float32 [steps, runs, rows] each.

        Args:
            last: Values of the observations after the last step; float32 [runs, rows].
            gamma: Discount factor.
            gae_lambda: Lambda of the estimate.
        """
        rewards, values, ended = (self._arrays[name] for name in ("rewards", "values", "ended"))
        advantages = generalised_advantages(rewards, values, ended, last, gamma, gae_lambda)
        return advantages, advantages + values

    def minibatches(
        self, advantages: Tensor, returns: Tensor, size: int, generators: Sequence[torch.Generator]
    ) -> Iterator[Minibatch]:
        """Yield every decision once, in minibatches of `size` decisions of each run; the last one may be smaller.

        Args:
            advantages: float32 [steps, runs, rows].
            returns: float32 [steps, runs, rows].
            size: Decisions of each run in a minibatch.
            generators: Generators of the runs' orders.
        """
        orders = torch.stack([torch.randperm(self._places.shape[1], generator=g) for g in generators])
        arrays = {name: self._arrays[name] for name in ("features", "actions", "log_prob", "values")}
        arrays |= {"advantages": advantages, "returns": returns}
        arrays |= {} if self._masks is None else {"masks": self._masks}
        flat = {name: array.flatten(0, 2) for name, array in arrays.items()}
        for places in self._places.gather(1, orders).to(returns.device).split(size, 1):
            chosen = places.flatten()
            parts = {name: a.index_select(0, chosen).unflatten(0, places.shape) for name, a in flat.items()}
            yield Minibatch(**{"masks": None, **parts})

    def state_dict(self) -> State:
        """Return the steps so far, as tensors on the CPU."""
        masks = None if self._masks is None else self._masks[: self.filled].cpu().clone()
        return {name: array[: self.filled].cpu().clone() for name, array in self._arrays.items()} | {"masks": masks}

    def model(self) -> State:
        """Return the model of `state_dict`, as `mtl_gym.core.state.structure` has it."""
        arrays = {name: Numbers(array.cpu(), free=1) for name, array in self._arrays.items()}
        return arrays | {"masks": Maybe(Numbers(self._all_valid.cpu(), free=1))}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`."""
        self.clear()
        self.filled = len(state["rewards"])
        for name, array in self._arrays.items():
            array[: self.filled] = state[name]
        if state["masks"] is not None:
            self._masks = self._all_valid.clone()
            self._masks[: self.filled] = state["masks"]
