"""The whole report: contents, files, and user errors."""

import csv
import io
import json
import re
import sys

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from mtl_gym.lab import cli
from mtl_gym.lab.report import report
from mtl_gym.lab.report.document import Section, Table, plain, shrunk, to_html, to_markdown
from mtl_gym.lab.report.method import settings_files
from mtl_gym.lab.run import RunSettings
from mtl_gym.lab.settings import read_comparison

from .conftest import PATHS, write_failure, write_run

pytestmark = pytest.mark.usefixtures("quick")
KINDS = {"differences", "metrics", "profiles", "improvement", "efficiency"}


def call(*arguments):
    return CliRunner().invoke(cli.app, ["report", *map(str, arguments)])


def section(text, title):
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return next(part for part in parts if part.split("\n")[0] == title)


def line(text, agent):
    """Return the cells of an agent's first line in a table."""
    found = next(line for line in text.splitlines() if line.startswith(f"| {agent} |"))
    return [cell.strip() for cell in found.strip("|").split(" | ")]


def test_a_comparison_gets_tables_figures_and_a_page(comparison):
    outcome = call(comparison)
    assert outcome.exit_code == 0, outcome.output
    assert f"wrote {comparison}/report.html" in outcome.output
    drawn = {path.name for path in (comparison / "figures").iterdir()}
    assert drawn == {f"paths-{kind}.{form}" for kind in KINDS for form in ("png", "svg")}
    text = (comparison / "report.md").read_text()
    found = section(text, "paths")
    assert "Score 0 is the best control, random-fixed (50.00); score 1 is oracle (90.00), 40.00 better." in found
    # 70 lies half-way from 50 to 90; the score minus that of the mean is -0.02 / 0.4, 0 and 0.02 / 0.4 after pairing.
    cells = ["70.00 ± 4.00", r"+20.00 \[+10.06, +29.94\]", "3", r"0.50 \[0.31, 0.69\]"]
    assert line(found, "wpl")[1:5] == cells
    assert line(section(text, "Headline"), "paths")[1:4] == ["accuracy (%)", "oracle", "90.00 ± 2.00"]
    assert line(section(text, "Headline"), "paths")[-2:] == ["2 of 2", "0 of 2"]
    assert "Benchmarks, whose" in text and "Replications" not in text
    for picture in re.findall(r"\]\((.*?)\)", text):
        assert (comparison / picture).is_file()


def test_rewriting_a_report_changes_no_byte(comparison):
    report(comparison)
    first = {path: path.read_bytes() for path in comparison.rglob("*") if path.is_file()}
    report(comparison)
    assert {path: path.read_bytes() for path in comparison.rglob("*") if path.is_file()} == first


def test_several_comparisons_are_aggregated_over_shared_agents_and_seeds(comparison):
    other = comparison.parent / "other"
    for seed in range(2):
        for name, accuracy in {"random-fixed": 0.1, "oracle": 0.8, "wpl": 0.9, "lrn": 0.9}.items():
            write_run(other, name, seed, accuracy + 0.01 * seed, env_id=PATHS)
        for name, accuracy in {"random-fixed": 0.8, "oracle": 0.81 + 0.1 * seed, "wpl": 0.5}.items():
            write_run(comparison.parent / "narrow", name, seed, accuracy, env_id=PATHS)
        write_run(comparison.parent / "bare", "wpl", seed, 0.5)
    report(comparison.parent)
    text = (comparison.parent / "report.md").read_text()
    across = section(text, "Across comparisons")
    assert re.search("^bare is excluded: .*MTLRouting-Digits-v0 is unknown", across, re.MULTILINE)
    assert re.search("^narrow is excluded: .*interval .* contains 0", across, re.MULTILINE)
    assert re.search(r"^Seeds 0, 1: .*other and paths\.", across, re.MULTILINE)
    assert re.search(r"Excluded .*: lrn\.", across)
    assert re.search(r"no curves .*other .*progress\.csv", across)
    # 1.136 and 1.15 in other, 0.4 and 0.5 in paths: gaps 0, 0, 0.6 and 0.5; wpl is always better than the control.
    assert [cell.split()[0] for cell in line(across, "wpl")[1:]] == ["0.82", "0.80", "0.80", "0.28", "1.00"]
    bare = section(text, "bare")
    assert "There are no scores" in bare and "No differences: random-fixed" in bare
    assert line(bare, "wpl")[1] == "50.00 ± 0.00"
    headline = section(text, "Headline")
    assert headline.index("| paths |") < headline.index("Replications, whose") < headline.index("| bare |")


def test_one_seed_has_no_interval(tmp_path):
    for name, accuracy in {"random-fixed": 0.5, "oracle": 0.8, "wpl": 0.9}.items():
        write_run(tmp_path / "one", name, 0, accuracy, env_id=PATHS)
    report(tmp_path / "one")
    text = section((tmp_path / "one" / "report.md").read_text(), "one")
    assert "One seed: no interval." in text and "(one seed: no interval)" in text
    assert "| wpl | 1.33 | 1.33 | 0.00 | 1.00 |" in text


def test_the_report_warns_of_a_narrow_scale(tmp_path):
    for seed, noise in enumerate((-0.03, 0.03)):
        for name, accuracy in {"shared": 0.5 - noise, "oracle": 0.505 + noise, "wpl": 0.3}.items():
            write_run(tmp_path, name, seed, accuracy, env_id=PATHS)
    report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "mostly chance" in text and "0.50 better" in text
    assert "Control: shared." in text


def test_failed_runs_are_listed_everywhere(comparison):
    write_failure(comparison, "ppo", 3, "Training diverged: lower the learning rate.")
    (comparison / "wpl" / "seed-2" / "result.json").write_text("{")
    outcome = call(comparison)
    assert outcome.exit_code == 0, outcome.output
    assert "failed: paths, ppo, seed 3: Training diverged: lower the learning rate." in outcome.output
    text = (comparison / "report.md").read_text()
    assert "8 finished runs in 1 comparison. 2 more failed or did not finish" in text
    listed = section(text, "Runs that failed or did not finish")
    assert "| paths | ppo | 3 | Training diverged: lower the learning rate. |" in listed
    assert "| paths | wpl | 2 | The result in wpl/seed-2/result.json cannot be read" in listed
    assert "Training diverged: lower the learning rate." in (comparison / "report.html").read_text()
    errors = [row["error"] for row in csv.DictReader((comparison / "results.csv").read_text().splitlines())]
    assert sum(map(bool, errors)) == 2 and len(errors) == 10
    assert "Seeds 0, 1:" in text


def test_a_comparison_without_finished_runs_does_not_stop_the_others(comparison):
    write_failure(comparison.parent / "broken", "wpl", 0, "No memory.")
    report(comparison.parent)
    text = (comparison.parent / "report.md").read_text()
    assert "No run of this comparison finished." in section(text, "broken") and "No memory." in text


def test_damaged_progress_and_pictures_do_not_stop_the_report(comparison):
    (comparison / "wpl" / "seed-0" / "progress.csv").write_text("steps\nmany\n")
    (comparison / "wpl" / "seed-0" / "routing_map.png").write_bytes(b"nonsense")
    report(comparison)
    found = section((comparison / "report.md").read_text(), "paths")
    assert re.search(r"Excluded from the curves: .*wpl/seed-0/progress\.csv", found)
    assert (comparison / "figures" / "paths-efficiency.png").is_file()


def test_any_run_may_be_the_control(comparison):
    assert call(comparison, "--control", "wpl").exit_code == 0
    text = (comparison / "report.md").read_text()
    assert "| minus wpl |" in text and "| better than wpl |" in text and "$ mtl-gym report paths --control wpl" in text


def test_user_errors_print_a_message_and_exit_with_1(comparison, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ((tmp_path / "nowhere",), "no folder .*nowhere"),
        ((tmp_path / "empty",), "no finished run .*empty"),
        ((comparison, "--control", "nobody"), "'nobody' .*oracle, random-fixed, wpl"),
    ]:
        outcome = call(*arguments)
        assert outcome.exit_code == 1 and re.search(message, outcome.output.replace("\n", " "))
    (comparison / "results.csv").mkdir()
    outcome = call(comparison)
    assert outcome.exit_code == 1 and str(comparison) in outcome.output and "--out" in outcome.output


def test_the_command_names_the_extra_in_full(comparison, monkeypatch):
    """Print square brackets literally, not as markup."""
    monkeypatch.setitem(sys.modules, "rliable", None)
    outcome = call(comparison)
    assert outcome.exit_code == 1 and '"mtl-gym[report]"' in outcome.output
    assert not (comparison / "results.csv").exists()


def test_settings_files_of_a_report_repeat_its_runs(tmp_path):
    runs = [
        RunSettings("MTLRouting-Digits-v0", agent, steps, seed, 32, {"rho": 0.1}, kwargs, name)
        for seed in range(2)
        for name, agent, steps, kwargs in [
            ("wpl", "wpl", 500, {}),
            ("short", "wpl", 300, {"gamma": 0.9}),
            ("shared", "shared", 500, {}),
        ]
    ]
    (text,) = settings_files(runs)
    (tmp_path / "settings.yaml").write_text(text)
    assert read_comparison(tmp_path / "settings.yaml") == runs
    assert len(settings_files([*runs, RunSettings("MTLRouting-Digits-v0", "random", 500, num_envs=64)])) == 2


def test_the_report_lists_versions_and_settings(comparison):
    report(comparison)
    config = comparison / "wpl" / "seed-0" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"versions": {"python": "3.12", "torch": "2.13"}}))
    (comparison / "wpl" / "seed-1" / "config.json").unlink()
    report(comparison)
    text = section((comparison / "report.md").read_text(), "How the numbers were made")
    assert "python 3.11 and 3.12, torch 2.13, of some runs not known:" in text
    settings = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert settings["seeds"] == 3 and set(settings["agents"]) == {"oracle", "random-fixed", "wpl"}


def test_text_is_escaped():
    nasty = "<b>&\"'|`*_[x](javascript:1)"
    sections = [Section(nasty, [nasty, Table(nasty, [[nasty], [nasty]])])]
    page = to_html(nasty, sections)
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert page.count("<script") == 1 and "http:" not in page and "https:" not in page
    markdown = to_markdown(nasty, sections, None)
    assert "<b>" not in markdown and markdown.count(plain(nasty)) == 6
    assert r"\|\`\*\_\[x\](javascript" in plain(nasty)


def test_embedded_pictures_are_smaller_and_look_the_same(comparison):
    picture = comparison / "wpl" / "seed-0" / "routing_map.png"
    small = shrunk(picture)
    assert len(small) < 0.7 * picture.stat().st_size
    before, after = (Image.open(file).convert("L") for file in (picture, io.BytesIO(small)))
    assert before.size == after.size
    apart = sum(abs(a - b) for a, b in zip(before.tobytes(), after.tobytes(), strict=True)) / (
        before.width * before.height
    )
    assert apart < 2
