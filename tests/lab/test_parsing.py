"""Strict parsing of YAML and JSON: repeated keys, deep nesting, invalid names."""

import pytest
from typer.testing import CliRunner

from mtl_gym.lab.cli import app
from mtl_gym.lab.settings import read_comparison

TWICE = """
env: MTLRouting-Digits-v0
steps: 96
agents:
  random-fixed:
  wpl: {env_kwargs: {rho: 0.3}}
  wpl: {env_kwargs: {rho: 0.7}}
"""


def error_of(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_comparison(path)
    return str(caught.value)


def test_two_entries_with_one_name_are_refused_with_the_line(tmp_path):
    told = error_of(tmp_path, TWICE)
    assert "settings.yaml, line 7: 'wpl' repeats line 6" in told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("steps: 1\nsteps: 2\n", "line 2: 'steps' repeats line 1"),
        ("env_kwargs:\n  rho: 1\n  'rho': 2\n", "line 3: 'rho' repeats line 2"),
        ("agents: {a: {steps: 1, steps: 2}}\n", "line 1: 'steps' repeats line 1"),
        ("1: a\n0x1: b\n", "line 2: 1 repeats line 1"),
    ],
)
def test_repeated_keys_are_refused_at_every_depth(tmp_path, text, line):
    assert line in error_of(tmp_path, text)


def test_merged_mappings_may_be_overridden(tmp_path):
    path = tmp_path / "settings.yaml"
    text = TWICE.replace("  wpl: {env_kwargs: {rho: 0.7}}\n", "")
    path.write_text(text.replace("wpl: {", "wpl: &base {") + "  other: {<<: *base, agent: wpl, steps: 5}\n")
    assert [(run.name, run.steps) for run in read_comparison(path, seeds=1)][1:] == [("wpl", 96), ("other", 5)]


@pytest.mark.parametrize("option", ["--env-kwargs", "--agent-kwargs"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [('{"rho": 0.1, "rho": 0.7}', "has 'rho' twice"), ("[" * 20_000, "is nested too deeply")],
)
def test_json_on_the_command_line_is_parsed_strictly(tmp_path, option, text, sentence):
    out = str(tmp_path / "run")
    outcome = CliRunner().invoke(app, ["train", "MTLRouting-Digits-v0", "--agent", "wpl", "--out", out, option, text])
    assert outcome.exit_code == 1 and isinstance(outcome.exception, SystemExit)
    assert outcome.output.startswith(f"error: {option} {sentence}") and outcome.output.count("\n") == 1


def test_deeply_nested_yaml_is_refused(tmp_path):
    assert "settings.yaml is nested too deeply" in error_of(tmp_path, "[" * 5_000)


@pytest.mark.parametrize("name", ['"a\\0b"', '"a\\nb"', '"a\\\\b"', '"."', "x" * 300])
def test_an_invalid_folder_name_is_refused(tmp_path, name):
    text = TWICE.replace("  wpl: {env_kwargs: {rho: 0.7}}\n", f"  {name}:\n    agent: wpl\n")
    assert "valid folder name" in error_of(tmp_path, text)


def test_a_settings_file_never_imports(tmp_path, monkeypatch):
    (tmp_path / "imported_by_settings.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    told = error_of(tmp_path, "env: imported_by_settings:Other-v0\nsteps: 1\nagents: {wpl: }\n")
    assert "files never import" in told
