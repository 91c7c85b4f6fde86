import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import mtl_gym
from mtl_gym.integrations.sb3 import BatchedVecEnv, as_vec_env, make_vec_env
from mtl_gym.lab.agents import make_sb3

DIGITS = "MTLRouting-Digits-v0"


def test_the_vec_env_gives_what_the_batched_environment_gives():
    vec_env, env = make_vec_env(DIGITS, 4, seed=3), gym.make_vec(DIGITS, num_envs=4)
    obs = vec_env.reset()
    expected, _ = env.reset(seed=3)
    rng = np.random.default_rng(0)
    returns = np.zeros(4)
    for _ in range(12):
        actions = rng.integers(11, size=4)
        obs, rewards, dones, infos = vec_env.step(actions)
        expected, reward, terminated, _, info = env.step(actions)
        np.testing.assert_array_equal(rewards, reward)
        np.testing.assert_array_equal(dones, terminated)
        assert all(np.array_equal(obs[key], expected[key]) for key in expected)
        returns += reward
        for row in range(4):
            if not terminated[row]:
                assert infos[row] == {}
                continue
            terminal = infos[row]["terminal_observation"]
            assert all(np.array_equal(terminal[k], info["final_obs"][row][k]) for k in terminal)
            assert infos[row]["is_success"] == info["final_info"]["is_success"][row]
            assert infos[row]["episode"]["r"] == pytest.approx(returns[row])
            assert infos[row]["TimeLimit.truncated"] is False
            returns[row] = 0


def test_terminal_observations_are_not_overwritten_later():
    vec_env = make_vec_env(DIGITS, 4, seed=0)
    vec_env.reset()
    for _ in range(3):
        *_, infos = vec_env.step(np.zeros(4, int))
    kept = infos[0]["terminal_observation"]["value"].copy()
    for _ in range(6):
        vec_env.step(np.zeros(4, int))
    np.testing.assert_array_equal(kept, infos[0]["terminal_observation"]["value"])


def test_masks_go_through_env_method():
    vec_env = make_vec_env(DIGITS, 3, seed=0)
    vec_env.reset()
    assert is_masking_supported(vec_env)
    np.testing.assert_array_equal(get_action_masks(vec_env), vec_env.action_masks())
    assert len(vec_env.env_method("action_masks", indices=[1])) == 1


@pytest.mark.parametrize(
    ("algorithm", "arguments"),
    [
        (PPO, {"n_steps": 12, "batch_size": 24}),
        (A2C, {}),
        (DQN, {"learning_starts": 20, "buffer_size": 500}),
        (QRDQN, {"learning_starts": 20, "buffer_size": 500}),
        (MaskablePPO, {"n_steps": 12, "batch_size": 24}),
    ],
)
def test_algorithms_learn_on_the_batched_environment(algorithm, arguments):
    vec_env = make_vec_env(DIGITS, 8, seed=0)
    model = algorithm("MultiInputPolicy", vec_env, seed=0, device="cpu", **arguments).learn(400)
    assert vec_env.batched.updates > 0
    assert model.ep_info_buffer[0]["l"] <= 3
    assert mtl_gym.evaluate(model, vec_env.batched, "validation").episodes.sum() == 10 * 359


def test_same_seed_same_weights_through_ppo():
    weights = []
    for _ in range(2):
        model = PPO("MultiInputPolicy", make_vec_env(DIGITS, 8), n_steps=12, batch_size=24, seed=1, device="cpu")
        model.learn(200)
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()]))
    np.testing.assert_array_equal(*weights)


def test_ppo_works_on_the_single_environment_unchanged():
    PPO("MultiInputPolicy", gym.make(DIGITS), n_steps=12, batch_size=12, device="cpu").learn(24)


def test_dqn_works_behind_flatten_observation_and_is_evaluated_so():
    env = gym.wrappers.FlattenObservation(gym.make(DIGITS))
    model = DQN("MlpPolicy", env, learning_starts=10, buffer_size=100, device="cpu").learn(40)
    result = mtl_gym.evaluate(model, env, "validation")
    assert result.episodes.sum() == 10 * 359


def test_maskable_ppo_never_takes_a_masked_choice_in_evaluation():
    vec_env = make_vec_env(DIGITS, 4, seed=0)
    model = MaskablePPO("MultiInputPolicy", vec_env, n_steps=12, batch_size=12, device="cpu").learn(48)
    result = mtl_gym.evaluate(model, vec_env.batched, "validation", deterministic=False)
    assert result.figures["usage"][:, 2, -1].sum() == 0
    assert np.isfinite(result.loss).all()


def test_sb3s_eval_callback_runs():
    vec_env, other = make_vec_env(DIGITS, 4, seed=0), make_vec_env(DIGITS, 4, seed=1)
    model = PPO("MultiInputPolicy", vec_env, n_steps=12, batch_size=12, device="cpu")
    model.learn(96, callback=EvalCallback(other, eval_freq=12, n_eval_episodes=4, verbose=0, warn=False))


def test_every_kind_of_environment_becomes_a_vec_env():
    assert isinstance(as_vec_env(DIGITS, 2), BatchedVecEnv)
    assert isinstance(as_vec_env(gym.make_vec(DIGITS, num_envs=2)), BatchedVecEnv)
    assert isinstance(as_vec_env(gym.make(DIGITS)), DummyVecEnv)
    with pytest.raises(TypeError, match="is not an environment"):
        as_vec_env(3)
    with pytest.raises(TypeError, match="not a batched environment of mtl_gym"):
        as_vec_env(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match="without tensors=True"):
        BatchedVecEnv(gym.make_vec(DIGITS, num_envs=2, tensors=True))


def test_evaluate_finds_the_environment_behind_sb3s_vec_envs():
    policy, episodes = (lambda obs: np.zeros(len(obs["task"]), int)), 10 * 359
    for env in (make_vec_env(DIGITS, 2), VecMonitor(make_vec_env(DIGITS, 2)), as_vec_env(gym.make(DIGITS))):
        assert mtl_gym.evaluate(policy, env, "validation").episodes.sum() == episodes


def test_evaluating_a_foreign_environment_is_refused():
    with pytest.raises(TypeError, match="not an environment of mtl_gym"):
        mtl_gym.evaluate(lambda obs: 0, gym.make("CartPole-v1"))


def test_the_number_of_rows_has_gymnasiums_name():
    with pytest.raises(ValueError, match="no n_envs=8, as SB3's own has: use num_envs"):
        make_vec_env("MTLRouting-Digits-v0", n_envs=8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "benchmark", ["MTLAlignment-LinearDiscrete-v1", "MTLAlignment-Linear-v1", "MTLRecurrent-Switching-v0"]
)
def test_recurrent_ppo_learns_from_multi_discrete_observations_and_binary_actions(benchmark):
    env = make_vec_env(benchmark, 4, seed=0)
    agent = make_sb3("recurrent-ppo", env, seed=0, training=64, n_steps=8)
    before = [weights.detach().clone() for weights in agent.policy.parameters()]
    agent.learn(64)
    assert any(not after.equal(start) for after, start in zip(agent.policy.parameters(), before, strict=True))
    assert env.action_space.contains(agent.predict(env.reset())[0][0])


def test_recurrent_ppo_learns_as_that_of_sb3_contrib_where_that_works():
    ours = make_sb3("recurrent-ppo", make_vec_env(DIGITS, 4, seed=0), seed=0, n_steps=8, batch_size=32).learn(64)
    theirs = RecurrentPPO(
        "MultiInputLstmPolicy", make_vec_env(DIGITS, 4, seed=0), seed=0, n_steps=8, batch_size=32, device="cpu"
    ).learn(64)
    for one, other in zip(ours.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert one.equal(other)


def test_wrappers_of_gymnasium_whose_effect_would_be_lost_are_refused():
    made = [gym.make_vec(DIGITS, num_envs=2) for _ in range(3)]
    assert as_vec_env(vector.RecordEpisodeStatistics(made[0])).num_envs == 2
    for wrapped in (vector.TransformReward(made[1], lambda reward: 2 * reward), vector.NormalizeReward(made[2])):
        with pytest.raises(ValueError, match=rf"effect of {type(wrapped).__name__} would be lost"):
            as_vec_env(wrapped)
