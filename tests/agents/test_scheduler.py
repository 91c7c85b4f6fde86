"""Properties of all schedulers: actions from weights, memory per run, SB3's interface, files."""

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import (
    DTP,
    ODM,
    WPL,
    Adaptive,
    Exponential,
    FocalLoss,
    GradNorm,
    Greedy,
    HandCrafted,
    Homoscedastic,
    LossExponentiation,
    PrioritiseEasy,
    PrioritiseHard,
    SelfPaced,
    Sigmoid,
    Uniform,
)
from mtl_agents.scheduling.rule import joined
from stable_baselines3.common.callbacks import CheckpointCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.evaluation import evaluate
from tests.agents.schedules import DIGITS, SMALL, blank, decide, progress, rows

REMEMBERING = [Homoscedastic, SelfPaced, DTP, GradNorm]
TARGETED = [PrioritiseEasy, PrioritiseHard, Sigmoid, Exponential]
RULES = [Uniform, HandCrafted, Greedy, LossExponentiation, FocalLoss, Adaptive, ODM, *TARGETED, *REMEMBERING]
NOT_DRAWN = [Uniform, Greedy, LossExponentiation, FocalLoss, *REMEMBERING]


@pytest.fixture(params=RULES, ids=lambda rule: rule.__name__)
def rule(request):
    return request.param


def made(rule, env, **arguments):
    return rule(env, **({"weights": [1] * 5 + [3] * 5} if rule is HandCrafted else {}) | arguments)


def fitting(rule, num_envs=4, **options):
    return rows(num_envs, **rule.ENV_KWARGS | {"reference": 0.5} | options)


def weights_of(env):
    return [p.detach().clone() for p in env.batched.network.parameters()]


def same(left, right):
    return all((mine == theirs).all() for mine, theirs in zip(left, right, strict=True))


def walk(tasks=3, runs=2, steps=4, seed=0):
    """Make the progress of runs over some steps, from the first."""
    rng = np.random.default_rng(seed)
    names = ("train_loss", "validation_loss", "validation_accuracy", "gradient_norm", "trained")
    for step in range(steps):
        figures = {name: rng.uniform(0.1, 0.9, (runs, tasks)) for name in names}
        unseen = {name: np.full((runs, tasks), np.nan) for name in ("train_loss", "gradient_norm")} if not step else {}
        yield progress(updates=step, **figures | unseen, reference=np.full(tasks, 0.8))


def part(whole, row):
    one = {name: value[row : row + 1] for name, value in vars(whole).items() if name != "reference"}
    return type(whole)(**one, reference=whole.reference)


def test_it_learns_on_every_kind_of_environment(rule):
    options = SMALL | rule.ENV_KWARGS | {"reference": 0.5}
    single, batched = gym.make(DIGITS, **options), gym.make_vec(DIGITS, num_envs=2, **options)
    two = DummyVecEnv([lambda: gym.make(DIGITS, **options)] * 2)
    for env in (single, batched, two, fitting(rule, 2)):
        agent = made(rule, env, seed=0).learn(48)
        assert agent.num_timesteps == 48


def test_a_seed_determines_training(rule):
    first, second = (made(rule, fitting(rule), seed=3).learn(60).env for _ in range(2))
    assert same(weights_of(first), weights_of(second))


def test_a_saved_scheduler_continues_identically(rule, tmp_path):
    env, other = fitting(rule), fitting(rule)
    agent = made(rule, env, seed=0).learn(36)
    agent.save(tmp_path / "agent.pt")
    other.batched.load_state_dict(env.batched.state_dict())
    loaded = rule.load(tmp_path / "agent.pt", other)
    assert repr(loaded) == repr(agent)
    for one in (agent, loaded):
        one.learn(28, reset_num_timesteps=False)
    assert same(weights_of(env), weights_of(other))


def test_a_loaded_scheduler_predicts_without_an_environment_and_acts_in_one_of_another_width(rule, tmp_path):
    agent = made(rule, fitting(rule), seed=0).learn(36)
    agent.save(tmp_path / "agent.pt")
    loaded = rule.load(tmp_path / "agent.pt")
    now = agent.env.batched.progress
    actions, _ = loaded.predict(agent._last_obs, progress=now)
    assert actions.shape == agent.env.batched.action_space.shape
    with pytest.raises(ValueError, match="give it one with set_env"):
        loaded.learn(10)
    assert rule.load(tmp_path / "agent.pt", fitting(rule, 3)).learn(9).num_timesteps == 9


def test_it_is_evaluated_on_separate_runs(rule):
    env = fitting(rule, updates=10)
    agent = made(rule, env, seed=0).learn(12)
    before, memory = weights_of(env), agent._memory
    result = evaluate(agent, env, "validation")
    assert result.accuracy.shape == (10,) and np.isfinite(result.loss).all()
    assert result.figures["timeline"].trained.sum((1, 2)) == pytest.approx(
        result.figures["timeline"].trained[0].sum(), rel=1
    )
    assert same(before, weights_of(env)) and agent._memory is memory


@pytest.mark.parametrize("rule", NOT_DRAWN)
def test_evaluation_and_learning_follow_the_same_rule(rule):
    """With one seed, a training run and a run of the evaluation view have the same actions."""
    env = fitting(rule, 2, updates=10)
    agent = made(rule, env, seed=0)
    evaluate(agent, env)
    seed = int(np.random.SeedSequence([env.batched.seed, 1]).generate_state(1)[0])
    again = fitting(rule, 2, updates=10)
    made(rule, again, seed=seed).learn(20)
    mine = evaluate(agent, env).figures["timeline"].trained
    np.testing.assert_allclose(mine, again.batched._ended.trained, rtol=1e-6)


@pytest.mark.parametrize("rule", [*NOT_DRAWN, Adaptive])
def test_runs_side_by_side_equal_single_runs(rule):
    agent = rule(blank(3))
    together, alone = None, [None, None]
    for now in walk():
        actions, together = decide(agent, now, together)
        for row in range(2):
            own, alone[row] = decide(agent, part(now, row), alone[row])
            np.testing.assert_array_equal(actions[row], own[0])


@pytest.mark.parametrize("rule", REMEMBERING)
def test_memory_is_reset_when_a_run_begins(rule):
    """The weights of a run do not depend on the run before it."""
    agent = rule(blank(3))
    state = None
    for now in walk(steps=5, seed=1):
        used, state = decide(agent, now, state)
    fresh = None
    for now in walk(steps=5):
        second, state = decide(agent, now, state)
        first, fresh = decide(agent, now, fresh)
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(used, first)


def test_progress_of_single_environments_is_joined_and_that_of_a_batch_is_used_once():
    first, second = (part(next(walk()), row) for row in range(2))
    both = joined([first, second])
    np.testing.assert_array_equal(both.train_loss, next(walk()).train_loss)
    np.testing.assert_array_equal(both.trained, next(walk()).trained)
    assert both.updates.tolist() == [0, 0]
    assert joined([both, both, both]) is both


def test_a_task_is_drawn_in_proportion_to_its_weight():
    agent = HandCrafted(blank(3, chooses=True), weights=[1, 0, 3], seed=0)
    now = progress(trained=np.zeros((20_000, 3)))
    counts = np.bincount(decide(agent, now)[0], minlength=3) / 20_000
    assert counts[1] == 0 and counts[2] == pytest.approx(0.75, abs=0.01)


def test_the_largest_weight_is_scaled_to_one():
    agent = HandCrafted(blank(3), weights=[1, 0, 4])
    actions, _ = decide(agent, progress(trained=[0, 0, 0]))
    assert actions.tolist() == [[0.25, 0.0, 1.0]] and actions.dtype == np.float32


def test_weights_of_zero_only_count_as_equal():
    agent = DTP(blank(2))
    assert decide(agent, progress(validation_accuracy=[1.0, 1.0]))[0].tolist() == [[1.0, 1.0]]


def test_one_observation_has_one_action():
    now = progress(trained=[0, 1])
    assert Uniform(blank(2)).predict(np.zeros(2, np.float32), progress=now)[0].tolist() == [1, 1]
    assert Uniform(blank(2, chooses=True)).predict(np.zeros(2, np.float32), progress=now)[0] == 0


def test_missing_progress_is_rejected_with_the_number_of_runs():
    agent = Greedy(blank(2, runs=3, chooses=True))
    with pytest.raises(ValueError, match=r"Greedy needs.* 3 runs.*none"):
        agent.predict(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"3 runs.*that of 1"):
        agent.predict(np.zeros((3, 2), np.float32), progress=progress(validation_loss=[1, 2]))


def test_other_environments_are_rejected():
    with pytest.raises(ValueError, match="Uniform needs a MTLScheduling"):
        Uniform(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="Uniform needs a MTLScheduling"):
        Uniform("MTLRouting-Digits-v0")
    with pytest.raises(ValueError, match="needs a Dict observation"):
        WPL(DIGITS)


def test_a_missing_environment_option_is_rejected_by_name():
    with pytest.raises(ValueError, match=r"GradNorm needs.*gradient_norms"):
        GradNorm(rows(control="weights"))
    with pytest.raises(ValueError, match=r"FocalLoss needs.*focal_gamma"):
        FocalLoss(rows(control="weights"))
    with pytest.raises(ValueError, match=r"Adaptive needs.*reference"):
        Adaptive(rows(reference=None))


def test_dtp_runs_without_a_focal_loss():
    assert DTP(rows(control="weights", focal_gamma=0.0)).learn(2).num_timesteps >= 2


def test_a_scheduler_for_other_tasks_is_rejected(tmp_path):
    Uniform(blank(3)).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=r"\[3\] tasks.*\[10\]"):
        Uniform.load(tmp_path / "agent.pt", rows())


def test_sb3s_callbacks_work(tmp_path):
    Uniform(rows(), seed=0).learn(40, callback=CheckpointCallback(5, str(tmp_path)))
    assert any(tmp_path.iterdir())


def test_functions_can_be_evaluated():
    env = rows(2, updates=10)
    assert mtl_gym.evaluate(lambda obs: np.zeros(len(obs), int), env).figures["timeline"].trained.sum() == 20
