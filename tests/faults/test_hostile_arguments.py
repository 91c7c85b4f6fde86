"""Options and actions of every family, drawn from what a user may give by mistake: one sentence, which names it."""

import random

import gymnasium as gym
import pytest

from mtl_gym.core.options import make_options

from .damage import is_ours, only_ours, outcome
from .families import ACTIONS, HOSTILE, SMALLEST, equal, smallest

# Families are alike in their base: a sample of the pairs of option and value is made, all are looked at.
MADE = 40


def pairs_of(family):
    kind = type(smallest(family).unwrapped)
    return kind, [(name, value) for name in kind.Options.__dataclass_fields__ for value in HOSTILE]


def taken(kind, name, value):
    """Whether an environment takes an option as far as one can say without making it."""
    return outcome(make_options, kind.Options, kind.__name__, {"data": "digits", name: value}) is None


@pytest.mark.parametrize("family", SMALLEST)
def test_an_option_that_cannot_be_is_told_by_name(family):
    kind, pairs = pairs_of(family)
    unnamed = []
    for name, value in pairs:
        error = outcome(make_options, kind.Options, kind.__name__, {name: value})
        if error is not None and not (is_ours(error) and name in str(error)):
            unnamed.append(f"{name}={value!r}: {error!r}")
    assert not unnamed, "\n".join(unnamed)


@pytest.mark.parametrize("family", SMALLEST)
def test_an_environment_that_takes_an_option_can_be_played_with_it(family):
    kind, pairs = pairs_of(family)
    # A class or function in the place of one's own is called, and raises what it likes.
    told = [pair for pair in pairs if not callable(pair[1]) and taken(kind, *pair)]
    random.Random(0).shuffle(told)

    def play(name, value):
        env = smallest(family, **{name: value})
        env.reset(seed=0)
        env.action_space.seed(0)
        env.step(env.action_space.sample())
        env.close()

    acts = [(f"{name}={value!r}", lambda n=name, v=value: play(n, v)) for name, value in told[:MADE]]
    only_ours(acts)


@pytest.mark.parametrize("family", SMALLEST)
def test_widths_seeds_and_splits_that_cannot_be_are_told(family):
    env = smallest(family)
    env.reset(seed=0)
    kind = type(env.unwrapped)
    given = SMALLEST[family] | dict(gym.spec(family).kwargs)
    acts = []
    for value in HOSTILE:
        acts.append((f"num_envs={value!r}", lambda v=value: kind(v, **given)))
        acts.append((f"split={value!r}", lambda v=value: env.unwrapped.evaluation_view(v)))
        acts.append((f"view num_envs={value!r}", lambda v=value: env.unwrapped.evaluation_view("test", v)))
        acts.append((f"seed={value!r}", lambda v=value: env.unwrapped.reset(seed=v)))
    only_ours(acts)


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("family", SMALLEST)
def test_an_action_that_cannot_be_is_told_and_changes_nothing(family, width):
    env = (
        gym.make(family, **SMALLEST[family], disable_env_checker=True).unwrapped
        if width == "one"
        else smallest(family).unwrapped
    )
    env.reset(seed=0)
    before = env.state_dict()

    def act(action):
        error = outcome(env.step, action)
        if error is None:
            env.load_state_dict(before)
            return
        assert equal(env.state_dict(), before), f"it is changed by an action that it refused ({error!r})"
        raise error

    only_ours((f"{action!r}", lambda action=action: act(action)) for action in ACTIONS)
    env.step(env.action_space.sample())
