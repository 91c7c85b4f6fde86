"""Losses and their gradients."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from mtl_gym.families.scheduling.objectives import Focal

MARGINS = torch.tensor([-200.0, -17.0, 0.0, 5.0, 16.0, 17.0, 18.0, 90.0, 200.0, 1e4])


def losses_and_gradient(gamma, margins=MARGINS):
    scores = torch.stack([margins, torch.zeros_like(margins)], -1).requires_grad_()
    losses = Focal(gamma).losses(scores, torch.zeros(len(margins), dtype=torch.int64))
    losses.sum().backward()
    return losses, scores.grad


@pytest.mark.parametrize("gamma", [1e-3, 0.1, 0.5, 0.99, 1.0, 1.5, 2.0, 5.0])
def test_focal_gradients_are_finite_at_every_margin(gamma):
    losses, gradient = losses_and_gradient(gamma)
    assert losses.isfinite().all() and gradient.isfinite().all()
    assert (gradient[:, 0] <= 0).all()  # more of the right class never costs more


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_gradient_matches_its_formula_in_double_precision(gamma):
    margins = torch.linspace(-8, 8, 33)
    scores = torch.stack([margins, torch.zeros_like(margins)], -1).double().requires_grad_()
    p = scores.softmax(-1)[:, 0]
    (-((1 - p) ** gamma) * p.log()).sum().backward()
    _, gradient = losses_and_gradient(gamma, margins)
    assert torch.allclose(gradient.double(), scores.grad, rtol=1e-3, atol=1e-6)


def test_the_focal_loss_with_gamma_0_is_the_cross_entropy():
    losses, _ = losses_and_gradient(0.0)
    scores = torch.stack([MARGINS, torch.zeros_like(MARGINS)], -1)
    assert torch.equal(losses, cross_entropy(scores, torch.zeros(10, dtype=torch.int64), reduction="none"))
