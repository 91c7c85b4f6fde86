"""Contract of every registered environment, and tests of registration."""

import pickle
import subprocess
import sys
import warnings
from dataclasses import fields
from importlib.metadata import EntryPoint

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import mtl_gym
from mtl_gym import registration
from mtl_gym.families import measured
from mtl_gym.families.catalogue import OUTDATED
from mtl_gym.lab.environments import class_of
from mtl_gym.registration import registered_ids
from mtl_gym.testing import CHECKS, batch, check_family, valid_actions
from tests.conftest import ids

# Those of the package; tests of other families register more.
IDS = registered_ids()
# Training runs are long episodes: short ones will do here.
RUNS = {"updates": 4, "updates_per_step": 1, "minibatch": 2, "validation_samples": 2, "reference": 0.5}
GENERATIONS = {"generations": 4, "iterations": 2, "final_generations": 1, "samples": 4, "minibatch": 2}
# One id of each family has all checks, and so has every id that changes what a family does, here or in the tests of its
# module; the others differ in their data.
FAMILIES = {
    "MTLRouting-Digits-v0": {},
    "MTLLimitless-Digits-v0": {},
    "MTLRecurrent-BrainSeries-v0": {},
    "MTLScheduling-Digits-v0": RUNS,
    "MTLScheduling-Skills-v0": {"budget": 12},
    "MTLScheduling-Prerequisites-v0": {"updates": 8},
    "MTLScheduling-TextMixture-v0": {"updates": 12},
    "MTLRouting-Digits-v1": {},
    "MTLLimitless-Digits-v1": {},
    "MTLAlignment-Linear-v0": GENERATIONS,
}
# Without the language model, whose vocabulary costs most of the time; tests/families/alignment has it.
CROSS_MODAL = {"MTLAlignment-CrossModal": {"tasks": ["vision", "dna"]}}
# Their gradients are in closed form, over all samples.
REGRESSIONS = {key: {"minibatch": None} for key in ("MTLAlignment-Linear-v1", "MTLAlignment-LinearDiscrete")}
SHORT = {"MTLScheduling": RUNS, "MTLAlignment": GENERATIONS, **CROSS_MODAL, **REGRESSIONS}


def short(env_id):
    """Return options that shorten episodes, those of them that the id has."""
    found = [kwargs for start, kwargs in SHORT.items() if env_id.startswith(start)]
    known = {field.name for field in fields(class_of(env_id).Options)}
    return {name: value for kwargs in found for name, value in kwargs.items() if name in known}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_family_keeps_the_contract(check, family):
    check(family, FAMILIES[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_stable_baselines3s_checker_is_content(family):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It wants bytes for its CnnPolicy; pictures of floats in [0, 1] are flattened, which small ones need.
        warnings.filterwarnings("ignore", message="It seems that your observation.* image")
        warnings.filterwarnings("ignore", message="The minimal resolution for an image")
        warnings.filterwarnings("ignore", message=OUTDATED)
        sb3_check_env(gym.make(family, **FAMILIES[family]).unwrapped)


@pytest.mark.parametrize("family", FAMILIES)
def test_environments_travel_between_processes(family):
    env = pickle.loads(cloudpickle.dumps(lambda: gym.make(family, **FAMILIES[family])))()
    env.reset(seed=0)


@pytest.mark.parametrize("other", [param for param in ids() if param.values[0] not in FAMILIES])
def test_every_other_id_is_made_reset_and_stepped(other):
    env = batch(other, 2, short(other))
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    obs, reward, *_ = env.step(valid_actions(env, np.random.default_rng(0)))
    assert obs in env.observation_space and np.isfinite(reward).all()


def test_the_first_check_that_fails_says_why(monkeypatch):
    from mtl_gym.families.routing.env import RoutingVectorEnv

    monkeypatch.setattr(RoutingVectorEnv, "_masks", lambda env: np.zeros((env.num_envs, 11), bool))
    with pytest.raises(AssertionError, match="must have a valid choice"):
        check_family("MTLRouting-Digits-v0", hidden=4)
    with pytest.raises(AssertionError, match="register_family"):
        check_family("CartPole-v1")


def test_importing_the_package_registers_every_id_without_torch():
    program = (
        "import sys, gymnasium, mtl_gym\n"
        f"assert all(i in gymnasium.registry for i in {IDS!r})\n"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_an_older_version_of_an_id_is_made_without_a_warning():
    program = "import gymnasium, mtl_gym; gymnasium.make('MTLScheduling-Digits-v0')"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_public_names_are_there():
    assert all(getattr(mtl_gym, name) is not None for name in mtl_gym.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mtl_gym.nothing  # noqa: B018


def test_a_gpu_is_used_if_there_is_one():
    env = gym.make("MTLRouting-Digits-v0").unwrapped.batched
    assert env.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_family_is_registered_once_and_takes_no_others_names():
    card = mtl_gym.Card("what", "why", ("random",))
    kinds = {"env": "nowhere.env:Env", "vector_env": "nowhere.env:VectorEnv"}
    try:
        for _ in range(2):
            mtl_gym.register_family(**kinds, presets={"Nowhere-v0": {"data": "digits"}}, card=card)
        assert mtl_gym.card("Nowhere-v0") is mtl_gym.card("nowhere:Nowhere-v0") is card
        with pytest.raises(ValueError, match=r"'Nowhere-v0' is taken by nowhere\.env:Env"):
            mtl_gym.register_family(**{**kinds, "env": "else:Env"}, presets={"Nowhere-v0": {}}, card=card)
        with pytest.raises(ValueError, match=r"'Env' .*'module:attribute'"):
            mtl_gym.register_family(**{**kinds, "env": "Env"}, presets={"Other-v0": {}}, card=card)
        assert "Other-v0" not in gym.registry
    finally:
        del gym.registry["Nowhere-v0"], registration._cards["Nowhere-v0"]
    with pytest.raises(ValueError, match="no card of 'Nowhere-v0'"):
        mtl_gym.card("Nowhere-v0")


LOCATIONS = {"env": "nowhere.env:Env", "vector_env": "nowhere.env:VectorEnv"}
REFUSED = {
    "the_preset_of_an_id": ({"presets": {"MTLRouting-Digits-v0": {}}}, "is taken by mtl_gym"),
    "an_id": ({"presets": {"Other": {}}}, "'Other' is not an id; write it as 'Name-v0'"),
    "no_presets": ({"presets": {}}, r"presets=\{\} is not possible"),
    "an_array": ({"presets": {"Other-v0": {"a": (1, 2)}}}, "'Other-v0' .* that JSON returns unchanged"),
    "a_class": ({"env": mtl_gym.Card}, "write it as 'mtl_gym.registration:Card'"),
    "a_bundled_agent": ({"agents": {"random": "nowhere:R"}}, "'random' is taken by mtl_agents"),
    "an_algorithm": ({"agents": {"ppo": "nowhere:R"}}, "'ppo' is taken by stable_baselines3:PPO"),
    "no_card": ({"card": None}, "takes an mtl_gym.Card"),
}


@pytest.mark.parametrize("arguments, message", REFUSED.values(), ids=REFUSED)
def test_a_refused_registration_says_why_and_registers_nothing(arguments, message):
    ids, agents = registered_ids(), registration.registered_agents()
    given = {"presets": {"Other-v0": {}}, "card": mtl_gym.Card("what", "why", ("random",)), "agents": {"new": "a:B"}}
    with pytest.raises(ValueError, match=message):
        mtl_gym.register_family(**LOCATIONS | given | arguments)
    assert (ids, agents) == (registered_ids(), registration.registered_agents())


def test_an_id_is_not_registered_again_with_another_preset():
    spec = gym.spec("MTLRouting-Digits-v0")
    kinds = {"env": spec.entry_point, "vector_env": spec.vector_entry_point}
    with pytest.raises(ValueError, match=r"the preset \{'data': 'digits', 'hidden': 64\}, not with .*choose another"):
        mtl_gym.register_family(**kinds, presets={spec.id: {"hidden": 3}}, card=mtl_gym.card(spec.id))


@pytest.mark.parametrize("controls", [(), "random", (1,)])
def test_a_card_names_a_control(controls):
    with pytest.raises(ValueError, match="takes a tuple with at least one agent name"):
        mtl_gym.Card("what", "why", controls)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("steps", value) for value in ("9", 1.5, None, True, -1)),
        *(("num_envs", value) for value in (0, "x", 2.5)),
        *(("optimum", value) for value in (float("nan"), float("inf"), "100", True)),
        *(("dials", value) for value in (None, [1], {"depth": 3})),
        *(("measured", value) for value in (None, {"random": 60.0})),
        *(("lengths", value) for value in (None, {"budget": 30}, ("budget",))),
        *(("oracle", value) for value in ("", 3)),
    ],
)
def test_a_card_refuses_values_of_a_wrong_kind(field, value):
    given = {"oracle": "oracle", "steps": 10} | {field: value}
    with pytest.raises(ValueError, match=rf"The card has {field}=.*; it takes "):
        mtl_gym.Card("what", "why", ("random",), **given)


@pytest.mark.parametrize("value", [None, float("nan"), "60", True])
def test_a_measured_figure_is_a_finite_number(value):
    with pytest.raises(ValueError, match=r"measured figure has mean=.*; it takes a finite number"):
        registration.Measured(value, 1.0, 5, 10)


def test_a_card_whose_control_is_at_the_optimum_has_no_score():
    found = {"random": registration.Measured(60.0, 1.0, 5, 10)}
    card = mtl_gym.Card("what", "why", ("random",), "oracle", 60.0, steps=10, measured=found)
    with pytest.raises(ValueError, match=r"no score: its best control, 'random', is at the optimum, 60"):
        card.score(50.0)


@pytest.mark.parametrize("content", [[1], {"X-v0": [1]}, {"X-v0": {"oracle": {"mean": 1}}}, {"X-v0": {"oracle": 5}}])
def test_damaged_measured_figures_are_told(content, monkeypatch):
    monkeypatch.setattr(measured, "_figures", lambda: content)
    with pytest.raises(ValueError, match=r"The figures of X-v0 in .*measured\.json are damaged .*mtl-gym gate X-v0"):
        measured.measured("X-v0")


def test_a_package_that_cannot_register_its_environments_is_named_in_a_warning(monkeypatch):
    points = [EntryPoint("broken", "nowhere.to.be.found:register", registration.GROUP)]
    monkeypatch.setattr(registration, "entry_points", lambda group: points)
    with pytest.warns(RuntimeWarning, match=r"nowhere\.to\.be\.found:register.* not registered: ModuleNotFoundError"):
        registration.load_packages()
