"""A family of another package, from the command line: trained, compared, reported and checked."""

import pytest
from typer.testing import CliRunner

import mtl_gym
from mtl_gym.lab import cli
from mtl_gym.testing import CHECKS

ID = "examples.own_family:TaskRates-v0"


def call(*arguments):
    out = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert out.exit_code == 0, out.output
    return out.output


def test_a_family_of_another_package_is_trained_compared_and_reported(tmp_path):
    call("train", ID, "--agent", "ppo", "--steps", 256, "--num-envs", 8, "--out", tmp_path / "run", "--quiet")
    agents = ("--agents", "cautious,bold,oracle,ppo", "--seeds", 2, "--steps", 256, "--num-envs", 8)
    printed = call("compare", ID, *agents, "--out", tmp_path / "runs", "--quiet")
    assert "accuracy minus that of cautious" in printed  # the card's first control
    table = (tmp_path / "runs" / "table.md").read_text()
    assert table.index("oracle") < table.index("ppo")
    call("report", tmp_path / "runs", "--env", ID, "--quiet")
    assert "oracle" in (tmp_path / "runs" / "report.md").read_text()
    listed = call("list").split()
    assert "TaskRates-v0" in listed and listed.index("controls:") < listed.index("cautious,")
    assert listed.index("learners:") < listed.index("ppo,") < listed.index("rules:") < listed.index("controls:")
    assert mtl_gym.card(ID).oracle == "oracle"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_family_of_another_package_keeps_the_contract(check):
    import examples.own_family  # noqa: F401 (registers it)

    check("TaskRates-v0", {})
