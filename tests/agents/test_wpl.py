"""WPL against hand-computed numbers, and in games with a known solution."""

import numpy as np
import pytest
from mtl_agents import WPL

from tests.agents import stand_ins
from tests.agents.decisions import decisions


def players(count, actions, **arguments):
    """Make one player per task, with a single decision."""
    return WPL(stand_ins.routing(1, count, 1, actions), seed=0, **arguments)


def decide(agent, task, choice, returns, depth=None):
    agent._update(decisions(task, choice, returns, depth))


@pytest.mark.parametrize(
    ("weighting", "reward", "expected"),
    [
        # estimate = 0.5 * 0 + 0.5 * 1 = 0.5, delta = 0.5; step = 0.2 * 0.5 * (1 - 0.25) = 0.075
        ("abdallah", 1.0, [0.325, 0.25, 0.25, 0.25]),
        # the same delta, weighted by pi = 0.25: step = 0.025
        ("rosenbaum", 1.0, [0.275, 0.25, 0.25, 0.25]),
        # delta = -0.5, weighted by pi = 0.25: step = -0.025
        ("abdallah", -1.0, [0.225, 0.25, 0.25, 0.25]),
        # delta = -0.5, weighted by 1 - pi = 0.75: step = -0.075
        ("rosenbaum", -1.0, [0.175, 0.25, 0.25, 0.25]),
    ],
)
def test_one_update_matches_the_hand_computed_one(weighting, reward, expected):
    agent = players(1, 4, weighting=weighting, policy_learning_rate=0.2, return_learning_rate=0.5)
    decide(agent, [0], [0], [reward])
    assert agent.estimate[0, 0] == pytest.approx(0.5 * reward)
    np.testing.assert_allclose(agent.policy[0, 0], np.array(expected) / sum(expected))


@pytest.mark.parametrize(("average", "estimate"), [("decision", 0.25), ("action", 0.5)])
def test_the_baseline_is_the_average_return_of_the_decision_or_of_the_action(average, estimate):
    """A return of -1 for action 0, then of 1 for action 1; averages begin at 0 and move by half the difference."""
    agent = players(1, 4, average=average, policy_learning_rate=0.2, return_learning_rate=0.5)
    decide(agent, [0], [0], [-1.0])
    before = agent.policy[0, 0].copy()
    decide(agent, [0], [1], [1.0])
    assert agent.estimate.reshape(-1)[1 if average == "action" else 0] == pytest.approx(estimate)
    before[1] += 0.2 * (1 - estimate) * before[1]
    np.testing.assert_allclose(agent.policy[0, 0], before / before.sum())


def test_the_averages_of_actions_are_saved(tmp_path):
    agent = players(2, 3, average="action")
    decide(agent, [0, 1], [2, 1], [1.0, -1.0])
    agent.save(tmp_path / "agent.pt")
    loaded = WPL.load(tmp_path / "agent.pt")
    assert loaded.steps == agent.steps and loaded.estimate.shape == (2, 1, 3)
    np.testing.assert_array_equal(loaded.estimate, agent.estimate)


def test_the_projection_clips_and_normalises():
    agent = players(1, 3, policy_learning_rate=10.0, return_learning_rate=0.5, min_probability=0.01)
    decide(agent, [0], [0], [1.0])  # 1/3 + 10 * 0.5 * 1/3 = 2 is clipped to 1
    np.testing.assert_allclose(agent.policy[0, 0], np.array([1, 1 / 3, 1 / 3]) / (5 / 3))
    for _ in range(50):
        decide(agent, [0], [0], [1.0])
        decide(agent, [0], [1], [-1.0])
    assert agent.policy[0, 0].min() >= 0.01 / 1.03


def test_several_returns_in_one_batch_equal_several_steps_of_the_estimate():
    agent = players(2, 2, return_learning_rate=0.1)
    decide(agent, [0, 0, 0, 1], [0, 1, 0, 0], [1.0, 1.0, 1.0, -1.0])
    assert agent.estimate[0, 0] == pytest.approx(1 - 0.9**3)
    assert agent.estimate[1, 0] == pytest.approx(-0.1)


@pytest.mark.parametrize("weighting", ["abdallah", "rosenbaum"])
def test_on_a_bandit_the_rewarded_arm_wins(weighting):
    agent = players(1, 3, weighting=weighting, policy_learning_rate=0.05)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        choice = rng.choice(3, p=agent.policy[0, 0])
        decide(agent, [0], [choice], [1.0 if choice == 2 else -1.0])
    assert agent.policy[0, 0].argmax() == 2
    assert agent.policy[0, 0, 2] > 0.9


def matching_pennies(weighting, rounds=40_000):
    """Return the policies of both players over time, float64 [rounds, players]; player 0 wins if pennies match."""
    agent = players(2, 2, weighting=weighting, policy_learning_rate=0.002, return_learning_rate=0.01)
    agent.policy[:, 0] = [[0.9, 0.1], [0.2, 0.8]]
    draws = np.random.default_rng(1).random((rounds, 2))
    history = np.empty((rounds, 2))
    for i, draw in enumerate(draws):
        history[i] = agent.policy[:, 0, 0]
        choice = (draw > agent.policy[:, 0, 0]).astype(int)
        won = 1.0 if choice[0] == choice[1] else -1.0
        decide(agent, [0, 1], choice, [won, -won])
    return history


def test_in_self_play_on_matching_pennies_abdallahs_weighting_converges_to_one_half():
    last = matching_pennies("abdallah")[-10_000:]
    assert np.abs(last - 0.5).max() < 0.2
    assert np.abs(last.mean(0) - 0.5).max() < 0.05


def test_the_routing_papers_weighting_does_not_converge_there():
    assert np.abs(matching_pennies("rosenbaum")[-10_000:] - 0.5).max() > 0.4


def test_masked_choices_are_never_sampled_and_keep_probability_zero():
    agent = WPL(stand_ins.routing(200, 2, 2, 3), seed=0)
    obs = {"task": np.arange(200) % 2, "depth": np.full(200, 1)}
    masks = np.tile([True, True, False], (200, 1))
    choices, _ = agent.predict(obs, action_masks=masks)
    assert set(choices) == {0, 1}
    decide(agent, [0], [0], [1.0], depth=[1])
    assert agent.policy[0, 1, 2] == 0
    assert agent.policy[0, 0, 2] > 0
    assert set(agent.predict(obs)[0]) == {0, 1}  # known from then on


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weighting": "other"}, "weighting='other'"),
        ({"average": "mean"}, "average='mean'"),
        ({"min_probability": 0.5}, "min_probability=0.5"),
        ({"gamma": 2.0}, "gamma=2.0"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        players(1, 3, **arguments)
