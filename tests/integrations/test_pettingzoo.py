import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils import parallel_to_aec

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.families.routing.env import RoutingVectorEnv
from mtl_gym.integrations.pettingzoo import TaskAgents, TaskStream, parallel_env

DIGITS = "MTLRouting-Digits-v0"
SMALL_PASS = 3  # three blocks; the first layer of `small` widens the value, so PASS is masked at depth 0


def small(**kwargs):
    """Three tasks of 14, 28 and 42 training samples."""
    rng = np.random.default_rng(0)
    tables = {f"task {n}": (rng.normal(size=(20 * n, 4)), np.arange(20 * n) % 2) for n in (1, 2, 3)}
    data = mtl_gym.MultiTaskDataset.from_tasks("small", tables)
    return TaskAgents(**{"data": data, "hidden": 8, "train_batch": 3, **kwargs})


def play(env, choose, rounds=1, seed=None):
    """Every step of some rounds: what was seen, earned and told, in the order in which it came."""
    trajectory = []
    for number in range(rounds):
        observations, infos = env.reset(seed=seed if number == 0 else None)
        trajectory.append((observations, infos))
        while env.agents:
            actions = {agent: choose(agent, infos[agent]["action_mask"]) for agent in env.agents}
            *step, infos = env.step(actions)
            trajectory.append((*step, infos))
    return trajectory


def at_random(seed=0):
    rng = np.random.default_rng(seed)
    return lambda agent, mask: int(rng.choice(np.flatnonzero(mask)))


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return np.array_equal(one, other)


def weights(env):
    return {key: value.numpy().copy() for key, value in env.batched.network.state_dict().items()}


@pytest.mark.slow
def test_pettingzoos_own_tests_pass(routing_id):
    parallel_api_test(parallel_env(routing_id), num_cycles=20)
    parallel_seed_test(lambda: parallel_env(routing_id))


@pytest.mark.filterwarnings("ignore:Observation is not a NumPy array", "ignore:Observation space for each agent")
def test_agents_can_act_in_turn():
    api_test(parallel_to_aec(parallel_env(DIGITS)), num_cycles=20)


def test_a_copy_of_a_routing_environment_of_another_kind_is_of_that_kind():
    env = parallel_env("MTLRouting-Paths-v0", tasks=3)
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    assert twin.possible_agents == ["task_0", "task_1", "task_2"]
    assert np.array_equal(twin.batched.best_actions(), env.batched.best_actions())


def test_there_is_one_agent_per_task():
    env = parallel_env(DIGITS)
    assert env.agents == []
    env.reset(seed=0)
    assert env.agents == env.possible_agents == [f"digit_{n}" for n in range(10)]


def test_row_i_always_routes_a_sample_of_task_i():
    env = parallel_env(DIGITS)
    for observations, *_, infos in play(env, at_random(), rounds=30, seed=0):
        assert [obs["task"] for obs in observations.values()] == list(range(10))
        for task, info in enumerate(infos.values()):
            if "sample" in info:
                assert env.batched._task[info["sample"]] == info["task"] == task
                assert env.batched._label[info["sample"]] == info["label"]


def test_observations_lie_in_their_spaces_and_spaces_are_the_agents_own():
    env = small()
    assert env.action_space("task_1") is not env.action_space("task_2")
    for observations, *_ in play(env, at_random(), rounds=2, seed=0):
        assert all(env.observation_space(agent).contains(obs) for agent, obs in observations.items())


def test_every_agent_passes_through_its_tasks_samples_epoch_by_epoch():
    env = small()
    seen = [[], [], []]
    for *_, infos in play(env, at_random(), rounds=84, seed=0):
        for task, info in enumerate(infos.values()):
            if "sample" in info:
                seen[task].append(info["sample"])
    for task, samples in enumerate(seen):
        whole = np.flatnonzero(env.batched._task == task)
        epochs = np.reshape(samples, (-1, len(whole)))
        assert [len(whole), len(epochs)] == [[14, 6], [28, 3], [42, 2]][task]
        assert (np.sort(epochs) == whole).all()
        assert (epochs[0] != epochs[1]).any()


def test_a_stream_gives_tasks_in_turn():
    stream = TaskStream(np.array([1, 0, 0, 1, 2]), np.random.default_rng(0))
    taken = stream.take(6)
    assert {taken[0], taken[3]} == {1, 2}
    assert {taken[1], taken[4]} == {0, 3}
    assert taken[2] == taken[5] == 4


def test_one_seed_is_one_trajectory():
    one, other = (play(small(), at_random(), rounds=20, seed=5) for _ in range(2))
    assert same(one, other)
    assert not same(one, play(small(), at_random(), rounds=20, seed=6))


def test_reset_with_a_seed_starts_anew_and_without_goes_on():
    env = small()
    first = play(env, at_random(), rounds=4, seed=1)
    assert env.batched.updates == 4
    play(env, at_random())
    assert env.batched.updates == 5
    assert same(play(env, at_random(), rounds=4, seed=1), first)


def test_a_batch_is_a_number_of_whole_rounds():
    env = parallel_env(DIGITS, train_batch=11)
    updates = []
    for seed in (0, None, None, None):
        play(env, at_random(), seed=seed)
        updates.append(env.batched.updates)
    assert updates == [0, 1, 1, 2]


class Ordinary(RoutingVectorEnv):
    """The ordinary batched environment on the same samples."""

    def _open_stream(self):
        self._stream = TaskStream(self._task, self.np_random)


def test_valid_rounds_are_those_of_the_ordinary_environment_bit_for_bit():
    env, actions = small(), np.random.default_rng(0).integers(3, size=(30, 3))
    ordinary = Ordinary(3, data=env.batched.data, hidden=8, train_batch=3)
    ordinary.reset(seed=0)
    env.reset(seed=0)
    for batch in actions:
        if not env.agents:
            env.reset()
        _, rewards, *_ = env.step(dict(zip(env.agents, batch, strict=True)))
        np.testing.assert_array_equal(list(rewards.values()), ordinary.step(batch)[1])
    expected = ordinary.network.state_dict()
    assert all(np.array_equal(value, expected[key]) for key, value in weights(env).items())
    assert env.batched.updates == ordinary.updates == 10


def test_an_agent_with_an_invalid_action_leaves_and_the_others_go_on():
    env = small()
    env.reset(seed=0)
    _, rewards, terminations, truncations, infos = env.step({"task_1": 0, "task_2": SMALL_PASS, "task_3": 0})
    assert env.agents == ["task_1", "task_3"]
    assert rewards["task_2"] == -1.0
    assert terminations == {"task_1": False, "task_2": True, "task_3": False}
    assert not any(truncations.values())
    assert infos["task_2"]["invalid_action"] and "loss" not in infos["task_2"]
    assert "action_mask" not in infos["task_2"] and infos["task_1"].keys() == {"action_mask"}
    for depth in (1, 2):
        step = env.step({"task_1": 0, "task_3": 0})
        assert all(part.keys() == {"task_1", "task_3"} for part in step), depth
    assert env.agents == []
    assert step[-1]["task_1"].keys() == {*infos["task_2"], "loss"}
    env.reset()
    assert len(env.agents) == 3


def test_a_waiting_row_trains_nothing_and_is_counted_once():
    env = small()
    env.reset(seed=0)
    before, waiting = weights(env), env.batched._sample[1]
    for _ in range(3):
        # Task 2 takes what is invalid, and then, though it is gone, a block that nobody else takes.
        env.step(dict.fromkeys(env.agents, 0) | {"task_2": SMALL_PASS if len(env.agents) == 3 else 1})
    batched = env.batched
    assert (batched.episodes, batched.updates) == (3, 1)
    assert batched.usage.counts.sum((1, 2)) == pytest.approx([3, 0, 3], rel=0.1)
    assert (batched.collaboration_counts[:, 1] == 0).all()
    changed = {key for key, value in weights(env).items() if not np.array_equal(value, before[key])}
    assert changed <= {f"layers.{depth}.blocks.0.{name}" for depth in range(3) for name in ("weight", "bias")}
    assert "layers.2.blocks.0.bias" in changed
    assert batched._graph.log == []  # after the update nothing was sent through the network again
    env.reset()
    assert env.batched._sample[1] != waiting


def test_a_waiting_row_of_the_batch_earns_nothing_and_does_not_end_again():
    rows = small().batched
    rows.reset(seed=0)
    _, reward, terminated, _, info = rows.step(np.array([0, SMALL_PASS, 0]))
    assert reward[1] == -1 and terminated.tolist() == info["final_info"]["_task"].tolist() == [False, True, False]
    rows.step(np.array([0, 0, 0]))
    _, reward, terminated, _, info = rows.step(np.array([0, 0, 0]))
    assert reward[1] == 0 and terminated.tolist() == info["final_info"]["_task"].tolist() == [True, False, True]
    assert rows.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED


def test_the_last_observation_is_the_answer_of_the_agents_own_input():
    env = small(train_batch=30)
    *_, (observations, _, _, _, infos) = play(env, at_random(), seed=0)
    for agent, info in infos.items():
        assert observations[agent]["depth"] == 2
        assert observations[agent]["value"][:2].argmax() == info["prediction"]


def test_a_round_cut_short_leaves_rows_with_their_tasks_and_batches_full():
    env = small(train_batch=6)
    env.reset(seed=0)
    for _ in range(40):
        env.step({"task_1": 0, "task_2": SMALL_PASS, "task_3": 0})
        observations, _ = env.reset()
        assert [obs["task"] for obs in observations.values()] == [0, 1, 2]
    for observations, *_ in play(env, at_random(), rounds=20):
        assert [obs["task"] for obs in observations.values()] == [0, 1, 2]
    assert env.batched.episodes == 40 + 60
    assert env.batched.updates >= 10


def test_masks_are_those_of_the_environment_as_spaces_take_them():
    env = small()
    _, infos = env.reset(seed=0)
    assert infos["task_1"]["action_mask"].tolist() == [1, 1, 1, 0]
    assert infos["task_1"]["action_mask"].dtype == np.int8
    *_, infos = env.step(dict.fromkeys(env.agents, 0))
    assert infos["task_1"]["action_mask"].tolist() == [1, 1, 1, 1]


def test_a_checkpoint_within_a_round_continues_exactly(tmp_path):
    env, twin = small(train_batch=6), small(train_batch=6)
    play(env, at_random(), rounds=5, seed=0)
    env.reset()
    env.step({"task_1": 0, "task_2": SMALL_PASS, "task_3": 2})
    twin.load_state_dict(checkpoint.load(checkpoint.save(env.state_dict(), tmp_path / "env.pt")))
    assert twin.agents == ["task_1", "task_3"]
    futures = []
    for one in (env, twin):
        first = [one.step({"task_1": 1, "task_3": 1}) for _ in range(2)]
        futures.append((first, play(one, at_random(), rounds=30), weights(one)))
    assert same(*futures)


def test_a_copy_within_a_round_continues_exactly():
    env = small(train_batch=6)
    play(env, at_random(), rounds=5, seed=0)
    env.reset()
    env.step({"task_1": 0, "task_2": SMALL_PASS, "task_3": 2})
    twin = copy.deepcopy(env)
    assert twin.agents == ["task_1", "task_3"]
    assert same(*(one.step({"task_1": 1, "task_3": 1}) for one in (env, twin)))
    assert same(*(play(one, at_random(), rounds=10) for one in (env, twin)))


def test_a_checkpoint_of_the_ordinary_environment_is_refused():
    with pytest.raises(CheckpointError, match="another environment"):
        parallel_env(DIGITS).load_state_dict(gym.make_vec(DIGITS, num_envs=10).unwrapped.state_dict())


def test_evaluate_takes_it_and_leaves_it_as_it_is():
    env = parallel_env(DIGITS)
    play(env, at_random(), seed=0)
    before = weights(env)
    result = mtl_gym.evaluate(lambda obs: obs["task"], env, "validation")
    assert result.episodes.tolist() == [359] * 10
    assert same(weights(env), before) and env.agents == []


def test_a_frozen_environment_trains_nothing():
    env = small(train=False)
    env.reset(seed=0)
    before = weights(env)
    play(env, at_random(), rounds=5)
    assert same(weights(env), before) and env.batched.updates == 0


def test_the_routing_map_is_rendered():
    env = small(render_mode="ansi")
    play(env, lambda agent, mask: 1, seed=0)
    assert "task 1       1 100%" in env.render()
    env.close()


def test_agents_are_told_what_is_wrong_with_their_actions():
    env = small()
    with pytest.raises(gym.error.ResetNeeded):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"missing: \['task_3'\], unknown: \['task_4'\]"):
        env.step({"task_1": 0, "task_2": 0, "task_4": 0})
    for action in (4, -1, 0.5, None):
        with pytest.raises(ValueError, match=rf"action {action} of task_2 lies outside Discrete\(4\)"):
            env.step({"task_1": 0, "task_2": action, "task_3": 0})
    play(env, at_random())
    with pytest.raises(gym.error.ResetNeeded, match="round is over"):
        env.step({})


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="CartPole-v1 is not a routing environment"):
        parallel_env("CartPole-v1")
    with pytest.raises(ValueError, match=r"num_envs=64 .*10 tasks"):
        parallel_env(DIGITS, num_envs=64)
    with pytest.raises(ValueError, match="tensors=True"):
        parallel_env(DIGITS, tensors=True)
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        parallel_env(DIGITS, deph=2)


def test_independent_bandits_learn_to_part():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2))
    x[:, 0] += np.sign(x[:, 0])
    label = (x[:, 0] > 0).astype(int)
    data = mtl_gym.MultiTaskDataset.from_tasks("opposites", {"right": (x, label), "left": (x, 1 - label)})
    env = TaskAgents(data=data, depth=1, blocks=2, hidden=8, rho=0, learning_rate=0.01)
    estimate = {agent: np.zeros(2) for agent in env.possible_agents}
    earned = []
    for number in range(800):
        env.reset(seed=0 if number == 0 else None)
        explore = rng.random(2) < 0.1
        actions = {
            a: int(rng.integers(2) if e else estimate[a].argmax()) for a, e in zip(env.agents, explore, strict=True)
        }
        _, rewards, *_ = env.step(actions)
        for agent, reward in rewards.items():
            estimate[agent][actions[agent]] += 0.1 * (reward - estimate[agent][actions[agent]])
        earned.append(sum(rewards.values()))
    assert np.mean(earned[-100:]) > 1.4 > 0.7 > np.mean(earned[:20])
    favourites = np.array([values.argmax() for values in estimate.values()])
    assert sorted(favourites) == [0, 1]
    assert mtl_gym.evaluate(lambda obs: favourites[obs["task"]], env).accuracy.min() > 0.95


def test_an_environment_of_another_family_is_refused():
    with pytest.raises(ValueError, match="MTLLimitless-Digits-v0 is not a routing environment"):
        parallel_env("MTLLimitless-Digits-v0")
