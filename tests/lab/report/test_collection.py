"""Collection of finished runs and of the reasons why others failed."""

import csv
import json

import pytest

from mtl_gym.lab.report.collection import read_comparisons, write_results

from .conftest import PATHS, write_failure, write_run


def test_a_folder_is_one_comparison_or_holds_several(comparison):
    (one,) = read_comparisons(comparison)
    assert (one.name, one.env_id, one.agents) == ("paths", PATHS, ["oracle", "random-fixed", "wpl"])
    assert len(one.runs) == 9 and not one.failures
    write_run(comparison.parent / "other", "wpl", 0, 0.5, env_id="MTLRouting-MNIST-v0")
    assert [(c.name, len(c.runs)) for c in read_comparisons(comparison.parent)] == [("other", 1), ("paths", 9)]


def test_a_run_is_named_after_its_folder(comparison):
    (comparison / "wpl").rename(comparison / "my-wpl")
    (one,) = read_comparisons(comparison)
    result = next(run.result for run in one.runs if run.result.settings.agent == "wpl")
    assert result.settings.name == "my-wpl"


def test_runs_without_a_result_have_an_error(comparison):
    write_failure(comparison, "ppo", 0, "Training diverged.")
    (comparison / "ppo" / "seed-1").mkdir()
    (comparison / "ppo" / "seed-1" / "config.json").write_text("{}")
    (comparison / "ppo" / "seed-2").mkdir()
    (comparison / "ppo" / "seed-2" / "error.json").write_text("{")
    (comparison / "wpl" / "seed-2" / "result.json").write_text('{"accuracy": ')
    nan = comparison / "wpl" / "seed-1" / "result.json"
    nan.write_text(json.dumps(json.loads(nan.read_text()) | {"accuracy": float("nan")}))
    (one,) = read_comparisons(comparison)
    told = {(failure.agent, failure.seed): failure.error for failure in one.failures}
    assert told["ppo", "0"] == "Training diverged."
    assert "no result.json" in told["ppo", "1"]
    assert "ppo/seed-2/error.json" in told["ppo", "2"]
    assert "wpl/seed-2/result.json" in told["wpl", "2"]
    assert "accuracy=nan" in told["wpl", "1"] and "1 or less" in told["wpl", "1"]
    assert len(one.runs) == 7 and len(told) == 5
    assert not any(str(comparison) in error for error in told.values())


def test_runs_of_another_experiment_are_excluded_with_the_difference(comparison):
    write_run(comparison, "wpl", 3, 0.2, env_id=PATHS, env_kwargs={"instance": 7})
    (one,) = read_comparisons(comparison)
    assert [run.result.settings.seed for run in one.runs if run.result.settings.name == "wpl"] == [0, 1, 2]
    (excluded,) = one.failures
    assert excluded.error == "It has env_kwargs.instance=7; the compared runs of wpl have no env_kwargs.instance."


def test_a_run_that_finished_after_a_failure_counts_as_finished(comparison):
    write_failure(comparison, "wpl", 0, "Interrupted.")
    assert not read_comparisons(comparison)[0].failures


def test_results_csv_has_a_line_per_run_and_failures_with_their_error(comparison):
    write_failure(comparison, "ppo", 0, "Training, diverged.")
    write_results(read_comparisons(comparison), comparison / "results.csv")
    lines = list(csv.DictReader((comparison / "results.csv").read_text().splitlines()))
    assert len(lines) == 10
    wpl = next(line for line in lines if (line["name"], line["seed"]) == ("wpl", "1"))
    assert (wpl["comparison"], float(wpl["accuracy"]), float(wpl["accuracy/two"])) == ("paths", 0.7, 0.75)
    assert wpl["error"] == ""
    assert (lines[-1]["name"], lines[-1]["accuracy"], lines[-1]["error"]) == ("ppo", "", "Training, diverged.")


def test_invalid_folders_raise(comparison, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        read_comparisons(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no finished run"):
        read_comparisons(comparison / "wpl" / "seed-0")
    write_failure(tmp_path / "failed", "wpl", 0, "No.")
    with pytest.raises(FileNotFoundError, match="no finished run"):
        read_comparisons(tmp_path / "failed")
    write_run(comparison, "lrn", 0, 0.5, env_id="MTLLimitless-Digits-v0")
    with pytest.raises(
        ValueError, match=r"one environment.*MTLLimitless-Digits-v0 with the tasks one, two; MTLRouting"
    ):
        read_comparisons(comparison)
