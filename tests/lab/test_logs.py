"""Logging to TensorBoard and Weights & Biases."""

import sys
import types

import pytest

from mtl_gym.lab.logs import Events, RunLogger, logger_of
from mtl_gym.lab.run import RunSettings, train
from tests.lab.events import read

RUN = RunSettings("MTLRouting-Digits-v0", "ppo", 6144, num_envs=16)


def test_a_run_writes_the_logs_of_its_agent(tmp_path):
    train(RUN, tmp_path)
    curves = read(tmp_path / "tensorboard")
    assert {"rollout/ep_rew_mean", "train/loss", "validation/accuracy", "validation/figure"} <= set(curves)
    assert [step for step, _ in curves["rollout/ep_rew_mean"]] == [2048, 4096, 6144]
    assert "time/total_timesteps" not in curves  # SB3 excludes it from TensorBoard


def test_events_of_a_killed_run_beyond_its_checkpoint_are_purged(tmp_path):
    killed = Events(tmp_path, 0)
    for step in (10, 20, 30):
        killed.write({"loss": float(step)}, {"loss": ()}, step)
    killed.close()
    going_on = Events(tmp_path, 10)
    going_on.write({"loss": 21.0, "name": "run"}, {"loss": (), "name": ()}, 20)
    going_on.close()
    assert read(tmp_path) == {"loss": [(10, 10.0), (20, 21.0)]}


def test_weights_and_biases_receives_the_logs_of_the_agent(tmp_path, monkeypatch):
    logged = []
    run = types.SimpleNamespace(
        log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("finished")
    )
    begun = {}
    wandb = types.SimpleNamespace(init=lambda **arguments: begun.update(arguments) or run)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train(RUN, tmp_path, wandb="routing")
    assert begun["project"] == "routing" and begun["name"] == "ppo-seed-0" and begun["config"]["steps"] == 6144
    assert [entry[0] for entry in logged[:-1]] == [2048, 4096, 6144] and logged[-1] == "finished"
    assert "train/loss" in logged[1][1]


def test_weights_and_biases_works_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = logger_of(RUN, tmp_path, 0, "routing")
    logger.record("train/loss", 0.5)
    logger.dump(1)
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_the_state_of_a_logger_has_unwritten_values_and_the_count_of_tables(tmp_path):
    killed, going_on = (RunLogger(tmp_path, [Events(tmp_path, done)], every=2) for done in (0, 10))
    killed.record_mean("loss", 1.0)
    killed.record("name", "run", exclude="tensorboard")
    killed.dump(10)
    going_on.load_state_dict(killed.state_dict())
    going_on.record_mean("loss", 2.0)
    going_on.dump(20)
    assert read(tmp_path) == {"loss": [(20, 1.5)]}
