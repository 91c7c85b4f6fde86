"""Settings and results of runs, as dataclasses and as checked fields of JSON files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from typing import TYPE_CHECKING, TypeVar

from mtl_gym.core.measure import ACCURACY, Measure
from mtl_gym.core.rows import Arguments
from mtl_gym.core.validation import complaint, hints_of, short, unknown
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from mtl_gym.lab.agents import check_arguments, find_agent, options_for
from mtl_gym.lab.environments import class_of, options_of, spec_of
from mtl_gym.lab.locations import functions, with_objects
from mtl_gym.lab.protocols import Learner
from mtl_gym.registration import SB3

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Maximum length of folder names on most systems, in bytes.
LONGEST_NAME = 255
# Whole numbers beyond it are no floats.
LARGEST = sys.float_info.max
# Decisions of a run; SB3 counts in 64 bits.
MOST_STEPS = 10**15
# Tolerance for rounded means and shares.
SLACK = 1e-6
Record = TypeVar("Record", bound="DataclassInstance")


@dataclass(frozen=True)
class RunSettings:
    """Settings that determine a run, apart from versions and hardware.

    Attributes:
        env_id: Registered environment id.
        agent: Name of the agent, see `agent_names`.
        steps: Total decisions over all rows.
        seed: Seed of environment and agent.
        num_envs: Number of rows of the environment.
        env_kwargs: Keyword arguments of the environment, JSON-serialisable.
        agent_kwargs: Keyword arguments of the agent, JSON-serialisable.
        name: Name of the run in tables; default the agent's name.
    """

    env_id: str
    agent: str
    steps: int
    seed: int = 0
    num_envs: int = 64
    env_kwargs: Arguments = field(default_factory=dict)
    agent_kwargs: Arguments = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Default `name` to the agent's name."""
        object.__setattr__(self, "name", self.name or self.agent)

    def make_env(self, **more: object) -> BatchedVecEnv:
        """Return the environment with the options that the agent requires.

        Args:
            **more: Further options, such as objects that are not JSON-serialisable.
        """
        spec_of(self.env_id)  # a module of `module:id` may register the agent that is asked for options
        return make_vec_env(self.env_id, self.num_envs, self.seed, **with_objects(self._options()) | more)

    def make_agent(self, env: BatchedVecEnv) -> Learner:
        """Return the agent on an environment."""
        check_arguments(self.agent, self.agent_kwargs)
        length = {"training": self.steps} if self.agent in SB3 else {}
        return find_agent(self.agent)(env, seed=self.seed, **length, **self.agent_kwargs)

    def _options(self) -> Arguments:
        return options_for(self.agent, self.env_id) | self.env_kwargs

    def check(self) -> None:
        """Check the arguments of environment and agent without making or loading anything.

        Raises:
            ValueError: If an argument is invalid, or the environment does not belong to mtl_gym.
            gymnasium.error.Error: If the environment is unknown.
        """
        require("steps", self.steps, 1, MOST_STEPS)
        kind = class_of(self.env_id)  # a module of `module:id` may register agents
        check_arguments(self.agent, self.agent_kwargs)
        known = {field.name for field in dataclasses.fields(kind.Options)}
        lacking = [name for name in options_for(self.agent, self.env_id) if name not in known]
        if lacking:
            raise ValueError(
                f"Agent {self.agent!r} does not fit {self.env_id}: it sets {', '.join(lacking)} of the environment, "
                f"which has no such option. `mtl-gym list {self.env_id}` shows the agents that fit."
            )
        functions(self._options())
        options_of(self.env_id, self._options())


def difference(one: RunSettings, other: RunSettings) -> tuple[str, str]:
    """Return the settings in which two runs differ, as text: those of the first and those of the second.

    Example:
        >>> difference(RunSettings("id", "ppo", 40), RunSettings("id", "ppo", 60, env_kwargs={"noise": 2}))
        ('steps=40, no env_kwargs.noise', 'steps=60, env_kwargs.noise=2')
    """
    here, there = _flat(one), _flat(other)
    names = [name for name in here | there if (name in here, here.get(name)) != (name in there, there.get(name))]
    first, second = (
        ", ".join(f"{name}={short(fields[name])}" if name in fields else f"no {name}" for name in names)
        for fields in (here, there)
    )
    return first, second


def _flat(settings: RunSettings) -> Arguments:
    fields = dict(vars(settings))
    nested = {name: fields.pop(name) for name in ("env_kwargs", "agent_kwargs")}
    return fields | {f"{name}.{key}": value for name, given in nested.items() for key, value in given.items()}


@dataclass(frozen=True)
class Extras:
    """Options for what a run records beside its result, which none of them changes.

    Attributes:
        evaluations: Maximum number of evaluations on the validation split; None for the environment's default.
        events: Whether to write TensorBoard events, if TensorBoard is installed.
        pictures: Whether to draw pictures.
    """

    evaluations: int | None = None
    events: bool = True
    pictures: bool = True


EVERYTHING = Extras()
# Test figures only: evaluations on the validation split would double the time of a short run.
BARE = Extras(evaluations=0, events=False, pictures=False)


@dataclass(frozen=True)
class RunResult:
    """Result of a run on the test split.

    Attributes:
        settings: Settings of the run.
        accuracy: Mean accuracy over tasks.
        per_task: Accuracy by task name, for tasks with episodes.
        loss: Mean cross-entropy over tasks; None if no episode ended with an answer.
        blocks_used: Number of blocks that the policy uses, over all depths; None in environments without blocks.
        epochs: Passes of the tested network over the training data.
        samples_per_second: Training samples per second, without evaluations.
        f1: F1 over spans or labels by task name, if the environment returns it.
        figure: Figure by which agents are compared, in the unit of `measure`; default 100 times `accuracy`.
        measure: What the figure is, and which way is up.
        sampled: The figure with actions drawn from the policy instead of its likeliest ones; None for agents that are
            no learners.
        seconds: Seconds of training, without evaluations.
        cpu_seconds: Processor seconds of the whole run, with evaluations; None in files from before it was measured.
        figure_tasks: Names of the tasks that the figure is of; empty for all, None in files from before it was kept.
    """

    settings: RunSettings
    accuracy: float
    per_task: dict[str, float]
    loss: float | None
    blocks_used: int | None
    epochs: float
    samples_per_second: float
    f1: dict[str, float] = field(default_factory=dict)
    figure: float = nan
    measure: Measure = ACCURACY
    sampled: float | None = None
    seconds: float = 0.0
    cpu_seconds: float | None = None
    figure_tasks: list[str] | None = None

    def __post_init__(self) -> None:
        """Default `figure` to the accuracy in per cent, and refuse to do so in another unit."""
        if self.figure != self.figure:
            if self.measure != ACCURACY:
                raise ValueError(f"figure=nan is not possible; a result takes a finite {self.measure.name}")
            object.__setattr__(self, "figure", 100 * self.accuracy)


def settings_of(fields: object) -> RunSettings:
    """Return settings from the fields of a file.

    Raises:
        ValueError: If a key is missing or unknown, or its value is invalid.
    """
    settings = built(RunSettings, fields)
    check_name("name", settings.name)
    for name, least in (("steps", 1), ("seed", 0), ("num_envs", 1)):
        require(name, getattr(settings, name), least)
    return settings


def result_of(fields: object) -> RunResult:
    """Return a result from the fields of a file.

    Raises:
        ValueError: If a key is missing or unknown, or its value is invalid.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"{short(fields)} is not a mapping")
    measure = built(Measure, fields["measure"]) if "measure" in fields else ACCURACY
    result = built(RunResult, {**fields, "settings": settings_of(fields.get("settings")), "measure": measure})
    require("accuracy", result.accuracy, high=1)
    _require_shares("per_task", result.per_task)
    _require_shares("f1", {name: value for name, value in result.f1.items() if value == value})
    mean = sum(result.per_task.values()) / max(1, len(result.per_task))
    if not result.per_task or abs(mean - result.accuracy) > SLACK:
        raise ValueError(f"accuracy={result.accuracy} is not the mean of per_task={short(result.per_task)}")
    require("loss", result.loss or 0)
    require("blocks_used", result.blocks_used or 0, 0)
    require("epochs", 0 if result.epochs != result.epochs else result.epochs, 0)
    require("figure", fields.get("figure", result.figure))
    require("sampled", 0 if result.sampled is None else result.sampled)
    require("seconds", result.seconds, 0)
    require("cpu_seconds", result.cpu_seconds or 0, 0)
    require("samples_per_second", result.samples_per_second, 0)
    return result


def built(kind: type[Record], fields: object) -> Record:
    """Return an instance of a dataclass from the fields of a file.

    Raises:
        ValueError: If a field is missing or unknown, or its value has the wrong type.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(fields, Mapping):
        raise ValueError(f"{short(fields)} is not a mapping with {', '.join(known)}")
    for name in fields:
        if name not in known:
            raise ValueError(unknown("the file", "field", str(name), known))
    hints = hints_of(kind)
    for name, told in known.items():
        if name in fields:
            wrong = complaint(name, fields[name], hints.get(name, object))
            if wrong is not None:
                raise ValueError(wrong)
        elif told.default is told.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name!r} is missing")
    return kind(**fields)


def require(name: str, value: object, low: float = -inf, high: float = inf) -> None:
    """Require a finite number from `low` to `high`.

    Raises:
        ValueError: If the value is anything else.
    """
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else inf
    if not (low <= number <= high + SLACK and abs(number) <= LARGEST):
        bounds = [f", {bound:g} or {word}" for bound, word in ((low, "more"), (high, "less")) if abs(bound) < inf]
        raise ValueError(f"{name}={short(value)} is not possible; it takes a finite number{''.join(bounds)}")


def _require_shares(name: str, shares: Mapping[str, object]) -> None:
    for task, share in shares.items():
        require(f"{name}[{task!r}]", share, high=1)


def check_name(what: str, name: object) -> None:
    """Require a name that is a valid folder name.

    Args:
        what: Noun for the message.
        name: The name.

    Raises:
        ValueError: If the name is not a string or not a valid folder name.
    """
    text = name if isinstance(name, str) else ""
    fits = text.isprintable() and 0 < len(text.encode(errors="replace")) <= LONGEST_NAME
    if not fits or text.startswith(".") or set(text) & set("/\\"):
        raise ValueError(f"{what} {short(name)}: a name must be a valid folder name.")
