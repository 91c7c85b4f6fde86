import gymnasium as gym
import numpy as np
import pytest

import mtl_gym


def batch(**options):
    env = gym.make_vec("MTLRouting-Digits-v0", num_envs=50, **options).unwrapped
    env.reset(seed=0)
    return env


def test_always_no_is_right_in_half_of_a_balanced_evaluation():
    def says_no(logits, label, task):
        return -logits[:, 1]

    accuracy = {}
    for balanced in (False, True):
        env = batch(balanced=balanced, depth=1, train=False, reward=says_no)
        with_no = env.network.layers[0].blocks
        for block in with_no:
            block.weight.data.zero_()
            block.bias.data.copy_(block.bias.data.new_tensor([1.0, 0.0]))
        result = mtl_gym.evaluate(lambda obs: np.zeros(len(obs["task"]), int), env)
        accuracy[balanced] = result.mean_accuracy
        assert result.episodes.sum() == 3590  # every test sample counts once, whatever its weight
        assert result.measure.name == ("balanced accuracy" if balanced else "accuracy")
        assert result.figure == pytest.approx(100 * result.mean_accuracy)
    assert accuracy[True] == pytest.approx(0.5)
    assert accuracy[False] == pytest.approx(0.9, abs=0.01)


def test_balanced_training_draws_yes_as_often_as_no():
    env, labels = batch(balanced=True, depth=1), []
    for _ in range(80):
        *_, info = env.step(np.zeros(50, int))
        labels.append(info["final_info"]["label"])
    assert np.mean(labels) == pytest.approx(0.5, abs=0.03)


def test_sequences_are_not_balanced():
    with pytest.raises(ValueError, match="balanced=True is not possible"):
        gym.make("MTLRecurrent-BrainSeries-v0", balanced=True)


def test_a_masked_choice_becomes_the_next_valid_one_if_asked():
    for invalid, ended_early in (("nearest", False), ("end", True)):
        env = batch(invalid=invalid, depth=1)
        assert not env.action_masks()[:, 10].any()  # PASS, which the only layer does not have
        *_, info = env.step(np.full(50, 10))
        assert (info["final_info"]["invalid_action"] == ended_early).all()
        assert (info["final_info"]["route"] == (-1 if ended_early else 0)).all()


def test_invalid_takes_two_words():
    with pytest.raises(ValueError, match="invalid='skip' is not possible; it takes 'end' or 'nearest'"):
        gym.make("MTLRouting-Digits-v0", invalid="skip")


@pytest.mark.parametrize("second", ["MTLRouting-Digits-v1", "MTLLimitless-Digits-v1"])
def test_the_first_version_of_digits_stays_unbalanced(second):
    first = second.replace("v1", "v0")
    names = [gym.make_vec(one, num_envs=1).unwrapped.measure.name for one in (first, second)]
    assert names == ["accuracy", "balanced accuracy"]
    assert not mtl_gym.card(second).benchmark


def test_tasks_that_share_all_blocks_answer_balanced_digits_at_chance_and_tasks_with_their_own_do_not():
    figures = []
    for block in (lambda task: task, np.zeros_like):
        env = gym.make_vec("MTLRouting-Digits-v1", num_envs=64).unwrapped
        obs, _ = env.reset(seed=0)
        for _ in range(3 * 60):
            obs, *_ = env.step(block(obs["task"]))
        figures.append(mtl_gym.evaluate(lambda obs, block=block: block(obs["task"]), env).figure)
    assert figures[0] > 80 and figures[1] == pytest.approx(50, abs=2)
