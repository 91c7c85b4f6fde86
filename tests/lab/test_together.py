"""Runs that are trained together leave what each leaves alone."""

import dataclasses

import numpy as np
import pytest
import torch

from mtl_gym.core.state import checkpoint
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.files import AGENT, CHECKPOINT, ENVIRONMENT, POLICIES, PROGRESS, RESULT, read_result
from mtl_gym.lab.records import BARE, RunSettings
from mtl_gym.lab.run import train
from mtl_gym.lab.sweep import Failure, Sweep

TIMES = ("samples_per_second", "seconds", "cpu_seconds")


def runs(agent="assignment", seeds=range(3, 6), env_id="MTLRouting-Groups-v0", **more):
    return [RunSettings(env_id, agent, steps=2000, seed=seed, num_envs=16, **more) for seed in seeds]


def flat(state, place=""):
    if isinstance(state, dict):
        return {k: v for key in state for k, v in flat(state[key], f"{place}.{key}").items()}
    if isinstance(state, (list, tuple)):
        return {k: v for i, part in enumerate(state) for k, v in flat(part, f"{place}.{i}").items()}
    return {place: state}


def equal(first, second):
    first, second = flat(checkpoint.load(first)), flat(checkpoint.load(second))
    first, second = ({k: v for k, v in one.items() if ".episodes." not in k} for one in (first, second))
    assert first.keys() == second.keys()
    return all(alike(value, second[key]) for key, value in first.items())


def alike(first, second):
    if not torch.is_tensor(first):
        return first == second
    return torch.equal(first.nan_to_num(), second.nan_to_num()) and torch.equal(first.isnan(), second.isnan())


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("assignment", "MTLRouting-Groups-v0"),
        ("wpl", "MTLRouting-Paths-v0"),
        ("oracle", "MTLRouting-Groups-v0"),
        ("fast-ppo", "MTLRouting-Groups-v0"),
        ("greedy", "MTLScheduling-Prerequisites-v0"),
        ("random", "MTLRouting-Groups-v0"),
    ],
)
def test_every_file_is_that_of_a_run_alone(agent, name, tmp_path):
    several = runs(agent, env_id=name)
    together, alone = Sweep(several, tmp_path / "together"), tmp_path / "alone"
    assert together.units(range(3)) == [[0, 1, 2]]
    told = []
    results = together.attempt([0, 1, 2], lambda *progress: told.append(progress))
    for run, settings in enumerate(several):
        mine, theirs = together.folder(run), alone / str(run)
        result = train(settings, theirs)
        for one in (results[run], result):
            assert one.cpu_seconds > 0
            assert one.seconds > 0
        same = dict.fromkeys(TIMES, 0.0)
        assert dataclasses.replace(results[run], **same) == dataclasses.replace(result, **same)
        assert (mine / PROGRESS).read_text() == (theirs / PROGRESS).read_text()
        assert equal(mine / ENVIRONMENT, theirs / ENVIRONMENT)
        assert equal(mine / AGENT, theirs / AGENT)
        assert sorted(p.name for p in mine.iterdir()) == sorted(p.name for p in theirs.iterdir())
        if (theirs / POLICIES).is_file():
            first, second = np.load(mine / POLICIES), np.load(theirs / POLICIES)
            assert all(np.array_equal(first[key], second[key]) for key in second.files)
    assert {run for run, *_ in told} == {0, 1, 2}
    assert max(steps for _, steps, _ in told) == 2000


class Stopped(BaseException):
    """The process of a run ends."""


def test_an_interrupted_run_resumes_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("mtl_gym.lab.together.LEAST_APART", 0.0)
    monkeypatch.setattr("mtl_gym.lab.together.COSTS_APART", 0.0)
    several = runs(seeds=range(2))
    sweep = Sweep(several, tmp_path)

    def stop(run, steps, accuracy):
        if steps > 1200:
            raise Stopped

    with pytest.raises(Stopped):
        sweep.attempt([0, 1], stop)
    assert all((sweep.folder(run) / CHECKPOINT).is_file() for run in (0, 1))
    assert sweep.units(range(2)) == [[0], [1]]
    outcomes = carry_out(sweep)
    for run, outcome in enumerate(outcomes):
        whole = train(several[run], tmp_path / f"whole-{run}")
        assert outcome.figure == whole.figure
        assert equal(sweep.folder(run) / AGENT, tmp_path / f"whole-{run}" / AGENT)
        assert (sweep.folder(run) / PROGRESS).read_text() == (tmp_path / f"whole-{run}" / PROGRESS).read_text()


def test_units_hold_runs_that_differ_in_consecutive_seeds_alone(tmp_path):
    many = [*runs(seeds=(0, 1, 2, 7, 8)), *runs("ppo", (0, 1)), *runs("wpl", (0,)), *runs("wpl", (1,), name="other")]
    sweep = Sweep(many, tmp_path)
    assert sweep.units(range(9)) == [[0, 1, 2], [3, 4], [5], [6], [7], [8]]
    train(many[1], sweep.folder(1), extras=BARE)
    assert sweep.units(range(9)) == [[0], [2], [3, 4], [1], [5], [6], [7], [8]]
    assert Sweep(many, tmp_path, wandb="project").units(range(3)) == [[0], [1], [2]]
    assert Sweep(runs(seeds=range(6)), tmp_path / "jobs").units(range(6), jobs=2) == [[0, 1, 2], [3, 4, 5]]
    wide = [dataclasses.replace(run, num_envs=2048) for run in runs(seeds=range(4))]
    assert Sweep(wide, tmp_path / "wide").units(range(4)) == [[0, 1], [2, 3]]


def test_two_processes_share_the_seeds_of_an_agent(tmp_path):
    sweep = Sweep(runs(seeds=range(4)), tmp_path, extras=BARE)
    outcomes = carry_out(sweep, jobs=2)
    assert [outcome.settings.seed for outcome in outcomes] == [0, 1, 2, 3]
    assert not any(isinstance(outcome, Failure) for outcome in outcomes)
    assert outcomes[3].figure == train(sweep.runs[3], tmp_path / "alone", extras=BARE).figure


def test_an_error_fails_every_run_and_names_itself(tmp_path):
    several = runs(agent_kwargs={"warm_up": 3.0})
    outcomes = Sweep(several, tmp_path).attempt([0, 1, 2], lambda *_: None)
    assert all(isinstance(outcome, Failure) and "warm_up=3.0" in outcome.error for outcome in outcomes)
    assert not any((tmp_path / "assignment" / f"seed-{seed}" / RESULT).exists() for seed in range(3, 6))


def test_a_folder_in_use_keeps_its_run_alone_from_training(tmp_path):
    from mtl_gym.lab.locks import alone_in

    sweep = Sweep(runs(seeds=range(2)), tmp_path, extras=BARE)
    with alone_in(sweep.folder(1)):
        outcomes = sweep.attempt([0, 1], lambda *_: None)
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, True]


def test_an_error_in_one_run_leaves_the_others_alone(tmp_path):
    def tell(run, steps, accuracy):
        if run == 1 and steps > 1000:
            raise ArithmeticError("It diverged.")

    several = runs(seeds=range(3))
    outcomes = Sweep(several, tmp_path, extras=BARE).attempt([0, 1, 2], tell)
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, True, False]
    assert outcomes[1].error == "It diverged."
    assert outcomes[2].figure == train(several[2], tmp_path / "alone", extras=BARE).figure


def test_a_run_that_began_since_the_plan_is_not_overwritten(tmp_path):
    several = runs(seeds=range(2))
    sweep = Sweep(several, tmp_path, extras=BARE)
    assert sweep.units(range(2)) == [[0, 1]]
    other = train(dataclasses.replace(several[1], steps=400), sweep.folder(1), extras=BARE)
    outcomes = sweep.attempt([0, 1], lambda *_: None)
    assert isinstance(outcomes[1], Failure) and "another run" in outcomes[1].error
    assert read_result(sweep.folder(1)) == other
    assert outcomes[0].settings == several[0]
