"""Skills in closed form: the dynamics, the hidden truth, the search, and the controls."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import BestStatic, Greedy, HandCrafted, Myopic, PrioritiseHard, Random, Uniform
from mtl_agents.oracle import Oracle
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym.families.scheduling.skills import SkillsVectorEnv
from mtl_gym.families.scheduling.skills_chain import Chain, Chains
from mtl_gym.families.scheduling.skills_search import best_mix, best_schedule, mixed, switch_times
from mtl_gym.testing import CHECKS

ID = "MTLScheduling-Skills-v0"
# Fast enough that a few decisions reach mastery.
RATES = (0.7, 0.8, 0.6)


def make(num_envs=2, **options):
    env = SkillsVectorEnv(num_envs, **options)
    env.reset(seed=0)
    return env


def figure(kind, env, **arguments):
    return mtl_gym.evaluate(kind(env, seed=0, **arguments), env, num_envs=2).figure


def best(chain, budget):
    return chain.values(np.array([best_schedule(chain, budget)]))[0]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(ID, {"budget": 8})


@pytest.mark.filterwarnings("error")
def test_stable_baselines3s_checker_is_content():
    sb3_check_env(gym.make(ID).unwrapped)


def test_a_skill_grows_with_the_eighth_power_of_its_prerequisite():
    chain = Chain(rates=(0.5, 0.25), order=(0, 1), forgetting=0.1)
    after = chain.practised(np.array([[0.5, 0.2]] * 3), np.array([0, 1, 2]))
    second = 0.2 + 0.25 * 0.5**8 * 0.8
    np.testing.assert_allclose(after, [[0.75, 0.18], [0.45, second], [0.45, 0.18]])


@pytest.mark.parametrize(("name", "most"), [("skills", 10), ("budget", 200)])
def test_what_the_search_cannot_solve_is_refused(name, most):
    with pytest.raises(ValueError, match=f"{name}={most + 1} is not possible; it takes .* from 2 to {most}"):
        make(**{name: most + 1})


def test_a_step_practises_a_task_in_its_place():
    env = make(3, noise_tasks=2, forgetting=0.1)
    first, second = env.chain.tasks[:2]
    env.step(np.full(3, first))
    obs, reward, _, _, info = env.step(np.array([first, second, env.chain.order[-1]]))
    rate, other = env.chain.rates[:2]
    levels = np.zeros((3, 7))
    levels[:, first] = [rate + rate * (1 - rate), 0.9 * rate, 0.9 * rate]
    levels[1, second] = other * rate**8
    np.testing.assert_allclose(info["validation_accuracy"], levels, rtol=1e-5)
    np.testing.assert_allclose(obs, np.column_stack([levels, np.full(3, 58 / 60)]), rtol=1e-5)
    np.testing.assert_allclose(reward, env.REWARD * (levels.sum(1) - rate) / 5, rtol=1e-4)
    assert info["trained"][0, first] == 2 and info["train_loss"][0, first] == pytest.approx(1 - rate)


def test_rewards_sum_to_the_result_which_leaves_noise_out():
    env, total = make(4), 0
    for actions in np.random.default_rng(0).integers(6, size=(60, 4)):
        _, reward, terminated, truncated, info = env.step(actions)
        total = total + reward
    assert terminated.all() and not truncated.any()
    final = info["final_info"]
    assert final["accuracy"].shape == (4, 5) and len(env.task_names) == 5
    np.testing.assert_allclose(total, env.REWARD * final["mean_accuracy"], rtol=1e-4)


def test_instances_differ_and_no_order_is_that_of_the_numbers():
    chains = [make(1, instance=instance).chain for instance in range(20)]
    assert len({chain.order for chain in chains}) > 15 and len({chain.rates for chain in chains}) == 20
    small = [make(1, instance=instance, skills=2, noise_tasks=1).chain for instance in range(20)]
    assert all((np.diff(chain.tasks) < 0).any() for chain in chains + small)
    assert make(1, instance=3).chain == chains[3]


def test_runs_take_several_instances_in_turn():
    env = make(2, instance=[3, 4, 5], budget=4)
    chains = [make(1, instance=instance).chain for instance in (3, 4, 5)]
    for first in (0, 2, 1):  # rows begin with 3, 4; then 5, 3; then 4, 5
        for step in range(4):
            taken = [chains[(first + row) % 3] for row in range(2)]
            expected = [chain.order[best_schedule(chain, 4)[step]] for chain in taken]
            assert env.best_actions().tolist() == expected
            before = env.progress.validation_accuracy
            *_, info = env.step(env.best_actions())
            for row, chain in enumerate(taken):
                levels = before[row : row + 1, chain.tasks].astype(float)
                after = chain.practised(levels, chain.places[expected[row : row + 1]])
                end = (
                    info["final_info"]["accuracy"][row] if step == 3 else info["validation_accuracy"][row, chain.tasks]
                )
                np.testing.assert_allclose(end, after[0], rtol=1e-5)
    assert env.task_names == tuple(f"skill {place}" for place in range(1, 6))


def test_the_oracle_is_the_best_in_every_instance():
    env = make(3, instance=[7, 8, 9])
    optima = [best(make(1, instance=instance).chain, 60) for instance in (7, 8, 9)]
    assert mtl_gym.evaluate(Oracle(env, seed=0), env, num_envs=3).figure == pytest.approx(
        100 * np.mean(optima), abs=1e-3
    )
    for _ in range(60):
        *_, info = env.step(env.best_actions())
    assert info["final_info"]["is_success"].all()


def test_every_chain_is_searched_once_and_stacked_once(monkeypatch):
    many = {"instance": list(range(200, 270)), "skills": 2, "budget": 2}
    make(1, **many).best_actions()
    before = best_schedule.cache_info().misses
    env = make(1, **many)
    env.best_actions()
    assert best_schedule.cache_info().misses == before
    monkeypatch.setattr(Chains, "of", None)
    for _ in range(2):
        env.step(np.zeros(1, np.int64))
    env.reset()


def test_one_instance_in_a_list_is_that_instance():
    one, listed = make(4, instance=2), make(4, instance=[2])
    for _ in range(60):
        found = [env.step(env.best_actions()) for env in (one, listed)]
        np.testing.assert_array_equal(found[0][0], found[1][0])
    assert one.task_names == listed.task_names


def test_instances_resume_where_they_were():
    env = make(2, instance=[0, 1, 2], budget=6)
    for _ in range(9):
        env.step(env.best_actions())
    twin = SkillsVectorEnv(2, instance=[0, 1, 2], budget=6)
    twin.load_state_dict(env.state_dict())
    for _ in range(9):
        actions = env.best_actions()
        assert twin.best_actions().tolist() == actions.tolist()
        np.testing.assert_array_equal(env.step(actions)[0], twin.step(actions)[0])


def test_what_needs_one_truth_refuses_several_and_no_instance_is_refused():
    env = make(instance=[0, 1])
    for kind, name in ((Myopic, "next_gains"), (BestStatic, "best_mix")):
        with pytest.raises(ValueError, match=rf"{name}\(\) needs one hidden truth, but instance=\[0, 1\]"):
            figure(kind, env)
    with pytest.raises(ValueError, match=r"instance=\[\] is not possible"):
        make(instance=[])
    with pytest.raises(ValueError, match=r"instance=\[-1\] is not possible"):
        make(instance=[-1])


def test_the_progress_is_observed_with_the_share_of_every_task():
    env = make(2, observation="progress", budget=10)
    assert env.single_observation_space.shape == (13,)
    first = env.chain.order[0]
    obs, *_ = env.step(np.array([first, 5]))
    np.testing.assert_array_equal(obs[:, :6], make(2).step(np.array([first, 5]))[0][:, :6])
    np.testing.assert_allclose(obs[:, 6:12], [0.1 * np.eye(6)[first], 0.1 * np.eye(6)[5]], rtol=1e-6)
    assert obs[:, 12].tolist() == pytest.approx([0.9, 0.9])
    with pytest.raises(ValueError, match="observation='histogram' is not possible; it takes one of"):
        make(observation="histogram")


def test_the_seed_leaves_the_truth_alone():
    env = make()
    before = env.chain
    env.reset(seed=7)
    assert env.chain == before


@pytest.mark.parametrize("forgetting", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("rates", [RATES, (0.9, 0.5, 0.95)])
def test_the_search_agrees_with_brute_force(rates, forgetting):
    chain, budget = Chain(rates, order=(0, 1, 2), forgetting=forgetting), 8
    every = chain.values(np.array(list(itertools.product(range(3), repeat=budget))))
    wide = chain.values(np.array([best_schedule(chain, budget, width=3**budget)]))[0]
    assert every.max() == pytest.approx(wide, abs=1e-12)
    assert np.sort(every)[-20] < wide  # the search could have missed it


@pytest.mark.parametrize("rates", [RATES, (0.3, 0.25, 0.28), (0.25, 0.3, 0.3, 0.25)])
def test_switch_times_are_the_best_of_all_splits(rates):
    chain, budget = Chain(rates, order=tuple(range(len(rates))), forgetting=0.0), 20
    splits = [split for split in itertools.product(range(budget + 1), repeat=len(rates)) if sum(split) == budget]
    values = chain.values(np.array([np.repeat(np.arange(len(rates)), split) for split in splits]))
    assert switch_times(chain, budget).tolist() == list(splits[values.argmax()])


def test_a_beam_finds_more_than_switch_times_where_skills_are_forgotten():
    chain = Chain(RATES, order=(0, 1, 2), forgetting=0.05)
    blocks = np.repeat(np.arange(3), switch_times(chain, 20))
    assert best(chain, 20) > chain.values(blocks[None])[0] + 0.01


def test_the_best_mix_is_at_least_every_mix_of_a_grid():
    chain = make(1).chain
    shares = [split for split in itertools.product(range(7), repeat=5) if sum(split) == 6]
    grid = chain.values(mixed(np.array(shares) / 6, 60)).max()
    assert chain.values(mixed(np.array([best_mix(chain, 60)]), 60))[0] >= grid


@pytest.mark.parametrize("options", [{}, {"budget": 30}, {"budget": 120}, {"instance": 1}])
def test_the_oracle_is_ten_points_above_every_control(options):
    env = make(**options)
    controls = {kind: figure(kind, env) for kind in (Myopic, BestStatic, Uniform, Random)}
    assert figure(Oracle, env) == pytest.approx(100 * best(env.chain, env.run_length), abs=1e-3)
    assert figure(Oracle, env) > max(controls.values()) + 10
    assert min(controls[Myopic], controls[BestStatic]) > controls[Uniform] > 0


def test_a_run_of_the_oracle_is_a_success():
    env = make()
    for _ in range(60):
        *_, info = env.step(env.best_actions())
    assert info["final_info"]["is_success"].all()


def test_myopic_knows_the_next_gain():
    env = make(6, forgetting=0.02)
    env.network[0].data[:] = env.network[0].data.new_tensor(np.random.default_rng(0).random(5))
    env._progress = env._after(env._progress)
    before = env._progress.validation_accuracy
    *_, info = env.step(np.arange(6))
    gained = (info["validation_accuracy"] - before).sum(1) / 5
    nothing = gained[env.chain.order[-1]]
    np.testing.assert_allclose(np.diag(env.next_gains(before)), gained - nothing, atol=1e-6)


def test_a_learner_without_knowledge_of_noise_is_caught_by_it():
    assert figure(Greedy, make()) == 0


def test_dials_are_monotone():
    def optimum(**options):
        env = make(1, **options)
        return best(env.chain, env.run_length)

    for dial, worse_first in {"forgetting": (0.05, 0.02, 0.005, 0.0), "budget": (20, 30, 45, 60)}.items():
        values = [optimum(**{dial: value}) for value in worse_first]
        assert values == sorted(values) and len(set(values)) == len(values)
    longer = [best(Chain(RATES[:1] * skills, tuple(range(skills)), 0.0), 20) for skills in (6, 5, 4, 3)]
    assert longer == sorted(longer)
    random = [figure(Random, make(noise_tasks=noise)) for noise in (12, 4, 0)]
    assert random == sorted(random)


def test_frozen_levels_stay_at_zero():
    env = make(train=False)
    assert not env.step(env.best_actions())[4]["validation_accuracy"].any()


def test_rules_that_need_a_reference_or_weights_say_so():
    env = make()
    with pytest.raises(ValueError, match="give task="):
        figure(PrioritiseHard, env)
    with pytest.raises(ValueError, match="no option 'control'"):
        mtl_gym.make_vec_env(ID, 2, 0, control="weights")
    with pytest.raises(ValueError, match="next_gains"):
        Myopic("MTLScheduling-Digits-v1")
    with pytest.raises(ValueError, match="best_mix"):
        BestStatic("MTLScheduling-Digits-v1")
    assert figure(HandCrafted, env, weights=[1, 1, 0, 1, 1, 1]) > 0


@pytest.mark.parametrize("name, value", [("network", 3), ("skills", 1), ("forgetting", 1.5), ("budget", 1)])
def test_impossible_options_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} is not possible"):
        make(**{name: value})


def test_pictures_show_every_task():
    env = make(render_mode="ansi")
    env.step(np.array([3, 3]))
    assert "task 3          1  26.8%" in env.render()
    result = mtl_gym.evaluate(Uniform(env, seed=0), env, num_envs=2)
    axes = env.pictures(result.figures, "title")["timeline.png"].axes
    assert axes[1].get_ylabel() == "level"
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(env.all_names)
    mean = axes[1].lines[-1].get_ydata()
    assert mean[-1] == pytest.approx(result.mean_accuracy, abs=1e-6)
