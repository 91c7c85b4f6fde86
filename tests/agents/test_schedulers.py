"""Rules without memory against hand-computed numbers."""

import numpy as np
import pytest
from mtl_agents import Adaptive, FocalLoss, Greedy, HandCrafted, LossExponentiation, Uniform

from tests.agents.schedules import blank, decide, progress, rows


def test_uniform_trains_tasks_in_turn():
    agent = Uniform(rows(2), seed=0)
    agent.learn(2 * 13)
    assert agent.env.batched.progress.trained.tolist() == [[2] * 3 + [1] * 7] * 2


def test_uniform_takes_turns_with_several_updates_per_decision():
    agent = Uniform(rows(1, updates_per_step=2), seed=0).learn(7)
    assert agent.env.batched.progress.trained[0].tolist() == [2] * 7 + [0] * 3


def test_uniform_weights_tasks_equally():
    assert decide(Uniform(blank(3)), progress(trained=[4, 0, 1]))[0].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("weights", [[], [1, 2], [0, 0, 0]])
def test_hand_crafted_weights_must_match_the_tasks(weights):
    with pytest.raises(ValueError, match=r"weights=.*3 numbers"):
        HandCrafted(blank(3), weights=weights)


def test_greedy_chooses_the_highest_validation_loss_of_each_run():
    now = progress(validation_loss=[[0.2, 0.9, 0.3], [1.0, 0.1, 0.3]], train_loss=[[9, 0, 0], [0, 9, 0]])
    assert decide(Greedy(blank(3, runs=2, chooses=True)), now)[0].tolist() == [1, 0]
    assert decide(Greedy(blank(3, runs=2)), now)[0].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_the_weight_of_an_exponentiated_loss_is_the_derivative_of_the_power():
    agent = LossExponentiation(blank(3), power=1.5)
    now = progress(train_loss=[4.0, np.nan, 1.0], validation_loss=[9.0, 0.25, 9.0])
    slopes = np.array([1.5 * 2.0, 1.5 * 0.5, 1.5])
    np.testing.assert_allclose(decide(agent, now)[0][0], slopes / 3.0, rtol=1e-6)
    assert LossExponentiation(blank(3)).power == 1.15


def test_the_gradient_of_an_exponentiated_loss_equals_that_of_the_weighted_loss():
    import torch

    loss = torch.tensor([0.7, 2.0], requires_grad=True)
    (loss**1.15).sum().backward()
    now = progress(train_loss=loss.detach().numpy())
    np.testing.assert_allclose(LossExponentiation(blank(2))._weigh(now, {})[0], loss.grad, rtol=1e-6)


def test_focal_loss_weights_tasks_equally_and_samples_by_the_environment():
    agent = FocalLoss("MTLScheduling-Digits-v0")
    assert agent.env.get_attr("options")[0].focal_gamma == 2.0
    assert decide(agent, progress(trained=np.arange(10)))[0].tolist() == [[1] * 10]


def test_adaptive_favours_tasks_below_their_reference():
    agent = Adaptive(blank(3), alpha=2.0, epsilon=0.25)
    now = progress(validation_accuracy=[0.4, 0.9, 0.6], reference=[0.8, 0.8, 0.8])
    raw = np.array([1 / (0.25 + 0.25), 1 / 1.25, 1 / (0.5625 + 0.25)])
    np.testing.assert_allclose(agent._weigh(now, {})[0], raw, rtol=1e-6)


def test_adaptive_needs_a_reference():
    with pytest.raises(ValueError, match="reference="):
        decide(Adaptive(blank(2)), progress(validation_accuracy=[0.5, 0.5]))


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [(LossExponentiation, {"power": 0.5}), (Adaptive, {"alpha": -1.0}), (Adaptive, {"epsilon": 0.0})],
)
def test_invalid_arguments_are_rejected_by_name(rule, arguments):
    with pytest.raises(ValueError, match=rf"{next(iter(arguments))}=.* is not possible"):
        rule(blank(2), **arguments)
