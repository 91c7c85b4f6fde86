import gymnasium as gym
import numpy as np
import pytest

import mtl_gym
from mtl_gym.core.instances import secret
from mtl_gym.families.routing.context import CONTEXT, NAME, ROWS, ContextVectorEnv, Truth, contextual, nearest
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.registration import card
from mtl_gym.testing import check_family

ID = "MTLRouting-Context-v0"


def rows_of(split="test", contexts=4, noise=0.0, permuted=False, instance=0):
    """Return context [n, 8], content [n, 4], task [n], label as +1 and -1 [n], and the best rule [n]."""
    problem = contextual(contexts, noise, permuted, instance)
    rows = problem.data.split(split)
    x = rows.x.numpy()
    return x[:, :CONTEXT], x[:, CONTEXT:], rows.task.numpy(), rows.y.numpy() * 2 - 1, problem.best[split]


def directions(contexts):
    """Return the mean of label times content under each rule, which points along the normal of its plane."""
    _, content, _, label, rule = rows_of("train", contexts)
    means = np.stack([(label * content.T).T[rule == one].mean(0) for one in range(contexts)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def trained(agent, steps=9_600, **kwargs):
    env = make_vec_env(ID, 64, 0, **kwargs)
    learner = find_agent(agent)(env, seed=0)
    learner.learn(steps)
    return mtl_gym.evaluate(learner, env).figure


def test_the_label_is_the_side_of_the_rules_plane():
    _, content, _, label, rule = rows_of()
    found = np.sign((content * directions(4)[rule]).sum(1))
    assert (found == label).mean() > 0.97


@pytest.mark.parametrize("contexts", [2, 4, 6, 8])
def test_rules_come_in_opposite_pairs_and_are_otherwise_unrelated(contexts):
    expected = np.kron(np.eye(contexts // 2), [[1, -1], [-1, 1]])
    found = directions(contexts)
    np.testing.assert_allclose(found @ found.T, expected, atol=0.15)


def test_contexts_are_orthogonal_and_their_numbers_have_mean_square_one():
    told, *_, rule = rows_of()
    prototypes = np.stack([told[rule == one][0] for one in range(4)])
    np.testing.assert_allclose(prototypes @ prototypes.T, CONTEXT * np.eye(4), atol=1e-4)


def test_the_nearest_prototype_is_the_one_at_the_least_distance():
    random = np.random.default_rng(0)
    points = random.normal(size=(50, 3))
    prototypes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert (
        nearest(points, prototypes).tolist() == np.linalg.norm(points[:, None] - prototypes, axis=2).argmin(1).tolist()
    )


def test_every_task_has_every_context_equally_often():
    _, _, task, _, rule = rows_of()
    assert np.bincount(task * 4 + rule).tolist() == [ROWS["test"] // 4] * 16


@pytest.mark.parametrize("permuted", [False, True])
def test_a_context_has_one_rule_in_all_tasks_or_another_one_in_each(permuted):
    told, _, task, _, rule = rows_of(permuted=permuted)
    context = nearest(told, np.stack([told[(task == 0) & (rule == one)][0] for one in range(4)]))
    rules = np.stack([[rule[(task == number) & (context == one)][0] for one in range(4)] for number in range(4)])
    different = [len(set(column)) for column in rules.T.tolist()]
    assert different == ([4] * 4 if permuted else [1] * 4)


def test_the_oracle_sees_nothing_but_the_noisy_context():
    told, *_ = rows_of()
    prototypes = np.stack([told[rows_of()[-1] == one][0] for one in range(4)])
    env = gym.make_vec(ID, num_envs=32)
    for batch in (env.unwrapped, env.unwrapped.evaluation_view("test", 32)):
        obs, _ = batch.reset()
        seen = obs["value"][:, :CONTEXT]
        assert batch.best_actions().tolist() == nearest(seen, prototypes).tolist()


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_exact_blocks_on_the_routes_of_the_oracle_reach_the_bayes_rate(noise):
    told, content, _, label, rule = rows_of(noise=noise)
    truth = Truth.draw(4, False, secret(NAME, 0))
    answers = np.sign(content @ truth.planes.T)
    distance = ((told[:, None] - truth.prototypes) ** 2).sum(2)
    likelihood = np.exp(-distance / (2 * noise**2))
    bayes = (np.sign((likelihood * answers).sum(1)) == label).mean()
    routed = (answers[np.arange(len(rule)), rule] == label).mean()
    assert bayes - 0.01 < routed < 0.99


def test_more_noise_hides_the_rule_more_often():
    right = [(rows_of(noise=noise)[-1] == rows_of()[-1]).mean() for noise in (0.0, 1.0, 1.5, 2.0)]
    assert right[0] == 1 and (np.diff(right) < 0).all() and right[-1] > 0.3


def test_instances_differ_and_seeds_of_the_environment_do_not_change_the_truth():
    one, other = ContextVectorEnv(2), ContextVectorEnv(2, instance=1)
    one.reset(seed=5)
    assert one.data is contextual(4, 1.0, False, 0).data
    assert not np.isclose(one.data.split("test").x[:100], other.data.split("test").x[:100]).any()


def test_no_generator_with_a_small_seed_draws_the_truth():
    told = rows_of()[0]
    for seed in range(100):
        drawn = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))[0] * np.sqrt(8)
        assert not np.isclose(np.abs(told[0]), np.abs(drawn)).all(1).any()


def test_splits_have_no_row_in_common():
    rows = [rows_of(split, noise=1.0)[0] for split in ROWS]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 4 * sum(ROWS.values())


def test_the_oracle_is_far_above_every_control_which_answer_at_chance():
    figures = {name: trained(name) for name in card(ID).controls}
    assert all(45 < figure < 55 for figure in figures.values()), figures
    assert trained("oracle") > 85


def test_a_policy_by_context_is_at_chance_where_rules_are_permuted_and_the_oracle_is_not():
    env = make_vec_env(ID, 64, 0, permuted=True)
    told, _, task, _, rule = rows_of(permuted=True)
    prototypes = np.stack([told[(task == 0) & (rule == one)][0] for one in range(4)])

    def by_context(obs):
        return nearest(obs["value"][:, :CONTEXT], prototypes)

    obs = env.reset()
    for _ in range(150):
        obs, *_ = env.step(by_context(obs))
    assert 45 < mtl_gym.evaluate(by_context, env).figure < 55
    assert trained("oracle", permuted=True) > 85


REFUSED = {
    "data": ("digits", "network and data are generated"),
    "network": (lambda context: None, "network and data are generated"),
    "depth": (2, "deeper networks need no routes"),
    "dispatch": (2, "each task chooses blocks"),
    "mixture": (True, "each task chooses blocks"),
    "contexts": (3, "opposite pairs"),
    "blocks": (3, "at least contexts=4"),
    "noise": (-1.0, "from 0 to 100"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_breaks_the_construction_is_refused(name):
    value, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"{name}=.*({message})"):
        ContextVectorEnv(2, **{name: value})


def test_more_blocks_than_rules_are_possible():
    env = ContextVectorEnv(4, blocks=6)
    env.reset(seed=0)
    assert env.single_action_space.n == 7 and env.best_actions().max() < 4


def test_a_block_per_task_is_a_block_per_rule():
    assert ContextVectorEnv(2, blocks="per-task", contexts=6).single_action_space.n == 7


def test_it_keeps_the_contract():
    check_family(ID)
