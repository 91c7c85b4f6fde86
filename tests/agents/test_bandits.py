"""Bandits over tasks against hand-computed numbers, over several decisions."""

from math import exp, log, sqrt

import numpy as np
import pytest
from mtl_agents import ODM, TargetGain
from scipy.special import softmax

from mtl_gym.core.evaluation import evaluate
from mtl_gym.families.scheduling.text_mixture import TextMixtureVectorEnv
from mtl_gym.integrations.sb3 import make_vec_env
from tests.agents.schedules import blank, progress

KNOWN = {"validation_accuracy": [0.5] * 3}


def now(updates, trained, loss, **figures):
    return progress(updates, trained=trained, validation_loss=loss, **KNOWN | figures)


def shares(agent, *steps):
    """Return the shares after some progress of one run, beginning with fresh memory."""
    memory = agent._fresh(steps[0])
    return [agent._weigh(step, memory)[0] for step in steps][-1]


def rate(decision, tasks=3):
    return min(1 / tasks, sqrt(log(tasks) / (tasks * decision)))


def test_odm_begins_with_equal_shares_and_explores_less_and_less():
    start = now(0, [0, 0, 0], [1, 1, 1])
    assert shares(ODM(blank(3, chooses=True)), start) == pytest.approx([1 / 3] * 3)
    still = [now(step, [step, 0, 0], [1, 1, 1]) for step in range(400)]
    assert shares(ODM(blank(3, chooses=True)), *still) == pytest.approx([1 / 3] * 3)  # nothing was gained
    assert rate(1) == 1 / 3 > rate(20) > rate(400)


def test_odm_divides_the_reward_by_the_probability_of_the_draw():
    steps = [now(0, [0, 0, 0], [1, 1, 1]), now(1, [0, 1, 0], [1, 0.6, 1.0])]
    agent = ODM(blank(3, chooses=True), smoothing=0.75)
    estimate = np.array([0, 0.25 * 1 * 3, 0])  # the largest decrease so far counts as 1, and was drawn with 1/3
    expected = (1 - 3 * rate(2)) * softmax(rate(1) * estimate) + rate(2)
    assert shares(agent, *steps) == pytest.approx(expected)
    third = now(2, [0, 1, 1], [1, 0.6, 1.2])  # a loss that rose is a negative reward, relative to 0.4
    estimate[2] = 0.25 * -0.5 / expected[2]
    expected = (1 - 3 * rate(3)) * softmax(rate(2) * estimate) + rate(3)
    assert shares(agent, *steps, third) == pytest.approx(expected)


def test_odm_of_the_paper_is_rewarded_with_the_loss():
    agent = ODM(blank(3, chooses=True), smoothing=0.5, reward="loss")
    nan = np.nan
    steps = [
        now(0, [0, 0, 0], [1, 1, 1], train_loss=[nan, nan, nan]),
        now(1, [0, 0, 1], [1, 1, 1], train_loss=[nan, nan, 0.8]),
    ]
    expected = (1 - 3 * rate(2)) * softmax(rate(1) * np.array([0, 0, 0.5 * 0.8 * 3])) + rate(2)
    assert shares(agent, *steps) == pytest.approx(expected)


def test_odm_of_weights_does_not_divide_by_shares():
    agent = ODM(blank(3), smoothing=0.5)
    steps = [now(0, [0, 0, 0], [1, 1, 1]), now(1, [1, 1, 1], [0.5, 1, 1.25])]
    expected = (1 - 3 * rate(2)) * softmax(rate(1) * 0.5 * np.array([1, 0, -0.5])) + rate(2)
    assert shares(agent, *steps) == pytest.approx(expected)


def with_target(**arguments):
    env = TextMixtureVectorEnv(2, updates=12, target_bytes=500)
    agent = TargetGain(env, seed=0, **arguments)
    return env, agent


def test_target_gain_prefers_what_lowered_the_loss_of_the_target():
    env, agent = with_target(temperature=0.5, smoothing=0.5)
    tasks, target = env.data.num_tasks, env.targets[0]
    loss, trained = np.ones(tasks), np.zeros(tasks)
    steps = [now(0, trained, loss)]
    for task, gained in ((0, 0.2), (1, 0.4), (0, 0.1)):
        loss, trained = loss.copy(), trained.copy()
        loss[target] -= gained
        loss[(target + 1) % tasks] -= 9  # other losses do not matter
        trained[task] += 1
        steps.append(now(int(trained.sum()), trained, loss))
    estimate = np.full(tasks, 1.0)  # tasks not trained yet count as the best
    estimate[0] = (0.5 * 0.2 + 0.5 * 0.1) / 0.4
    found = shares(agent, *steps)
    assert found == pytest.approx(softmax(estimate / 0.5))
    assert found[0] / found[1] == pytest.approx(exp(-(1 - 0.375) / 0.5))


def test_target_gain_begins_with_equal_shares_and_trains_no_task_that_hurts():
    env, agent = with_target(temperature=0.1)
    tasks = env.data.num_tasks
    steps = [now(0, np.zeros(tasks), np.ones(tasks))]
    assert shares(agent, *steps) == pytest.approx(np.full(tasks, 1 / tasks))
    worse = np.ones(tasks)
    worse[env.targets[0]] = 1.5
    every = [now(1, np.eye(tasks)[0], worse)]
    assert shares(agent, *steps, *every)[0] == pytest.approx(1 / tasks)  # the only one tried is the best one so far
    better = worse.copy()
    better[env.targets[0]] = 1.2
    third = now(2, np.eye(tasks)[0] + np.eye(tasks)[1], better)
    assert shares(agent, *steps, *every, third)[0] < 1e-6


@pytest.mark.parametrize("kind", [ODM, TargetGain])
def test_memory_begins_anew_with_a_run_and_evaluations_are_repeatable(kind):
    env = TextMixtureVectorEnv(2, updates=12, target_bytes=500)
    agent = kind(env, seed=0).learn(4)
    assert agent._memory["decisions"].tolist() == [[2], [2]]
    agent.learn(2, reset_num_timesteps=False)  # after two decisions a run ends
    assert agent._memory["decisions"].tolist() == [[1], [1]]
    lines = [evaluate(kind(env, seed=0), env).figures["timeline"].trained for _ in range(2)]
    np.testing.assert_array_equal(*lines)


@pytest.mark.parametrize("kind", [ODM, TargetGain])
def test_a_loaded_bandit_acts_like_the_saved_one(kind, tmp_path):
    env = TextMixtureVectorEnv(2, updates=48, target_bytes=500)
    agent = kind(env, seed=0, smoothing=0.25).learn(8)
    agent.save(tmp_path / "bandit.pt")
    loaded = kind.load(tmp_path / "bandit.pt", env)
    assert repr(loaded) == repr(agent)
    for name, value in agent._memory.items():
        np.testing.assert_array_equal(loaded._memory[name], value)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="TargetGain needs to know which tasks count"):
        TargetGain("MTLScheduling-Digits-v1")
    with pytest.raises(ValueError, match=r'TargetGain needs decisions that train a single task.*control="choice"'):
        TargetGain(make_vec_env("MTLScheduling-TextMixture-v0", control="weights", updates=12, target_bytes=500))
    with pytest.raises(ValueError, match="reward='gain' is not possible; it takes 'decrease' or 'loss'"):
        ODM(blank(3), reward="gain")
    with pytest.raises(ValueError, match=r"smoothing=1.* from 0, below 1"):
        ODM(blank(3), smoothing=1.0)
