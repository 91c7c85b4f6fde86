"""Validation of options and of agents' arguments."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import Random
from numpy.typing import NDArray
from torch import nn

import mtl_gym
from mtl_gym.core.arguments import refuse_wrong
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.options import EnvOptions, make_options
from mtl_gym.data import MultiTaskDataset, load
from mtl_gym.lab.agents import check_arguments, find_agent
from mtl_gym.lab.environments import is_benchmark
from mtl_gym.lab.run import RunSettings
from mtl_gym.registration import registered_ids

if TYPE_CHECKING:
    from fractions import Fraction

ROUTING, LIMITLESS = "MTLRouting-Digits-v0", "MTLLimitless-Digits-v0"
RECURRENT, SCHEDULING, ALIGNMENT = "MTLRecurrent-BrainSeries-v0", "MTLScheduling-Digits-v0", "MTLAlignment-Linear-v0"
FAMILIES = (ROUTING, LIMITLESS, RECURRENT, SCHEDULING, ALIGNMENT)
ALL = "it takes one of ('train', 'validation', 'test')"


class Sized(Protocol):
    def size(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Every(EnvOptions):
    """An option of every type."""

    whole: int = 1
    number: float = 1.0
    flag: bool = True
    name: str = "a"
    maybe: int | None = None
    pair: tuple[float, float] = (1.0, 1.0)
    mixed: tuple[int, str, float, float] = (1, "a", 1.0, 1.0)
    many: tuple[int, ...] = ()
    names: Sequence[str] = ()
    nested: Sequence[Sequence[str]] | None = None
    choices: Sequence[int | str] = ()
    weight: bool | float = True
    data: str | MultiTaskDataset = "digits"
    nets: Sequence[nn.Module] = ()
    function: str | Callable[[int], int] = "a"
    mapping: Mapping[str, Any] | None = None
    anything: Any = None
    literal: Literal["a", "b"] = "a"
    array: NDArray[np.float32] | None = None
    sized: Sized = ""
    wrong: int = None  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Unseen(EnvOptions):
    part: Fraction | None = None


def make(**options):
    return make_options(Every, "Env", options)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("whole", "16", "a whole number. '16' is text: write 16, without quotes."),
        ("whole", 2.5, "a whole number."),
        ("whole", 2.0, "a whole number."),
        ("whole", True, "a whole number."),
        ("whole", None, "a whole number."),
        ("number", True, "a number."),
        ("number", np.True_, "a number."),
        ("number", "a", "a number."),
        (
            "number",
            "1e-3",
            "a number. '1e-3' is text: write 0.001, without quotes; "
            "YAML reads 1e-3 as text, and 1.0e-3 as a number.",
        ),
        ("flag", "no", "True or False."),
        ("flag", 1, "True or False."),
        ("name", 1, "text."),
        ("maybe", "1", "a whole number or None. '1' is text: write 1, without quotes."),
        ("pair", 1.0, "two numbers."),
        ("pair", (1.0,), "two numbers."),
        ("pair", [1, 2, 3], "two numbers."),
        ("pair", (1, "2"), "two numbers. '2' is text: write 2, without quotes."),
        ("pair", "12", "two numbers. '12' is text: write 12, without quotes."),
        ("pair", {1: 1, 2: 2}, "two numbers."),
        ("mixed", (1, 2, 1.0, 1.0), "4 whole numbers or texts or numbers."),
        ("many", (1, 2.5), "a list of whole numbers."),
        ("many", [True], "a list of whole numbers."),
        ("names", "task", "a list of texts. Write ['task']."),
        ("names", 0, "a list of texts."),
        ("names", [0], "a list of texts."),
        ("names", {"a"}, "a list of texts."),
        ("nested", ["0"], "a list of lists of texts or None."),
        ("choices", [1.5], "a list of whole numbers or texts."),
        ("weight", "yes", "True, False or a number."),
        ("data", None, "text or a MultiTaskDataset."),
        ("data", 5, "text or a MultiTaskDataset."),
        ("data", ["digits"], "text or a MultiTaskDataset."),
        ("nets", "mlp", "a list of Modules."),
        ("nets", [None], "a list of Modules."),
        ("function", 1, "text or a function."),
        ("mapping", "a", "a mapping or None."),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_raises_with_the_allowed_values(option, value, allowed):
    shown = value.item() if isinstance(value, np.generic) else value
    with pytest.raises(
        ValueError, match=re.escape(f"Env: {option}={shown!r} is not possible; it takes {allowed}") + "$"
    ):
        make(**{option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("number", 1), ("number", 1e38), ("maybe", None), ("maybe", 3), ("pair", [1, 2.5]),
        ("mixed", [1, "b", 2, 3]), ("many", ()), ("many", [1, 2, 3]), ("many", np.arange(3)),
        ("many", torch.arange(3)), ("many", range(2)), ("names", ["a"]), ("nested", [["a"], ()]), ("choices", [1, "a"]),
        ("weight", False), ("weight", 2), ("data", load("digits")), ("nets", [nn.Linear(1, 1)]),
        ("nets", nn.ModuleList([nn.Linear(1, 1)])), ("function", abs), ("mapping", {}), ("anything", 1),
        ("anything", [None]), ("literal", "c"), ("wrong", None), ("array", [1]), ("sized", 1),
        ("device", torch.device("cpu")),
    ],
)  # fmt: skip
def test_a_value_of_the_right_type_is_unchanged(option, value):
    assert getattr(make(**{option: value}), option) is value


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [("whole", np.int32(3), int), ("number", np.float32(0.5), float), ("flag", np.False_, bool)],
)
def test_numpy_scalars_become_python_scalars(option, value, kind):
    kept = getattr(make(**{option: value}), option)
    assert kept == value and type(kept) is kind


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(ValueError, match=r"nested=\['0', '0', '0', '0', '0', '0', \.\.\.\] is not possible"):
        make(nested=["0"] * 30)


def test_options_with_types_imported_for_type_checkers_only_are_not_checked():
    assert make_options(Unseen, "Env", {"part": "half"}).part == "half"


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        (ROUTING, {"hidden": "16"}, "RoutingVectorEnv: hidden='16' is not possible; it takes a whole number"),
        (ROUTING, {"train_batch": 2.5}, "train_batch=2.5"),
        (ROUTING, {"learning_rate": "1e-3"}, "learning_rate='1e-3' is not possible; it takes a number.*1.0e-3"),
        (ROUTING, {"data": None}, "data=None is not possible; it takes text"),
        (ROUTING, {"train": "no"}, "train='no' is not possible; it takes True or False"),
        (ROUTING, {"invalid_reward": math.nan}, "invalid_reward=nan is not possible; it takes a number from"),
        (LIMITLESS, {"invalid_reward": -math.inf}, "invalid_reward=-inf is not possible; it takes a number from"),
        (LIMITLESS, {"image_shape": "188"}, "image_shape='188'"),
        (RECURRENT, {"layers": 3}, "layers=3 is not possible; it takes a list of whole numbers"),
        (RECURRENT, {"hidden": 2.5}, "hidden=2.5"),
        (RECURRENT, {"penalties": 1.0}, "penalties=1.0 is not possible; it takes two numbers"),
        (RECURRENT, {"free": 2}, "free=2 is not possible; it takes two numbers"),
        (RECURRENT, {"seen_updates": 1.5}, "seen_updates=1.5"),
        (RECURRENT, {"penalties": (math.inf, 1)}, r"penalties=\(inf, 1\) is not possible; it takes two numbers from 0"),
        (RECURRENT, {"penalties": (1, math.nan)}, r"penalties=\(1, nan\) is not possible; it takes two numbers from 0"),
        (RECURRENT, {"free": (math.nan, 1)}, r"free=\(nan, 1\) is not possible; it takes two numbers from 0 to 1"),
        (SCHEDULING, {"validation_samples": 0}, "validation_samples=0 is not possible; it takes a whole number from 1"),
        (SCHEDULING, {"penalty": -math.inf}, "penalty=-inf is not possible; it takes a number from"),
        (SCHEDULING, {"reference": ["a"]}, r"reference=\['a'\] is not possible; it takes text, a number, a list"),
        (ALIGNMENT, {"block": 16}, "AlignmentVectorEnv: block=16 is not possible; it takes two whole numbers."),
        (ALIGNMENT, {"block": (2.7, 1)}, r"block=\(2.7, 1\)"),
        (ALIGNMENT, {"block": (16,)}, r"block=\(16,\) is not possible; it takes two whole numbers"),
        (ALIGNMENT, {"tasks": 0}, "tasks=0 is not possible; it takes a list of texts"),
        (ALIGNMENT, {"tasks": "task-1"}, r"Write \['task-1'\]"),
        (ALIGNMENT, {"iterations": 1.5}, "iterations=1.5"),
        (ALIGNMENT, {"generations": 2.5}, "generations=2.5"),
        (ALIGNMENT, {"final_generations": 1.5}, "final_generations=1.5"),
        (ALIGNMENT, {"modules": 2.5}, "modules=2.5 is not possible; it takes a whole number or None"),
        (ALIGNMENT, {"keep": ["0"] * 30}, "keep=.* is not possible; it takes a list of lists of texts"),
        (ALIGNMENT, {"keep": [["0"]]}, "keep=.* is not possible; it takes None without network"),
        (
            ALIGNMENT,
            {"network": [nn.Linear(20, 1)] * 30, "keep": [["0"]] * 29},
            "keep=.*30 architectures",
        ),
        (ALIGNMENT, {"challenger_share": 0}, "challenger_share=0 is not possible; it takes a number between 0 and 1"),
        (ALIGNMENT, {"minibatch": 0}, "minibatch=0 is not possible; it takes a whole number from 1 to"),
        (ALIGNMENT, {"samples": 0}, "samples=0 is not possible; it takes a whole number from 1 to"),
    ],
)  # fmt: skip
def test_environments_refuse_invalid_options(family, options, message):
    with pytest.raises(ValueError, match=message):
        gym.make_vec(family, num_envs=2, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_from_json_and_yaml_and_paths_are_accepted(family):
    given = dict(gym.spec(family).kwargs)
    kind = type(gym.make(family).unwrapped.batched).Options
    defaults = {name: value for name, value in vars(kind()).items() if isinstance(value, tuple)}
    lists = {name: list(value) for name, value in defaults.items()}
    options = gym.make(family, **lists | given, data_root=Path("somewhere")).unwrapped.options
    assert options.data_root == Path("somewhere")


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_split_raises_with_the_three_splits(family):
    with pytest.raises(ValueError, match=re.escape(f"split='dev' is not possible; {ALL}")):
        gym.make(family, split="dev")
    env = gym.make(family).unwrapped
    with pytest.raises(ValueError, match=r"'dev'.*train'?, '?validation'?, '?test"):
        env.evaluation_view("dev")
    with pytest.raises(ValueError, match=r"'dev'.*train'?, '?validation'?, '?test"):
        mtl_gym.evaluate(lambda obs: 0, env, "dev")


def test_replaced_options_are_checked():
    with pytest.raises(ValueError, match=re.escape(ALL)):
        dataclasses.replace(EnvOptions(), split="tests")


def test_a_numpy_seed_is_accepted():
    env = gym.make(ROUTING, hidden=2)
    first, _ = env.reset(seed=np.int64(3))
    second, _ = env.reset(seed=3)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert type(env.unwrapped.seed) is int


@pytest.mark.parametrize("family", [ROUTING, LIMITLESS, RECURRENT])
@pytest.mark.parametrize(
    ("reward", "given"),
    [
        (lambda logits, label, task: 1.0, "float of shape []"),
        (lambda logits, label, task: np.ones(len(logits)), "ndarray of shape [2]"),
        (lambda logits, label, task: logits.mean(), "Tensor of shape []"),
        (lambda logits, label, task: logits[:, :1], "Tensor of shape [2, 1]"),
        (lambda logits, label, task: logits[:, 0] * 1j, "complex Tensor of shape [2]"),
    ],
    ids=["float", "array", "scalar", "column", "complex"],
)
def test_a_reward_of_the_wrong_shape_raises_with_the_required_shape(family, reward, given):
    env = gym.make_vec(family, num_envs=2, reward=reward)
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=re.escape(f"gave {given} for 2 answers;") + r".* shape \[rows\], .* \[2\] here"
    ):
        for _ in range(50):
            valid = env.unwrapped.action_masks()
            env.step(np.ones_like(env.action_space.sample()) if family == RECURRENT else valid.argmax(1))


@pytest.mark.parametrize("name", ["wpl", "lrn", "qls", "ppo", "dqn", "random-alignment"])
def test_an_unknown_argument_of_an_agent_raises_with_the_known_ones(name):
    with pytest.raises(ValueError, match=rf"^Agent '{name}' has no argument 'foo'\. It takes .*verbose"):
        check_arguments(name, {"foo": 1})
    with pytest.raises(ValueError, match=rf"Agent '{name}' has no argument 'verbos'\. Did you mean 'verbose'\?"):
        check_arguments(name, {"verbos": 1})


@pytest.mark.parametrize(
    ("name", "given"), [("wpl", "seed"), ("lrn", "env"), ("ppo", "device"), ("lrn", "policy_kwargs"), ("qls", "policy")]
)
def test_an_argument_that_the_run_sets_is_refused(name, given):
    with pytest.raises(ValueError, match=f"Agent '{name}' receives '{given}' .*leave it out"):
        check_arguments(name, {given: 1})


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("wpl", {"policy_learning_rate": 0.1, "gamma": 1, "verbose": 0}),  # of three classes
        ("lrn", {"d_model": np.int64(8), "n_steps": 4}),
        ("ppo", {"n_steps": 4, "policy_kwargs": {"net_arch": [4]}, "learning_rate": lambda left: left}),
        ("dqn", {"train_freq": [4, "step"], "learning_rate": 1e-3, "policy_kwargs": None}),
        ("random-alignment", {"share": 0.5}),
    ],
)
def test_arguments_of_an_agent_and_of_its_base_classes_are_accepted(name, arguments):
    check_arguments(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("decomposed-ea", {"share": "x"}, "share='x' is not possible; it takes a number or None."),
        ("straight-through", {"hidden": 2.5}, "hidden=2.5 is not possible; it takes a whole number."),
        ("ppo", {"learning_rate": "3e-4"}, "'3e-4' is text: write 0.0003, without quotes"),
        ("lrn", {"d_model": None}, "d_model=None is not possible; it takes a whole number."),
        ("wpl", {"policy_learning_rate": [1]}, r"policy_learning_rate=[1] is not possible; it takes a number."),
    ],
)
def test_an_invalid_value_of_an_argument_raises_with_the_allowed_values(name, arguments, message):
    with pytest.raises(ValueError, match=f"^Agent '{name}': .*{re.escape(message)}"):
        check_arguments(name, arguments)


def test_constructors_of_agents_refuse_unknown_arguments():
    with pytest.raises(TypeError, match="share"):
        find_agent("random")(ROUTING, share=0.5)
    run = RunSettings(ROUTING, "ppo", 10, 0, 2, agent_kwargs={"n_step": 4})
    with pytest.raises(ValueError, match=r"^Agent 'ppo' has no argument 'n_step'\. Did you mean 'n_steps'"):
        run.make_agent(run.make_env())
    assert Random(ROUTING, verbose=0).verbose == 0


def test_subclasses_with_open_arguments_pass_them_on():
    class Mine(Random):
        def __init__(self, env, *, extra=1, **arguments):
            super().__init__(env, **arguments)

    refuse_wrong("Mine", Mine, {"extra": 2, "seed": 0}, frozenset())
    with pytest.raises(ValueError, match=r"Mine has no argument 'extras'\. Did you mean 'extra'"):
        refuse_wrong("Mine", Mine, {"extras": 2}, frozenset())


@pytest.mark.parametrize(
    ("name", "saved", "loading"),
    [
        (
            "MTLRecurrent-BrainSeries-v0",
            {"data_kwargs": {"relatedness": 0.0}},
            {"data_kwargs": {"relatedness": 1.0}},
        ),
        ("MTLRecurrent-BrainSeries-v0", {"penalties": (1, 1)}, {"penalties": (0, 0)}),
        ("MTLAlignment-Linear-v0", {"start": [0] * 30}, {"start": [1] * 30}),
    ],
)
def test_a_checkpoint_with_other_lists_and_mappings_is_refused(name, saved, loading):
    state, env = (gym.make_vec(name, 2, **options).unwrapped for options in (saved, loading))
    with pytest.raises(CheckpointError, match="from another environment"):
        env.load_state_dict(state.state_dict())


def test_tuples_lists_and_arrays_of_equal_numbers_match():
    one, other = (
        gym.make_vec("MTLAlignment-Linear-v0", 1, start=kind([0] * 30), block=block).unwrapped
        for kind, block in ((np.array, [20, 1]), (tuple, (20, 1)))
    )
    other.load_state_dict(one.state_dict())
    assert one.signature == other.signature


@pytest.mark.parametrize("name", [env_id for env_id in registered_ids() if is_benchmark(env_id)])
def test_an_environment_that_makes_its_own_data_refuses_arguments_of_data(name):
    with pytest.raises(ValueError, match=r"data_kwargs={'fold': 1} is not possible; it takes None only"):
        gym.make_vec(name, 1, data_kwargs={"fold": 1})


@pytest.mark.parametrize("name", ["name", "root", "download", 1])
def test_what_is_no_argument_of_a_data_set_is_told(name):
    with pytest.raises(ValueError, match=rf"^{name!r} is no argument of a data set"):
        gym.make_vec(ROUTING, 1, data_kwargs={name: "x"})


@pytest.mark.parametrize(
    ("family", "options", "told"),
    [
        (ROUTING, {"reward": lambda: 1}, r"reward=.* does not take .*logits, label, task"),
        (ALIGNMENT, {"reward": lambda before: 1}, r"reward=.* does not take .*before, after"),
        (ROUTING, {"network": nn.Linear}, r"network=.*Linear is a class"),
        (ROUTING, {"network": dir}, r"network=.* made a"),
    ],
)
def test_a_function_with_other_arguments_or_a_class_is_refused(family, options, told):
    with pytest.raises(ValueError, match=told):
        gym.make_vec(family, num_envs=2, **options)


@pytest.mark.parametrize("family", [ROUTING, LIMITLESS, SCHEDULING])
def test_a_message_about_data_offers_only_the_kind_that_the_family_takes(family):
    with pytest.raises(ValueError, match="takes text or a MultiTaskDataset"):
        gym.make_vec(family, data=load("linear"))
