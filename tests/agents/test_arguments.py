"""Invalid arguments of bundled agents are rejected before an agent or an environment is made."""

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
from mtl_gym.lab.agents import agent_names, check_arguments, find_agent
from mtl_gym.registration import SB3
from tests.agents import stand_ins

NAMES = {name: find_agent(name) for name in agent_names() if name not in SB3}
KINDS = set(NAMES.values())
FAR = {int: (-2, 2**63, -(2**63), 10**40), float: (math.nan, math.inf, -math.inf, 1e39, -1e39, 10**40)}
# Arguments that must be above zero.
POSITIVE = re.compile(
    r"temperature|hidden|every|batch_size|n_steps|n_epochs|d_model|heads|share|buffer_size|clip_range"
)
PARTS = re.compile(
    r"^(gamma|final_epsilon|exploration_fraction|min_probability|warm_up|share|lr_decay|gae_lambda|tau)$"
)


def cases(kind):
    """Yield the agent, name and type (int or float) of each numeric argument."""
    for name, hint in keywords_of(kind).items():
        if re.search(r"\b(int|float)\b", str(hint)) and "Sequence" not in str(hint):
            yield kind, name, float if "float" in str(hint) else int


CASES = [case for kind in sorted(KINDS, key=lambda kind: kind.__name__) for case in cases(kind)]
IDS = [f"{kind.__name__}-{name}" for kind, name, _ in CASES]


def refused(kind, name, value):
    """Return the error message; the environment is invalid, so that a later check would raise another error."""
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name}=.* it takes .") as error:
        kind(object(), **{name: value})
    return str(error.value)


def test_all_agents_are_covered():
    assert len(NAMES) >= 37 and len(CASES) > 100
    assert {LRN, QLS, WPL} < KINDS and all(ranges_of(kind) for kind in KINDS)


@pytest.mark.parametrize(("kind", "name", "number"), CASES, ids=IDS)
def test_invalid_numbers_are_rejected_with_the_allowed_range(kind, name, number):
    for value in FAR[number]:
        assert re.search(r"(from|between|above) .*\d", refused(kind, name, value))
    for value in ("1e-3", [], {}, object(), *([0.5] if number is int else []), np.float64("nan")):
        refused(kind, name, value)


@pytest.mark.parametrize(("kind", "name", "number"), CASES, ids=IDS)
def test_zero_and_shares_above_1_are_rejected(kind, name, number):
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
def test_messages_have_agent_argument_value_and_allowed_values(kind, arguments, message):
    (name,) = arguments
    expected = f"{kind.__name__}: {name}{message}"
    assert refused(kind, name, arguments[name]).startswith(expected)


def defaults(kind):
    """Return the defaults of the constructors, with the agent's own for SB3's arguments."""
    found = {"env": None}
    for base in reversed(kind.__mro__[:-1]):
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {p.name: p.default for p in parameters if p.default is not p.empty}
    takes = keywords_of(kind)
    return {name: value for name, value in found.items() if name in takes} | getattr(kind, "DEFAULTS", {})


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_the_defaults_of_every_agent_are_valid(kind):
    takes = {name: value for name, value in defaults(kind).items() if value is not None}
    refuse_values(kind.__name__, kind, takes | getattr(kind, "PAPER", {}))


def test_numpy_integers_and_functions_are_accepted():
    refuse_values("QLS", QLS, {"batch_size": np.int64(8), "gamma": np.float32(0.5), "learning_rate": lambda left: left})
    assert WPL(stand_ins.routing(1, 1, 1, 2), gamma=1, min_probability=np.float64(0), seed=2**40).gamma == 1


def test_a_command_is_rejected_before_its_environment_is_made():
    with pytest.raises(ValueError, match=r"^Agent 'wpl': gamma=2 .*from 0 to 1\."):
        check_arguments("wpl", {"gamma": 2})
    check_arguments("ppo", {"gamma": 2.0})  # SB3 checks its own arguments


def test_a_file_with_an_invalid_number_is_rejected(tmp_path):
    WPL(stand_ins.routing(1, 1, 1, 2)).save(tmp_path / "agent.pt")
    saved = checkpoint.load(tmp_path / "agent.pt")
    saved["arguments"]["gamma"] = math.nan
    checkpoint.save(saved, tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="gamma=nan"):
        WPL.load(tmp_path / "agent.pt")


def test_custom_agents_inherit_ranges_and_keep_their_signature():
    class Mine(WPL):
        RANGES = {"patience": ranges_of(WPL)["gamma"]}  # noqa: RUF012

        def __init__(self, env, *, patience: float = 0.5, **arguments):
            super().__init__(env, **arguments)

    refused(Mine, "patience", 2)
    refused(Mine, "collaboration", -1)
    assert "patience" in inspect.signature(Mine).parameters and "seed" in inspect.signature(Agent).parameters


def test_no_environment_is_made_for_a_rejected_agent(monkeypatch):
    monkeypatch.setattr(gym, "make_vec", None)
    refused(WPL, "gamma", -1)
    with pytest.raises(ValueError, match="n_steps=0"):
        LRN("MTLLimitless-Digits-v0", n_steps=0)
