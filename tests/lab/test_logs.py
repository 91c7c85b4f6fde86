"""TensorBoard events and Weights and Biases."""

import sys
import types

import pytest

from mtl_gym.lab.logs import Events, RunLogger, logger_of
from mtl_gym.lab.run import RunSettings, train
from tests.lab.events import read

RUN = RunSettings("MTLRouting-Digits-v0", "ppo", 6144, num_envs=16)


def test_a_run_writes_what_its_agent_logs(tmp_path):
    train(RUN, tmp_path)
    curves = read(tmp_path / "tensorboard")
    assert {"rollout/ep_rew_mean", "train/loss", "validation/accuracy"} <= set(curves)
    assert [step for step, _ in curves["rollout/ep_rew_mean"]] == [2048, 4096, 6144]
    assert "time/total_timesteps" not in curves  # SB3 leaves it to the other outputs


def test_what_a_killed_run_logged_beyond_its_checkpoint_is_purged(tmp_path):
    killed = Events(tmp_path, 0)
    for step in (10, 20, 30):
        killed.write({"loss": float(step)}, {"loss": ()}, step)
    killed.close()
    going_on = Events(tmp_path, 10)
    going_on.write({"loss": 21.0, "name": "run"}, {"loss": (), "name": ()}, 20)
    going_on.close()
    assert read(tmp_path) == {"loss": [(10, 10.0), (20, 21.0)]}


def test_weights_and_biases_is_given_what_the_agent_logs(tmp_path, monkeypatch):
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


def test_weights_and_biases_itself_takes_a_run_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = logger_of(RUN, tmp_path, 0, "routing")
    logger.record("train/loss", 0.5)
    logger.dump(1)
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_without_weights_and_biases_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'mtl-gym\[wandb\]'"):
        train(RUN, tmp_path, wandb="routing")


def test_what_waits_to_be_written_and_the_pace_belong_to_the_state_of_a_logger(tmp_path):
    killed, going_on = (RunLogger(tmp_path, [Events(tmp_path, done)], every=2) for done in (0, 10))
    killed.record_mean("loss", 1.0)
    killed.record("name", "run", exclude="tensorboard")
    killed.dump(10)
    going_on.load_state_dict(killed.state_dict())
    going_on.record_mean("loss", 2.0)
    going_on.dump(20)
    assert read(tmp_path) == {"loss": [(20, 1.5)]}
