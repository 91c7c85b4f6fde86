"""Pictures of networks and of runs, and the command line on limitless routing."""

import csv
import json

import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.families.limitless import render
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.families.limitless.figures import Course, accuracy_and_unused
from mtl_gym.families.limitless.usage import ModuleUsage
from mtl_gym.lab import cli
from mtl_gym.lab.files import read_progress

DIGITS = "MTLLimitless-Digits-v0"
NAMES = ["conv", "fc", "head"]


def used():
    """Three networks of task 0 are conv, fc, head; one of task 1 is conv, head."""
    usage = ModuleUsage(tasks=2, modules=3)
    usage.add(np.array([0, 0, 0, 1]), np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 2, -1]]))
    return usage


def call(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_usage_counts_modules_and_successions():
    usage = used()
    assert usage.taken.tolist() == [[3, 3, 3], [1, 0, 1]]
    assert usage.edges.tolist() == [[0, 3, 1], [0, 0, 3], [0, 0, 0], [4, 0, 0]]


def test_width_of_arrows_is_share_of_networks():
    usage = used()
    figure = render.networks(usage.edges, usage.taken, ["a", "b"], NAMES, "title")
    graph, heat = figure.axes
    widths = sorted(note.arrow_patch.get_linewidth() for note in graph.texts if getattr(note, "arrow_patch", None))
    np.testing.assert_allclose(widths, [0.4 + 7 * share for share in (0.25, 0.75, 0.75, 1.0)])
    np.testing.assert_allclose(heat.collections[0].get_array(), [[1, 1, 1], [1, 0, 1]])
    assert figure.get_suptitle() == "title"


def test_counts_of_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) .*\(4, 3\) .*1 tasks"):
        render.ansi(used().edges, used().taken, ["a"], NAMES)


def test_accuracy_and_unused_modules_are_drawn_from_progress_file(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text("steps,epoch,accuracy,modules_unused\n10,0.5,0.8,7\n20,1.0,0.9,4\n")
    course = Course.of(read_progress(path, LimitlessVectorEnv.CURVES))
    figure = accuracy_and_unused({"lrn": [course, course]}, "title")
    accuracy, unused = figure.axes
    assert accuracy.lines[0].get_xydata().tolist() == [[0.5, 80.0], [1.0, 90.0]]
    assert unused.lines[0].get_xydata().tolist() == [[0.5, 7.0], [1.0, 4.0]]
    many = accuracy_and_unused({f"agent {number}": [course] for number in range(12)})
    looks = [(line.get_color(), line.get_linestyle()) for line in many.axes[1].lines]
    assert len(set(looks)) == 12 and len(many.legends[0].get_texts()) == 12
    path.write_text("steps,epoch,accuracy,blocks_used\n10,0.5,0.8,7\n")
    assert "modules_unused" not in read_progress(path, LimitlessVectorEnv.CURVES)
    path.write_text("steps,epoch,accuracy,modules_unused\n10,0.5,none,7\n")
    with pytest.raises(CheckpointError, match=r"progress\.csv cannot be read"):
        read_progress(path, LimitlessVectorEnv.CURVES)
    with pytest.raises(ValueError, match=r"'lrn'.* evaluations"):
        accuracy_and_unused({"lrn": [course, Course(*np.ones((3, 1)))]})


@pytest.mark.slow
def test_all_agents_are_compared_and_evaluated_from_checkpoints(tmp_path):
    small = json.dumps({"duplicates": 2, "filters": 4, "hidden": 16})
    outcome = call(
        "compare", DIGITS, "--agents", "maskable-ppo,random,random-fixed,a2c", "--seeds", 2, "--steps", 400,
        "--num-envs", 32, "--env-kwargs", small, "--control", "random", "--out", tmp_path, "--quiet",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    assert "accuracy minus that of random, paired" in outcome.output
    assert "networks.png" in outcome.output
    assert matplotlib.image.imread(tmp_path / "accuracy_and_unused.png").ndim == 3
    with (tmp_path / "random" / "seed-0" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(int(row["blocks_used"]) + int(row["modules_unused"]) == 12 for row in rows)
    assert call("evaluate", tmp_path / "random-fixed" / "seed-1").exit_code == 0
    outcome = call("compare", DIGITS, "--agents", "random", "--control", "wpl", "--out", tmp_path / "other")
    assert outcome.exit_code == 1 and "--control 'wpl'" in outcome.output


@pytest.mark.slow
def test_run_of_lrn_is_evaluated_from_its_folder(tmp_path):
    router = json.dumps({"d_model": 16, "heads": 2, "feed_forward": 32, "n_steps": 8})
    outcome = call(
        "train", DIGITS, "--agent", "lrn", "--steps", 512, "--num-envs", 32, "--agent-kwargs", router,
        "--env-kwargs", '{"duplicates": 2}', "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    outcome = call("evaluate", tmp_path / "run")
    assert outcome.exit_code == 0 and f"{100 * result['accuracy']:.2f}" in outcome.output
