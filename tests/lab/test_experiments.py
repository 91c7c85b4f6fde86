"""Tests of runs, comparisons and the command line."""

import csv
import json
import re
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from mtl_agents import WPL
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab import agents, cli
from mtl_gym.lab.cli.common import check
from mtl_gym.lab.compare import Row, summarise
from mtl_gym.lab.records import Extras
from mtl_gym.lab.run import RunResult, RunSettings, restore, train

DIGITS = "MTLRouting-Digits-v0"


def settings(agent="wpl", **changes):
    return RunSettings(**{"env_id": DIGITS, "agent": agent, "steps": 600, "num_envs": 16} | changes)


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["wpl", "random-fixed", "random", "ppo", "dqn", "maskable-ppo", "a2c"])
def test_a_run_can_be_restored_from_its_folder_and_evaluated(tmp_path, agent):
    result = train(settings(agent), tmp_path / "run")
    policies = {"policies.npz", "policies.png"} if agent == "wpl" else set()
    assert {p.name for p in (tmp_path / "run").iterdir()} == policies | {
        "agent.pt", "config.json", "environment.pt", "progress.csv", "result.json", "routing_map.png", "tensorboard",
    }  # fmt: skip
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["agent"] == agent
    with open(tmp_path / "run" / "progress.csv") as file:
        curve = list(csv.DictReader(file))
    assert len(curve) >= 10 and 0 <= float(curve[-1]["accuracy"]) <= 1
    assert int(curve[-1]["steps"]) >= 600
    if agent == "random":
        return
    from mtl_gym.core.evaluation import evaluate

    _, env, restored = restore(tmp_path / "run")
    again = evaluate(restored, env.batched)
    assert dict(zip(again.task_names, again.accuracy.tolist(), strict=True)) == pytest.approx(result.per_task)


def test_a_finished_run_is_read_instead_of_repeated(tmp_path):
    first = train(settings(), tmp_path)
    stamp = (tmp_path / "environment.pt").stat().st_mtime_ns
    assert train(settings(), tmp_path) == first
    assert (tmp_path / "environment.pt").stat().st_mtime_ns == stamp


def test_a_run_never_overwrites_another(tmp_path):
    train(settings(), tmp_path)
    with pytest.raises(FileExistsError, match="another run"):
        train(settings(seed=1), tmp_path)


@pytest.mark.slow
def test_equal_runs_have_equal_results(tmp_path):
    first, second = train(settings("ppo"), tmp_path / "a"), train(settings("ppo"), tmp_path / "b")
    assert first.per_task == second.per_task


def test_errors_name_damaged_files(tmp_path):
    train(settings(), tmp_path)
    (tmp_path / "result.json").write_text('{"accuracy": ')
    with pytest.raises(CheckpointError, match=r"result\.json cannot be read"):
        train(settings(), tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        restore(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run in"):
        restore(tmp_path / "elsewhere")


def test_every_name_finds_its_agent():
    assert {"wpl", "random-fixed", "ppo", "maskable-ppo", "qr-dqn"} <= set(agents.agent_names())
    assert agents.find_agent("wpl") is WPL
    for name in agents.agent_names():
        assert callable(agents.find_agent(name))


def test_an_unknown_agent_raises_with_a_suggestion():
    with pytest.raises(
        agents.UnknownAgentError, match=r"no agent 'wlp'. Did you mean 'wpl'\? `mtl-gym list ENV` shows"
    ):
        agents.find_agent("wlp")


def test_a_package_registers_an_agent_through_an_entry_point(tmp_path, monkeypatch):
    """Register an agent with `learn` and `predict` only."""
    (tmp_path / "my_agents.py").write_text(
        textwrap.dedent(
            """
            import numpy as np

            class First:
                def __init__(self, env, seed=None):
                    self.env = env

                def learn(self, total_timesteps, callback=None):
                    self.env.reset()
                    for _ in range(total_timesteps // self.env.num_envs):
                        self.env.step(np.zeros(self.env.num_envs, int))
                    return self

                def predict(self, observation, state=None, episode_start=None, deterministic=False):
                    return np.zeros(len(observation["task"]), int), None
            """
        )
    )
    info = tmp_path / "my_agents-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mtl_gym.agents]\nfirst = my_agents:First\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "first" in agents.agent_names()
    result = train(settings("first"), tmp_path / "run")
    assert result.blocks_used == 3
    assert not (tmp_path / "run" / "agent.pt").exists()
    sys.modules.pop("my_agents")


def result(agent, seed, per_task, blocks):
    accuracy = float(np.mean(list(per_task.values())))
    return RunResult(RunSettings(DIGITS, agent, 1, seed), accuracy, per_task, 0.5, blocks, 1.0, 100.0 + seed)


def test_a_summary_has_mean_spread_worst_and_best():
    rows = summarise(
        [
            result("low", 0, {"a": 0.5, "b": 0.7}, 4),
            result("high", 0, {"a": 0.8, "b": 0.9}, 6),
            result("low", 1, {"a": 0.7, "b": 0.7}, 5),
        ]
    )
    assert [row.agent for row in rows] == ["high", "low"]
    low = rows[1]
    assert low.figure == pytest.approx(65.0)
    assert low.spread == pytest.approx(np.std([60, 70], ddof=1))
    assert (low.worst[0], low.best[0]) == ("a", "b")
    assert (low.worst[1], low.best[1]) == (pytest.approx(60.0), pytest.approx(70.0))
    assert (low.blocks, low.seeds, low.speed) == (4.5, 2, 100.5)
    assert isinstance(rows[0], Row) and np.isnan(rows[0].spread)


def test_compare_prints_and_writes_a_table(tmp_path):
    arguments = ("--agents", "wpl,random-fixed", "--seeds", 2, "--steps", 600, "--num-envs", 16, "--out", tmp_path)
    outcome = call("compare", DIGITS, *arguments)
    assert outcome.exit_code == 0, outcome.output
    assert "random-fixed" in outcome.output and "\x1b" not in outcome.output
    with open(tmp_path / "results.csv") as file:
        lines = list(csv.DictReader(file))
    assert [(line["agent"], line["seed"]) for line in lines] == [
        ("wpl", "0"), ("random-fixed", "0"), ("wpl", "1"), ("random-fixed", "1"),
    ]  # fmt: skip
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len(table) == 4 and table[0].startswith("| agent | accuracy (%) |")
    killed = tmp_path / ".accuracies.png.0.unfinished"
    killed.touch()
    assert call("compare", DIGITS, *arguments).stdout == outcome.stdout  # read, not repeated
    assert not killed.exists()


def test_train_and_evaluate_from_the_command_line(tmp_path):
    kwargs = json.dumps({"weighting": "abdallah"})
    outcome = call(
        "train", DIGITS, "--agent", "wpl", "--steps", 300, "--num-envs", 8, "--out", tmp_path / "run",
        "--agent-kwargs", kwargs, "--env-kwargs", json.dumps({"rho": 0.0}), "--quiet",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert saved["agent_kwargs"] == {"weighting": "abdallah"} and saved["env_kwargs"] == {"rho": 0.0}
    outcome = call("evaluate", tmp_path / "run", "--split", "validation")
    assert outcome.exit_code == 0 and "digit 9" in outcome.output and "mean" in outcome.output


def test_evaluate_prints_the_figure_of_target_tasks(tmp_path):
    options = {"target_tasks": [3], "reference": None, "updates": 30}
    outcome = call(
        "train", "MTLScheduling-Digits-v1", "--agent", "uniform", "--steps", 20, "--num-envs", 2, "--quiet",
        "--env-kwargs", json.dumps(options), "--out", tmp_path / "run",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    figure = json.loads((tmp_path / "run" / "result.json").read_text())["figure"]
    outcome = call("evaluate", tmp_path / "run")
    assert f"accuracy (%) of digit 3: {figure:.2f}" in outcome.output, outcome.output


def test_a_misspelt_id_is_told_before_a_missing_option():
    out = call("train", "MTLRouting-Digts-v0", "--agent", "wpl")
    assert out.exit_code == 1 and "Did you mean 'MTLRouting-Digits-v0'?" in out.output and "--out" not in out.output
    out = call("train", DIGITS, "--agent", "wpl")
    assert out.exit_code == 2 and "--out" in out.output


def test_an_agent_of_another_family_is_refused_in_one_sentence(tmp_path):
    out = call("train", DIGITS, "--agent", "qls", "--out", tmp_path / "run", "--quiet")
    assert out.exit_code == 1 and out.output.count("\n") == 1
    assert "'qls' does not fit MTLRouting-Digits-v0: it sets observation of the environment" in out.output


def test_list_shows_environments_data_and_agents():
    output = call("list").output
    assert DIGITS in output and "wpl" in output
    output = call("data", "list").output
    assert "digits" in output and "mini-imagenet" in output


def test_list_leaves_out_an_agent_that_cannot_be_imported(tmp_path, monkeypatch):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mtl_gym.agents]\nbroken = no_such_module:Agent\n")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = call("list")
    assert outcome.exit_code == 0 and "wpl" in outcome.output
    assert "'broken' is left out" in outcome.output and "no_such_module" in outcome.output


def test_digits_need_no_download():
    outcome = call("data", "get", "digits")
    assert outcome.exit_code == 0 and "10 tasks" in outcome.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "NoSuchEnv-v0", "--agent", "wpl"), "NoSuchEnv"),
        (("train", DIGITS, "--agent", "wlp"), "Did you mean 'wpl'"),
        (("train", DIGITS, "--agent", "wpl", "--env-kwargs", "{rho}"), "is not JSON"),
        (("train", DIGITS, "--agent", "wpl", "--env-kwargs", "[1]"), "must be a JSON object"),
        (("train", DIGITS, "--agent", "wpl", "--env-kwargs", '{"rho": 99}'), "rho=99"),
        (("train", DIGITS, "--agent", "wpl", "--env-kwargs", '{"roh": 1}'), "roh"),
        (("train", DIGITS, "--agent", "wpl", "--env-kwargs", '{"learning_rate": 1e38}'), "Training diverged"),
        (("compare", DIGITS, "--agents", "wpl,wpl"), "each agent once"),
        (("train", DIGITS, "--agent", "sac"), "'sac' chooses actions in a Box space only"),
        (("train", DIGITS, "--agent", "ars"), "'ars' takes flat observations only"),
        (("compare", DIGITS, "--agents", "wpl,nobody"), "no agent 'nobody'"),
        (("compare", DIGITS, "--agents", ""), "--agents='' names no agent"),
        (("transfer", DIGITS, "--agents", ","), "--agents=',' names no agent"),
        (("train", DIGITS, "--agent", "wpl", "--steps", 10**30), "it takes a finite number, 1 or more, 1e+15 or less"),
        (("evaluate",), "no run in"),
    ],
)
def test_user_errors_print_a_message_and_exit_with_1(tmp_path, arguments, message):
    where = ("--out", tmp_path / "run", "--steps", 3000, "--num-envs", 8) if arguments[0] != "evaluate" else (tmp_path,)
    command, *given = arguments
    outcome = call(command, *where, *given)
    assert outcome.exit_code == 1
    assert message in outcome.output
    assert "Traceback" not in outcome.output


def test_missing_data_prints_the_download_command(tmp_path, monkeypatch):
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    outcome = call("train", "MTLRouting-MNIST-v0", "--agent", "wpl", "--out", tmp_path / "run")
    assert outcome.exit_code == 1
    assert "mtl-gym data get mnist" in outcome.output


SENTENCES = [
    (["--agent-kwargs", '{"foo": 1}'], "error: Agent 'wpl' has no argument 'foo'. It takes weighting, "),
    (["--agent-kwargs", '{"seed": 1}'], "error: Agent 'wpl' receives 'seed' "),
    (["--env-kwargs", '{"hidden": "16"}'], "error: RoutingVectorEnv: hidden='16' is not possible; it takes a whole"),
    (["--env-kwargs", '{"hiden": 16}'], "error: RoutingVectorEnv has no option 'hiden'. Did you mean 'hidden'?"),
]


@pytest.mark.parametrize(("arguments", "sentence"), SENTENCES)
def test_train_prints_one_line_about_invalid_arguments(tmp_path, arguments, sentence):
    out = call("train", DIGITS, "--agent", "wpl", "--out", tmp_path / "run", "--quiet", *arguments)
    assert out.exit_code == 1 and isinstance(out.exception, SystemExit)
    assert out.output.startswith(sentence) and out.output.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_train_prints_one_line_about_arguments_that_only_the_factory_refuses(tmp_path):
    arguments = ["--agent", "random", "--agent-kwargs", '{"foo": 1}', "--out", tmp_path / "run", "--quiet"]
    out = call("train", DIGITS, *arguments)
    assert out.exit_code == 1 and isinstance(out.exception, SystemExit)
    assert re.match("error: .*no argument 'foo'.*verbose", out.output) and out.output.count("\n") == 1


def test_train_refuses_an_environment_of_another_package(tmp_path):
    out = call("train", "CartPole-v1", "--agent", "ppo", "--out", tmp_path / "run", "--quiet")
    assert out.exit_code == 1 and isinstance(out.exception, SystemExit)
    assert "'CartPole-v1'" in out.output and "`mtl-gym list`" in out.output


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("{wpl: , ppo: {agent_kwargs: {n_step: 8}}}", "error: Agent 'ppo' has no argument 'n_step'. Did you mean "),
        ("{wpl: , ppo: {env_kwargs: {rho: 1e-1}}}", "error: RoutingVectorEnv: rho='1e-1' is not possible; it takes a "),
        ("{wpl: {env_kwargs: {on: 2}}}", "error: RoutingVectorEnv has no option True."),
        ("{wpl: {agent_kwargs: {1: 2}}}", "error: Agent 'wpl' has no argument 1."),
    ],
)
def test_compare_prints_invalid_arguments_once_before_any_run(tmp_path, file, sentence):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"env: {DIGITS}\nsteps: 300\nseeds: 2\nagents: {file}\n")
    out = call("compare", "--settings", settings, "--out", tmp_path / "out", "--quiet")
    assert out.exit_code == 1 and isinstance(out.exception, SystemExit)
    assert out.output.startswith(sentence) and out.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_options_of_an_agent_are_checked_together_with_those_of_the_settings():
    runs = [RunSettings("MTLScheduling-Digits-v0", "gradnorm", 1, env_kwargs={"gradient_norms": True})]
    assert check(runs) is runs


def test_evaluate_prints_one_line_about_an_unknown_split(tmp_path):
    train(settings("shared", steps=1), tmp_path / "run")
    out = call("evaluate", tmp_path / "run", "--split", "dev")
    assert out.exit_code == 1 and isinstance(out.exception, SystemExit)
    assert out.output.startswith("error: split='dev'") and "'validation'" in out.output


@pytest.mark.parametrize(("steps", "rows", "rollout"), [(12, 2, 8), (1, 1, 2), (10_000, 4, 2048), (257, 1, 256)])
def test_a_rollout_is_no_longer_than_the_training(steps, rows, rollout):
    run = settings("ppo", steps=steps, num_envs=rows)
    agent = run.make_agent(run.make_env())
    assert agent.n_steps * agent.n_envs == rollout and rollout % agent.batch_size == 0


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
@pytest.mark.parametrize("name", ["dqn", "qr-dqn"])
def test_value_learners_keep_one_gradient_step_per_4_decisions(name, rows):
    settings = RunSettings(DIGITS, name, 500, num_envs=rows, agent_kwargs={"buffer_size": 1000})
    agent = settings.make_agent(settings.make_env())
    decisions = rows * agent.train_freq.frequency
    assert decisions / agent.gradient_steps == (3 if rows == 3 else 4)
    given = replace(settings, agent_kwargs={"buffer_size": 1000, "train_freq": 5, "gradient_steps": 2})
    agent = given.make_agent(given.make_env())
    assert (agent.train_freq.frequency, agent.gradient_steps) == (5, 2)


def test_extras_change_no_result(tmp_path):
    settings = RunSettings(DIGITS, "wpl", 320, num_envs=16)
    whole = train(settings, tmp_path / "whole")
    bare = train(settings, tmp_path / "bare", extras=Extras(evaluations=0, events=False, pictures=False))
    few = train(settings, tmp_path / "few", extras=Extras(evaluations=2))
    assert whole.per_task == bare.per_task == few.per_task and bare.cpu_seconds > 0
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {
        *("config.json", "result.json", "agent.pt", "environment.pt", "policies.npz")
    }
    lines = [(tmp_path / name / "progress.csv").read_text().splitlines()[1:] for name in ("whole", "few")]
    assert (len(lines[0]), len(lines[1])) == (10, 2)
