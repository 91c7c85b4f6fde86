"""Tasks that count beside tasks that only help, and runs that end with their best weights."""

import numpy as np
import pytest
import torch
from mtl_agents import TargetGain, TargetOnly, search_weights

import mtl_gym
from mtl_gym.core.errors import CheckpointError

TARGETS = ["seeds", "iris"]  # tasks 2 and 0


def loss_and_accuracy(env):
    return env.progress.validation_loss[:, [2, 0]], env.progress.validation_accuracy[:, [2, 0]]


@pytest.mark.parametrize(("reward", "paid"), [("mean", lambda loss: -loss.mean(1)), ("sum", lambda loss: -loss.sum(1))])
def test_the_reward_is_the_targets_loss_alone(make, reward, paid):
    env = make(target_tasks=TARGETS, reward=reward)
    _, given, *_ = env.step(np.array([1, 2]))
    assert env.targets.tolist() == [2, 0]
    assert given == pytest.approx(paid(loss_and_accuracy(env)[0]))


def test_gains_sum_to_what_the_targets_accuracy_rose(make):
    env = make(target_tasks=TARGETS, reward="gain", updates=30)
    start = loss_and_accuracy(env)[1].mean(1)
    total = sum(env.step(np.array([step % 3, 0]))[1] for step in range(20))
    assert total == pytest.approx(loss_and_accuracy(env)[1].mean(1) - start, abs=1e-5)


def test_helpers_neither_punish_nor_succeed(make):
    def ended(reference):
        env = make(target_tasks=["iris"], reference=reference, updates=4)
        for _ in range(4):
            _, reward, *_, info = env.step(np.array([0, 0]))
        return reward, info["final_info"]["is_success"]

    (reward, success), (punished, failure) = ended([0.01, 1.0, 1.0]), ended([1.0, 0.01, 0.01])
    assert (reward > -10).all() and success.all()
    assert (punished == -10).all() and not failure.any()


def test_the_figure_is_the_targets_accuracy(make):
    accuracy = np.array([0.5, 1.0, 0.7])
    assert make(target_tasks=TARGETS).figure(accuracy, accuracy) == pytest.approx(60)
    assert make().figure(accuracy, accuracy) == pytest.approx(100 * 2.2 / 3)
    assert make(target_tasks=TARGETS).figure_tasks == ("iris", "seeds") and make().figure_tasks == ()


@pytest.mark.parametrize("wrong", [["oak"], [3], ["iris", 0], []])
def test_targets_must_be_tasks_of_the_data_once_each(make, wrong):
    with pytest.raises(ValueError, match=r"plants.*iris|plants.*each once"):
        make(target_tasks=wrong)


def test_known_schedules_keep_their_targets():
    same = mtl_gym.make_vec_env("MTLScheduling-TextMixture-v0", target_tasks=["target"], target_bytes=500).batched
    assert [same.task_names[task] for task in same.targets] == ["target"]
    with pytest.raises(ValueError, match=r"target_tasks=\['junk 1'\] is not possible.*known schedule"):
        mtl_gym.make_vec_env("MTLScheduling-TextMixture-v0", target_tasks=["junk 1"])


def test_target_only_trains_the_targets_in_turn_or_together(make):
    env = make(target_tasks=TARGETS)
    TargetOnly(env, seed=0).learn(2 * 6)
    assert env.progress.trained.tolist() == [[3, 0, 3]] * 2
    env = make(target_tasks=TARGETS, control="weights")
    TargetOnly(env, seed=0).learn(2 * 6)
    assert env.progress.trained.tolist() == [[6, 0, 6]] * 2


@pytest.mark.parametrize("kind", [TargetOnly, TargetGain])
def test_agents_that_ask_for_targets_say_how_to_give_them(make, kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs to know which tasks count.*target_tasks=\[\.\.\.\]"):
        kind(make())


def test_searched_weights_are_those_of_the_targets(plants, network):
    options = {"data": plants, "network": network, "updates": 40, "reference": None, "target_tasks": ["seeds"]}
    alone, helped = [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]
    weights, accuracy = search_weights("MTLScheduling-Digits-v0", [alone, helped], repeats=4, **options)
    assert weights == alone and accuracy[0] > accuracy[1]


def schedule(step):
    """One run that learns seeds and then forgets them, and one that never trains them."""
    return np.array([2 if step < 20 else step % 2, 1])


def early(make, **options):
    return make(target_tasks=["seeds"], early_stopping=True, reward="gain", learning_rate=0.1, **options)


def test_a_stopped_run_ends_with_its_best_weights(make):
    env, best, paid = early(make), np.zeros(2), np.zeros(2)
    start = env.progress.validation_accuracy[:, 2]
    for step in range(60):
        _, reward, *_, info = env.step(schedule(step))
        paid += reward
        best = np.maximum(best, (info["final_info"]["accuracy"] if step == 59 else info["validation_accuracy"])[:, 2])
    result = info["final_info"]["accuracy"][:, 2]
    assert result == pytest.approx(best) and paid == pytest.approx(best - start)
    plain = make(target_tasks=["seeds"], learning_rate=0.1)
    for step in range(60):
        *_, info = plain.step(schedule(step))
    assert info["final_info"]["accuracy"][0, 2] < result[0]


def test_an_evaluation_measures_the_weights_of_the_best_decision(make):
    env = early(make)
    view, plain = (
        env.evaluation_view("test", 2),
        make(target_tasks=["seeds"], learning_rate=0.1).evaluation_view("test", 2),
    )
    weights, worth = [], []
    for one in (view, plain):
        one.reset()
    for step in range(60):
        weights.append({name: value.clone() for name, value in plain.network.named_parameters()})
        worth.append(plain.progress.validation_accuracy[0, 2])
        view.step(schedule(step))
        plain.step(schedule(step))
    chosen = weights[int(np.argmax(worth))]
    for name, value in view.trained.named_parameters():
        assert torch.equal(value[0], chosen[name][0])
    assert 0 < np.argmax(worth) < 59


@pytest.mark.parametrize("steps", [30, 61])
def test_a_stopped_run_continues_exactly_where_it_was_saved(make, steps):
    one, other = early(make), early(make)
    for step in range(steps):
        one.step(schedule(step))
    other.load_state_dict(one.state_dict())
    for env in (one, other):
        for step in range(steps, 59):
            env.step(schedule(step))
    (_, paid, *_, info), (_, again, *_, repeated) = (env.step(schedule(59)) for env in (one, other))
    np.testing.assert_array_equal(paid, again)
    for name in ("validation_accuracy", "validation_loss"):
        np.testing.assert_array_equal(info[name], repeated[name])
    for name, value in one._best.weights.items():
        assert torch.equal(value, other._best.weights[name])


def test_a_saved_state_keeps_its_best_weights(make):
    env = early(make)
    best = env.state_dict()["family"]["runs"]["best"]
    weights = {name: value.clone() for name, value in best["weights"].items()}
    for step in range(10):
        env.step(schedule(step))
    assert env._best.worth[0] > best["worth"][0]
    for name, value in weights.items():
        assert torch.equal(value, best["weights"][name])


def test_a_stopped_run_succeeds_by_its_best_weights(make):
    def ended(reference):
        env = early(make, reference=reference, tolerance=0.95)
        for step in range(60):
            *_, info = env.step(schedule(step))
        return env._ended.accuracy[-1, 0, 2], info["final_info"]

    _, result = ended(None)
    best = float(result["accuracy"][0, 2])
    last, result = ended([1.0, 1.0, best])
    assert last < 0.95 * best and result["is_success"][0]


def test_a_best_figure_that_is_no_number_is_refused(make):
    env = early(make)
    state = env.state_dict()
    state["family"]["runs"]["best"]["worth"][0] = float("nan")
    with pytest.raises(CheckpointError, match=r"best\.worth holds numbers that are not finite"):
        env.load_state_dict(state)
