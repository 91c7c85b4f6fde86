"""Reference runs, first seeds and aggregate statistics of `compare`."""

import pytest
from typer.testing import CliRunner

from mtl_gym.lab import cli
from mtl_gym.lab.cli.compare import with_references
from mtl_gym.lab.evidence import evidence
from mtl_gym.lab.records import RunResult, RunSettings
from mtl_gym.lab.references import references
from mtl_gym.lab.score import scale_of

PATHS = "MTLRouting-Paths-v0"


def test_references_leave_out_what_is_compared_already():
    base = RunSettings(PATHS, "shared", 96, agent_kwargs={}, env_kwargs={"instance": 3})
    names = [run.name for run in references(base, ["shared", "wpl"])]
    assert names == ["oracle", "random-fixed", "task-specific-all", "task-specific-last", "random"]
    runs = references(base, ["ppo"])
    assert runs[-1].name == "ppo-untrained" and runs[-1].agent_kwargs == {"learning_rate": 0.0}
    assert all(run.env_kwargs == {"instance": 3} for run in runs)


def test_references_leave_out_controls_that_need_arguments():
    base = RunSettings("MTLScheduling-Digits-v1", "qls", 6)
    assert [run.name for run in references(base, ["qls"])] == ["uniform", "random"]
    with pytest.raises(ValueError, match=r"Agent 'hand-crafted' needs weights: give it .*agent_kwargs"):
        RunSettings("MTLScheduling-Digits-v1", "hand-crafted", 6).check()


def test_an_id_without_a_card_has_no_references():
    with pytest.raises(ValueError, match="has no card"):
        references(RunSettings("CartPole-v1", "ppo", 1))


def test_compare_adds_references_and_counts_seeds_from_the_first(tmp_path):
    out = tmp_path / "out"
    arguments = ["compare", PATHS, "--agents", "wpl", "--steps", "96", "--num-envs", "8", "--seeds", "2"]
    outcome = CliRunner().invoke(
        cli.app, [*arguments, "--first-seed", "100", "--references", "--out", str(out), "--quiet"]
    )
    assert outcome.exit_code == 0, outcome.output
    made = {path.relative_to(out).parts[:2] for path in out.glob("*/seed-*/result.json")}
    names = ("wpl", "oracle", "random-fixed", "shared", "task-specific-all", "task-specific-last", "random")
    assert made == {(name, f"seed-{seed}") for name in names for seed in (100, 101)}
    assert "no aggregate statistics: they need 3 seeds" in outcome.output
    assert "wpl/seed-100/routing_map.png" in outcome.output.replace("\n", "")


def test_references_need_one_setting(tmp_path):
    settings = tmp_path / "mixed.yaml"
    settings.write_text(f"env: {PATHS}\nsteps: 96\nagents:\n  wpl: {{steps: 48}}\n  shared:\n")
    outcome = CliRunner().invoke(
        cli.app, ["compare", "--settings", str(settings), "--references", "--out", str(tmp_path / "out"), "--quiet"]
    )
    assert outcome.exit_code == 1 and "one length and environment for all agents" in outcome.output


def test_references_have_the_fold_of_their_seed(tmp_path):
    env = "MTLRecurrent-BrainSeries-v0"
    runs = [RunSettings(env, "ppo", 64, seed, 8, {"data_kwargs": {"fold": seed}}) for seed in (0, 1)]
    found = with_references(runs)
    assert {run.name for run in found} >= {"ppo", "random-fixed", "random"}
    assert all(run.env_kwargs == {"data_kwargs": {"fold": run.seed}} for run in found)


def result(agent, seed, accuracy):
    return RunResult(RunSettings(PATHS, agent, 1, seed), accuracy, {}, None, None, 1.0, 1.0)


def test_evidence_has_the_figures_of_rliable():
    runs = {"oracle": (1.0, 1.0, 1.0), "shared": (0.2, 0.2, 0.2), "wpl": (0.4, 0.6, 0.8)}
    results = [result(agent, seed, x) for agent, figures in runs.items() for seed, x in enumerate(figures)]
    head, *lines = evidence(results, scale_of(results))
    assert head == ["agent", "interquartile mean", "mean", "optimality gap", "better than shared"]
    assert [line[0] for line in lines] == ["oracle", "wpl", "shared"]
    assert lines[1][1:] == ["0.50 [0.25, 0.75]", "0.50 [0.25, 0.75]", "0.50 [0.25, 0.75]", "1.00 [1.00, 1.00]"]
    few = [run for run in results if run.settings.seed < 2]
    assert evidence(few, scale_of(few)) == "they need 3 seeds or more (--seeds 5); this comparison has 2."


def test_missing_evidence_names_the_agents_that_lost_seeds():
    results = [result(agent, seed, x) for agent, x in (("oracle", 1.0), ("shared", 0.2)) for seed in range(3)]
    results.append(result("random", 1, 0.5))
    told = evidence(results, scale_of(results))
    assert told == "they need 3 seeds that all agents finished; there are 1 of 3: random lacks 0, 2."
