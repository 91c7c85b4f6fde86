"""FastPPO beside SB3's PPO, and its runs beside solo agents."""

import itertools
from dataclasses import fields
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from mtl_agents.environments import StandIn, runs_of
from mtl_agents.ppo import FastPPO
from mtl_agents.ppo.losses import Losses, generalised_advantages
from mtl_agents.ppo.rollout import Minibatch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import DummyVecEnv

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.stand_ins import Guess, Runs

MIXED = spaces.Dict(
    value=spaces.Box(-1, 1, (2, 3), np.float32),
    task=spaces.Discrete(3),
    chosen=spaces.MultiDiscrete([2, 4]),
    bits=spaces.MultiBinary(2),
)
FLAT = spaces.Box(-1, 1, (5,), np.float32)
ACTIONS = {
    "discrete": spaces.Discrete(4),
    "multi-discrete": spaces.MultiDiscrete([2, 5, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "continuous": spaces.Box(-1, 1, (2,), np.float32),
}
# Bits depend on the number of rows and units only where these are no multiples of vector registers.
SMALL = {"n_steps": 8, "batch_size": 32, "n_epochs": 2}
kinds = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)


@pytest.fixture(autouse=True)
def _runs_of_stand_ins(monkeypatch):
    monkeypatch.setattr("mtl_agents.base.runs_of", lambda env: env.runs if isinstance(env, Runs) else runs_of(env))


def envs(action, observation=FLAT, rows=8, **arguments):
    return DummyVecEnv([partial(Guess, observation, action, **arguments)] * rows)


def copy_weights(policy, agent):
    """Give the agent the weights of an SB3 policy."""
    parts = agent.learner.network.parts
    actor, critic = policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net
    layers = {
        **{"actor_hidden": actor[0], "actor_last": actor[2], "actor_out": policy.action_net},
        **{"critic_hidden": critic[0], "critic_last": critic[2], "critic_out": policy.value_net},
    }
    with torch.no_grad():
        for name, layer in layers.items():
            parts[name][0].copy_(layer.weight)
            parts[f"{name}_bias"][0, :, 0].copy_(layer.bias)
        if agent.kind.deviations:
            parts["log_std"][0].copy_(policy.log_std)


def both(action, observation=MIXED, **arguments):
    """Return SB3's PPO after a rollout, and an agent with its weights; the weights are not those of the rollout."""
    env = envs(action, observation)
    settings = {"n_epochs": 1, "batch_size": 64, "n_steps": 8, **arguments}
    theirs = PPO("MultiInputPolicy" if isinstance(observation, spaces.Dict) else "MlpPolicy", env, seed=1, **settings)
    _, callback = theirs._setup_learn(64)
    theirs.collect_rollouts(env, callback, theirs.rollout_buffer, n_rollout_steps=8)
    with torch.no_grad():
        for parameter in theirs.policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    ours = FastPPO(env, seed=0, **settings)
    copy_weights(theirs.policy, ours)
    return theirs, ours


def minibatch_of(theirs, ours):
    """Return the whole rollout of SB3's PPO as a minibatch of one run."""
    sample = next(theirs.rollout_buffer.get())
    obs = sample.observations
    arrays = {key: part.numpy() for key, part in obs.items()} if isinstance(obs, dict) else obs.numpy()
    parts = (sample.old_log_prob, sample.old_values, sample.advantages, sample.returns)
    actions = sample.actions.reshape(64, -1).to(ours.kind.dtype)
    return Minibatch(ours.features(arrays)[None], None, actions[None], *(part[None] for part in parts))


@kinds
def test_actions_values_and_features_are_those_of_sb3(action):
    theirs, ours = both(action)
    obs = ours.env.reset()
    tensor = obs_as_tensor(obs, "cpu")
    torch.testing.assert_close(ours.features(obs), theirs.policy.extract_features(tensor))
    np.testing.assert_allclose(
        ours.predict(obs, deterministic=True)[0], theirs.predict(obs, deterministic=True)[0], atol=1e-5
    )
    values = ours.learner.values(ours.features(obs)[None])[0]
    torch.testing.assert_close(values, theirs.policy.predict_values(tensor)[:, 0].detach())


@kinds
@pytest.mark.parametrize("observation", [FLAT, MIXED], ids=["flat", "dict"])
def test_losses_gradients_and_steps_are_those_of_sb3(action, observation):
    theirs, ours = both(action, observation, ent_coef=0.01)
    names = [field.name for field in fields(Losses)]
    losses = dict(zip(names, ours.learner.descend(minibatch_of(theirs, ours)), strict=True))
    theirs.train()
    logged = theirs.logger.name_to_value
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(logged[f"train/{name}"], rel=1e-4, abs=1e-6), name
    assert 0 < logged["train/clip_fraction"] < 1
    stepped = FastPPO(ours.env)
    copy_weights(theirs.policy, stepped)
    torch.testing.assert_close(ours.learner.network.weights, stepped.learner.network.weights, rtol=1e-5, atol=1e-6)
    for parameter in theirs.policy.parameters():
        parameter.data.copy_(parameter.grad)
    copy_weights(theirs.policy, stepped)
    gradients = ours.learner.network.weights.grad
    torch.testing.assert_close(gradients, stepped.learner.network.weights, rtol=1e-4, atol=1e-6)


def test_returns_and_advantages_are_those_of_sb3():
    theirs, _ = both(ACTIONS["discrete"])
    buffer = theirs.rollout_buffer
    rewards, values, starts = map(torch.from_numpy, (buffer.rewards, buffer.values, buffer.episode_starts))
    with torch.no_grad():
        last = theirs.policy.predict_values(obs_as_tensor(theirs._last_obs, "cpu"))[:, 0]
    buffer.compute_returns_and_advantage(last, theirs._last_episode_starts)
    ended = torch.cat((starts[1:], torch.from_numpy(theirs._last_episode_starts)[None].float())).bool()
    advantages = generalised_advantages(rewards, values, ended, last, theirs.gamma, theirs.gae_lambda)
    np.testing.assert_allclose(advantages, buffer.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(advantages + values, buffer.returns, rtol=1e-5, atol=1e-6)


def test_defaults_are_those_of_sb3_but_for_the_size_of_updates():
    theirs, ours = PPO("MlpPolicy", envs(ACTIONS["discrete"])), FastPPO(envs(ACTIONS["discrete"])).settings
    names = ("learning_rate", "n_epochs", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")
    assert all(getattr(ours, name) == getattr(theirs, name) for name in names)
    assert ours.clip_range == theirs.clip_range(1.0)


def test_a_truncated_episode_is_paid_the_value_of_its_last_observation():
    paid = {}
    for truncates in (False, True):
        agent = FastPPO(envs(ACTIONS["discrete"], truncates=truncates), seed=0, n_steps=6).learn(8 * 5)
        paid[truncates] = agent.state_dict()["rollout"]["rewards"][:, 0]
    difference = paid[True] - paid[False]
    assert (difference[:4] == 0).all() and (difference[4] != 0).all()


@kinds
@pytest.mark.parametrize("truncates", [False, True], ids=["terminates", "truncates"])
def test_every_run_is_to_the_bit_the_solo_agent_of_its_seed(action, truncates):
    make = partial(envs, action, MIXED, truncates=truncates)
    stacked = FastPPO(Runs([make() for _ in range(3)]), seed=5, **SMALL).learn(8 * 20)
    for run in range(3):
        alone = FastPPO(make(), seed=5 + run, **SMALL).learn(8 * 20)
        assert_same(stacked.solo(run), alone)


def test_with_sizes_that_are_no_multiples_of_registers_runs_are_solo_agents_to_a_small_tolerance():
    make = partial(envs, ACTIONS["multi-discrete"], MIXED, rows=3)
    settings = {"n_steps": 5, "batch_size": 7, "n_epochs": 2, "width": 9}
    stacked = FastPPO(Runs([make() for _ in range(3)]), seed=5, **settings).learn(3 * 11)
    for run in range(3):
        alone = FastPPO(make(), seed=5 + run, **settings).learn(3 * 11)
        mine, theirs = (agent.learner.network.weights for agent in (stacked.solo(run), alone))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def assert_same(first, second, passed_over=("episodes",)):
    """Compare two agents to the bit."""
    states = [
        {place: value for place, value in leaves(agent.state_dict()) if place[0] not in passed_over}
        for agent in (first, second)
    ]
    assert states[0].keys() == states[1].keys()
    for place, value in states[0].items():
        same = torch.equal(value, states[1][place]) if torch.is_tensor(value) else value == states[1][place]
        assert same, place


def leaves(state, place=()):
    if isinstance(state, dict):
        return itertools.chain(*(leaves(part, (*place, key)) for key, part in state.items()))
    if isinstance(state, list):
        return itertools.chain(*(leaves(part, (*place, key)) for key, part in enumerate(state)))
    return iter([(place, state)])


@kinds
def test_a_saved_agent_goes_on_identically(action, tmp_path):
    make = lambda: Runs([envs(action, MIXED, reward=lambda *_: 1.0) for _ in range(2)])  # noqa: E731
    agent = FastPPO(make(), seed=0, **SMALL).learn(8 * 11)
    agent.save(tmp_path / "agent.pt")
    loaded = FastPPO.load(tmp_path / "agent.pt", make())
    assert loaded.runs == 2
    assert_same(agent, loaded, ())
    for one in (agent, loaded):
        one.env.seed(3)
        one._last_obs = one.env.reset()
        one.learn(8 * 10, reset_num_timesteps=False)
    assert_same(agent, loaded, ())


def test_an_interrupted_learn_goes_on_as_an_uninterrupted_one():
    whole = FastPPO(make_vec_env("MTLRouting-Paths-v0", 16), seed=0, **SMALL).learn(16 * 30)
    parts = FastPPO(make_vec_env("MTLRouting-Paths-v0", 16), seed=0, **SMALL).learn(16 * 13)
    parts.learn(16 * 17, reset_num_timesteps=False)
    assert_same(whole, parts, ())


def test_a_short_training_has_a_short_rollout(tmp_path):
    agent = FastPPO(envs(ACTIONS["discrete"]), seed=0).learn(100)
    assert agent.learner.updates == 10
    agent.save(tmp_path / "agent.pt")
    loaded = FastPPO.load(tmp_path / "agent.pt", envs(ACTIONS["discrete"]))
    assert_same(agent, loaded, ())
    assert FastPPO(envs(ACTIONS["discrete"]), seed=0).learn(2040).learner.updates == 80


def test_runs_predict_for_blocks_of_rows_as_their_solo_agents():
    env = Runs([envs(ACTIONS["discrete"]) for _ in range(3)])
    agent = FastPPO(env, seed=0, **SMALL).learn(8 * 16)
    obs = env.reset()
    together, _ = agent.predict(obs, deterministic=True)
    apart = [agent.solo(run).predict(block, deterministic=True)[0] for run, block in enumerate(np.split(obs, 3))]
    np.testing.assert_array_equal(together, np.concatenate(apart))
    sampled = agent.solo(1).predict(obs)[0]
    np.testing.assert_array_equal(sampled, agent.solo(1).predict(obs)[0])
    assert not np.array_equal(sampled, agent.solo(2).predict(obs)[0])
    with pytest.raises(ValueError, match=r"learned in 3 runs and answers all 24 rows .* not 8: use agent\.solo"):
        agent.predict(obs[:8])
    with pytest.raises(ValueError, match="run=3 is not possible; the agent has runs 0 to 2"):
        agent.solo(3)


def test_runs_of_an_environment_are_to_the_bit_those_of_solo_environments(tmp_path):
    env_id, rows = "MTLRouting-Groups-v0", 16
    several = make_vec_env(env_id, rows, runs=2)
    agent = FastPPO(several, seed=3, **SMALL).learn(rows * 20)
    for run in range(2):
        alone = FastPPO(make_vec_env(env_id, rows), seed=3 + run, **SMALL).learn(rows * 20)
        assert_same(agent.solo(run), alone)
        agent.solo(run).save(tmp_path / "one.pt")
        one = FastPPO.load(tmp_path / "one.pt", make_vec_env(env_id, 8))
        assert (one.runs, one.seed, one.num_timesteps) == (1, 3 + run, rows * 20)
        figures = [mtl_gym.evaluate(a, several.batched.of_run(run)).figure for a in (one, alone)]
        assert figures[0] == figures[1]
        one.learn(8 * 8)


def test_a_loaded_agent_predicts_without_an_environment(tmp_path):
    agent = FastPPO(envs(ACTIONS["discrete"]), seed=0, **SMALL).learn(8 * 16)
    agent.save(tmp_path / "agent.pt")
    loaded, obs = FastPPO.load(tmp_path / "agent.pt"), agent.env.reset()
    actions = [one.predict(obs, deterministic=True)[0] for one in (agent, loaded)]
    np.testing.assert_array_equal(*actions)
    with pytest.raises(CheckpointError, match="does not fit"):
        FastPPO.load(tmp_path / "agent.pt", envs(ACTIONS["multi-binary"]))


@pytest.mark.parametrize(
    ("action", "masks"),
    [
        (spaces.Discrete(4, start=2), [True, False, True, False]),
        (spaces.MultiDiscrete([2, 3]), [False, True, True, False, False]),
        (spaces.MultiBinary(2), [True, False, True, True]),
    ],
)
def test_masked_choices_are_never_made_and_have_no_part_in_the_losses(action, masks):
    env = envs(action, masks=masks)
    agent = FastPPO(env, seed=0, **SMALL)
    made = []
    env.step_async, step = (lambda actions: (made.append(actions.copy()), step(actions))), env.step_async
    agent.learn(8 * 16)
    start = np.ravel(getattr(action, "start", 0))
    chosen = np.concatenate(made).reshape(128, -1) - start
    parts = np.split(np.array(masks), np.cumsum(agent.kind.sizes)[:-1])
    for number, valid in zip(chosen.T, parts, strict=True):
        assert set(number) == set(np.flatnonzero(valid))
    at = env.reset()[:1]
    counts = [agent.predict(at, action_masks=np.array([masks]), deterministic=flag)[0] for flag in (False, True)]
    assert all(action.contains(count[0]) for count in counts)
    uniform = agent.kind.distribution(torch.zeros(1, agent.kind.outputs, 1), None, torch.tensor(masks).view(1, -1, 1))
    assert uniform.entropy().item() == pytest.approx(sum(np.log(part.sum()) for part in parts), abs=1e-6)


def test_numbers_are_clipped_to_the_bounds_of_a_box():
    agent = FastPPO(envs(spaces.Box(0.4, 0.6, (2,), np.float32)), seed=0)
    actions, _ = agent.predict(agent.env.reset())
    assert actions.dtype == np.float32 and set(np.unique(actions)) >= {np.float32(0.4), np.float32(0.6)}


def test_one_observation_has_one_action():
    agent = FastPPO("MTLRouting-Digits-v0", seed=0)
    obs, _ = gym.make("MTLRouting-Digits-v0").reset(seed=0)
    assert np.shape(agent.predict(obs)[0]) == ()
    assert agent.predict(obs, action_masks=np.eye(11, dtype=bool)[4])[0] == 4


def test_it_learns_in_every_family_and_calls_sb3s_callbacks(tmp_path):
    for env in (
        "MTLLimitless-Paths-v0",
        "MTLRecurrent-Switching-v0",
        "MTLScheduling-Skills-v0",
        gym.make("CartPole-v1"),
    ):
        agent = FastPPO(env, seed=0, n_steps=16, batch_size=8).learn(32, CheckpointCallback(16, str(tmp_path)))
        assert agent.learner.updates == 40 and agent.num_timesteps == 32
    assert {"train/policy_gradient_loss", "train/value_loss"} <= agent.logger.name_to_value.keys()
    assert any(tmp_path.iterdir())


def test_every_run_learns_which_action_is_paid():
    same = lambda seen, action: float(action == seen)  # noqa: E731
    env = Runs([envs(spaces.Discrete(3), spaces.Discrete(3), reward=same) for _ in range(3)])
    agent = FastPPO(env, seed=0, n_steps=16, batch_size=32, learning_rate=1e-3, gamma=0.0).learn(8 * 16 * 16)
    seen = np.tile(np.arange(8) % 3, 3)
    assert (agent.predict(seen, deterministic=True)[0] == seen).all()


def test_unknown_spaces_are_rejected():
    with pytest.raises(ValueError, match="no convolutional network for 8-bit images, and the observation is"):
        FastPPO(envs(ACTIONS["discrete"], spaces.Box(0, 255, (36, 36, 1), np.uint8)))
    with pytest.raises(ValueError, match="needs a Box, MultiBinary, Discrete or MultiDiscrete observation"):
        FastPPO(StandIn(1, spaces.Text(3), ACTIONS["discrete"]))
    with pytest.raises(ValueError, match="FastPPO needs a Discrete, MultiDiscrete, MultiBinary or Box action space"):
        FastPPO(StandIn(1, FLAT, spaces.Text(3)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_learns_on_a_gpu(tmp_path):
    agent = FastPPO(envs(ACTIONS["discrete"], MIXED), seed=0, device="cuda", **SMALL).learn(8 * 20)
    agent.save(tmp_path / "agent.pt")
    assert_same(agent, FastPPO.load(tmp_path / "agent.pt", envs(ACTIONS["discrete"], MIXED)), ())
