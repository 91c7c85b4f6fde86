"""The shared Q-network, Boltzmann-Gumbel exploration, its annealing, returns and their units, and files."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from mtl_agents import QLS, WPL, PaperQLS
from mtl_agents.scheduling.q_network import SharedQNetwork
from mtl_agents.scheduling.qls import boltzmann_gumbel, cooling
from mtl_agents.scheduling.replay import ScaledReplayBuffer
from scipy.special import softmax
from scipy.stats import chisquare

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.evaluation import evaluate
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.families.scheduling.skills import SkillsVectorEnv
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.schedules import blank, rows

QUICK = {"learning_starts": 16, "batch_size": 8}
SKILLS = "MTLScheduling-Skills-v0"
BOTH = pytest.mark.parametrize("kind", [QLS, PaperQLS])


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
    agent = PaperQLS(blank(4, chooses=True), seed=0)
    spread(agent, values)
    agent.exploration_rate = temperature
    choices, _ = agent.predict(np.zeros((40_000, 4), np.float32))
    expected = 40_000 * softmax(np.array(values) / temperature)
    assert chisquare(np.bincount(choices, minlength=4), expected).pvalue > 0.01


def test_the_frequency_test_detects_another_temperature():
    choices = boltzmann_gumbel(np.tile([0.0, 0.5, -0.4, 1.0], (40_000, 1)), 1.0, np.random.default_rng(0))
    expected = 40_000 * softmax(np.array([0.0, 0.5, -0.4, 1.0]) / 1.1)
    assert chisquare(np.bincount(choices, minlength=4), expected).pvalue < 1e-6


@BOTH
def test_tasks_are_nearly_equally_likely_at_first_and_one_is_chosen_at_the_end(kind):
    env = rows(4)
    agent = kind(env, seed=0, **QUICK)
    begin = np.bincount(agent.predict(np.tile(env.reset()[:1], (4_000, 1)))[0], minlength=10) / 4_000
    assert 0.03 < begin.min() <= begin.max() < 0.25
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
    agent = PaperQLS(blank(3, chooses=True), seed=0)
    spread(agent, [0.1, 0.3, 0.2])
    agent.exploration_rate = 100.0
    assert agent.predict(np.zeros((50, 3), np.float32), deterministic=True)[0].tolist() == [1] * 50
    assert agent.predict(np.zeros(3, np.float32), deterministic=True)[0] == 1


def test_the_paper_scales_rewards_by_1_minus_gamma_and_time_limits_do_not_terminate():
    env = rows(2, updates=5, reference=1.0, tolerance=1.0)
    agent = PaperQLS(env, seed=0, gamma=0.9, learning_starts=4, batch_size=8).learn(20)
    assert agent.replay_buffer.rewards[:5] == pytest.approx(-10)  # the penalty
    sample = agent.replay_buffer.sample(200)
    assert sample.rewards.numpy() == pytest.approx(-1)  # in units of 1 - gamma
    assert agent.replay_buffer.dones[4].all() and not sample.dones.any()


def test_the_papers_network_takes_arguments_of_sb3s_policy():
    agent = PaperQLS(blank(4, chooses=True), seed=0, policy_kwargs={"net_arch": [7], "optimizer_kwargs": {"eps": 0.1}})
    assert agent.q_net.q_net[0].out_features == 7
    assert agent.policy.optimizer.defaults["eps"] == 0.1 and agent.policy.optimizer.defaults["foreach"]


def test_values_converge_to_the_discounted_mean_of_the_rewards():
    """With a reward of -10 at every step, the scaled value of every choice is -10."""
    env = rows(4, reference=1.0, tolerance=1.0, updates=10)
    agent = PaperQLS(env, seed=0, gamma=0.5, learning_rate=1e-2, target_update_interval=8, gradient_steps=4, **QUICK)
    agent.learn(1_200)
    assert agent.q_values(env.reset()).mean() == pytest.approx(-10, abs=1)


def filled(steps, gamma=0.5, size=6, decisions=8):
    """Return a buffer of one row with rewards 1, 2, 4, ...; a run ends after the fifth decision."""
    space, random = spaces.Box(0, 100, (1,)), np.random.default_rng(0)
    buffer = ScaledReplayBuffer(size, space, spaces.Discrete(2), n_envs=1, random=random, steps=steps, gamma=gamma)
    for number in range(decisions):
        now, end = np.array([[number]], np.float32), np.array([number == 4])
        buffer.add(now, now + 1, np.zeros((1, 1)), np.array([2.0**number]), end, [{}])
    return buffer


def test_returns_sum_rewards_up_to_the_end_of_a_run_or_the_newest_decision():
    sample = filled(steps=3).sample(200)  # of decisions 2 to 7: the first two were overwritten
    found = {
        int(first): tuple(float(value) for value in rest)
        for first, *rest in zip(
            sample.observations[:, 0],
            sample.rewards[:, 0],
            sample.next_observations[:, 0],
            sample.discounts[:, 0],
            sample.dones[:, 0],
            strict=True,
        )
    }
    assert found == {
        2: (4 + 0.5 * 8 + 0.25 * 16, 5, 0.125, 1),
        3: (8 + 0.5 * 16, 5, 0.25, 1),
        4: (16, 5, 0.5, 1),
        5: (32 + 0.5 * 64 + 0.25 * 128, 8, 0.125, 0),
        6: (64 + 0.5 * 128, 8, 0.25, 0),
        7: (128, 8, 0.5, 0),
    }


def test_returns_and_their_unit_do_not_cross_a_reset_of_the_environment():
    buffer = filled(steps=3, size=20, decisions=3)
    buffer.cut()
    for number in (3, 4):  # a time limit ends the run of decision 4
        now = np.array([[number]], np.float32)
        cut = number == 4
        buffer.add(now, now + 1, np.zeros((1, 1)), np.array([2.0**number]), [cut], [{"TimeLimit.truncated": cut}])
    buffer.cut()
    sample = buffer.sample(200)
    found = {
        int(first): (float(r), float(n))
        for first, r, n in zip(
            sample.observations[:, 0], sample.rewards[:, 0], sample.next_observations[:, 0], strict=True
        )
    }
    assert found == {0: (1 + 0.5 * 2 + 0.25 * 4, 3), 1: (2 + 0.5 * 4, 3), 2: (4, 3), 3: (8 + 0.5 * 16, 5), 4: (16, 5)}
    assert not sample.dones.any()  # values after the end count, as after a time limit
    assert buffer.spread() == pytest.approx(np.std([1, 2.5, 5.25, 8, 20]))


def test_a_run_that_ended_stays_ended_when_the_environment_is_reset():
    buffer = filled(steps=3, size=20, decisions=5)
    buffer.cut()
    assert buffer.dones[4] == 1 and buffer.timeouts[4] == 0


@BOTH
@pytest.mark.parametrize("again", [True, False])
def test_a_second_training_ends_runs_only_if_it_resets_the_environment(kind, again):
    agent = kind(rows(2, updates=8), seed=0, learning_starts=100).learn(6)
    assert not agent.replay_buffer.dones.any()
    agent.learn(4, reset_num_timesteps=again)
    assert agent.replay_buffer.dones[:5].any(1).tolist() == [False, False, again, False, False]
    assert agent.replay_buffer.timeouts[2].all() == again
    agent.set_env(agent.env)  # forgets the observation, so that the next training resets
    agent.learn(2, reset_num_timesteps=False)
    assert agent.replay_buffer.dones[4].all() and agent.replay_buffer.timeouts[4].all()


def test_the_unit_is_the_deviation_of_discounted_sums_of_past_rewards():
    buffer = filled(steps=1, size=10, decisions=6)
    sums = [1, 2.5, 5.25, 10.625, 21.3125, 32]  # the run ends before the last
    assert buffer.spread() == pytest.approx(np.std(sums))
    buffer.rewards[:] = 0
    assert buffer.spread() == 1


@pytest.mark.parametrize("factor", [2.0**-10, 2.0**10])  # powers of 2, by which floats scale without rounding
def test_choices_do_not_depend_on_the_scale_of_rewards(factor, monkeypatch):
    plain = QLS(make_vec_env(SKILLS, 8, budget=10), seed=0, **QUICK).learn(400)
    monkeypatch.setattr(SkillsVectorEnv, "REWARD", factor * SkillsVectorEnv.REWARD)
    scaled = QLS(make_vec_env(SKILLS, 8, budget=10), seed=0, **QUICK).learn(400)
    obs = plain._last_obs
    np.testing.assert_allclose(plain.q_values(obs), scaled.q_values(obs), rtol=1e-5)


def test_temperatures_are_in_units_of_the_deviation_of_the_values():
    agent = QLS(blank(3, chooses=True), seed=1)
    obs = np.tile(np.array([[0.1, 0.9, 0.4]], np.float32), (40_000, 1))
    values = agent.q_values(obs[:1])[0]
    agent.exploration_rate = 2.0
    expected = 40_000 * softmax(values.astype(float) / values.std() / 2)
    assert chisquare(np.bincount(agent.predict(obs)[0], minlength=3), expected).pvalue > 0.01


@pytest.mark.parametrize("width", [12, 13])  # histograms of 3 bins; features with the share that is left
def test_values_are_equivariant_to_the_order_of_tasks(width):
    network = SharedQNetwork(spaces.Box(0, 1, (width,)), spaces.Discrete(4))
    x, order = torch.rand(5, width), torch.tensor([2, 0, 3, 1])
    network.standardise(x, weight=1.0)
    if width == 12:
        other = x.unflatten(1, (4, 3))[:, order].flatten(1)
    else:
        other = torch.cat([x[:, :-1].unflatten(1, (3, 4))[:, :, order].flatten(1), x[:, -1:]], 1)
    torch.testing.assert_close(network(other), network(x)[:, order])


def test_a_network_that_is_told_numbers_tells_tasks_apart_that_look_alike():
    space, action = spaces.Box(0, 1, (13,)), spaces.Discrete(4)
    network, alike = SharedQNetwork(space, action, numbers=True), torch.full((1, 13), 0.5)
    assert network(alike).unique().numel() == 1  # embeddings are 0 at first
    torch.nn.init.normal_(network.embedding)
    assert network(alike).unique().numel() == 4
    assert QLS(blank(3, chooses=True)).q_net.embedding.shape == (3, 8)
    assert QLS(blank(3, chooses=True), task_numbers=False).q_net.embedding.shape == (3, 0)


def test_every_task_has_the_same_network_whatever_the_number_of_tasks():
    small, large = (SharedQNetwork(spaces.Box(0, 1, (3 * k + 1,)), spaces.Discrete(k)) for k in (2, 30))
    weights = {name: value for name, value in small.state_dict().items() if name != "embedding"}
    large.load_state_dict(weights, strict=False)
    x = torch.rand(5, 7)
    often = torch.cat([x[:, :-1].unflatten(1, (3, 2)).repeat(1, 1, 15).flatten(1), x[:, -1:]], 1)
    torch.testing.assert_close(large(often), small(x).repeat(1, 15))


def test_features_are_standardised_over_rows_and_tasks():
    network = SharedQNetwork(spaces.Box(0, 1, (7,)), spaces.Discrete(2))
    feature = torch.tensor([[1.0, 3.0], [10.0, 10.0], [-2.0, 4.0]])  # [features, tasks] of the first row
    x = torch.stack(
        [torch.cat([part.flatten(), torch.tensor([left])]) for part, left in ((feature, 0.2), (3 * feature, 0.6))]
    )
    before = network(x)
    network.standardise(x, weight=1.0)
    mean, deviation = torch.tensor([4, 20, 2, 0.4]), torch.tensor([3, 10, 46**0.5, 0.2])
    torch.testing.assert_close(network.running_mean, mean)
    torch.testing.assert_close(network.running_std, deviation)
    fresh = SharedQNetwork(spaces.Box(0, 1, (7,)), spaces.Discrete(2))
    fresh.load_state_dict(network.state_dict() | {"running_mean": torch.zeros(4), "running_std": torch.ones(4)})
    torch.testing.assert_close(fresh(x), before)
    each = [mean.repeat_interleave(torch.tensor([2, 2, 2, 1])), deviation.repeat_interleave(torch.tensor([2, 2, 2, 1]))]
    torch.testing.assert_close(network(x), fresh((x - each[0]) / each[1]))
    network.standardise(torch.zeros(1, 7), weight=0.25)
    torch.testing.assert_close(network.running_mean, 0.75 * mean)


def test_features_are_measured_on_the_device_of_the_network(monkeypatch):
    agent = QLS(rows(2), seed=0, learning_starts=100).learn(8)
    devices = []
    monkeypatch.setattr(SharedQNetwork, "standardise", lambda _, x, weight: devices.append(x.device.type))
    agent.replay_buffer.device = torch.device("meta")
    agent._set_units()
    assert devices == ["meta", "meta"]


def test_features_are_standardised_by_what_was_seen_and_by_nothing_else():
    agent = QLS(make_vec_env(SKILLS, 8, budget=10), seed=0, **QUICK).learn(24)
    network = agent.q_net
    assert network.running_mean[-1] == pytest.approx(0.9, abs=0.01)  # of the budget was left in three decisions
    torch.testing.assert_close(network.running_mean, agent.q_net_target.running_mean, rtol=0.05, atol=0.01)
    agent.learn(400, reset_num_timesteps=False)
    assert 0.55 < network.running_mean[-1] < 0.75 and (network.running_std > 0).all()
    before = network.running_mean.clone()
    evaluate(agent, make_vec_env(SKILLS, 8, budget=10), num_envs=2)
    assert (network.running_mean == before).all()


def test_observations_without_features_per_task_are_rejected():
    with pytest.raises(ValueError, match="no equal number of features for each of 4 tasks"):
        SharedQNetwork(spaces.Box(0, 1, (6,)), spaces.Discrete(4))


def test_an_id_is_made_with_the_progress_and_for_the_paper_with_histograms():
    assert QLS("MTLScheduling-Digits-v1").observation_space.shape == (31,)
    assert PaperQLS("MTLScheduling-Digits-v1").observation_space.shape == (200,)


def test_there_is_one_gradient_step_per_four_decisions():
    assert [QLS(blank(3, runs, chooses=True)).gradient_steps for runs in (1, 4, 32)] == [1, 1, 8]
    assert QLS(blank(3, 32, chooses=True), gradient_steps=2).gradient_steps == 2


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


@BOTH
def test_a_loaded_agent_equals_the_saved_one(kind, tmp_path):
    agent = kind(rows(2), seed=0, exploration_fraction=1.0, **QUICK).learn(60)
    agent.save(tmp_path / "qls.pt")
    loaded = kind.load(tmp_path / "qls.pt")
    obs = agent._last_obs
    np.testing.assert_array_equal(agent.q_values(obs), loaded.q_values(obs))
    many = np.repeat(obs, 50, 0)
    agent.exploration_rate = loaded.exploration_rate = 0.05
    np.testing.assert_array_equal(agent.predict(many)[0], loaded.predict(many)[0])
    assert (loaded.num_timesteps, loaded.gamma, loaded.batch_size) == (60, 0.99, 8)


@BOTH
def test_a_loaded_agent_continues_learning(kind, tmp_path):
    env = rows(2)
    agent = kind(env, seed=0, **QUICK).learn(60)
    agent.save(tmp_path / "qls.pt")
    for there in (env, rows(3)):
        loaded = kind.load(tmp_path / "qls.pt", there)
        assert loaded._scaled_buffer.scale == agent._scaled_buffer.scale != 1
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
    with pytest.raises(ValueError, match=r"final_temperature=4.0.* 3.0"):
        QLS(rows(2), final_temperature=4.0)


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
