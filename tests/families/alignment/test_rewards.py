import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import DecomposedEA, FixedAlignment

from mtl_gym.core.errors import TrainingDiverged
from mtl_gym.data import TaskCollection, TaskData, load
from mtl_gym.families.alignment.env import AlignmentVectorEnv

LINEAR = {"data": "generated-linear", "block": (20, 1), "context": 1, "device": "cpu"}
SHORT = {"generations": 3, "iterations": 4, "final_generations": 0}


def linear(runs=2, **options):
    env = AlignmentVectorEnv(runs, **LINEAR | SHORT | options)
    env.reset(seed=0)
    return env


def nobody(env):
    return np.full(env.action_space.shape, env.network.num_modules)


def returns(agent_class, reward):
    options = {"generations": 20, "iterations": 15, "learning_rate": 1e-2, "score_learning_rate": 5e-2}
    env = AlignmentVectorEnv(2, **LINEAR | SHORT | options, challengers=4, reward=reward)
    agent = agent_class(env, seed=0)
    obs, _ = env.reset(seed=0)
    found = np.zeros(2)
    for _ in range(20):
        obs, reward, *_ = env.step(agent.predict(obs)[0])
        found += reward
    return found


def test_by_default_the_papers_search_earns_more_than_no_challengers():
    assert (returns(DecomposedEA, "validation") > returns(FixedAlignment, "validation") + 1).all()


def test_the_training_reward_favours_no_sharing():
    assert (returns(DecomposedEA, "training") < returns(FixedAlignment, "training")).all()


def test_by_default_the_reward_is_the_decrease_of_the_relative_validation_loss():
    env = linear()
    variance = np.array([float(task.splits["train"][1].var(correction=0)) for task in env.data.tasks])
    _, before = env.reset(seed=0)
    _, reward, *_, after = env.step(nobody(env))
    fall = (before["validation_loss"] - after["validation_loss"]) / variance
    assert reward == pytest.approx(fall.mean(1), rel=1e-4) and reward.dtype == np.float32


def spoiled(split):
    """Return the data with inverted signs of one split's targets."""
    data = load("generated-linear")
    parts = [
        TaskData(t.name, t.kind, {**t.splits, split: (t.splits[split][0], -t.splits[split][1])}, 1) for t in data.tasks
    ]
    return TaskCollection("spoiled", parts, data.groups)


def test_the_reward_never_uses_the_test_samples():
    env, other = linear(), linear(data=spoiled("test"))
    assert np.array_equal(env.step(nobody(env))[1], other.step(nobody(other))[1])
    different = linear(data=spoiled("validation"))
    assert not np.allclose(linear().step(nobody(env))[1], different.step(nobody(different))[1])


def test_a_custom_reward_receives_the_measurements_before_and_after():
    seen = []

    def modules_saved(before, after):
        seen.append((before, after))
        return [len(np.unique(a)) - len(np.unique(b)) for a, b in zip(before.assignment, after.assignment, strict=True)]

    env = linear(reward=modules_saved)
    actions = nobody(env)
    actions[0] = 4
    _, reward, *_, info = env.step(actions)
    assert reward.tolist() == [30 - info["modules_used"][0], 0] and reward.dtype == np.float32
    before, after = seen[0]
    assert np.array_equal(after.train_loss, info["train_loss"])
    assert before.validation_loss.shape == after.scale.shape == (2, 30)
    assert before.assignment.tolist() == [list(range(30))] * 2


@pytest.mark.parametrize("reward", [lambda before, after: 1.0, lambda before, after: np.zeros((2, 30))])
def test_a_reward_that_is_not_one_number_per_run_is_rejected(reward):
    env = linear(reward=reward)
    with pytest.raises(ValueError, match=r"one number per run.*\[2\]"):
        env.step(nobody(env))


def test_a_non_finite_reward_raises_an_error():
    env = linear(reward=lambda before, after: np.array([0, np.nan]))
    with pytest.raises(TrainingDiverged, match="the reward"):
        env.step(nobody(env))


def test_an_unknown_reward_is_rejected_with_the_known_ones():
    with pytest.raises(ValueError, match=r"reward='test'.*training.*validation"):
        linear(reward="test")


def test_the_reward_is_an_option_of_the_id():
    env = gym.make("MTLAlignment-Linear-v0", data="generated-linear", iterations=2, device="cpu", reward="training")
    assert env.unwrapped.options.reward == "training"
    assert gym.make("MTLAlignment-Linear-v0", data="generated-linear").unwrapped.options.reward == "validation"
