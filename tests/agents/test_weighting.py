"""Rules with memory against hand-computed numbers, over several decisions."""

from math import exp, log

import numpy as np
import pytest
from mtl_agents import DTP, GradNorm, Homoscedastic, SelfPaced

from tests.agents.schedules import blank, decide, progress

UNSEEN = np.full(2, np.nan)


def test_log_variances_follow_their_negative_gradient():
    agent = Homoscedastic(blank(2), learning_rate=0.1)
    actions, state = decide(agent, progress(0, train_loss=UNSEEN))
    assert actions.tolist() == [[1, 1]] and state["log_variance"].tolist() == [[0, 0]]
    actions, state = decide(agent, progress(1, train_loss=[2.5, 0.5]), state)
    first = 0.1 * (1 * 2.5 - 0.5)  # s moves by the rate times exp(-s) L - 1/2
    np.testing.assert_allclose(state["log_variance"], [[first, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(actions, [[exp(-first), 1.0]], rtol=1e-6)
    actions, state = decide(agent, progress(2, train_loss=[1.0, 0.1]), state)
    first, second = first + 0.1 * (exp(-first) * 1.0 - 0.5), 0.1 * (0.1 - 0.5)
    np.testing.assert_allclose(state["log_variance"], [[first, second]], rtol=1e-6)
    np.testing.assert_allclose(actions, [[exp(-first + second), 1.0]], rtol=1e-6)


def test_log_variances_converge_to_weights_of_half_the_inverse_loss():
    agent, state = Homoscedastic(blank(2), learning_rate=0.1), None
    for step in range(500):
        _, state = decide(agent, progress(step, train_loss=[2.0, 0.25]), state)
    np.testing.assert_allclose(np.exp(-state["log_variance"]), [[0.25, 2.0]], rtol=1e-3)


def test_an_untrained_task_keeps_its_variance():
    agent = Homoscedastic(blank(2))
    _, state = decide(agent, progress(1, train_loss=[1.0, np.nan]))
    assert state["log_variance"][0, 0] > 0 == state["log_variance"][0, 1]


def test_self_paced_weights_have_the_closed_form():
    agent = SelfPaced(blank(3), start=2.0, growth=1.5)
    losses = {"validation_loss": [0.2, 0.6, 1.0], "train_loss": [np.nan] * 3}  # mean 0.6, so a pace of 1.2
    actions, state = decide(agent, progress(0, **losses))
    raw = np.array([1 - 0.2 / 1.2, 1 - 0.5, 1 - 1 / 1.2])
    np.testing.assert_allclose(actions[0], raw / raw.max(), rtol=1e-6)
    actions, state = decide(agent, progress(1, validation_loss=[9, 9, 9], train_loss=[0.9, 1.8, 3.6]), state)
    np.testing.assert_allclose(actions[0], [1, 0, 0], atol=1e-6)  # at a pace of 1.8
    actions, state = decide(agent, progress(2, validation_loss=[9, 9, 9], train_loss=[0.9, 1.8, 3.6]), state)
    np.testing.assert_allclose(actions[0], [1, (1 - 1.8 / 2.7) / (1 - 0.9 / 2.7), 0], rtol=1e-6)


def test_the_closed_form_minimises_the_regularised_loss():
    now, grid = progress(0, train_loss=[0.3], validation_loss=[0.5]), np.linspace(0, 1, 10_001)
    weight = SelfPaced(blank(1))._weigh(now, {"pace": np.array([[0.75]])})[0, 0]
    assert weight == pytest.approx(grid[(grid * 0.3 + 0.75 * (grid**2 / 2 - grid)).argmin()], abs=1e-3)


def test_dtp_weights_depend_on_the_running_mean_of_accuracy():
    agent = DTP(blank(2), gamma=2.0, smoothing=0.25)
    _, state = decide(agent, progress(0, validation_accuracy=[0.5, 0.8]))
    np.testing.assert_allclose(state["accuracy"], [[0.5, 0.8]], rtol=1e-6)
    actions, state = decide(agent, progress(1, validation_accuracy=[0.9, 0.8]), state)
    raw = np.array([-(0.4**2) * log(0.6), -(0.2**2) * log(0.8)])
    np.testing.assert_allclose(state["accuracy"], [[0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(actions[0], raw / raw.max(), rtol=1e-5)


def test_dtp_weights_are_finite_at_zero_accuracy():
    actions, _ = decide(DTP(blank(2)), progress(0, validation_accuracy=[0.0, 0.5]))
    assert actions[0].tolist() == pytest.approx([1, 0.5 * log(2) / (0.999 * log(1000))])


def test_gradnorm_moves_weights_towards_equal_gradient_norms():
    agent = GradNorm(blank(2), alpha=1.0, learning_rate=0.1)
    actions, state = decide(agent, progress(0, train_loss=UNSEEN, gradient_norm=UNSEEN))
    assert actions.tolist() == [[1, 1]]
    # At the first losses, rates are 1 and both targets are the mean norm, 2: one step of 0.1 times the norm.
    actions, state = decide(agent, progress(1, train_loss=[2.0, 1.0], gradient_norm=[3.0, 1.0]), state)
    weight = np.array([1 - 0.3, 1 + 0.1]) * 2 / 1.8
    np.testing.assert_allclose(state["weight"][0], weight, rtol=1e-6)
    np.testing.assert_allclose(actions[0], weight / weight.max(), rtol=1e-6)
    # At 1/4 and 3/4 of the first losses, relative rates are 1/2 and 3/2, and targets 1/2 and 3/2 of the mean norm.
    _, state = decide(agent, progress(2, train_loss=[0.5, 0.75], gradient_norm=[1.0, 1.0]), state)
    target = weight.mean() * np.array([0.5, 1.5])
    weight = weight - 0.1 * np.sign(weight - target)
    np.testing.assert_allclose(state["weight"][0], weight * 2 / weight.sum(), rtol=1e-6)


def test_gradnorm_follows_the_negative_gradient_of_its_loss():
    import torch

    norm, rate = torch.tensor([3.0, 1.0, 0.5]), torch.tensor([0.5, 1.5, 1.0])
    weight = torch.tensor([0.8, 1.2, 1.0], requires_grad=True)
    target = ((weight * norm).mean() * (rate / rate.mean()) ** 1.5).detach()
    (weight * norm - target).abs().sum().backward()
    expected = weight.detach() - 0.025 * weight.grad
    memory = {"weight": weight.detach().double().numpy()[None], "first_loss": np.ones((1, 3))}
    given = GradNorm(blank(3))._weigh(progress(5, train_loss=rate.numpy(), gradient_norm=norm.numpy()), memory)
    np.testing.assert_allclose(given[0], expected / expected.mean(), rtol=1e-5)


def test_gradnorm_weights_stay_positive():
    agent, state = GradNorm(blank(2), learning_rate=1.0), None
    for step in range(1, 9):
        _, state = decide(agent, progress(step, train_loss=[1.0, 1.0], gradient_norm=[50.0, 1e-3]), state)
    assert (state["weight"] > 0).all() and state["weight"].mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        (Homoscedastic, {"learning_rate": -1.0}),
        (SelfPaced, {"start": 0.0}),
        (SelfPaced, {"growth": 0.9}),
        (DTP, {"gamma": -1.0}),
        (DTP, {"smoothing": 0.0}),
        (GradNorm, {"alpha": -1.0}),
    ],
)
def test_invalid_arguments_are_rejected_by_name(rule, arguments):
    with pytest.raises(ValueError, match=rf"{next(iter(arguments))}=.* is not possible"):
        rule(blank(2), **arguments)
