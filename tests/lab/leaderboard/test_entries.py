"""Entries of the leaderboard: written from runs, read back, replayed, tampered with."""

import json
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
import yaml
from typer.testing import CliRunner

from mtl_gym.core.errors import CheckpointError
from mtl_gym.lab import cli
from mtl_gym.lab.leaderboard.entries import Entry, Figures, entry_of, read_entries, read_entry, write_entry
from mtl_gym.lab.leaderboard.verify import Verdict, predicted, verify
from mtl_gym.lab.records import BARE, RunSettings
from mtl_gym.lab.run import train
from mtl_gym.lab.sweep import Watcher

PATHS = "MTLRouting-Paths-v0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Train an agent with two seeds."""
    out = tmp_path_factory.mktemp("runs") / "wpl"
    for seed in (0, 1):
        train(RunSettings(PATHS, "wpl", 96, seed, 8), out / f"seed-{seed}", extras=BARE)
    return out


@pytest.fixture
def path(runs, tmp_path):
    """Write the entry of the runs."""
    return write_entry(entry_of(runs), tmp_path)


def mtl_gym(*arguments):
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


def changed(path, **fields):
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def test_an_entry_has_the_digits_of_its_runs(runs, path):
    assert path.parts[-2:] == (PATHS, "wpl.yaml")
    entry = read_entry(path)
    assert entry == entry_of(runs) and list(entry.seeds) == [0, 1]
    result = json.loads((runs / "seed-1" / "result.json").read_text())
    assert entry.seeds[1] == Figures(result["figure"], result["sampled"])
    assert entry.settings(1) == RunSettings(PATHS, "wpl", 96, 1, 8)
    assert entry.versions["torch"] and entry.versions["processor"]


def test_the_command_writes_entries(runs, tmp_path):
    outcome = mtl_gym("entry", runs, "--out", tmp_path, "--requires", "pip install mine==1.0")
    assert outcome.exit_code == 0 and read_entry(tmp_path / PATHS / "wpl.yaml").requires == "pip install mine==1.0"
    assert mtl_gym("entry", tmp_path, "--out", tmp_path).exit_code == 1


def test_runs_of_an_entry_have_one_setting_and_one_version(runs, tmp_path):
    train(RunSettings(PATHS, "wpl", 48, 0, 8), tmp_path / "wpl" / "seed-0", extras=BARE)
    train(RunSettings(PATHS, "wpl", 96, 1, 8), tmp_path / "wpl" / "seed-1", extras=BARE)
    with pytest.raises(ValueError, match="differ in more than the seed"):
        entry_of(tmp_path / "wpl")
    config = tmp_path / "wpl" / "seed-1" / "config.json"
    train(RunSettings(PATHS, "wpl", 96, 2, 8), tmp_path / "wpl" / "seed-0b", extras=BARE)
    (tmp_path / "wpl" / "seed-0b").rename(tmp_path / "wpl" / "seed-2")
    for file in (tmp_path / "wpl" / "seed-0").iterdir():
        file.unlink()
    (tmp_path / "wpl" / "seed-0").rmdir()
    config.write_text(config.read_text().replace('"torch": "', '"torch": "9.'))
    with pytest.raises(ValueError, match=r"several versions \(torch\)"):
        entry_of(tmp_path / "wpl")


def test_an_untouched_entry_is_equal_to_the_last_digit(path):
    outcome = mtl_gym("verify", path, "--quiet")
    assert outcome.exit_code == 0 and "equal to the last digit" in outcome.output
    assert re.search(r"score, on the card's scale: (-?[\d.]+) in the entry, \1 here", outcome.output)


def test_a_tampered_entry_is_told_by_seed_and_figure(path, tmp_path):
    entry = read_entry(path)
    better = {**entry.seeds, 1: replace(entry.seeds[1], figure=99.5)}
    write_entry(replace(entry, seeds=better), tmp_path)
    outcome = mtl_gym("verify", path, "--quiet", "--out", tmp_path / "replay")
    assert outcome.exit_code == 1
    assert "does not hold, with the same versions" in outcome.output
    assert f"seed 1: figure is 99.5 in the entry, {entry.seeds[1].figure} here" in outcome.output
    assert (tmp_path / "replay" / "wpl" / "seed-0" / "result.json").exists()
    assert mtl_gym("verify", path, "--quiet", "--seeds", 1).exit_code == 0
    assert "the entry has 2 seeds" in mtl_gym("verify", path, "--quiet", "--seeds", 3).output
    assert "is a folder" in mtl_gym("verify", path.parent, "--quiet").output


def verdict(found, versions, known=(60.0, 62.0, 64.0)):
    entry = Entry(PATHS, "wpl", 96, 8, {s: Figures(x) for s, x in enumerate(known)}, {"torch": "1"}, 1.0)
    return Verdict(entry, {s: Figures(x) for s, x in enumerate(found)}, versions)


def test_with_other_versions_the_mean_must_be_within_the_predicted_interval():
    assert verdict([60.0, 62.0, 64.0], {"torch": "1"}).holds
    assert not verdict([60.0, 62.0, 64.1], {"torch": "1"}).holds
    other = verdict([60.0, 62.0, 64.1], {"torch": "2"})
    assert other.holds and other.changed == {"torch": ("1", "2")} and len(other.differing) == 1
    far = verdict([70.0, 72.0, 74.0], {})
    assert not far.holds and far.changed == {"torch": ("1", "not installed")}
    assert re.search(r"mean figure is 72 here, outside \[54\.97, 69\.03\]", *far.outside)
    # By hand: Student's 97.5% quantile for two degrees of freedom, deviation 2, three seeds on either side.
    assert predicted([60.0, 62.0, 64.0], 3) == pytest.approx(4.302653 * 2 * (2 / 3) ** 0.5, abs=1e-5)


def test_figures_that_do_not_vary_must_be_met():
    assert verdict([99.1] * 10, {"torch": "2"}, [99.1] * 10).holds
    assert not verdict([99.2] * 10, {"torch": "2"}, [99.1] * 10).holds
    (told,) = verdict([99.2], {"torch": "2"}, [99.1]).outside
    assert "predicts no interval" in told


def test_a_replay_has_the_threads_of_the_entry(path):
    changed(path, versions=yaml.safe_load(path.read_text())["versions"] | {"threads": "3"})
    seen = []

    class Seen(Watcher):
        def ended(self, run, outcome):
            seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    with TemporaryDirectory() as out:
        assert verify(read_entry(path), [0], Path(out), watcher=Seen()).here["threads"] == "3"
    assert seen == [3] and torch.get_num_threads() == before


def test_an_entry_of_a_package_that_is_not_installed_can_be_read(path):
    changed(path, agent="theirs", requires="pip install theirs==1.0")
    assert read_entry(path).agent == "theirs"
    outcome = mtl_gym("verify", path, "--quiet")
    assert outcome.exit_code == 1 and "no agent 'theirs'" in outcome.output


def test_an_entry_lies_in_the_folder_of_its_id(path):
    assert [entry.name for entry in read_entries(path.parent.parent)] == ["wpl"]
    other = path.parent.parent / "MTLRouting-Context-v0" / "wpl.yaml"
    other.parent.mkdir()
    path.rename(other)
    with pytest.raises(CheckpointError, match="is of MTLRouting-Paths-v0: move it"):
        read_entries(other.parent.parent)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": {}}, "figures of one seed or more"),
        ({"seeds": {0: {"figure": float("nan")}}}, "finite number"),
        ({"seeds": [1, 2]}, "mapping from seeds to figures"),
        ({"seeds": {0: {"figures": 1.0}}}, "figures"),
        ({"steps": 0}, "steps=0"),
        ({"agent": "wlp"}, "no agent 'wlp'"),
        ({"env": "os:MTLRouting-Nothing-v0"}, "files never import"),
        ({"env_kwargs": {"data": "os:abort"}}, "data='os:abort', and an entry calls no function"),
        ({"agent_kwargs": {"policy_learning_rate": 0.5}}, "say in `tuning` how they were chosen"),
        ({"colour": "red"}, "colour"),
        ({"versions": {"threads": 0}}, "threads='0' is not possible; it takes a number from 1 to 1024"),
        ({"versions": {"threads": [1]}}, "threads='[1]' is not possible"),
    ],
)
def test_a_wrong_entry_is_refused_with_a_sentence(path, fields, message):
    changed(path, **fields)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read_entry(path)
    outcome = mtl_gym("verify", path, "--quiet")
    assert outcome.exit_code == 1 and "Traceback" not in outcome.output


def test_a_damaged_file_is_refused(path, tmp_path):
    path.write_text("!!python/object/apply:os.system ['touch hacked']")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_entry(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_entry(tmp_path / "nothing.yaml")
