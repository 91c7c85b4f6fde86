"""Which agents fit an environment, and what a misfit is told."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from mtl_gym import registration
from mtl_gym.lab import cli
from mtl_gym.lab.fitting import fitted, fitting, suits
from mtl_gym.lab.records import RunSettings

SKILLS, PATHS = "MTLScheduling-Skills-v0", "MTLRouting-Paths-v0"


def test_agents_fit_by_their_spaces_and_interfaces():
    roles = fitting(SKILLS)
    assert {"qls", "ppo", "dqn"} <= set(roles["learner"]) and {"myopic", "uniform", "oracle"} <= set(roles["control"])
    assert not {"wpl", "lrn", "sac", "decomposed-ea", "straight-through"} & set(roles["learner"])
    assert suits(RunSettings(PATHS, "wpl", 1)) and not suits(RunSettings(PATHS, "qls", 1))


@pytest.mark.parametrize(
    ("agent", "message"),
    [("wpl", "Agents that fit MTLScheduling-Skills-v0: learners"), ("decomposed-ea", "mtl-gym list")],
)
def test_a_misfit_is_answered_with_the_agents_that_fit(agent, message, tmp_path):
    arguments = [
        "train",
        SKILLS,
        "--agent",
        agent,
        "--steps",
        "32",
        "--num-envs",
        "4",
        "--out",
        str(tmp_path),
        "--quiet",
    ]
    outcome = CliRunner().invoke(cli.app, arguments)
    assert outcome.exit_code == 1 and message in outcome.output


def test_a_wrong_argument_of_a_fitting_agent_is_no_misfit():
    run = RunSettings(PATHS, "wpl", 1, agent_kwargs={"policy_learning_rate": -1.0})
    with pytest.raises(ValueError, match="policy_learning_rate") as caught:
        fitted(run, run.make_env())
    assert "Agents that fit" not in str(caught.value)


def test_one_id_is_listed_with_its_card_and_its_agents():
    outcome = CliRunner().invoke(cli.app, ["list", PATHS])
    assert outcome.exit_code == 0
    for part in ("The frozen block", "--steps 30000", "q-history", "Dial partial_credit"):
        assert part in outcome.output
    assert CliRunner().invoke(cli.app, ["list", "MTLRouting-Path-v0"]).exit_code == 1


def test_an_id_without_figures_is_listed_without_a_number_of_seeds(monkeypatch):
    bare = replace(registration.card(PATHS), measured={}, optimum=None)
    monkeypatch.setitem(registration._cards, PATHS, bare)
    printed = CliRunner().invoke(cli.app, ["list", PATHS]).output
    assert "Optimum -, best control -" in printed and "means over" not in printed
