"""Ranges of numeric options and the messages about them."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import get_type_hints

import gymnasium as gym
import numpy as np
import pytest

import mtl_gym
from mtl_gym.core.ranges import NUMBERS, WHOLE, Range, out_of_range

ROUTING, LIMITLESS = "MTLRouting-Digits-v0", "MTLLimitless-Digits-v0"
RECURRENT, SCHEDULING, ALIGNMENT = "MTLRecurrent-BrainSeries-v0", "MTLScheduling-Digits-v0", "MTLAlignment-Linear-v0"
FAMILIES = (ROUTING, LIMITLESS, RECURRENT, SCHEDULING, ALIGNMENT)


def kind_of(family):
    return gym.make(family).unwrapped.batched.Options


def numeric(family):
    """Yield each numeric option of a family, a function that wraps a number for it, and whether it accepts floats."""
    kind = kind_of(family)
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = str(hints[field.name])
        if "Callable" not in hint and re.search(r"\b(int|float)\b", hint):
            wrap = (lambda value: (value, 1)) if "tuple" in hint else (lambda value: value)
            wrap = (lambda value: [value]) if "Sequence[int]" in hint else wrap
            yield field.name, wrap, "float" in hint


@pytest.mark.parametrize("family", FAMILIES)
def test_every_numeric_option_has_a_range_in_its_message(family):
    options = list(numeric(family))
    assert len(options) >= 6
    for name, wrap, real in options:
        for wrong in (math.inf, -math.inf, math.nan, 1e308) if real else (10**7, 2**63, -1):
            with pytest.raises(ValueError, match=rf"^{name}=.* is not possible; it takes .*(from|between|above) .*\d"):
                kind_of(family)(**{name: wrap(wrong)})


@pytest.mark.parametrize(
    ("family", "options", "allowed"),
    [
        (ROUTING, {"learning_rate": math.inf}, "learning_rate=inf.* a number above 0, at most 1e+38."),
        (ROUTING, {"invalid_reward": 1e308}, "invalid_reward=1e+308.* a number from -1e+38 to 1e+38."),
        (ROUTING, {"train_batch": 2**63}, f"train_batch={2**63}.* a whole number from 1 to 1,000,000."),
        (ROUTING, {"blocks": 0}, "blocks=0.* a whole number from 1 to 10,000, text or None."),
        (LIMITLESS, {"bonus": 11}, "bonus=11.* True, False or a number from 0 to 10."),
        (LIMITLESS, {"image_shape": (1, 8, -8)}, "image_shape=.* a list of whole numbers from 1 to 10,000 or None."),
        (RECURRENT, {"lr_decay": 0}, "lr_decay=0.* a number above 0, at most 1."),
        (RECURRENT, {"penalties": (1e40, 0)}, "penalties=.* two numbers from 0 to 1e+38."),
        (SCHEDULING, {"reference": [math.inf]}, "reference=.* a list of numbers from -1e+38 to 1e+38"),
        (ALIGNMENT, {"final_generations": 10**7}, f"final_generations={10**7}.* whole number from 0 to 1,000,000."),
        (ALIGNMENT, {"challenger_share": 1.0}, "challenger_share=1.0.* a number between 0 and 1 or None."),
    ],
)
def test_a_number_outside_its_range_raises_with_the_range(family, options, allowed):
    pattern = re.escape(allowed).replace(r"\.\*", ".*")
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match=pattern):
            make(family, **options)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_envs", [1.5, "2", True, None, 0, -1, 2**63])
def test_an_invalid_num_envs_raises_with_the_range(family, num_envs):
    vector_class = type(gym.make(family).unwrapped.batched)
    with pytest.raises(ValueError, match=rf"^{vector_class.__name__}: num_envs={num_envs!r} is .* a whole number"):
        vector_class(num_envs)


def test_num_envs_accepts_numpy_integers_and_evaluations_check_it():
    env = gym.make_vec(ROUTING, num_envs=2, hidden=2).unwrapped
    assert type(type(env)(np.int64(3), hidden=2).num_envs) is int
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match=f"num_envs={wrong} is not possible"):
            mtl_gym.evaluate(lambda obs: obs["task"], env, num_envs=wrong)


def test_gym_make_refuses_num_envs():
    with pytest.raises(ValueError, match=r"num_envs=3 is not possible: use gym\.make_vec"):
        gym.make(ROUTING, num_envs=3)
    with pytest.raises(ValueError, match=r"runs=3 is not possible: use gym\.make_vec"):
        gym.make(ROUTING, runs=3)


def test_ranges_include_their_ends_unless_open():
    assert 0 in Range(0, 1) and 1 in Range(0, 1) and 0 not in Range(0, 1, "least") and 1 in Range(0, 1, "least")
    assert 0 in Range(0, 1, "most") and 1 not in Range(0, 1, "most")
    assert 0 not in Range(0, 1, "both") and 1 not in Range(0, 1, "both") and 0.5 in Range(0, 1, "both")
    assert math.nan not in NUMBERS and math.inf not in NUMBERS and 10**400 not in NUMBERS and 10**6 in WHOLE


@pytest.mark.parametrize(
    ("value", "hint"),
    [(True, bool | float), ("text", str | float), (None, int | None), ([[1, 2], [3]], list[list[int]]), (-5, str)],
)
def test_values_other_than_numbers_have_no_range(value, hint):
    assert out_of_range("it", value, hint) is None
