"""Straight-through router with binary forward and soft backward passes."""

import numpy as np
import pytest
import torch

from mtl_gym.families.recurrent.policies import decide, gumbel, relaxed, straight_through


def drawn(shape=(5, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(*shape, 2, generator=generator, requires_grad=True)
    return scores, gumbel((*shape, 2), generator)


def test_forward_pass_is_binary_arg_max_of_equation_8():
    scores, noise = drawn((50, 50))
    for temperature in (100.0, 1.0, 1e-3):
        gates = straight_through(decide(scores, noise), scores, noise, temperature)
        assert torch.equal(gates.detach(), (scores + noise).argmax(-1).float())
        assert set(gates.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("temperature", [100.0, 1.0, 0.1])
def test_gradient_is_that_of_softmax_of_equation_9(temperature):
    scores, noise = drawn()
    weights = torch.randn(5, 7)
    (hard,) = torch.autograd.grad(
        (weights * straight_through(decide(scores, noise), scores, noise, temperature)).sum(), scores
    )
    soft = torch.exp((scores + noise) / temperature)
    (expected,) = torch.autograd.grad((weights * soft[..., 1] / soft.sum(-1)).sum(), scores)
    torch.testing.assert_close(hard, expected)
    assert hard.abs().max() > 0


def test_gradient_passes_gradcheck():
    scores, noise = drawn((3, 2))
    scores = scores.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: relaxed(a, noise.double(), 0.7), scores)


def test_relaxation_tends_to_arg_max_and_to_one_half():
    scores, noise = drawn()
    torch.testing.assert_close(relaxed(scores, noise, 1e-6), decide(scores, noise), atol=1e-6, rtol=0)
    torch.testing.assert_close(relaxed(scores, noise, 1e6), torch.full((5, 7), 0.5), atol=1e-4, rtol=0)
    hot, cold = (
        torch.autograd.grad(straight_through(decide(scores, noise), scores, noise, t).sum(), scores)[0]
        for t in (1e6, 1e-6)
    )
    assert hot.abs().max() < 1e-6 and cold.abs().max() < 1e-6


def test_noisy_decisions_follow_bernoulli_distribution_of_scores():
    log_odds = torch.tensor([-2.0, 0.0, 1.0])
    scores = torch.stack([torch.zeros(3), log_odds], -1).expand(40_000, 3, 2)
    share = decide(scores, gumbel((40_000, 3, 2), torch.Generator().manual_seed(0))).mean(0)
    torch.testing.assert_close(share, log_odds.sigmoid(), atol=0.01, rtol=0)


def test_gumbel_noise_has_gumbel_distribution():
    noise = gumbel((200_000,), torch.Generator().manual_seed(0)).double().numpy()
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.01)
    assert noise.var() == pytest.approx(np.pi**2 / 6, rel=0.02)
    assert np.quantile(noise, 0.5) == pytest.approx(-np.log(np.log(2)), abs=0.01)
