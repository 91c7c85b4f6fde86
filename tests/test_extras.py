"""The hard dependencies suffice for environments and agents; what else is missing is named with its extra."""

import logging
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest
from mtl_agents import WPL

from mtl_gym.core.extras import EXTRAS, MissingExtraError, needed_by
from mtl_gym.integrations.torchjd import aggregator
from mtl_gym.lab import logs
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.records import RunSettings
from mtl_gym.lab.report.aggregate import rliable
from mtl_gym.lab.sweep import Sweep

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
RUN = RunSettings("MTLRouting-Digits-v0", "wpl", 64, 0, 4)
BLOCKER = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in %r else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""
WORK = """
import gymnasium as gym
import mtl_gym
import numpy as np
import torch
from mtl_agents import WPL
from mtl_gym.integrations.sb3 import make_vec_env
from mtl_gym.testing import valid_actions
from stable_baselines3 import PPO

torch.set_num_threads(1)
smallest = {
    "MTLAlignment-Linear-v0": {"data": "generated-linear"},
    "MTLLimitless-Digits-v0": {},
    "MTLRecurrent-BrainSeries-v0": {},
    "MTLRouting-Digits-v0": {},
    "MTLScheduling-Digits-v0": {},
}
for name, options in smallest.items():
    env = gym.make(name, **options)
    env.reset(seed=0)
    env.step(valid_actions(env.unwrapped.batched, np.random.default_rng(0))[0])
    env.close()
wide = [make_vec_env("MTLRouting-Digits-v0", num_envs=8, hidden=4) for _ in range(2)]
for agent in WPL(wide[0], seed=0), PPO("MultiInputPolicy", wide[1], n_steps=8, batch_size=64):
    agent.learn(64)
    assert 0 <= mtl_gym.evaluate(agent, agent.get_env(), split="validation").mean_accuracy <= 1
"""


def run(program, *blocked):
    code = BLOCKER % set(blocked) + program
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def hide(monkeypatch, module):
    for name in {module, *(name for name in sys.modules if name.startswith(f"{module}."))}:
        monkeypatch.setitem(sys.modules, name, None)


def import_anew(monkeypatch, module):
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    import_module(module)


@pytest.mark.slow
def test_environments_and_agents_need_no_extra():
    outcome = run(WORK, *EXTRAS)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("missing", "module"),
    [
        ("filelock", "mtl_gym.lab.cli"),
        ("filelock", "mtl_gym.lab.locks"),
        ("jinja2", "mtl_gym.lab.report.document"),
        ("pettingzoo", "mtl_gym.integrations.pettingzoo"),
        ("rich", "mtl_gym.lab.cli"),
        ("rich", "mtl_gym.lab.progress"),
        ("rich", "mtl_gym.lab.screen"),
        ("typer", "mtl_gym.lab.cli"),
        ("yaml", "mtl_gym.lab.cli"),
        ("yaml", "mtl_gym.lab.parsing"),
    ],
)
def test_importing_without_an_optional_module_names_its_extra(monkeypatch, missing, module):
    hide(monkeypatch, missing)
    package, extra = EXTRAS[missing]
    with pytest.raises(MissingExtraError, match=rf'needs {package}: pip install "mtl-gym\[{extra}\]"'):
        import_anew(monkeypatch, module)


@pytest.mark.parametrize(
    ("missing", "extra", "work"),
    [
        ("ray", "ray", lambda out: carry_out(Sweep([], out), ray="local")),
        ("rliable", "report", lambda out: rliable()),
        ("rich", "lab", lambda out: wpl().learn(8, progress_bar=True)),
        ("tensorboard", "tracking", lambda out: wpl(tensorboard_log=str(out))),
        ("torchjd.aggregation", "torchjd", lambda out: aggregator("upgrad")),
        ("tqdm", "lab", lambda out: wpl().learn(8, progress_bar=True)),
        ("wandb", "tracking", lambda out: logs.logger_of(RUN, out, 0, "project")),
    ],
)
def test_work_without_an_optional_module_names_its_extra(monkeypatch, tmp_path, missing, extra, work):
    hide(monkeypatch, missing)
    with pytest.raises(MissingExtraError, match=rf'pip install "mtl-gym\[{extra}\]"'):
        work(tmp_path)


def wpl(**arguments):
    return WPL(gym.make_vec("MTLRouting-Digits-v0", num_envs=4, hidden=4), seed=0, **arguments)


def test_the_command_prints_one_line_for_a_missing_module():
    outcome = run("from mtl_gym.lab.__main__ import main; main()", "typer")
    assert outcome.returncode == 1 and not outcome.stdout
    (line,) = outcome.stderr.splitlines()
    assert "typer" in line and '"mtl-gym[lab]"' in line


def test_without_tensorboard_runs_are_logged_elsewhere_and_no_warning_disturbs(monkeypatch, tmp_path, caplog):
    hide(monkeypatch, "tensorboard")
    logs.has_tensorboard.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            loggers = [logs.logger_of(RUN, tmp_path, 0, None) for _ in range(2)]
    finally:
        logs.has_tensorboard.cache_clear()
    assert [logger.output_formats for logger in loggers] == [[], []] and not list(tmp_path.iterdir())
    (record,) = caplog.records
    assert record.levelno == logging.INFO and '"mtl-gym[tracking]"' in record.getMessage()


def test_other_missing_modules_are_raised_unchanged():
    with pytest.raises(ModuleNotFoundError, match="nowhere") as caught, needed_by("A test"):
        import_module("nowhere.to.be.found")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.skipif(not PYPROJECT.is_file(), reason="there is no pyproject.toml here")
def test_extras_install_the_modules_that_they_are_named_for():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    hard = {name_of(requirement) for requirement in project["dependencies"]}
    for package, extra in EXTRAS.values():
        assert package in map(name_of, project["optional-dependencies"][extra]) and package not in hard


def name_of(requirement):
    return re.match(r"[\w-]+", requirement).group()
