"""Runs that can be compared, and the reasons why others are excluded."""

from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from mtl_gym.core.measure import Measure
from mtl_gym.lab import cli
from mtl_gym.lab.alike import alike
from mtl_gym.lab.records import RunResult, RunSettings, result_of

PATHS = "MTLRouting-Paths-v0"


def run(agent, seed, tasks=("a",), figure_tasks=None, measure=None, steps=1, **kwargs):
    settings = RunSettings(PATHS, agent, steps, seed, env_kwargs=kwargs)
    more = {} if measure is None else {"measure": measure, "figure": 1.0}
    return RunResult(settings, 0.5, dict.fromkeys(tasks, 0.5), None, None, 1.0, 1.0, figure_tasks=figure_tasks, **more)


def reasons(results):
    return {(one.settings.name, one.settings.seed): why for one, why in alike(results)[1]}


def test_runs_of_one_name_have_one_setting_apart_from_seed_and_fold():
    usual = [run("wpl", seed, instance=1) for seed in (1, 2)]
    results = [run("wpl", 0, steps=2, instance=1), *usual, run("wpl", 3, instance=2), run("ppo", 0, steps=9)]
    assert alike(results)[0] == [*usual, results[-1]]
    assert reasons(results) == {
        ("wpl", 0): "it has steps=2; the compared runs of wpl have steps=1.",
        ("wpl", 3): "it has env_kwargs.instance=2; the compared runs of wpl have env_kwargs.instance=1.",
    }
    assert not reasons([run("wpl", seed, data_kwargs={"fold": seed}) for seed in range(3)])
    assert "no env_kwargs.noise" in reasons([run("wpl", 0, noise=0.1), run("wpl", 1)])["wpl", 1]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"tasks": ("b",)}, "its result has the tasks b; the compared runs have a."),
        ({"figure_tasks": ["b"]}, "its figure is accuracy of b; that of the compared runs is accuracy of all tasks."),
        (
            {"figure_tasks": [], "measure": Measure("RMSE")},
            "its figure is RMSE of all tasks; that of the compared runs is acc",
        ),
    ],
)
def test_figures_of_another_kind_are_excluded(odd, why):
    results = [run("uniform", 0, figure_tasks=[]), run("ppo", 0, figure_tasks=[]), run("oracle", 0, **odd)]
    assert reasons(results)["oracle", 0].startswith(why)


def test_results_from_before_the_tasks_of_the_figure_were_kept_are_read_and_fit_all():
    old = asdict(run("uniform", 0))
    del old["figure_tasks"]
    assert not reasons([result_of(old), run("ppo", 0, figure_tasks=["a"])])


def test_compare_excludes_runs_with_other_targets(tmp_path):
    settings, out = tmp_path / "targets.yaml", tmp_path / "out"
    settings.write_text(
        "env: MTLScheduling-Digits-v1\nsteps: 2\nnum_envs: 1\nseeds: 1\nenv_kwargs: {reference: null, updates: 6}\n"
        "agents:\n  a: {agent: uniform, env_kwargs: {target_tasks: [3]}}\n"
        "  b: {agent: uniform, env_kwargs: {target_tasks: [7]}}\n"
    )
    outcome = CliRunner().invoke(cli.app, ["compare", "--settings", str(settings), "--out", str(out), "--quiet"])
    assert outcome.exit_code == 1 and "paired by seed" not in outcome.output
    assert "1 of the runs cannot be compared" in outcome.stderr and "accuracy of digit 7; that of the" in outcome.stderr
