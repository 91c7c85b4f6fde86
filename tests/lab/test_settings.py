"""Settings files of comparisons."""

import pytest
from typer.testing import CliRunner

from mtl_gym.lab.agents import UnknownAgentError
from mtl_gym.lab.cli import app
from mtl_gym.lab.settings import read_comparison

GOOD = """
env: MTLRouting-Digits-v0
steps: 600
num_envs: 16
seeds: 2
env_kwargs: {rho: 0.0, hidden: 32}
agents:
  random-fixed:
  recursive:
    agent: wpl
    steps: 300
    env_kwargs: {layering: false, rho: 0.3}
    agent_kwargs: {gamma: 0.9}
  soft-mixture:
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "comparison.yaml"
    path.write_text(GOOD)
    return path


def test_every_entry_is_a_run_per_seed_with_its_own_arguments(settings):
    runs = read_comparison(settings)
    assert [(run.name, run.agent, run.seed) for run in runs[:3]] == [
        ("random-fixed", "random-fixed", 0),
        ("recursive", "wpl", 0),
        ("soft-mixture", "soft-mixture", 0),
    ]
    assert len(runs) == 6 and runs[3].seed == 1 and runs[0].num_envs == 16 and runs[0].steps == 600
    assert runs[1].env_kwargs == {"rho": 0.3, "hidden": 32, "layering": False} and runs[1].steps == 300
    assert runs[1].agent_kwargs == {"gamma": 0.9}


def test_a_seed_has_its_fold(settings):
    settings.write_text(GOOD.replace("seeds: 2", "seeds: 7\nfolds: 5").replace("rho: 0.0", "data_kwargs: {noise: 1.0}"))
    found = [run.env_kwargs["data_kwargs"] for run in read_comparison(settings) if run.name == "recursive"]
    assert [arguments["fold"] for arguments in found] == [0, 1, 2, 3, 4, 0, 1]
    assert all(arguments["noise"] == 1.0 for arguments in found)


def test_the_command_line_overrides_numbers(settings):
    runs = read_comparison(settings, seeds=1, steps=90, num_envs=None)
    assert len(runs) == 3 and runs[0].steps == 90 and runs[0].num_envs == 16


def test_compare_carries_out_a_settings_file_under_the_names_of_its_entries(settings, tmp_path):
    result = CliRunner().invoke(app, ["compare", "--settings", str(settings), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "recursive" in result.output and "soft-mixture" in result.output
    assert (tmp_path / "out" / "recursive" / "seed-1" / "result.json").is_file()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 600", "steps: none", "steps is 'none'; it takes a number, 1 or more"),
        ("seeds: 2", "seeds: 0", "seeds is 0; it takes a number, 1 or more"),
        ("seeds: 2", "seed: 2", "has 'seed', which is unknown; it takes env, steps, seeds"),
        ("    agent: wpl", "    algorithm: wpl", "agent 'recursive' in .* has 'algorithm', which is unknown"),
        ("env: MTLRouting-Digits-v0", "", "has no 'env'; a comparison needs env, steps, agents"),
        ("  soft-mixture:", "  ../up:", "valid folder name"),
        ("agents:", "agents: [", "is not YAML"),
        ("rho: 0.0, hidden: 32}", "data_kwargs: 5}\nfolds: 2", "data_kwargs=5 is not possible; it takes a mapping"),
    ],
)
def test_invalid_settings_raise(settings, old, new, message):
    settings.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_comparison(settings)


def test_an_unknown_agent_is_refused_before_any_run(settings):
    settings.write_text(GOOD.replace("agent: wpl", "agent: wlp"))
    with pytest.raises(UnknownAgentError, match="Did you mean 'wpl'"):
        read_comparison(settings)


def test_settings_and_env_exclude_each_other(settings, tmp_path):
    command = ["compare", "MTLRouting-Digits-v0", "--settings", str(settings), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "--settings excludes" in result.output
    assert CliRunner().invoke(app, ["compare", "--out", str(tmp_path)]).exit_code == 1
