"""Learner of PPO: networks of all runs, what they decide, and their updates from rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mtl_agents.ppo.actions import ActionKind, Distribution
from mtl_agents.ppo.losses import Losses, clip_norms, clipped_surrogate, normalised
from mtl_agents.ppo.network import StackedActorCritic
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
        distribution, values = (
            self._distribution(self.network.forward("actor", features)[-1], masks),
            self.values(features),
        )
        actions = distribution.sample(self._noise(features.shape[1]))
        return Decisions(features, masks, actions.transpose(1, 2), distribution.log_prob(actions), values)

    @torch.no_grad()
    def choose(self, features: Tensor, masks: Tensor | None, deterministic: bool) -> Tensor:
        """Return actions without what is learned from; [runs, rows, numbers]."""
        distribution = self._distribution(self.network.forward("actor", features)[-1], masks)
        actions = distribution.mode() if deterministic else distribution.sample(self._noise(features.shape[1]))
        return actions.transpose(1, 2)

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """Return the critics' values; [runs, rows, inputs] -> [runs, rows]."""
        return self.network.forward("critic", features)[-1].squeeze(1)

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
        losses = Losses(**self._actor_losses(minibatch), value_loss=self._value_loss(minibatch))
        assert self.network.weights.grad is not None
        clip_norms(self.network.weights.grad, self.settings.max_grad_norm)
        self.optimizer.step()
        self.updates += 1
        return losses.means()

    def _actor_losses(self, minibatch: Minibatch) -> dict[str, Tensor]:
        """Return the losses of the actors by name, and write their gradients."""
        through, settings = self.network.forward("actor", minibatch.features), self.settings
        trained = through[-1].requires_grad_(), self.network.parts["log_std"].clone().requires_grad_()
        distribution = self._distribution(trained[0], minibatch.masks, trained[1])
        log_ratio = distribution.log_prob(minibatch.actions.transpose(1, 2)) - minibatch.log_prob
        losses = clipped_surrogate(log_ratio, normalised(minibatch.advantages), settings.clip_range)
        with torch.set_grad_enabled(settings.ent_coef > 0):
            losses["entropy_loss"] = -distribution.entropy()
        loss = losses["policy_gradient_loss"]
        loss = loss + settings.ent_coef * losses["entropy_loss"] if settings.ent_coef else loss
        of_outputs, of_log_std = torch.autograd.grad(loss.mean(1).sum(), trained, allow_unused=True)
        self.network.backward("actor", through, of_outputs)
        if of_log_std is not None:
            self.network.gradients["log_std"].copy_(of_log_std)
        return losses

    def _value_loss(self, minibatch: Minibatch) -> Tensor:
        """Return the losses of the critics, and write their gradients."""
        through = self.network.forward("critic", minibatch.features)
        errors = through[-1] - minibatch.returns.unsqueeze(1)
        self.network.backward("critic", through, errors * (2 * self.settings.vf_coef / errors.shape[2]))
        return errors.squeeze(1).square()

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

    def _distribution(self, outputs: Tensor, masks: Tensor | None, log_std: Tensor | None = None) -> Distribution:
        """Return the distribution for outputs of the actors, with the present deviations unless others are given."""
        deviations = self.network.parts["log_std"] if log_std is None else log_std
        return self.kind.distribution(outputs, deviations, None if masks is None else masks.transpose(1, 2))
