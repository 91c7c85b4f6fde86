"""Boltzmann-Gumbel exploration, its annealing, the scaled rewards, and files."""

import numpy as np
import pytest
import torch
from mtl_agents import QLS, WPL
from mtl_agents.scheduling.qls import boltzmann_gumbel, cooling
from scipy.special import softmax
from scipy.stats import chisquare

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.evaluation import evaluate
from mtl_gym.families.routing.env import RoutingVectorEnv
from tests.agents.schedules import blank, rows

QUICK = {"learning_starts": 16, "batch_size": 8}


def spread(agent, values):
    """Set the Q-network to constant values."""
    with torch.no_grad():
        for p in agent.q_net.parameters():
            p.zero_()
        last = [m for m in agent.q_net.q_net if isinstance(m, torch.nn.Linear)][-1]
        last.bias.copy_(torch.tensor(values))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_frequencies_at_a_temperature_match_the_softmax(temperature):
    values = [0.0, 0.5, -0.4, 1.0]
    agent = QLS(blank(4, chooses=True), seed=0)
    spread(agent, values)
    agent.exploration_rate = temperature
    choices, _ = agent.predict(np.zeros((40_000, 4), np.float32))
    expected = 40_000 * softmax(np.array(values) / temperature)
    assert chisquare(np.bincount(choices, minlength=4), expected).pvalue > 0.01


def test_the_frequency_test_detects_another_temperature():
    choices = boltzmann_gumbel(np.tile([0.0, 0.5, -0.4, 1.0], (40_000, 1)), 1.0, np.random.default_rng(0))
    expected = 40_000 * softmax(np.array([0.0, 0.5, -0.4, 1.0]) / 1.1)
    assert chisquare(np.bincount(choices, minlength=4), expected).pvalue < 1e-6


def test_tasks_are_nearly_equally_likely_at_first_and_one_is_chosen_at_the_end():
    env = rows(4)
    agent = QLS(env, seed=0, **QUICK)
    begin = np.bincount(agent.predict(np.tile(env.reset()[:1], (4_000, 1)))[0], minlength=10) / 4_000
    assert 0.05 < begin.min() <= begin.max() < 0.2
    agent.learn(400)
    assert agent.temperature == 0
    obs = np.tile(agent._last_obs[:1], (200, 1))
    greedy, _ = agent.predict(obs, deterministic=True)
    assert agent.predict(obs)[0].tolist() == greedy.tolist() == [agent.q_values(obs)[0].argmax()] * 200


def test_the_temperature_decreases_to_its_final_value_and_then_is_zero():
    temperature = cooling(2.0, 0.002, 0.5)
    falling = [temperature(left) for left in (1.0, 0.75, 0.51, 0.5, 0.2)]
    assert falling == pytest.approx([2.0, 2.0 * 0.001**0.5, 2.0 * 0.001**0.98, 0, 0])


def test_a_deterministic_choice_has_the_highest_value_at_any_temperature():
    agent = QLS(blank(3, chooses=True), seed=0)
    spread(agent, [0.1, 0.3, 0.2])
    agent.exploration_rate = 100.0
    assert agent.predict(np.zeros((50, 3), np.float32), deterministic=True)[0].tolist() == [1] * 50
    assert agent.predict(np.zeros(3, np.float32), deterministic=True)[0] == 1


def test_rewards_are_stored_scaled_and_time_limits_do_not_terminate():
    env = rows(2, updates=5, reference=1.0, tolerance=1.0)
    agent = QLS(env, seed=0, gamma=0.9, learning_starts=100)
    agent.learn(10)
    assert agent.replay_buffer.rewards[:5] == pytest.approx(-10 * 0.1)  # the penalty, in units of 1 - gamma
    sample = agent.replay_buffer.sample(200)
    assert agent.replay_buffer.dones[4].all() and not sample.dones.any()


def test_values_converge_to_the_discounted_mean_of_the_rewards():
    """With a reward of -10 at every step, the scaled value of every choice is -10."""
    env = rows(4, reference=1.0, tolerance=1.0, updates=10)
    agent = QLS(env, seed=0, gamma=0.5, learning_rate=1e-2, target_update_interval=8, gradient_steps=4, **QUICK)
    agent.learn(1_200)
    assert agent.q_values(env.reset()).mean() == pytest.approx(-10, abs=1)


def test_a_seed_determines_an_agent_and_global_generators_do_not_advance():
    torch.manual_seed(0), np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (QLS(rows(2), seed=5, **QUICK).learn(80) for _ in range(2))
    third = QLS(rows(2), seed=6, **QUICK).learn(80)
    for mine, theirs in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert (mine == theirs).all()
    obs = first._last_obs
    assert not np.array_equal(first.q_values(obs), third.q_values(obs))
    assert (torch.get_rng_state() == before[0]).all() and (np.random.get_state()[1] == before[1]).all()


def test_a_loaded_agent_equals_the_saved_one(tmp_path):
    agent = QLS(rows(2), seed=0, exploration_fraction=1.0, **QUICK).learn(60)
    agent.save(tmp_path / "qls.pt")
    loaded = QLS.load(tmp_path / "qls.pt")
    obs = agent._last_obs
    np.testing.assert_array_equal(agent.q_values(obs), loaded.q_values(obs))
    many = np.repeat(obs, 50, 0)
    agent.exploration_rate = loaded.exploration_rate = 0.05
    np.testing.assert_array_equal(agent.predict(many)[0], loaded.predict(many)[0])
    assert (loaded.num_timesteps, loaded.gamma, loaded.batch_size) == (60, 0.99, 8)


def test_a_loaded_agent_continues_learning(tmp_path):
    env = rows(2)
    agent = QLS(env, seed=0, **QUICK).learn(60)
    agent.save(tmp_path / "qls.pt")
    for there in (env, rows(3)):
        loaded = QLS.load(tmp_path / "qls.pt", there)
        before = loaded.q_values(agent._last_obs)
        loaded.learn(60, reset_num_timesteps=False)
        assert loaded.num_timesteps == 120
        assert not np.array_equal(loaded.q_values(agent._last_obs), before)


def test_files_of_other_agents_or_spaces_are_rejected(tmp_path):
    QLS(rows(2), seed=0).save(tmp_path / "qls.pt")
    with pytest.raises(CheckpointError, match=r"needs Box\(.*\(200,\).*has Box\(.*\(50,\)"):
        QLS.load(tmp_path / "qls.pt", rows(2, bins=5))
    WPL("MTLRouting-Digits-v0").save(tmp_path / "wpl.pt")
    with pytest.raises(CheckpointError, match="holds WPL, not QLS"):
        QLS.load(tmp_path / "wpl.pt")


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match='control="choice"'):
        QLS(rows(2, control="weights"))
    with pytest.raises(ValueError, match="QLS needs flat observations"):
        QLS(RoutingVectorEnv())
    with pytest.raises(ValueError, match=r"final_temperature=2.0.* 1.0"):
        QLS(rows(2), final_temperature=2.0)


@pytest.mark.parametrize("gamma", [1, 1.0, 1.5, -0.1, float("nan")])
def test_a_discount_that_scales_rewards_to_zero_is_rejected(gamma):
    with pytest.raises(ValueError, match=r"gamma=.*from 0, below 1\."):
        QLS(rows(2), gamma=gamma)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.999])
def test_rewards_count_at_every_valid_discount(gamma):
    agent = QLS(rows(2, updates=5), seed=0, gamma=gamma, learning_starts=100).learn(10)
    assert np.abs(agent.replay_buffer.rewards).max() > 0 and agent.gamma == gamma


def test_it_is_evaluated_greedily_on_new_runs():
    env = rows(2, updates=8)
    agent = QLS(env, seed=0, **QUICK).learn(40)
    line = evaluate(agent, env).figures["timeline"]
    assert line.trained.sum(2).tolist() == [[1, 1]] * 8
    again = evaluate(agent, env).figures["timeline"]
    np.testing.assert_array_equal(line.trained, again.trained)
