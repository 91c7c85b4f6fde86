"""The examples run as their readers would run them, and the pages of the documentation say what their code prints."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import matplotlib.image
import pytest
import yaml
from stable_baselines3 import DQN, PPO

import mtl_gym
from mtl_gym.data import data_root
from mtl_gym.lab.run import RunSettings, train
from mtl_gym.registration import registered_ids
from tests.conftest import has_data

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINKING = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
SLOW = ("index", "schedule", "compare-and-publish")  # pages that train for longer than five seconds
WITH_DATA = {"routing-grouped-cifar": "MTLRouting-GroupedCIFAR-v0"}  # pages that need the data of an id
RUNNABLE = [
    pytest.param(page, marks=[pytest.mark.slow] if page.stem in SLOW else [])
    for page in PAGES
    if page.stem not in WITH_DATA or has_data(WITH_DATA[page.stem])
]
PYTHON_AND_OUTPUT = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run(example: str, folder: Path, *arguments: str, timeout: int = 120) -> str:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example), *arguments]
    result = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=timeout
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_quickstart_compares_two_agents_and_draws_a_map(tmp_path: Path) -> None:
    printed = run("quickstart.py", tmp_path, "--steps", "1000", "--num-envs", "32")
    assert re.search(r"^task +WPL +RandomFixed$", printed, re.MULTILINE)
    assert re.search(r"^digit 9( +\d+\.\d){2}$", printed, re.MULTILINE)
    assert re.search(r"^mean( +\d+\.\d\d){2}$", printed, re.MULTILINE)
    assert matplotlib.image.imread(tmp_path / "routing_map.png").ndim == 3


@pytest.mark.slow
def test_three_sb3_algorithms_route_and_are_evaluated(tmp_path: Path) -> None:
    sizes = ("--rollout", "12", "--batch-size", "96", "--steps", "192", "--dqn-steps", "60", "--num-envs", "8")
    printed = run("sb3_router.py", tmp_path, *sizes)
    for algorithm, decisions in (("PPO", 192), ("MaskablePPO", 192), ("DQN", 60)):
        line = rf"^{algorithm} +{decisions} +\d+ +\d+\.\d\d +(\d+\.\d+|nan) +\d+$"
        assert re.search(line, printed, re.MULTILINE), printed


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_the_zoos_hyperparameters_fit_the_environments(algorithm: type[PPO | DQN]) -> None:
    path = ROOT / "examples" / "zoo" / f"{algorithm.__name__.lower()}.yml"
    entries = yaml.safe_load(path.read_text())
    own = {env_id for env_id in registered_ids() if env_id.startswith("MTL")}
    assert set(entries) == own if algorithm is PPO else set(entries) < own
    at_hand = [
        env_id for env_id in entries if "-Digits-" in env_id or (mtl_gym.card(env_id).oracle and has_data(env_id))
    ]
    for env_id in at_hand:
        fields = {name: value for name, value in entries[env_id].items() if name not in ("n_timesteps", "n_envs")}
        env = gym.make(env_id, **fields.pop("env_kwargs", {}))
        algorithm(fields.pop("policy"), env, **fields)


@pytest.mark.slow
def test_own_tables_blocks_and_reward_make_an_environment(tmp_path: Path) -> None:
    printed = run("own_data_and_blocks.py", tmp_path, "--epochs", "1")
    assert "'three-tables', 3 tasks, classes (3, 3, 2), input [30] float32" in printed
    assert re.search(r"^breast cancer +113 +\d+\.\d +\d+\.\d+ +\[\d, \d, \d\]$", printed, re.MULTILINE)
    assert (tmp_path / "routing_map.png").is_file()


@pytest.mark.slow
def test_frames_folders_and_datasets_of_ones_own_are_read(tmp_path: Path) -> None:
    printed = run("data_from_files.py", tmp_path, "--epochs", "1", "--folder", "files")
    assert "MultiTaskDataset('digits', 3 tasks, classes (2, 2, 2), input [64] float32" in printed
    assert "MultiTaskDataset('groups', 2 tasks, classes (4, 3), input [3, 8, 8] uint8" in printed
    assert "MultiTaskDataset('each', 10 tasks, classes 2, input [3, 8, 8] uint8" in printed
    assert re.search(r"^round +\d+ +\d+\.\d   \[\d, \d\]$", printed, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(not has_data("MTLRouting-CIFAR-v0"), reason="CIFAR-100's files are not there")
def test_heads_are_routed_over_features_of_an_encoder_trained_on_other_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in data_root().glob("cifar*"):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv("MTL_GYM_DATA", str(tmp_path))
    printed = run("frozen_features.py", tmp_path, "--images", "256", "--epochs", "1", timeout=1200)
    assert re.search(r"^Wrote .*cifar-half-\w{8}\.npz: \d+ KiB$", printed, re.MULTILINE)
    for name, width in (("patches", 400), ("cifar-half", 128)):
        assert re.search(rf"^{name} +{width} +\d+\.\d +[\d,]+ +\d+\.\d$", printed, re.MULTILINE), printed


@pytest.mark.slow
def test_hidden_groups_are_recommended_beside_the_oracle(tmp_path: Path) -> None:
    printed = run("which_tasks_share.py", tmp_path, "--id", "MTLRouting-Groups-v0", "--samples", "640")
    assert re.search(r"^grouped +\d+ +\d+\.\d\d +\d+\.\d\d \[", printed, re.MULTILINE)
    assert re.search(r"^These are (not )?the true groups. .* the oracle reaches \d+\.\d\d%\.$", printed, re.MULTILINE)
    printed = run("which_tasks_share.py", tmp_path, "--data", "digits", "--samples", "64", "--fresh", "2")
    assert "digits, 40 of each class, 10 tasks" in printed
    assert len(re.findall(r"^seeds 10 to 11, .*: \d+\.\d\d%", printed, re.MULTILINE)) == 4


@pytest.mark.slow
def test_routing_overlap_prints_a_correlation_per_agent_and_seed(tmp_path: Path) -> None:
    printed = run(
        "routing_overlap.py", tmp_path, "--dials", "0", "1", "--seeds", "1", "--steps", "224", "--num-envs", "8"
    )
    for agent in ("straight-through", "random-fixed"):
        assert len(re.findall(rf"^{agent} +[01]\.00 +0 +\d+\.\d$", printed, re.MULTILINE)) == 2, printed
        assert re.search(rf"^{agent} +0 +([+-]\d\.\d\d|nan) ", printed, re.MULTILINE), printed


@pytest.mark.slow
def test_clinical_sharing_prints_accuracies_of_every_fold(tmp_path: Path) -> None:
    printed = run("clinical_sharing.py", tmp_path, "--seeds", "2", "--steps", "192", "--num-envs", "8")
    assert len(re.findall(r"^([01]) +\1( +\d+\.\d){3}$", printed, re.MULTILINE)) == 2, printed
    assert re.search(r"^phenotypes minus mixed: [+-]\d+\.\d \[", printed, re.MULTILINE), printed


def test_the_table_of_alignment_has_a_line_for_each_method(tmp_path: Path) -> None:
    sizes = ("--seeds", "2", "--generations", "3", "--final", "1", "--iterations", "3")
    printed = run("alignment_table.py", tmp_path, "--data", "generated-linear", "--picture", "seen", *sizes)
    for method, modules in (("single task", 30), ("classical sharing", 1), ("MUiR, oracle", 3)):
        line = rf"^\| {method} +\| \d \| \d\.\d{{3}} ± \d\.\d{{3}} \| \d\.\d{{3}} \| {modules} {modules} "
        assert re.search(line, printed, re.MULTILINE), printed
    assert matplotlib.image.imread(tmp_path / "seen-generated-linear-assignment.png").ndim == 3


def test_what_alignments_rewards_pay_for_has_a_line_for_each_agent(tmp_path: Path) -> None:
    sizes = ("--data", "generated-linear", "--seeds", "2", "--generations", "2")
    printed = run("alignment_rewards.py", tmp_path, *sizes)
    assert printed.startswith("| who | return, validation | return, training | test RMSE |\n")
    for who in ("nobody challenges", "random proposals", "MUiR"):
        assert re.search(rf"^\| {who}( \| -?\d+\.\d{{3}} ± \d+\.\d{{3}}){{3}} \|$", printed, re.MULTILINE), printed


@pytest.mark.slow
def test_finished_runs_of_alignment_have_losses_sizes_and_weights(tmp_path: Path) -> None:
    options = {"data": "generated-linear", "iterations": 5, "generations": 3, "final_generations": 0}
    for seed in (0, 1):
        settings = RunSettings("MTLAlignment-Linear-v0", "decomposed-ea", 3, seed, 1, options)
        train(settings, tmp_path / "runs" / "muir" / f"seed-{seed}")
    printed = run("alignment_runs.py", tmp_path, "runs")
    line = r"^\| muir \| \d+\.\d\d ± \d+\.\d\d \| \d+\.\d\d ± \d+\.\d\d \| \d+ \| \d+ of 30 \| 2 \|$"
    assert re.search(line, printed, re.MULTILINE), printed
    printed = run("alignment_runs.py", tmp_path, "runs", "--weights", "muir")
    for weights in ("modules", "contexts", "maps"):
        assert len(re.findall(rf"^\| seed-[01] \| {weights} \| \d+ / \d+ \|", printed, re.MULTILINE)) == 2, printed


@pytest.mark.slow
def test_the_growth_of_alignment_is_printed_and_drawn(tmp_path: Path) -> None:
    printed = run("alignment_growth.py", tmp_path, "--locations", "10", "40", "--runs", "5", "--limit", "5000")
    times = re.search(r"^\| D = L, proportional \| (\d+) \| (\d+) \|", printed, re.MULTILINE)
    slow = re.search(r"^\| D = 1, proportional \| ([\d,]+) \| ([\d,]+) \|", printed, re.MULTILINE)
    assert times and slow and int(times[2]) < 20 < int(slow[2].replace(",", ""))
    assert matplotlib.image.imread(tmp_path / "alignment_growth.png").ndim == 3


@pytest.mark.slow
@pytest.mark.skipif(not has_data("MTLAlignment-CrossModal-v0"), reason="cross-modal's files are not there")
def test_cross_modal_tasks_alone_and_together_are_lines_of_a_table(tmp_path: Path) -> None:
    sizes = ("--generations", "1", "--iterations", "1", "--seeds", "2", "--methods", "baseline", "all")
    tuning = ("--rates", "0.001", "0.005", "--tuning-generations", "1")
    printed = run("alignment_cross_modal.py", tmp_path, *sizes, *tuning, "--picture", "seen")
    error, squared, rate = r"\d+\.\d ± \d+\.\d", r"\d\.\d{3} ± \d\.\d{3}", r"0\.00[15]"
    assert "| largest class, unigram, mean | each | - | 95.0 | 109.7 | 1.022 | - |" in printed
    assert re.search(rf"^\| baseline \| text \| {rate} \| - \| {error} \| - \| 64 of 64 \|$", printed, re.MULTILINE)
    line = rf"^\| all \| vision \+ text \+ dna \| {rate} \| {error} \| {error} \| {squared} \| \d+ of 297 \|$"
    assert re.search(line, printed, re.MULTILINE), printed
    assert matplotlib.image.imread(tmp_path / "seen-all-vision-text-dna-sharing.png").ndim == 3
    sizes = ("--generations", "1", "--iterations", "1", "--seeds", "1", "--methods", "baseline", "--rates", "0.001")
    printed = run("alignment_cross_modal.py", tmp_path, *sizes, "--vision", "wide-resnet", "--tasks", "vision")
    assert re.findall(r"^\| baseline \| (\w+) .* (\d+) of \d+ \|$", printed, re.MULTILINE) == [("vision", "378")]


def accuracies_and_shares(printed: str, schedule: str) -> tuple[list[float], list[int]]:
    """Of the four tasks, in a line of the learned schedule's table, in %."""
    line = next(line for line in printed.splitlines() if line.startswith(f"{schedule}  "))
    cells = re.findall(r"(\d+\.\d) \( ?(\d+)\)", line)
    return [float(right) for right, _ in cells], [int(share) for _, share in cells]


@pytest.mark.slow
def test_a_learned_schedule_is_better_than_uniform_for_the_known_reason(tmp_path: Path) -> None:
    printed = run("learned_schedule.py", tmp_path, timeout=3000)
    assert (tmp_path / "schedule.png").is_file()
    table = {
        name: accuracies_and_shares(printed, name)
        for name in ("parity alone", "pattern, then parity", "best plan known", "uniform", "qls-paper")
    }
    assert table["pattern, then parity"][0][1] > table["parity alone"][0][1] + 20
    assert sum(table["best plan known"][0][:3]) > sum(table["qls-paper"][0][:3]) > sum(table["uniform"][0][:3]) + 9
    assert table["qls-paper"][1][3] <= 10
    decisions = {
        name: [int(share) for share in shares.split()]
        for name, shares in re.findall(r"^(pattern|parity) +((?:\d+ *)+)$", printed, re.MULTILINE)
    }
    first, second = (
        sum(step * share for step, share in enumerate(decisions[name])) / sum(decisions[name])
        for name in ("pattern", "parity")
    )
    assert first < second


def blocks(page: Path) -> Iterator[tuple[str, str | None]]:
    """The Python blocks of a page, each with the text block below it; on the lines that they have in the page."""
    text = page.read_text(encoding="utf-8")
    for match in PYTHON_AND_OUTPUT.finditer(text):
        yield "\n" * text.count("\n", 0, match.start(1)) + match[1], match[2]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for code, expected in blocks(page):
        exec(compile(code, str(page), "exec"), namespace)
        printed = capsys.readouterr().out
        if expected is None:
            assert printed == "", f"{page.name} does not show what this prints:\n{code.strip()}\n---\n{printed}"
        else:
            same = doctest.OutputChecker().check_output(expected, printed, FLAGS)
            assert same, f"{page.name} shows\n{expected}\nbut this prints\n{printed}\n{code.strip()}"


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT).with_suffix("")))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target, section in LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}, which is not there"
        if section:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert section in anchors, f"{page.name} links to #{section}, which {there.name} does not have"
