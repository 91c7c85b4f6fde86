"""Values that no bundled agent takes, and what is said about them: before an agent or an environment is made."""

import inspect
import math
import re

import gymnasium as gym
import numpy as np
import pytest
from mtl_agents import LRN, QLS, WPL, Agent, TabularPolicyGradient

from mtl_gym.core.arguments import keywords_of, ranges_of, refuse_values
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.lab.agents import SB3, agent_names, check_arguments, find_agent
from tests.agents import stand_ins

NAMES = {name: find_agent(name) for name in agent_names() if name not in SB3}
KINDS = set(NAMES.values())
FAR = {int: (-2, 2**63, -(2**63), 10**40), float: (math.nan, math.inf, -math.inf, 1e39, -1e39, 10**40)}
# Zero would not work either.
POSITIVE = re.compile(
    r"temperature|hidden|every|batch_size|n_steps|n_epochs|d_model|heads|share|buffer_size|clip_range"
)
PARTS = re.compile(
    r"^(gamma|final_epsilon|exploration_fraction|min_probability|warm_up|share|lr_decay|gae_lambda|tau)$"
)


def cases(kind):
    """Each argument that takes a number with whether it takes whole ones alone, and the class that it is of."""
    for name, hint in keywords_of(kind).items():
        if re.search(r"\b(int|float)\b", str(hint)) and "Sequence" not in str(hint):
            yield kind, name, float if "float" in str(hint) else int


CASES = [case for kind in sorted(KINDS, key=lambda kind: kind.__name__) for case in cases(kind)]
IDS = [f"{kind.__name__}-{name}" for kind, name, _ in CASES]


def refused(kind, name, value):
    """The message; the environment is none, so that what would look at it first would raise another error."""
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name}=.* is not possible; it takes .") as told:
        kind(object(), **{name: value})
    return str(told.value)


def test_all_agents_are_looked_at():
    assert len(NAMES) >= 37 and len(CASES) > 100
    assert {LRN, QLS, WPL} < KINDS and all(ranges_of(kind) for kind in KINDS)


@pytest.mark.parametrize(("kind", "name", "number"), CASES, ids=IDS)
def test_a_number_that_no_agent_takes_is_told_with_those_that_it_takes(kind, name, number):
    for value in FAR[number]:
        assert re.search(r"(from|between|above) .*\d", refused(kind, name, value))
    for value in ("1e-3", [], {}, object(), *([0.5] if number is int else []), np.float64("nan")):
        refused(kind, name, value)


@pytest.mark.parametrize(("kind", "name", "number"), CASES, ids=IDS)
def test_what_must_be_above_0_and_shares_are(kind, name, number):
    if POSITIVE.search(name):
        refused(kind, name, 0)
        refused(kind, name, -1)
    if PARTS.match(name) and kind.__name__ != "DTP":  # whose gamma is an exponent
        refused(kind, name, -0.1)
        refused(kind, name, 1.1)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (
            TabularPolicyGradient,
            {"policy_learning_rate": math.nan},
            "=nan is not possible; it takes a number from 0 to",
        ),
        (QLS, {"batch_size": 0}, "=0 is not possible; it takes a whole number from 1 to 1,000,000."),
        (QLS, {"gamma": 1}, "=1 is not possible; it takes a number from 0, below 1."),
        (QLS, {"learning_rate": 0}, "=0 is not possible; it takes a number above 0, at most 1e+38 or a function."),
        (QLS, {"train_freq": (0, "step")}, "=(0, 'step') is not possible; it takes a whole number from 1 to 1,000,000"),
        (LRN, {"n_steps": -1}, "=-1 is not possible; it takes a whole number from 1 to 1,000,000."),
        (LRN, {"bonus": 11}, "=11 is not possible; it takes True, False, a number from 0 to 10 or None."),
        (WPL, {"gamma": 2.0}, "=2.0 is not possible; it takes a number from 0 to 1."),
    ],
)
def test_messages_name_the_agent_the_argument_the_value_and_what_is_allowed(kind, arguments, message):
    (name,) = arguments
    expected = f"{kind.__name__}: {name}{message}"
    assert refused(kind, name, arguments[name]).startswith(expected)


def defaults(kind):
    """Of the constructors and, for SB3's arguments, those that the agent gives in their place."""
    found = {"env": None}
    for base in reversed(kind.__mro__[:-1]):
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    takes = keywords_of(kind)
    return {name: value for name, value in found.items() if name in takes} | getattr(kind, "DEFAULTS", {})


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_the_defaults_of_every_agent_are_allowed(kind):
    takes = {name: value for name, value in defaults(kind).items() if value is not None}
    refuse_values(kind.__name__, kind, takes | getattr(kind, "PAPER", {}))


def test_whole_numbers_of_numpy_and_functions_are_taken():
    refuse_values("QLS", QLS, {"batch_size": np.int64(8), "gamma": np.float32(0.5), "learning_rate": lambda left: left})
    assert WPL(stand_ins.routing(1, 1, 1, 2), gamma=1, min_probability=np.float64(0), seed=2**40).gamma == 1


def test_a_command_is_refused_before_its_environment_is_made():
    with pytest.raises(ValueError, match=r"^Agent 'wpl': gamma=2 is not possible; it takes a number from 0 to 1\."):
        check_arguments("wpl", {"gamma": 2})
    check_arguments("ppo", {"gamma": 2.0})  # SB3's own, which are left to it


def test_a_file_with_a_number_that_cannot_be_is_refused(tmp_path):
    WPL(stand_ins.routing(1, 1, 1, 2)).save(tmp_path / "agent.pt")
    saved = checkpoint.load(tmp_path / "agent.pt")
    saved["arguments"]["gamma"] = math.nan
    checkpoint.save(saved, tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="gamma=nan is not possible"):
        WPL.load(tmp_path / "agent.pt")


def test_agents_of_ones_own_inherit_ranges_and_keep_what_help_shows():
    class Mine(WPL):
        RANGES = {"patience": ranges_of(WPL)["gamma"]}  # noqa: RUF012

        def __init__(self, env, *, patience: float = 0.5, **arguments):
            super().__init__(env, **arguments)

    refused(Mine, "patience", 2)
    refused(Mine, "collaboration", -1)
    assert "patience" in inspect.signature(Mine).parameters and "seed" in inspect.signature(Agent).parameters


def test_an_environment_is_not_made_for_an_agent_that_is_refused(monkeypatch):
    monkeypatch.setattr(gym, "make_vec", None)
    refused(WPL, "gamma", -1)
    with pytest.raises(ValueError, match="n_steps=0"):
        LRN("MTLLimitless-Digits-v0", n_steps=0)
