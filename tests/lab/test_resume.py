"""Resumption of interrupted runs from their checkpoints, with the result of an uninterrupted run."""

import json

import numpy as np
import pytest
import torch

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.lab import resume
from mtl_gym.lab.run import CHECKPOINT, RunSettings, train
from tests.lab.folders import curves, same

ROUTING = {"env_id": "MTLRouting-Digits-v0", "steps": 6000, "num_envs": 16}
SCHEDULING = {
    "env_id": "MTLScheduling-Digits-v0",
    "steps": 400,
    "num_envs": 4,
    "env_kwargs": {"updates": 60, "updates_per_step": 3, "validation_samples": 20, "reference": None},
}
WEIGHTS = SCHEDULING | {"env_kwargs": SCHEDULING["env_kwargs"] | {"control": "weights"}}
SMALL_LRN = {"d_model": 32, "heads": 2, "feed_forward": 32, "n_steps": 32, "batch_size": 128}
LIMITLESS = {"env_id": "MTLLimitless-Digits-v0", "steps": 3000, "num_envs": 16, "agent_kwargs": SMALL_LRN}
RECURRENT = {"env_id": "MTLRecurrent-BrainSeries-v0", "steps": 6000, "num_envs": 8}
ALIGNMENT = {
    "env_id": "MTLAlignment-Linear-v0",
    "steps": 6,
    "num_envs": 1,
    "env_kwargs": {"iterations": 2, "generations": 3, "final_generations": 1},
}
SMALL_BUFFER = {"buffer_size": 500, "learning_starts": 50}

RUNS = [
    *[(agent, ROUTING) for agent in ("wpl", "pg-table", "q-table", "reinforce", "q-net", "random-fixed", "dispatched")],
    *[(agent, ROUTING) for agent in ("fast-ppo", "ppo", "trpo", "maskable-ppo", "recurrent-ppo")],
    ("a2c", ROUTING | {"agent_kwargs": {"n_steps": 1}}),  # it logs after 100 rollouts
    *[(agent, ROUTING | {"agent_kwargs": SMALL_BUFFER}) for agent in ("dqn", "qr-dqn")],
    *[(agent, SCHEDULING) for agent in ("uniform", "greedy", "qls", "dqn")],
    *[(agent, WEIGHTS) for agent in ("homoscedastic", "gradnorm", "sac", "td3", "tqc")],
    ("lrn", LIMITLESS),
    ("straight-through", RECURRENT),
    ("ppo", RECURRENT),
    ("decomposed-ea", ALIGNMENT),
]
FAST = ("wpl", "uniform", "decomposed-ea")


class KilledError(Exception):
    """An interruption of a run."""


def settings(agent, fields):
    return RunSettings(agent=agent, seed=3, **fields)


def kill_after(decisions):
    def tell(steps, accuracy):
        if steps >= decisions:
            raise KilledError

    return tell


@pytest.fixture(autouse=True)
def _checkpoints_half_of_the_time(monkeypatch):
    monkeypatch.setattr(resume, "LEAST_APART", 0.0)
    monkeypatch.setattr(resume, "COSTS_APART", 1)


@pytest.mark.parametrize(
    ("agent", "fields"),
    [
        pytest.param(
            agent, fields, id=f"{agent}-{fields['env_id'][3:-3]}", marks=() if agent in FAST else pytest.mark.slow
        )
        for agent, fields in RUNS
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, agent, fields):
    run = settings(agent, fields)
    whole = train(run, tmp_path / "whole")
    for share in (0.4, 0.8):
        with pytest.raises(KilledError):
            train(run, tmp_path / "broken", kill_after(share * run.steps))
        torch.rand(3), np.random.rand(3)  # other code draws from the global generators
        assert checkpoint.load(tmp_path / "broken" / CHECKPOINT)["decisions"] > 0
    broken = train(run, tmp_path / "broken")
    assert broken.per_task == whole.per_task and broken.loss == whole.loss
    assert not (tmp_path / "broken" / CHECKPOINT).exists()
    for name in ("progress.csv", "environment.pt", "agent.pt"):
        assert same(tmp_path / "whole" / name, tmp_path / "broken" / name), name
    assert curves(tmp_path / "broken") == curves(tmp_path / "whole")


def test_an_error_names_a_damaged_checkpoint_and_the_run_can_restart(tmp_path):
    run = settings("wpl", ROUTING)
    with pytest.raises(KilledError):
        train(run, tmp_path, kill_after(3000))
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged"):
        train(run, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["agent"] == "wpl"
    (tmp_path / CHECKPOINT).unlink()
    assert train(run, tmp_path).accuracy > 0.1


def test_a_checkpoint_of_another_environment_is_refused(tmp_path):
    other = ROUTING | {"env_kwargs": {"hidden": 8}}
    with pytest.raises(KilledError):
        train(settings("wpl", ROUTING), tmp_path / "wpl", kill_after(3000))
    with pytest.raises(KilledError):
        train(settings("wpl", other), tmp_path / "other", kill_after(3000))
    (tmp_path / "wpl" / CHECKPOINT).rename(tmp_path / "other" / CHECKPOINT)
    with pytest.raises(CheckpointError, match="another environment"):
        train(settings("wpl", other), tmp_path / "other")


def test_incomplete_files_are_removed(tmp_path):
    (tmp_path / ".result.json.abc.unfinished").write_text("{")
    (tmp_path / "error.json").write_text("{}")
    train(settings("random-fixed", ROUTING | {"steps": 32}), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") or path.name == "error.json"]


def test_checkpoints_cost_a_twentieth_of_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "COSTS_APART", 20)
    kept = []
    keep = resume.Checkpoints.keep

    def count(self):
        keep(self)
        self._cost = 1e9  # simulate a slow write
        kept.append(self.num_timesteps_now)

    monkeypatch.setattr(resume.Checkpoints, "keep", count)
    train(settings("wpl", ROUTING), tmp_path)
    assert kept == [16]


def test_a_resumed_run_stores_its_first_versions_and_the_new_ones(tmp_path):
    run, config = settings("wpl", ROUTING), tmp_path / "config.json"
    with pytest.raises(KilledError):
        train(run, tmp_path, kill_after(2000))
    begun = json.loads(config.read_text())
    now = begun["versions"]
    config.write_text(json.dumps(begun | {"versions": now | {"torch": "1.0"}}))
    for after in (3000, 4000):
        with pytest.raises(KilledError):
            train(run, tmp_path, kill_after(after))
    train(run, tmp_path)
    told = json.loads(config.read_text())
    assert told["versions"] == now | {"torch": "1.0"} and told["git"] == begun["git"]
    (resumed,) = told["resumed"]
    assert resumed["versions"] == now and 0 < resumed["decisions"] <= 3000


def test_a_restarted_run_has_the_current_versions(tmp_path):
    with pytest.raises(KilledError):
        train(settings("wpl", ROUTING), tmp_path, kill_after(2000))
    (tmp_path / CHECKPOINT).unlink()
    told = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told | {"versions": {"torch": "1.0"}}))
    train(settings("wpl", ROUTING), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == told


def test_the_clock_of_a_run_starts_with_its_training(tmp_path, monkeypatch):
    from mtl_agents import WPL

    ticks = iter(range(10**9))
    late = [0.0]
    monkeypatch.setattr(resume.time, "perf_counter", lambda: late[0] + 1e-3 * next(ticks))
    learn = WPL.learn

    def imports_first(self, *args, **kwargs):
        late[0] += 1000.0
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(WPL, "learn", imports_first)
    result = train(settings("wpl", ROUTING | {"steps": 96}), tmp_path)
    assert result.samples_per_second > 32 / 10
