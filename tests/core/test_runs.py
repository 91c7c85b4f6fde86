import numpy as np
import pytest
import torch
from torch import nn

import mtl_gym
from mtl_gym.core.errors import MaskedChoice
from mtl_gym.families.routing import RoutedLayer, RoutedNetwork

# Id and options of environments whose runs stack.
STACKED = [
    ("MTLRouting-Groups-v0", {}),
    ("MTLRouting-Groups-v0", {"mixture": True}),
    ("MTLRouting-Groups-v0", {"reward_split": "validation", "rho": 0.3}),
    ("MTLRouting-GroupedDigits-v0", {"blocks": "per-task", "depth": 2}),
    ("MTLRouting-Paths-v0", {}),
    ("MTLRouting-Context-v0", {}),
    ("MTLRouting-Digits-v0", {"dispatch": 3}),
    ("MTLRouting-Digits-v0", {"layering": False, "rho": 0.5}),
]
RUNS, ROWS, SEED = 3, 16, 7


def batched(env_id, runs, **options):
    return mtl_gym.make_vec_env(env_id, num_envs=ROWS, runs=runs, **options).batched


def played(env, randoms, steps):
    """Random valid choices, those of each run from a generator of its own; what every step gave."""
    told = []
    for _ in range(steps):
        masks = np.split(env.action_masks(), len(randoms))
        action = np.concatenate([(r.random(m.shape) * m).argmax(1) for r, m in zip(randoms, masks, strict=True)])
        obs, *figures, _ = env.step(action)
        told.append((*(obs.values() if isinstance(obs, dict) else [obs]), *figures))
    return told


# Environments whose rows have a network each.
OF_ROWS = [
    ("MTLScheduling-Skills-v0", {}),
    ("MTLScheduling-Skills-v0", {"instance": [3, 5, 9]}),
    ("MTLScheduling-Prerequisites-v0", {}),
    ("MTLScheduling-Prerequisites-v0", {"early_stopping": True}),
    ("MTLScheduling-TextMixture-v0", {}),
]


def generators(runs=range(RUNS)):
    return [np.random.default_rng(run) for run in runs]


def same(mine, theirs, rows=slice(None)):
    return all(np.array_equal(a[rows], b) for x, y in zip(mine, theirs, strict=True) for a, b in zip(x, y, strict=True))


def differences(mine, theirs, place=""):
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys(), place
        return [d for key in mine for d in differences(mine[key], theirs[key], f"{place}.{key}")]
    if isinstance(mine, (list, tuple)):
        assert len(mine) == len(theirs), place
        return [d for i, pair in enumerate(zip(mine, theirs, strict=True)) for d in differences(*pair, f"{place}.{i}")]
    known = mine.dtype.is_floating_point if isinstance(mine, torch.Tensor) else False
    equal = np.array_equal(mine, theirs, equal_nan=known)
    return [] if equal else [place]


@pytest.mark.parametrize(("name", "options"), STACKED + OF_ROWS)
def test_every_run_is_equal_to_the_bit_to_one_of_its_own(name, options):
    stacked = batched(name, RUNS, **options)
    stacked.reset(seed=SEED)
    steps = 23 if options else 60
    told = played(stacked, generators(), steps)
    for run in range(RUNS):
        alone = batched(name, 1, **options)
        alone.reset(seed=SEED + run)
        assert same(told, played(alone, generators([run]), steps), slice(run * ROWS, (run + 1) * ROWS))
        assert differences(stacked.of_run(run).state_dict(), alone.state_dict()) == []
        assert alone.updates == stacked.updates
        assert alone.episodes == stacked.of_run(run).episodes


@pytest.mark.parametrize(("name", "options"), STACKED[2:5] + OF_ROWS[1:4])
@pytest.mark.parametrize("steps", [20, 21])
def test_copies_and_single_runs_continue_exactly(name, options, steps):
    stacked = batched(name, RUNS, **options)
    stacked.reset(seed=[4, 9, 2])
    played(stacked, generators(), steps)
    twin, solo = stacked.fork(), stacked.solo(1)
    told = played(stacked, generators(), 20)
    assert same(told, played(twin, generators(), 20))
    assert same(told, played(solo, generators([1]), 20), slice(ROWS, 2 * ROWS))
    assert solo.seed == 9 and solo.runs == 1


def test_timelines_of_as_many_steps_as_rows_belong_to_every_run():
    stacked = mtl_gym.make_vec_env("MTLScheduling-Prerequisites-v0", num_envs=4, runs=2).batched
    stacked.reset(seed=SEED)
    steps = stacked.num_envs + 2
    assert stacked.run_length == stacked.num_envs
    played(stacked, generators(range(2)), steps)
    alone = mtl_gym.make_vec_env("MTLScheduling-Prerequisites-v0", num_envs=4).batched
    alone.reset(seed=SEED + 1)
    played(alone, generators([1]), steps)
    assert differences(stacked.of_run(1).state_dict(), alone.state_dict()) == []


def test_views_see_the_network_of_one_run():
    stacked = batched("MTLRouting-Groups-v0", RUNS)
    stacked.reset(seed=0)
    played(stacked, generators(), 50)
    view, own = stacked.of_run(2).evaluation_view("test"), stacked.solo(2).evaluation_view("test")
    (obs, _), (theirs, _) = view.reset(), own.reset()
    assert np.array_equal(obs["value"], theirs["value"])
    zeros = np.zeros(view.num_envs, int)
    assert np.array_equal(view.step(zeros)[1], own.step(zeros)[1])
    with pytest.raises(ValueError, match="of_run"):
        stacked.evaluation_view("test")


def test_masked_choices_are_refused_before_anything_changes():
    stacked = batched("MTLRouting-Digits-v0", 2)
    stacked.reset(seed=0)
    masked = int(np.flatnonzero(~stacked.action_masks()[0])[0]) if not stacked.action_masks().all() else None
    if masked is None:
        stacked.step(np.zeros(stacked.num_envs, int))
        stacked.step(np.zeros(stacked.num_envs, int))
        masked = int(np.flatnonzero(~stacked.action_masks()[0])[0])
    before = stacked.state_dict()
    with pytest.raises(MaskedChoice, match="invalid='nearest'"):
        stacked.step(np.full(stacked.num_envs, masked))
    assert differences(stacked.state_dict(), before) == []
    stacked.step(np.zeros(stacked.num_envs, int))


@pytest.mark.parametrize(
    ("seed", "message"), [([1, 2], "2 seeds for 3 runs"), ([1, -2, 3], "one seed >= 0"), ("abc", "one seed >= 0")]
)
def test_wrong_seeds_are_named(seed, message):
    with pytest.raises(ValueError, match=message):
        batched("MTLRouting-Paths-v0", RUNS).reset(seed=seed)


def test_an_environment_that_does_not_stack_says_so():
    with pytest.raises(ValueError, match="runs=2 is not possible"):
        batched("MTLAlignment-LinearDiscrete-v1", 2)


@pytest.mark.parametrize("runs", [0, -1, 1.5, "two"])
def test_wrong_numbers_of_runs_are_named(runs):
    with pytest.raises(ValueError, match="runs"):
        batched("MTLRouting-Paths-v0", runs)


def test_states_of_another_number_of_runs_are_refused():
    three, two = batched("MTLRouting-Groups-v0", 3), batched("MTLRouting-Groups-v0", 2)
    three.reset(seed=0)
    two.reset(seed=0)
    before = two.state_dict()
    with pytest.raises(ValueError, match="runs=3"):
        two.load_state_dict(three.state_dict())
    assert differences(two.state_dict(), before) == []


def test_a_reset_within_episodes_counts_them_for_each_run_alone():
    stacked, alone = (batched("MTLRouting-Groups-v0", runs, train_batch=64) for runs in (RUNS, 1))
    for env in (stacked, alone):
        env.reset(seed=SEED)
        for _ in range(7):
            env.step(np.zeros(env.num_envs, int))
            env.reset()
    assert differences(stacked.of_run(0).state_dict(), alone.state_dict()) == []
    assert same(played(stacked, generators(), 20), played(alone, generators([0]), 20), slice(ROWS))


def test_copies_of_runs_that_do_not_train_continue_exactly():
    stacked = batched("MTLRouting-Digits-v0", 2, train=False)
    stacked.reset(seed=0)
    played(stacked, generators(range(2)), 4)
    twin, solo = stacked.fork(), stacked.solo(1)
    assert np.array_equal(stacked.current()[0]["value"], twin.current()[0]["value"])
    told = played(stacked, generators(range(2)), 7)
    assert same(told, played(twin, generators(range(2)), 7))
    assert same(told, played(solo, generators([1]), 7), slice(ROWS, 2 * ROWS))


def test_runs_of_a_given_network_that_does_not_train_have_its_weights():
    layers = [RoutedLayer([nn.Linear(64, 10) for _ in range(3)])]
    network = RoutedNetwork(None, layers, input_shape=(64,))
    stacked = batched("MTLRouting-Digits-v0", 2, network=network, train=False)
    stacked.reset(seed=0)
    for run in range(2):
        assert differences(dict(stacked.of_run(run).network.state_dict()), dict(network.state_dict())) == []


def test_so_many_rows_that_no_memory_holds_them_are_refused():
    with pytest.raises(ValueError, match="num_envs=16 in runs=50000 are 800000 rows; 100,000 at most"):
        batched("MTLRouting-Paths-v0", 50_000)


@pytest.mark.parametrize("name", ["MTLRouting-Digits-v0", "MTLScheduling-Skills-v0"])
def test_pictures_show_the_first_run(name):
    stacked, alone = (batched(name, runs, render_mode="ansi") for runs in (2, 1))
    for env in (stacked, alone):
        env.reset(seed=0)
        played(env, generators(range(env.runs)), 6)
    assert stacked.render() == alone.render()


@pytest.mark.parametrize(("shown_id", "options"), [OF_ROWS[2], STACKED[4]])
def test_a_run_that_is_shown_late_warns_of_no_loss(shown_id, options, caplog):
    env = batched(shown_id, 2, **options)
    env.reset(seed=SEED)
    played(env, generators(range(2)), 8)
    env.of_run(1)
    assert "discards" not in caplog.text
