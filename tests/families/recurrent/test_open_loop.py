"""Policies that do not look: sequences in one call, and steps whose observations nobody needs, equal ordinary ones."""

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from mtl_agents.random import Random, RandomFixed
from mtl_agents.recurrent import AllConnected
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.recurrent.bases import SharedLSTM
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.switching import SwitchingVectorEnv
from mtl_gym.integrations.sb3 import BatchedVecEnv
from tests.families.recurrent.series import STEPS, make

WORDS = ("<pad>", "<unk>", "a", "b", "c")


def texts(rows=24):
    """Return texts of 1 to 5 words with one label each."""
    rng = np.random.default_rng(0)
    words = rng.integers(2, 5, (rows, STEPS)) * (np.arange(STEPS) < rng.integers(1, STEPS + 1, rows)[:, None])
    part = Split(*map(torch.from_numpy, (words, np.arange(rows) % 2, np.arange(rows) // 2 % 2)))
    splits = dict.fromkeys(("train", "validation", "test"), part)
    return MultiTaskDataset("texts", splits, ("one", "other"), (("no", "yes"),) * 2, vocabulary=WORDS)


TEXTS = texts()

CASES = {
    "mean": lambda: make(6),
    "last": lambda: make(6, readout="last"),
    "carries a memory": lambda: make(6, sharing="rrn"),
    "no connections": lambda: make(6, sharing="ic-mtl"),
    "another loss": lambda: make(6, base="sp-mtl"),
    "an update every other sequence": lambda: make(6, train_batch=12),
    "sparsity": lambda: make(6, penalties=(1, 2), free=(0.3, 0.2)),
    "no training": lambda: make(6, train=False),
    "an answer at every step": lambda: SwitchingVectorEnv(64),
}


def plans(env, rng):
    return rng.integers(2, size=(env.num_envs, env.steps, env.connections))


def stepped(env, plan):
    """Return rewards of all steps and the last transition."""
    transitions = [env.advance(actions)[1] for actions in plan.swapaxes(0, 1)]
    return np.stack([transition.reward for transition in transitions]), transitions[-1]


def assert_same_state(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_state(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif not callable(first):
        assert first == second


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_in_one_call_equals_its_steps_to_the_bit(case):
    env, twin, rng = CASES[case](), CASES[case](), np.random.default_rng(0)
    env.reset(seed=0)
    twin.reset(seed=0)
    for number in range(4):
        plan = plans(env, rng)
        (reward, last), (expected, ordinary) = env.play(plan), stepped(twin, plan)
        np.testing.assert_array_equal(reward, expected)
        for name, figure in ordinary.final_info.items():
            np.testing.assert_array_equal(last.final_info[name], figure, name)
        if number % 2:
            for name, part in twin.current()[0].items():
                np.testing.assert_array_equal(env.current()[0][name], part, name)
    assert env.updates == twin.updates
    assert_same_state(env.state_dict(), twin.state_dict())


UNEVEN = {"several lengths": lambda: make(6, data=TEXTS)}


@pytest.mark.parametrize("case", [*CASES, *UNEVEN])
def test_a_state_of_unseen_steps_is_that_of_seen_ones(case):
    env, twin, rng = *((CASES | UNEVEN)[case]() for _ in range(2)), np.random.default_rng(0)
    env.reset(seed=0)
    twin.reset(seed=0)
    with env.unseen():
        for step in range(4 * env.steps + 2):
            actions = plans(env, rng)[:, 0]
            obs, _, _ = env.advance(actions)
            seen, _, _ = twin.advance(actions)
            assert not obs["units"].any() and obs["units"].shape == seen["units"].shape
            assert (obs["step"] == seen["step"]).all() and (obs["task"] == seen["task"]).all()
            if step == env.steps + 1:
                assert_same_state(env.state_dict(), twin.state_dict())
    np.testing.assert_array_equal(env.current()[0]["units"], seen["units"])
    assert_same_state(env.state_dict(), twin.state_dict())


def test_plans_that_do_not_fit_are_refused():
    env = make(4)
    with pytest.raises(ResetNeeded):
        env.play(np.zeros((4, STEPS, env.connections), int))
    env.reset(seed=0)
    for wrong in (np.zeros((4, STEPS - 1, env.connections)), np.full((4, STEPS, env.connections), 2)):
        with pytest.raises(ValueError, match=r"do not fit|lies outside"):
            env.play(wrong)
    env.step(np.zeros((4, env.connections), int))
    with pytest.raises(ValueError, match="sequences of 4 rows under way"):
        env.play(np.zeros((4, STEPS, env.connections), int))


def test_sequences_of_several_lengths_play_step_by_step():
    env = make(6, data=TEXTS)
    env.reset(seed=0)
    assert not env.in_step
    with pytest.raises(ValueError, match="sequences of one length"):
        env.play(np.zeros((env.num_envs, env.steps, env.connections), int))
    agent = AllConnected(BatchedVecEnv(env)).learn(40)
    assert mtl_gym.evaluate(agent, env).episodes.sum() == len(env.data.split("test"))


@pytest.mark.parametrize("make_env", [lambda: make(6), lambda: SwitchingVectorEnv(64)], ids=["series", "switching"])
@pytest.mark.parametrize("kind", [AllConnected, RandomFixed, Random])
def test_agents_that_do_not_look_train_and_are_evaluated_as_if_they_did(kind, make_env):
    env, twin = make_env(), make_env()
    agent, ordinary = (kind(BatchedVecEnv(one), seed=0) for one in (env, twin))
    agent.learn(3 * env.num_envs * env.steps + env.num_envs)
    obs, _ = twin.reset(seed=0)
    for _ in range(3 * env.steps + 1):
        obs, *_ = twin.step(ordinary.predict(obs)[0])
    np.testing.assert_array_equal(agent._last_obs["units"], obs["units"])
    found = mtl_gym.evaluate(agent, env, num_envs=7)
    looking = mtl_gym.evaluate(lambda obs: ordinary.predict(obs)[0], twin, num_envs=7)
    np.testing.assert_array_equal(found.accuracy, looking.accuracy)
    np.testing.assert_allclose(found.loss, looking.loss, rtol=1e-6)
    assert_same_state(env.state_dict(), twin.state_dict())


def test_callbacks_of_agents_that_do_not_look_see_states_to_resume_from():
    class Halt(BaseCallback):
        def _on_step(self):
            self.state = self.model.env.state_dict(), self.model.state_dict()
            return self.n_calls < STEPS + 2

    agent, whole = (AllConnected(BatchedVecEnv(make(6)), seed=0) for _ in range(2))
    agent.learn(6 * 4 * STEPS, callback=(halt := Halt()))
    twin = AllConnected(BatchedVecEnv(make(6)))
    twin.env.load_state_dict(halt.state[0])
    twin.load_state_dict(halt.state[1])
    twin.learn(6 * (3 * STEPS - 2), reset_num_timesteps=False)
    whole.learn(6 * 4 * STEPS)
    assert_same_state(twin.env.batched.state_dict(), whole.env.batched.state_dict())


def test_an_update_has_a_forward_pass_of_its_own_where_training_differs():
    def network(context):
        base = SharedLSTM(3, 4, context.data.num_tasks)
        return MultiTaskNetwork(nn.Dropout(0.5), base, None, context.data.num_tasks, context.data.max_classes)

    env, plain = make(6, network=network), make(6)
    env.reset(seed=0)
    plain.reset(seed=0)
    assert plain._training.answers(None) and not env._training.answers(None)
    _, last = env.play(np.zeros((6, STEPS, 1), int))
    assert env.updates == 1 and np.isfinite(last.result.loss).all()


class Searcher:
    """A policy that looks, and has a `plan` of its own."""

    def __init__(self, plan, width):
        self.plan, self.width, self.looks = plan, width, 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.looks += 1
        return np.zeros((len(observation["task"]), self.width), int), None


@pytest.mark.parametrize(
    "plan", [{"depth": 3}, lambda observation: observation, lambda task, steps, observation: task, max]
)
def test_policies_with_another_plan_look_at_every_step(plan):
    env = make(6)
    env.reset(seed=0)
    policy = Searcher(plan, env.connections)
    mtl_gym.evaluate(policy, env)
    assert policy.looks >= STEPS
