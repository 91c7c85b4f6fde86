"""Tables against hand-computed numbers."""

import numpy as np
import pytest
from mtl_agents import TabularPolicyGradient, TabularQ, TabularQHistory
from mtl_agents.routing.decisions import Situations
from mtl_agents.routing.tables import move_towards

from tests.agents import stand_ins
from tests.agents.decisions import decisions


def test_plain_policy_gradient_steps_by_the_advantage_over_the_running_return():
    agent = TabularPolicyGradient(stand_ins.routing(1, 1, 1, 4), policy_learning_rate=0.2, return_learning_rate=0.5)
    agent._update(decisions([0], [1], [1.0]))  # estimate 0.5, delta 0.5, step 0.1
    np.testing.assert_allclose(agent.policy[0, 0], np.array([0.25, 0.35, 0.25, 0.25]) / 1.1)
    agent._update(decisions([0], [1], [-1.0]))  # estimate -0.25, delta -0.75, step -0.15
    expected = np.array([0.25, 0.35, 0.25, 0.25]) / 1.1 - np.array([0, 0.15, 0, 0])
    np.testing.assert_allclose(agent.policy[0, 0], expected / expected.sum())


def test_q_values_move_towards_the_reward_and_the_best_valid_next_value():
    agent = TabularQ(stand_ins.routing(1, 2, 2, 3), learning_rate=0.5, gamma=0.9)
    agent.values[1, 1] = [0.2, 0.8, 5.0]
    agent.valid[1, 2] = False  # so that 5.0 cannot be had
    agent._update(
        decisions(
            [1, 1],
            [0, 1],
            [0, 0],
            depth=[0, 1],
            reward=[0.1, 1.0],
            last=[False, True],
            earlier=[[-1, -1], [0, -1]],
            steps=2,
        )
    )
    assert agent.values[1, 0, 0] == pytest.approx(0.5 * (0.1 + 0.9 * 0.8))
    assert agent.values[1, 1, 1] == pytest.approx(0.8 + 0.5 * (1.0 - 0.8))
    assert not agent.values[0].any()


def test_every_history_has_its_own_entry():
    agent = TabularQHistory(stand_ins.routing(1, 1, 3, 3))
    histories = [(a, b) for a in range(3) for b in range(3)]
    earlier = np.array([[-1, -1, -1], *[[a, -1, -1] for a in range(3)], *[[a, b, -1] for a, b in histories]])
    depth = np.array([0] + [1] * 3 + [2] * 9)
    assert sorted(agent._row(depth, earlier)) == list(range(13)) == list(range(agent.values.shape[1]))


def test_q_with_history_solves_a_problem_that_the_table_per_depth_cannot():
    """The right choice at depth 1 equals the choice at depth 0."""
    agent = TabularQHistory(stand_ins.routing(1, 1, 2, 2), learning_rate=0.5)
    for first in (0, 1):
        for second in (0, 1):
            returns = 1.0 if first == second else -1.0
            agent._update(
                decisions(
                    [0, 0],
                    [first, second],
                    [returns] * 2,
                    [0, 1],
                    reward=[0, returns],
                    last=[False, True],
                    earlier=[[-1, -1], [first, -1]],
                    steps=2,
                )
            )
    obs = {"task": np.zeros(2, int), "depth": np.zeros(2, int)}
    state = np.array([[0, -1], [1, -1]])
    choice, state = agent.predict(obs | {"depth": np.ones(2, int)}, state, deterministic=True)
    assert choice.tolist() == [0, 1]
    assert state.tolist() == [[0, 0], [1, 1]]


def test_history_is_reset_at_the_start_of_an_episode():
    agent = TabularQHistory(stand_ins.routing(1, 1, 2, 2))
    state = np.array([[1, 1], [0, -1]])
    at = agent._situations({"task": np.zeros(2, int), "depth": np.array([0, 1])}, state, np.array([True, False]))
    assert at.earlier.tolist() == [[-1, -1], [0, -1]]


def test_epsilon_decreases_linearly_and_random_choices_are_uniform():
    agent = TabularQ(stand_ins.routing(1, 1, 1, 4), final_epsilon=0.1, exploration_fraction=0.5)
    agent.total_timesteps = 100
    for steps, expected in ((0, 1.0), (25, 0.55), (50, 0.1), (90, 0.1)):
        agent.num_timesteps = steps
        agent._update(decisions([0], [2], [1.0]))
        assert agent.epsilon == pytest.approx(expected)
    agent.valid[0, 3] = False
    at = Situations(np.zeros(1, int), np.zeros(1, int), np.full((1, 1), -1), np.zeros((1, 0), np.float32))
    np.testing.assert_allclose(agent._probabilities(at, explore=True)[0], [0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3, 0])


def test_a_deterministic_choice_is_greedy_during_exploration():
    agent = TabularQ(stand_ins.routing(1, 1, 1, 3))
    agent.values[0, 0] = [0.0, 0.5, 0.2]
    obs = {"task": np.zeros(9, int), "depth": np.zeros(9, int)}
    assert agent.epsilon == 1.0
    assert agent.predict(obs, deterministic=True)[0].tolist() == [1] * 9


def test_ties_are_broken_uniformly():
    agent = TabularQ(stand_ins.routing(1, 1, 1, 2), final_epsilon=0.0, seed=0)
    agent.epsilon = np.array(0.0)
    obs = {"task": np.zeros(1000, int), "depth": np.zeros(1000, int)}
    assert 400 < agent.predict(obs)[0].sum() < 600


def test_several_values_for_one_entry_equal_several_steps():
    table = np.array([0.0, 2.0, 4.0])
    move_towards(table, (np.array([0, 2, 0]),), np.array([1.0, 0.0, 3.0]), 0.5)
    np.testing.assert_allclose(table, [0.75 * 2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"final_epsilon": 1.5}, "final_epsilon=1.5"),
        ({"exploration_fraction": 0.0}, "exploration_fraction=0.0"),
        ({"gamma": -1.0}, "gamma=-1.0"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        TabularQ(stand_ins.routing(1, 1, 1, 2), **arguments)


def test_too_many_histories_are_rejected():
    with pytest.raises(ValueError, match=r"history=True needs .* rows per task"):
        TabularQHistory(stand_ins.routing(1, 20, 6, 21))
