"""Transfer to a held-out task: training, measurement and files."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.families.scheduling.transfer import cross_validated, frozen_features
from mtl_gym.lab import transfer as module
from mtl_gym.lab.cli import app
from mtl_gym.lab.run import RunSettings
from mtl_gym.lab.transfer import transfer

KWARGS = {"updates": 30, "reference": None, "validation_samples": 5}
SETTINGS = RunSettings("MTLScheduling-Digits-v0", "ppo", 1, 0, 2, KWARGS, {"n_steps": 8, "batch_size": 16})


def test_a_head_on_frozen_features_learns_the_held_out_task(tmp_path):
    found = transfer(SETTINGS, "digit 3", tmp_path)
    assert found.task == "digit 3" and len(found.folds) == 5
    assert found.accuracy > 0.9  # nine in ten samples are not a 3
    kept = json.loads((tmp_path / "ppo" / "seed-0" / "digit 3.json").read_text())
    assert kept["folds"] == found.folds


def test_arguments_of_a_data_set_loaded_by_name_are_not_given_to_its_other_tasks(monkeypatch):
    given = []
    make_env = RunSettings.make_env
    monkeypatch.setattr(RunSettings, "make_env", lambda self, **more: given.append(more) or make_env(self, **more))
    encoded = replace(SETTINGS, env_kwargs=KWARGS | {"data_kwargs": {"features": torch.nn.Linear(64, 16)}})
    whole = module._data(encoded)
    assert whole.input_shape == (16,)
    assert len(module._measured(encoded, whole, 3).folds) == 5
    assert given[1]["data"].input_shape == (16,)


def test_a_finished_measurement_is_read(tmp_path, monkeypatch):
    found = transfer(SETTINGS, "digit 3", tmp_path)
    monkeypatch.setattr(module, "roll_out", lambda *args: pytest.fail("trained again"))
    assert transfer(SETTINGS, "digit 3", tmp_path) == found
    other = RunSettings("MTLScheduling-Digits-v0", "ppo", 2, 0, 2, KWARGS, SETTINGS.agent_kwargs)
    with pytest.raises(FileExistsError, match="another training"):
        transfer(other, "digit 3", tmp_path)
    (tmp_path / "ppo" / "seed-0" / "digit 3.json").write_text("{")
    with pytest.raises(CheckpointError, match="remove it"):
        transfer(SETTINGS, "digit 3", tmp_path)


def test_the_encoder_never_sees_the_held_out_task(tmp_path, monkeypatch):
    seen = []
    real = module.roll_out
    monkeypatch.setattr(module, "roll_out", lambda agent, view: seen.append(view.task_names) or real(agent, view))
    transfer(SETTINGS, "digit 3", tmp_path)
    assert seen == [tuple(f"digit {n}" for n in range(10) if n != 3)]


def test_features_cover_every_sample_of_the_task():
    env = SETTINGS.make_env().batched
    env.reset()
    features, labels = frozen_features(env.network, env.data, 4)
    sizes = [int((split.task == 4).sum()) for split in env.data.splits.values()]
    assert features.shape == (2, sum(sizes), 64) and labels.shape == (sum(sizes),)
    assert labels.sum() == sum(int(split.y[split.task == 4].sum()) for split in env.data.splits.values())


def test_cross_validation_never_tests_on_training_samples():
    """Expect chance accuracy on random labels, although the features suffice to memorise them."""
    rng = np.random.default_rng(0)
    scores = cross_validated(rng.normal(size=(1, 200, 300)), rng.integers(0, 2, 200))
    assert scores.shape == (1, 5) and 0.3 < scores.mean() < 0.7


def test_an_unknown_task_or_another_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no task 'digit 12'.*digit 9"):
        transfer(SETTINGS, "digit 12", tmp_path)
    with pytest.raises(ValueError, match="does not support transfer"):
        transfer(RunSettings("MTLRouting-Digits-v0", "ppo", 1), "digit 1", tmp_path)
    with pytest.raises(ValueError, match="does not support transfer"):
        transfer(RunSettings("MTLScheduling-Prerequisites-v0", "ppo", 1), "pattern", tmp_path)


@pytest.mark.parametrize("option", [{"target_tasks": [3]}, {"reference": [0.5] * 10}])
def test_options_of_all_tasks_are_refused_before_training(tmp_path, option):
    settings = replace(SETTINGS, env_kwargs=KWARGS | option)
    with pytest.raises(ValueError, match=rf"{next(iter(option))}=.* is of all tasks"):
        transfer(settings, "digit 1", tmp_path)


def test_the_command_writes_the_table(tmp_path):
    command = ["transfer", "MTLScheduling-Digits-v0", "--agents", "a2c", "--tasks", "digit 1,digit 2", "--seeds", "1"]
    command += ["--steps", "1", "--num-envs", "1", "--env-kwargs", json.dumps(KWARGS), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "digit 2" in result.output and "mean" in result.output
    rows = list(csv.DictReader((tmp_path / "transfer.csv").read_text().splitlines()))
    assert [row["left out"] for row in rows] == ["digit 1", "digit 2"]
    folds = [float(rows[0][f"fold {n}"]) for n in range(1, 6)]
    assert float(rows[0]["accuracy"]) == pytest.approx(np.mean(folds))
    assert (tmp_path / "transfer.md").read_text().startswith("| left out | a2c |\n")
