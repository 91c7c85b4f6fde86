"""Recorded policies of a run, and pictures drawn from its files."""

import csv
import shutil

import numpy as np
import pytest
from mtl_agents import WPL, RandomFixed
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.policies import PolicyHistory
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.lab import cli
from mtl_gym.lab.callbacks import PolicyRecorder, moments
from mtl_gym.lab.curves import read_curve
from mtl_gym.lab.pictures import draw_curves, redraw
from mtl_gym.lab.run import RunSettings, train
from tests.lab.report.conftest import write_run

DIGITS = "MTLRouting-Digits-v0"
PNG = b"\x89PNG"


def settings(agent="wpl", **changes):
    return RunSettings(**{"env_id": DIGITS, "agent": agent, "steps": 600, "num_envs": 16} | changes)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Train a run of WPL."""
    out = tmp_path_factory.mktemp("original") / "run"
    train(settings(), out)
    return out


@pytest.fixture
def run(original, tmp_path):
    """Copy the trained run, so that a test can change it."""
    return shutil.copytree(original, tmp_path / "run")


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def learned(callback=None, agent=WPL, steps=960):
    env = make_vec_env(DIGITS, 16)
    callback = callback and callback(env.batched, steps)
    return agent(env, seed=0).learn(steps, callback=callback), callback


def test_moments_are_dense_at_the_start_and_sparse_later():
    assert moments(50) == list(range(1, 51))
    many = moments(100_000)
    assert 150 <= len(many) <= 200 and many[:4] == [1, 3, 4, 5] and many[-1] == 100_000
    gaps = np.diff(many)
    assert gaps[-1] > 50 * gaps[0] and gaps.min() == 1


def test_a_history_starts_with_the_uniform_policy_and_ends_with_the_learned_one():
    agent, callback = learned(PolicyRecorder)
    history = callback.history()
    assert history.decisions.tolist() == list(range(0, 961, 16))
    assert (history.policy[0] == np.float32(1 / 11)).all()
    np.testing.assert_array_equal(history.policy[-1], agent.policy.astype(np.float32))
    assert (history.policy[1:].max((1, 2, 3)) > 1 / 11).any()


def test_samples_are_finished_episodes_of_each_task():
    agent, callback = learned(PolicyRecorder)
    samples = callback.history().samples
    assert samples.sum(1).tolist() == [step // 3 * 16 for step in range(61)]  # three decisions each, in step
    assert samples[-1].sum() == agent.env.batched.episodes
    assert (np.diff(samples, axis=0) >= 0).all()


def test_recording_a_history_does_not_change_the_training():
    with_history, without = learned(PolicyRecorder)[0], learned()[0]
    assert (with_history.policy == without.policy).all()
    networks = [agent.env.batched.network.state_dict() for agent in (with_history, without)]
    assert all((networks[0][key] == networks[1][key]).all() for key in networks[0])


def test_an_agent_without_a_table_has_no_history():
    assert learned(PolicyRecorder, RandomFixed, 96)[1].history() is None


def test_diagnostics_are_means_of_largest_probability_and_entropy_over_valid_choices():
    agent = learned(steps=16)[0]
    agent.policy[:] = 1 / 11
    agent.valid[:] = True
    assert agent.diagnostics == {"policy_max": pytest.approx(1 / 11), "policy_entropy": pytest.approx(np.log(11))}
    agent.valid[:, 4:] = False
    assert agent.diagnostics == {"policy_max": pytest.approx(0.25), "policy_entropy": pytest.approx(np.log(4))}
    agent.policy[:5] = np.eye(11)[0]
    half = {"policy_max": pytest.approx((1 + 0.25) / 2), "policy_entropy": pytest.approx(np.log(4) / 2)}
    assert agent.diagnostics == half


def test_progress_has_the_diagnostics_of_the_policy(original):
    progress = rows(original / "progress.csv")
    assert 1 / 11 < float(progress[0]["policy_max"]) < float(progress[-1]["policy_max"]) < 1
    assert np.log(11) > float(progress[0]["policy_entropy"]) > float(progress[-1]["policy_entropy"]) > 0
    assert float(progress[-1]["epoch"]) == pytest.approx(38 // 3 * 16 / 10790, rel=1e-6)


def test_progress_has_empty_diagnostics_for_agents_without_them(tmp_path):
    train(settings("random-fixed", steps=96), tmp_path)
    assert {(row["policy_max"], row["policy_entropy"]) for row in rows(tmp_path / "progress.csv")} == {("", "")}


def test_a_run_writes_its_policies_and_their_picture(original):
    history = PolicyHistory.read(original / "policies.npz")
    assert history.policy.shape == (39, 10, 3, 11)  # the start, and 38 steps of 16 decisions
    assert (original / "policies.png").read_bytes().startswith(PNG)


def test_figures_redraws_a_run(run):
    (run / "policies.png").unlink()
    outcome = call("figures", run, "--block", 7)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.split() == ["wrote", f"{run}/policies.png", "wrote", f"{run}/block-7.png"]
    assert call("figures", run, "--block", 10, "--depth", 1).exit_code == 0
    for name in ("policies", "block-7", "policies-depth-1", "block-10-depth-1"):
        assert (run / f"{name}.png").read_bytes().startswith(PNG)


def test_compare_draws_learning_curves_and_figures_redraws_them(tmp_path):
    options = ("--seeds", 1, "--steps", 300, "--num-envs", 16, "--out", tmp_path)
    outcome = call("compare", DIGITS, "--agents", "wpl,random-fixed", *options)
    assert outcome.exit_code == 0, outcome.output
    assert f"learning curves, validation split: {tmp_path}/learning_curves.png" in outcome.output
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(PNG)
    (tmp_path / "learning_curves.png").unlink()
    outcome = call("figures", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    drawn = [f"{tmp_path}/learning_curves.png", f"{tmp_path}/wpl/seed-0/policies.png"]
    assert outcome.output.split()[1::2] == drawn
    assert (tmp_path / "learning_curves.png").read_bytes().startswith(PNG)


def test_a_comparison_without_tables_has_no_picture_of_a_block(tmp_path):
    train(settings("random-fixed", steps=96), tmp_path / "random-fixed" / "seed-0")
    assert call("figures", tmp_path).exit_code == 0
    outcome = call("figures", tmp_path, "--block", 1)
    assert outcome.exit_code == 1 and "has policies.npz" in outcome.output


def test_a_curve_is_read_from_progress_with_or_without_epochs(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text("steps,epoch,accuracy\n100,0.5,0.25\n200,1.0,0.75\n")
    curve = read_curve(path)
    assert (curve.decisions.tolist(), curve.epochs.tolist(), curve.figure.tolist()) == (
        [100, 200], [0.5, 1.0], [25, 75],
    )  # fmt: skip
    path.write_text("steps,epoch,accuracy,figure\n100,0.5,0.25,-3.5\n")
    assert read_curve(path).figure.tolist() == [-3.5]
    path.write_text("steps,accuracy\n100,0.25\n")
    assert np.isnan(read_curve(path).epochs).all()


@pytest.mark.parametrize("text", ["", "steps,accuracy\n", "accuracy\n0.5\n", "steps,accuracy\n100,\n", "steps\nmany\n"])
def test_errors_name_damaged_progress(tmp_path, text):
    (tmp_path / "progress.csv").write_text(text)
    with pytest.raises(CheckpointError, match=r"progress\.csv cannot be read"):
        read_curve(tmp_path / "progress.csv")


def remove(name):
    return lambda run: (run / name).unlink()


def damage(name):
    return lambda run: (run / name).write_bytes(b"nonsense\xff")


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (remove("policies.npz"), (), "has no policies.npz: either 'wpl'"),
        (damage("policies.npz"), (), "policies.npz cannot be read"),
        (remove("result.json"), (), "is not finished"),
        (damage("result.json"), (), "result.json cannot be read"),
        (remove("config.json"), (), "neither a finished run nor a comparison"),
        (remove("agent.pt"), ("--block", 11), "There is no block 11: choices are 0 to 10"),
        (remove("agent.pt"), ("--depth", 3), "There is no depth 3"),
    ],
)
def test_user_errors_print_a_message_and_exit_with_1(run, change, arguments, message):
    change(run)
    outcome = call("figures", run, *arguments)
    assert outcome.exit_code == 1
    assert message in outcome.output.replace("\n", " ")


def test_an_error_in_a_comparison_names_the_run_with_damaged_progress(run):
    run = shutil.copytree(run, run.parent / "out" / "wpl" / "seed-0")
    damage("progress.csv")(run)
    outcome = call("figures", run.parent.parent)
    assert outcome.exit_code == 1
    assert f"{run / 'progress.csv'} cannot be read" in outcome.output


def test_runs_without_progress_are_skipped_in_the_curves(run, tmp_path, caplog):
    """Remove the progress of a run, as agents that call no callbacks have none."""
    first, second = tmp_path / "out" / "wpl" / "seed-0", tmp_path / "out" / "wpl" / "seed-1"
    shutil.copytree(run, first)
    shutil.copytree(run, second)
    remove("progress.csv")(second)
    assert draw_curves([first, second], "title", tmp_path) == tmp_path / "learning_curves.png"
    assert f"progress.csv: {second}." in caplog.text
    assert draw_curves([second], "title", tmp_path) is None
    remove("progress.csv")(first)
    outcome = call("figures", tmp_path / "out")
    assert outcome.exit_code == 1 and "has a progress.csv" in outcome.output


def test_curves_of_another_experiment_are_skipped(tmp_path):
    for seed, instance in enumerate((0, 0, 1)):
        write_run(tmp_path, "wpl", seed, 0.5, [0.4, 0.5], env_kwargs={"data_kwargs": {"instance": instance}})
    told = []
    assert redraw(tmp_path, tell=told.append) == [tmp_path / "learning_curves.png"]
    (skipped,) = told
    assert skipped.startswith(
        "Skipped in the learning curves: wpl, seed 2: it has env_kwargs.data_kwargs={'instance': 1}"
    )
