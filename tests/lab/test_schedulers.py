"""Runs of schedulers by agent name."""

import json

import numpy as np
import pytest

from mtl_gym.core.evaluation import evaluate
from mtl_gym.lab.run import RunSettings, restore, train

SMALL = {"updates": 10, "reference": 0.5, "validation_samples": 10, "minibatch": 4}
RULES = ["greedy", "loss-exponentiation", "homoscedastic", "self-paced", "focal", "dtp", "gradnorm"]
DRAWN = ["random", "adaptive"]


def settings(agent, **changes):
    small = {"learning_starts": 10, "batch_size": 8}
    arguments = {"hand-crafted": {"weights": [1.0] * 5 + [0.0] * 5}, "qls": small, "qls-paper": small}
    given = {"agent_kwargs": arguments.get(agent, {}), "env_kwargs": SMALL} | changes
    return RunSettings("MTLScheduling-Digits-v0", agent, 40, num_envs=2, **given)


@pytest.mark.parametrize("agent", ["uniform", "hand-crafted", "qls", "qls-paper", *RULES, *DRAWN])
def test_a_run_can_be_restored_from_its_folder_and_evaluated(tmp_path, agent):
    result = train(settings(agent), tmp_path / "run")
    names = {"agent.pt", "config.json", "environment.pt", "progress.csv", "result.json", "timeline.png"}
    assert names <= {path.name for path in (tmp_path / "run").iterdir()}
    assert json.loads((tmp_path / "run" / "result.json").read_text())["accuracy"] == result.accuracy
    assert 0.4 < result.accuracy <= 1 and len(result.per_task) == 10
    _, env, restored = restore(tmp_path / "run")
    again = evaluate(restored, env.batched)
    if agent not in ("random", "adaptive", "hand-crafted"):  # they sample their actions
        assert dict(zip(again.task_names, again.accuracy.tolist(), strict=True)) == pytest.approx(result.per_task)
    assert np.isfinite(again.loss).all()


@pytest.mark.parametrize("agent", ["uniform", "hand-crafted", "random"])
def test_some_rules_support_both_controls(agent, tmp_path):
    for control in ("choice", "weights"):
        chosen = settings(agent, env_kwargs=SMALL | {"control": control})
        train(chosen, tmp_path / control)
        line = evaluate(chosen.make_agent(chosen.make_env()), chosen.make_env()).figures["timeline"]
        whole = np.isin(line.trained, (0, 1)).all()
        assert whole == (control == "choice" or agent != "random")
