"""Spacing of the validation curve, and counts of episodes and samples."""

import pytest

from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab.agents import find_agent
from mtl_gym.lab.callbacks import HeldOutCurve

RUNS = {
    "MTLScheduling-Digits-v0": {"updates": 20, "minibatch": 1024, "reference": None, "validation_samples": 4},
    "MTLAlignment-Linear-v0": {"iterations": 4, "generations": 2, "final_generations": 0},
}
SAMPLES = {
    "MTLRouting-Digits-v0": {"hidden": 4},
    "MTLLimitless-Digits-v0": {"filters": 2, "hidden": 4},
    "MTLRecurrent-BrainSeries-v0": {"hidden": 2},
}


@pytest.mark.parametrize(("family", "options"), RUNS.items())
def test_without_a_spacing_the_curve_is_evaluated_after_every_pass(family, options):
    env = make_vec_env(family, 2, seed=0, **options)
    curve, passes = HeldOutCurve(env.batched, every=None), []
    agent = find_agent("random")(env, seed=0)
    agent.learn(80, callback=[curve, lambda *_: passes.append(int(env.batched.epoch)) or True])
    assert passes[-1] >= 1
    assert len(curve.rows) == len(set(passes) - {0})
    assert [int(row["epoch"]) for row in curve.rows] == sorted(set(passes) - {0})


@pytest.mark.parametrize(("family", "options"), RUNS.items())
def test_families_of_training_runs_count_runs_as_episodes(family, options):
    env = make_vec_env(family, 3, seed=0, **options).batched
    assert (env.episodes, env.samples) == (0, 0)
    env.reset(seed=0)
    for _ in range(2 * options.get("updates", options.get("generations"))):
        env.step(env.action_space.sample())
    assert env.episodes == 2 * 3
    of_alignment = 3 * 4 * 4 * env.training.samples_per_update if "Alignment" in family else None
    assert env.samples == (of_alignment or 2 * 20 * 3 * 1024)
    state = env.state_dict()
    twin = make_vec_env(family, 3, seed=1, **options).batched
    twin.load_state_dict(state)
    assert (twin.episodes, twin.samples, twin.epoch) == (env.episodes, env.samples, env.epoch)


@pytest.mark.parametrize(("family", "options"), SAMPLES.items())
def test_classifying_families_count_one_sample_per_episode(family, options):
    env = make_vec_env(family, 4, seed=0, **options).batched
    env.reset(seed=0)
    ended = 0
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ended += int((terminated | truncated).sum())
    assert env.samples == env.episodes == ended > 0
