"""Learner of PPO: networks of all runs, what they decide, and their updates from rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mtl_agents.ppo.actions import ActionKind, Distribution
from mtl_agents.ppo.losses import Losses, clip_norms, clipped_surrogate, normalised
from mtl_agents.ppo.network import Outputs, StackedActorCritic
from mtl_agents.ppo.rollout import Decisions, Minibatch, Rollout
from mtl_gym.core.rows import State, clone
from mtl_gym.core.state.moments import OptimizerState
from mtl_gym.core.state.structure import Numbers, TorchRandomState


@dataclass(frozen=True)
class Settings:
    """Settings of the learner; see `FastPPO`."""

    learning_rate: float
    batch_size: int
    n_epochs: int
    gamma: float
    gae_lambda: float
    clip_range: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    width: int


class Learner:
    """Networks of all runs and their optimizer.

    Args:
        inputs: Number of features.
        kind: Kind of the actions.
        settings: The settings.
        generators: Generators of the runs, for initial weights, actions and the order of minibatches.
        device: Device of the networks.

    Attributes:
        updates: Optimizer steps so far.
    """

    def __init__(
        self, inputs: int, kind: ActionKind, settings: Settings, generators: Sequence[torch.Generator], device: str
    ) -> None:
        self.kind, self.settings, self.generators, self.device = kind, settings, generators, device
        self.network = StackedActorCritic(inputs, kind.outputs, kind.deviations, settings.width, generators, device)
        self.optimizer = torch.optim.Adam([self.network.weights], settings.learning_rate, eps=1e-5, fused=True)
        self.updates = 0

    @torch.no_grad()
    def decide(self, features: Tensor, masks: Tensor | None) -> Decisions:
        """Sample actions; see `Decisions` for the shapes."""
        outputs = self.network.forward(features)
        distribution = self._distribution(outputs, masks)
        actions = distribution.sample(self._noise(features.shape[1]))
        return Decisions(features, masks, actions.transpose(1, 2), distribution.log_prob(actions), outputs.values)

    @torch.no_grad()
    def choose(self, features: Tensor, masks: Tensor | None, deterministic: bool) -> Tensor:
        """Return actions without what is learned from; [runs, rows, numbers]."""
        distribution = self._distribution(self.network.forward(features), masks)
        actions = distribution.mode() if deterministic else distribution.sample(self._noise(features.shape[1]))
        return actions.transpose(1, 2)

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Return the critics' values; [runs, rows, inputs] -> [runs, rows]."""
        return self.network.forward(features).values

    def train(self, rollout: Rollout, last: Tensor) -> dict[str, float]:
        """Update all runs from a full rollout; return means of losses over minibatches and runs.

        Args:
            rollout: The rollout.
            last: Values of the observations after it; float32 [runs, rows].
        """
        settings = self.settings
        targets = rollout.advantages_and_returns(last, settings.gamma, settings.gae_lambda)
        means = [
            self.descend(minibatch)
            for _ in range(settings.n_epochs)
            for minibatch in rollout.minibatches(*targets, settings.batch_size, self.generators)
        ]
        names = [field.name for field in fields(Losses)]
        return dict(zip(names, torch.stack(means).mean((0, 2)).tolist(), strict=True))

    def descend(self, minibatch: Minibatch) -> Tensor:
        """Take an optimizer step of every run; return the means of the losses before it, float32 [losses, runs]."""
        outputs = self.network.forward(minibatch.features)
        trained = [part.requires_grad_() for part in (outputs.actor, outputs.values, outputs.log_std)]
        losses, settings = self.losses(outputs, minibatch), self.settings
        loss = losses.policy_gradient_loss + settings.vf_coef * losses.value_loss
        if settings.ent_coef:
            loss = loss + settings.ent_coef * losses.entropy_loss
        gradients = torch.autograd.grad(loss.mean(1).sum(), trained, allow_unused=True)
        self.network.weights.grad = self.network.backward(outputs, *gradients)
        clip_norms(self.network.weights.grad, settings.max_grad_norm)
        self.optimizer.step()
        self.updates += 1
        return losses.means()

    def losses(self, outputs: Outputs, minibatch: Minibatch) -> Losses:
        """Return the losses of the decisions of a minibatch, from the outputs for their features."""
        distribution = self._distribution(outputs, minibatch.masks)
        log_ratio = distribution.log_prob(minibatch.actions.transpose(1, 2)) - minibatch.log_prob
        policy = clipped_surrogate(log_ratio, normalised(minibatch.advantages), self.settings.clip_range)
        value_loss = (minibatch.returns - outputs.values).square()
        with torch.set_grad_enabled(self.settings.ent_coef > 0):
            entropy_loss = -distribution.entropy()
        return Losses(**policy, value_loss=value_loss, entropy_loss=entropy_loss)

    def state_dict(self) -> State:
        """Return everything that determines the learner's future."""
        networks = {"weights": self.network.weights.cpu().clone(), "updates": self.updates}
        generators = [generator.get_state() for generator in self.generators]
        return {**networks, "optimizer": clone(self.optimizer.state_dict()), "generators": generators}

    def model(self) -> State:
        """Return the model of `state_dict`, as `mtl_gym.core.state.structure` has it."""
        weights = Numbers(self.network.weights.cpu(), finite=True)
        generators = [TorchRandomState(generator) for generator in self.generators]
        return {"weights": weights, "updates": 0, "optimizer": OptimizerState(self.optimizer), "generators": generators}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`."""
        with torch.no_grad():
            self.network.weights.copy_(state["weights"])
        self.optimizer.load_state_dict(clone(state["optimizer"]))
        for generator, drawn in zip(self.generators, state["generators"], strict=True):
            generator.set_state(drawn)
        self.updates = int(state["updates"])

    def _noise(self, rows: int) -> Tensor:
        """Draw the noise of actions for so many rows of each run."""
        return self.kind.noise(rows, self.generators).to(self.device)

    def _distribution(self, outputs: Outputs, masks: Tensor | None) -> Distribution:
        turned = None if masks is None else masks.transpose(1, 2)
        return self.kind.distribution(outputs.actor, outputs.log_std, turned)
