"""A family of another package, from the command line: trained, compared, reported and checked."""

import dataclasses
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner

import mtl_gym
from examples import own_family
from examples.own_family import Losses, RateEnv, RateVectorEnv
from mtl_gym import registration
from mtl_gym.core.training_run_env import TrainingRunVectorEnv
from mtl_gym.lab import cli
from mtl_gym.testing import CHECKS, check_family

AGENTS = ("cautious", "bold")


def forget():
    """Undo `own_family.register`."""
    del gym.registry["TaskRates-v0"], registration._cards["TaskRates-v0"]
    for name in AGENTS:
        del registration._agents[name]


forget()  # other tests read the ids and names that there are


@pytest.fixture(autouse=True)
def registered():
    own_family.register()
    yield
    forget()


ID = "examples.own_family:TaskRates-v0"


def call(*arguments):
    out = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert out.exit_code == 0, out.output
    return out.output


def test_a_family_of_another_package_is_trained_compared_and_reported(tmp_path):
    call("train", ID, "--agent", "ppo", "--steps", 256, "--num-envs", 8, "--out", tmp_path / "run", "--quiet")
    agents = ("--agents", "cautious,bold,oracle,ppo", "--seeds", 2, "--steps", 256, "--num-envs", 8)
    printed = call("compare", ID, *agents, "--out", tmp_path / "runs", "--quiet")
    assert "accuracy minus that of cautious" in printed  # the card's first control
    table = (tmp_path / "runs" / "table.md").read_text()
    assert table.index("oracle") < table.index("ppo")
    call("report", tmp_path / "runs", "--env", ID, "--quiet")
    assert "oracle" in (tmp_path / "runs" / "report.md").read_text()
    listed = call("list").split()
    assert "TaskRates-v0" in listed and listed.index("controls:") < listed.index("cautious,")
    assert listed.index("learners:") < listed.index("ppo,") < listed.index("rules:") < listed.index("controls:")
    assert mtl_gym.card(ID).oracle == "oracle"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_family_of_another_package_keeps_the_contract(check):
    check("TaskRates-v0", {})


def result(**fields):
    """A `_result` with other fields."""
    return {"_result": lambda env, split: dataclasses.replace(RateVectorEnv._result(env, split), **fields)}


BROKEN = {
    "reward_of_one_number": (
        {"_reward": lambda env, before, after: 0.5},
        r"_reward returned 0\.5; return a NumPy array",
    ),
    "rewards_of_whole_numbers": ({"_reward": lambda env, before, after: np.zeros(env.num_envs, int)}, "int64"),
    "no_progress": ({"_train_runs": lambda env, actions: None}, "_train_runs returned None; return Losses"),
    "progress_of_a_list": ({"_begin_runs": lambda env: Losses([1.0])}, r"validation_loss=\[1\.0\]; return"),
    "no_result": ({"_result": lambda env, split: None}, "_result returned None; return a TrainingResult"),
    "accuracy_of_two_tasks": (
        result(
            accuracy=np.zeros((1, 2), "f"), loss=np.zeros((1, 2), "f"), labels=np.ones(2, int), samples=np.ones(2, int)
        ),
        r"accuracy as a NumPy array float32 \[1, 2\]; return .* which is \[1, 4\]",
    ),
    "accuracies_of_whole_numbers": (result(accuracy=np.zeros((1, 4), int)), r"int64 \[1, 4\]; it takes .* float32"),
    "labels_of_a_list": (result(labels=[1] * 4), r"labels of TrainingResult is \[1, 1, 1, 1\]; it takes"),
    "labels_of_three_tasks": (result(labels=np.ones(3, int)), "labels has 3 tasks and accuracy 4"),
    "success_of_numbers": (result(success=np.ones(1)), r"success .* float64 \[1\]; it takes a NumPy array bool"),
    "a_further_number": (result(more={"extra": 1.0}), "extra has no entries"),
    "runs_without_decisions": ({"run_length": 0}, "run_length is 0; it takes a whole number"),
    "no_network": ({"_build_runs": lambda env: None}, "_build_runs did not set network; assign self.network"),
    "no_dataclass": ({"PROGRESS": dict}, "PROGRESS is <class 'dict'>; set it to the dataclass"),
    "no_data": ({"task_names": TrainingRunVectorEnv.task_names}, "no data set for task_names; set self.data"),
}


@pytest.mark.parametrize("members, message", BROKEN.values(), ids=BROKEN)
def test_a_hook_that_returns_something_else_is_named(members, message):
    env = type("Broken", (RateVectorEnv,), members)(updates=1)
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0), env.step(env.action_space.sample())


@pytest.fixture
def register():
    """Register classes of this module, by their names, for one test."""

    def make(env, vector_env, controls=("random",), agents=None):
        kinds = {"env": f"{__name__}:{env}", "vector_env": f"{__name__}:{vector_env}"}
        card = mtl_gym.Card("what", "why", controls)
        mtl_gym.register_family(**kinds, presets={"Broken-v0": {}}, card=card, agents=agents)

    yield make
    gym.registry.pop("Broken-v0", None)
    registration._cards.pop("Broken-v0", None)
    registration._agents.pop("ghost", None)


class Hookless(RateVectorEnv):
    _render = TrainingRunVectorEnv._render


class HooklessEnv(RateEnv):
    vector_class = Hookless


class NotANumber(RateVectorEnv):
    def _result(self, split):
        found = super()._result(split)
        return dataclasses.replace(found, loss=found.loss * np.nan)


class NotANumberEnv(RateEnv):
    vector_class = NotANumber


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("RateEnv", "Nothing"), "vector_env= of register_family is .*'Nothing'; correct the location"),
        (("RateVectorEnv", "RateVectorEnv"), "env=.* must be a BatchOfOne"),
        (("RateEnv", "Hookless"), "RateEnv.vector_class must be Hookless"),
        (("HooklessEnv", "Hookless"), "Hookless lacks the hooks _render"),
        (("NotANumberEnv", "NotANumber"), "Losses must be finite, not .nan"),
        (("RateEnv", "RateVectorEnv", ("nobody",)), "the agent 'nobody', which does not exist.*mtl-gym list"),
        (("RateEnv", "RateVectorEnv", ("ghost",), {"ghost": "nowhere:G"}), "'ghost' is 'nowhere:G', but .* no module"),
    ],
)
def test_the_check_of_a_broken_family_says_what_to_do(arguments, message, register):
    register(*arguments)
    with pytest.raises(AssertionError, match=message):
        check_family("Broken-v0", updates=2)


def test_the_check_imports_the_module_of_an_id():
    with pytest.raises(AssertionError, match=r"'nowhere' cannot be imported.*correct the id"):
        check_family("nowhere:TaskRates-v0")


def test_the_command_line_names_a_missing_hook_and_a_missing_class(register, tmp_path):
    for arguments, message in ((("HooklessEnv", "Hookless"), "lacks the hooks _render"), (("RateEnv", "No"), "'No'")):
        register(*arguments)
        out = CliRunner().invoke(cli.app, ["train", "Broken-v0", "--agent", "random", "--out", str(tmp_path / "run")])
        assert out.exit_code == 1 and message in " ".join(out.output.split()), out.output
        del gym.registry["Broken-v0"]


# What a reader adds to the page's family and benchmark to register them.
IMPORTS = "import numpy as np\nimport torch\nfrom torch import nn\nimport mtl_gym\n"
REGISTERED = """
from mtl_gym.core.single import BatchOfOne

class NextTaskEnv(BatchOfOne):
    vector_class = NextTaskBenchmark

places = {"env": "next_task:NextTaskEnv", "vector_env": "next_task:NextTaskBenchmark"}
mtl_gym.register_family(**places, presets={"NextTask-v0": {}}, card=card)
"""


def test_the_family_of_the_documentation_fulfils_the_contract(tmp_path, monkeypatch):
    page = (Path(__file__).parents[1] / "docs" / "your-own-data-and-blocks.md").read_text()
    blocks = re.findall(
        r"^```python\n(.*?)^```", page[page.index("## A family of your own") :], re.DOTALL | re.MULTILINE
    )
    family, _, benchmark, *_ = blocks
    (tmp_path / "next_task.py").write_text(IMPORTS + family + benchmark + REGISTERED)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        check_family("next_task:NextTask-v0")
    finally:
        del gym.registry["NextTask-v0"], registration._cards["NextTask-v0"]
