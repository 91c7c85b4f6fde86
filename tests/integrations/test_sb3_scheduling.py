"""Any SB3 algorithm schedules: with tasks to choose, or with weights to set."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import GradNorm, Uniform
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

import mtl_gym
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env

DIGITS = "MTLScheduling-Digits-v0"
OPTIONS = {"updates": 100, "reference": None, "validation_samples": 20, "minibatch": 4}
QUICK = {
    DQN: {"learning_starts": 100},
    PPO: {"n_steps": 100, "batch_size": 100, "n_epochs": 2},
    A2C: {},
    SAC: {"learning_starts": 900, "buffer_size": 2_000},
    TD3: {"learning_starts": 900, "buffer_size": 2_000},
}
CASES = [*((kind, "choice") for kind in (DQN, PPO, A2C)), *((kind, "weights") for kind in (PPO, SAC, TD3))]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "control"), CASES)
def test_an_algorithm_learns_for_1000_steps_and_is_evaluated(algorithm, control):
    env = make_vec_env(DIGITS, 4, 0, control=control, **OPTIONS)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **QUICK[algorithm])
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(1_000)
    assert any((p != q).any() for p, q in zip(model.policy.parameters(), before, strict=True))
    assert env.batched.episodes >= 8 and len(model.ep_info_buffer) >= 8
    result = mtl_gym.evaluate(model, env, num_envs=2)
    assert result.accuracy.shape == (10,) and result.figures["timeline"].trained.sum() > 0


def test_the_end_of_a_run_is_a_time_limit():
    env = BatchedVecEnv(gym.make_vec(DIGITS, num_envs=2, **OPTIONS | {"updates": 2}))
    env.reset()
    env.step(np.array([0, 1]))
    obs, _, dones, infos = env.step(np.array([0, 1]))
    assert dones.all() and all(info["TimeLimit.truncated"] for info in infos)
    assert not np.array_equal(infos[0]["terminal_observation"], obs[0])
    assert infos[1]["episode"]["l"] == 2 and infos[0]["accuracy"].shape == (10,)


class Spy:
    """Takes what `evaluate` gives."""

    def __init__(self, agent):
        self.agent, self.seen = agent, []

    def predict(self, observation, state=None, episode_start=None, deterministic=False, progress=None):
        self.seen.append(progress)
        return self.agent.predict(observation, state, episode_start, deterministic, progress)


def test_an_evaluation_gives_the_progress_of_its_own_runs():
    env = make_vec_env(DIGITS, 3, 0, **OPTIONS | {"updates": 6})
    spy = Spy(Uniform(env, seed=0).learn(9))
    mtl_gym.evaluate(spy, env, num_envs=2)
    assert [now.updates.tolist() for now in spy.seen] == [[step] * 2 for step in range(6)]
    assert env.batched.progress.updates.tolist() == [3] * 3


def test_what_a_rule_remembers_goes_through_an_evaluation():
    env = make_vec_env(DIGITS, 2, 0, **OPTIONS | GradNorm.ENV_KWARGS | {"updates": 6})
    line = mtl_gym.evaluate(GradNorm(env, learning_rate=0.5), env).figures["timeline"].trained
    assert (line[0] == 1).all()  # nothing is known before the first step
    assert (np.abs(np.diff(line, axis=0)).max((1, 2)) > 0).all()
