"""Losses of PPO, for many runs at once.

Source: Schulman et al. 2017, with the implementation details of Huang et al. 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """Losses and figures of decisions, under the names of SB3's PPO; float32 [runs, rows] each.

    Attributes:
        policy_gradient_loss: Clipped surrogate objective, negated.
        value_loss: Squared error of the value.
        entropy_loss: Entropy, negated.
        clip_fraction: 1 where the probability ratio is outside the clipping range, else 0.
        approx_kl: Estimate of the divergence of the policy from that of the rollout.
    """

    policy_gradient_loss: Tensor
    value_loss: Tensor
    entropy_loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor

    @torch.no_grad()
    def means(self) -> Tensor:
        """Return the means over rows, in the order of the fields; float32 [5, runs]."""
        return torch.stack(tuple(vars(self).values())).mean(2)


def clipped_surrogate(log_ratio: Tensor, advantages: Tensor, clip_range: float) -> dict[str, Tensor]:
    """Return the policy's loss, clip fraction and divergence, under their names in `Losses`; float32 [runs, rows] each.

    The smaller of the two products in the equation is the advantage times a ratio that is clipped above where the
    advantage is positive, and below where it is negative.

    Args:
        log_ratio: Logarithms of the probabilities of the actions, now minus during the rollout; float32 [runs, rows].
        advantages: Advantages, normalised if they are to be; float32 [runs, rows].
        clip_range: The clipping range, epsilon.

    Source: Schulman et al. 2017, equation 7.
    """
    ratio, gains = log_ratio.exp(), advantages > 0
    with torch.no_grad():
        lowest, highest = torch.where(gains, 0.0, 1 - clip_range), torch.where(gains, 1 + clip_range, torch.inf)
        change = ratio - 1
        figures = {"clip_fraction": (change.abs() > clip_range).float(), "approx_kl": change - log_ratio}
    return {"policy_gradient_loss": -advantages * ratio.clamp(lowest, highest), **figures}


def normalised(advantages: Tensor) -> Tensor:
    """Return advantages with mean 0 and deviation 1 in each run; a single one stays as it is. [runs, rows]."""
    if advantages.shape[1] == 1:
        return advantages
    deviation, mean = torch.std_mean(advantages, 1, keepdim=True)
    return (advantages - mean) / (deviation + 1e-8)


def generalised_advantages(
    rewards: Tensor, values: Tensor, ended: Tensor, last: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return generalised advantage estimates; float32 [steps, ...].

    Args:
        rewards: float32 [steps, ...].
        values: Values of the observations acted on; float32 [steps, ...].
        ended: Whether the step ended an episode; bool [steps, ...].
        last: Values of the observations after the last step; float32 [...].
        gamma: Discount factor.
        gae_lambda: Lambda of the estimate.

    Source: Schulman et al. 2016, equation 16.

    Example:
        >>> one = torch.ones(2, 1)
        >>> generalised_advantages(one, 0 * one, one > 1, one[0], 0.5, 1.0).flatten().tolist()
        [1.75, 1.5]
    """
    going_on = gamma * (~ended).to(values.dtype)
    errors = rewards + going_on * torch.cat((values[1:], last[None])) - values
    decay = gae_lambda * going_on
    for step in reversed(range(len(errors) - 1)):
        errors[step] += decay[step] * errors[step + 1]
    return errors


def clip_norms(gradients: Tensor, most: float) -> None:
    """Scale the gradient of each run to a norm of at most `most`, in place; [runs, numbers]."""
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((most / (norms + 1e-6)).clamp_(max=1.0))
