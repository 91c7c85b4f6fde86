"""Registration of families of environments, also from other packages.

A package names a function in the entry-point group `mtl_gym.environments`. Importing `mtl_gym` calls this function,
which calls `register_family`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from math import isfinite

import gymnasium as gym

GROUP, AGENTS = "mtl_gym.environments", "mtl_gym.agents"
# Modules and classes of the algorithms of Stable-Baselines3 and sb3-contrib, by agent name.
SB3: dict[str, tuple[str, str]] = {
    "a2c": ("stable_baselines3", "A2C"),
    "ddpg": ("stable_baselines3", "DDPG"),
    "dqn": ("stable_baselines3", "DQN"),
    "ppo": ("stable_baselines3", "PPO"),
    "sac": ("stable_baselines3", "SAC"),
    "td3": ("stable_baselines3", "TD3"),
    "ars": ("sb3_contrib", "ARS"),
    "crossq": ("sb3_contrib", "CrossQ"),
    "maskable-ppo": ("sb3_contrib", "MaskablePPO"),
    "qr-dqn": ("sb3_contrib", "QRDQN"),
    "recurrent-ppo": ("sb3_contrib", "RecurrentPPO"),
    "tqc": ("sb3_contrib", "TQC"),
    "trpo": ("sb3_contrib", "TRPO"),
}
_LOCATION = re.compile(r"[\w.]+:[\w.]+")
_ID = re.compile(r"([\w.-]+/)?[\w.-]+-v\d+")


@dataclass(frozen=True)
class Dial:
    """Option of an environment that sets its difficulty.

    Attributes:
        effect: What a larger value does, such as "more blocks: more routes".
        values: Values that the documentation shows, JSON-able; none if the dial is not measured.

    Example:
        >>> Dial("more noise: harder", (0.0, 0.1, 0.2)).values[-1]
        0.2
    """

    effect: str
    values: tuple[object, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Figure of an agent on an id, as `mtl-gym gate` measured it.

    Attributes:
        mean: Mean over seeds, in the unit of the environment's measure.
        spread: Standard deviation over seeds (n - 1).
        seeds: Number of seeds.
        steps: Decisions of each run.

    Raises:
        ValueError: If a figure is not a finite number.
    """

    mean: float
    spread: float
    seeds: int
    steps: int

    def __post_init__(self) -> None:
        """Check the figures."""
        for name, value in vars(self).items():
            if not _is_finite(value):
                raise ValueError(f"A measured figure has {name}={value!r}; it takes a finite number.")


@dataclass(frozen=True)
class Card:
    """Description of an environment id, or of several that pose the same problem.

    An id with an oracle is a benchmark: its best decision is known. An id without one replicates a paper.

    Attributes:
        decision: Decision that an action makes.
        difficulty: Reason why the controls fall short of the optimum.
        controls: Names of the reference agents; the first is the default control.
        oracle: Name of the agent that knows the best decisions, or None.
        optimum: Best figure that a policy can reach, in the unit of the environment's measure; None if it is the figure
            that the oracle measures, or if it is unknown.
        evidence: How the optimum is known: a proof, a construction, or a search with the program that searched.
        dials: Options that set the difficulty.
        learners: Bundled learners that `mtl-gym gate` runs beside the algorithms of Stable-Baselines3.
        steps: Decisions of one run of the gate; 0 for an id that is no benchmark.
        num_envs: Rows of such a run.
        measured: Figures that the gate measured, by agent name.
        lengths: Keyword arguments of the environment for the other lengths at which the gate repeats oracle and
            controls; none for four times the steps.

    Raises:
        ValueError: If there is no control, a field of names is not a tuple of names, a benchmark has no length, or
            another field has a value of a wrong kind.

    Example:
        >>> Card("Which layer freezes next.", "The order matters.", ("random", "bottom-up")).controls[0]
        'random'
    """

    decision: str
    difficulty: str
    controls: tuple[str, ...]
    oracle: str | None = None
    optimum: float | None = None
    evidence: str = ""
    dials: Mapping[str, Dial] = field(default_factory=dict)
    learners: tuple[str, ...] = ()
    steps: int = 0
    num_envs: int = 64
    measured: Mapping[str, Measured] = field(default_factory=dict)
    lengths: tuple[Mapping[str, object], ...] = ()

    def __post_init__(self) -> None:
        """Check the names of agents, and the length of a benchmark."""
        _check_names("controls", self.controls, least=1)
        _check_names("learners", self.learners)
        _check_fields(self)
        if self.benchmark and self.steps < 1:
            raise ValueError(
                f"The card has oracle={self.oracle!r} and steps={self.steps!r}; a benchmark takes the decisions of one "
                "run, 1 or more: set steps."
            )

    @property
    def benchmark(self) -> bool:
        """True if the best decision is known."""
        return self.oracle is not None

    @property
    def best(self) -> float | None:
        """Figure at score 1: `optimum`, or the oracle's measured mean; None if neither is known."""
        measured = self.measured.get(self.oracle or "")
        return self.optimum if self.optimum is not None or measured is None else measured.mean

    @property
    def best_control(self) -> str | None:
        """Control whose measured mean is nearest to the optimum; None before a measurement."""
        return self._nearest(self.controls)

    @property
    def best_learner(self) -> str | None:
        """Learner whose measured mean is nearest to the optimum; None before a measurement."""
        return self._nearest((*self.learners, *SB3))

    def _nearest(self, names: Iterable[str]) -> str | None:
        known, best = [name for name in names if name in self.measured], self.best
        if best is None or not known:
            return None
        return min(known, key=lambda name: abs(best - self.measured[name].mean))

    def score(self, figure: float) -> float:
        """Return (figure - best control) / (optimum - best control): 0 needs no learning, 1 is the optimum.

        Args:
            figure: Figure of an agent in the default environment, in the unit of its measure.

        Raises:
            ValueError: If the optimum or the figures of the controls are unknown, or equal.

        Example:
            >>> measured = {"random": Measured(60.0, 1.0, seeds=5, steps=1000)}
            >>> Card("Which way.", "It forks.", ("random",), "oracle", 100.0, steps=1, measured=measured).score(90.0)
            0.75
        """
        control, best = self.best_control, self.best
        if control is None or best is None:
            raise ValueError(
                "This id has no score: its optimum or the figures of its controls are unknown; "
                "`mtl-gym list` shows the ids with both."
            )
        zero = self.measured[control].mean
        if zero == best:
            raise ValueError(f"This id has no score: its best control, {control!r}, is at the optimum, {best:g}.")
        return (figure - zero) / (best - zero)


def _check_names(what: str, names: object, least: int = 0) -> None:
    if not isinstance(names, (tuple, list)) or len(names) < least or not all(isinstance(name, str) for name in names):
        amount = "with at least one agent name," if least else "of agent names,"
        raise ValueError(
            f"The card has {what}={names!r}; it takes a tuple {amount} such as ('random',): "
            "name the agents that a report compares with."
        )


def _check_fields(card: Card) -> None:
    dials, measured = (dict(each) if isinstance(each, Mapping) else {"": each} for each in (card.dials, card.measured))
    for name, holds, allowed in (
        (
            "oracle",
            card.oracle is None or (isinstance(card.oracle, str) and card.oracle),
            "the name of an agent or None",
        ),
        ("optimum", card.optimum is None or _is_finite(card.optimum), "a finite number or None"),
        ("dials", all(isinstance(dial, Dial) for dial in dials.values()), "a Dial by name of an option"),
        ("measured", all(isinstance(one, Measured) for one in measured.values()), "a Measured by name of an agent"),
        ("steps", type(card.steps) is int and card.steps >= 0, "a whole number, 0 or more"),
        ("num_envs", type(card.num_envs) is int and card.num_envs >= 1, "a whole number, 1 or more"),
        ("lengths", _are_mappings(card.lengths), "a tuple of keyword arguments, such as ({'budget': 30},)"),
    ):
        if not holds:
            raise ValueError(f"The card has {name}={vars(card)[name]!r}; it takes {allowed}.")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _are_mappings(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(part, Mapping) for part in value)


_cards: dict[str, Card] = {}
_agents: dict[str, str] = {}


def register_family(
    *,
    env: str,
    vector_env: str,
    presets: Mapping[str, Mapping[str, object]],
    card: Card,
    agents: Mapping[str, str] | None = None,
) -> None:
    """Register environment ids with Gymnasium, their card, and agents by name, without importing anything.

    Registering the same family again changes nothing. `examples/own_family.py` is a complete family.

    Args:
        env: Class of the batch of one, as "module:attribute".
        vector_env: Class of the batched environment, as "module:attribute".
        presets: JSON-serialisable keyword arguments of the environment, by id.
        card: Card of these ids.
        agents: Classes of agents as "module:attribute", by agent name.

    Raises:
        ValueError: If a location is not "module:attribute", an id or a name is taken, or a preset is not plain; nothing
            is registered then.
    """
    agents = {} if agents is None else agents
    _check_kinds(presets, card)
    for location in (env, vector_env, *agents.values()):
        _check_location(location)
    for name, location in agents.items():
        taken = _location_of(name)
        if taken not in (None, location):
            raise ValueError(f"The agent name {name!r} is taken by {taken}; choose another name.")
    for env_id, kwargs in presets.items():
        _check_preset(env_id, env, vector_env, kwargs)
    _agents.update(agents)
    for env_id, kwargs in presets.items():
        if env_id not in gym.registry:
            gym.register(env_id, entry_point=env, vector_entry_point=vector_env, kwargs=dict(kwargs))
        _cards[env_id] = card


def _check_kinds(presets: object, card: object) -> None:
    if not isinstance(card, Card):
        raise ValueError(f"card={card!r} is not possible; it takes an mtl_gym.Card.")
    if not isinstance(presets, Mapping) or not presets:
        raise ValueError(
            f"presets={presets!r} is not possible; it takes a dictionary of keyword arguments by id, such as "
            "{'MyEnv-v0': {}}."
        )


def _check_location(location: object) -> None:
    if isinstance(location, str) and _LOCATION.fullmatch(location) is not None:
        return
    example = f"{location.__module__}:{location.__qualname__}" if isinstance(location, type) else "module:attribute"
    raise ValueError(f"{location!r} is not a location; write it as {example!r}.")


def _location_of(agent: str) -> str | None:
    """Return the location of a known agent; None if the name is free."""
    announced = {point.name: point.value for point in entry_points(group=AGENTS)}
    libraries = {name: ":".join(place) for name, place in SB3.items()}
    return {**libraries, **announced, **_agents}.get(agent)


def _check_preset(env_id: object, env: str, vector_env: str, kwargs: object) -> None:
    if not isinstance(env_id, str) or _ID.fullmatch(env_id) is None:
        raise ValueError(f"{env_id!r} is not an id; write it as 'Name-v0' or 'namespace/Name-v0'.")
    if not isinstance(kwargs, Mapping) or not _is_plain(kwargs):
        raise ValueError(
            f"The preset of {env_id!r} is {kwargs!r}; it takes a dictionary that JSON returns unchanged: text, "
            "numbers, True, False, None, and lists and dictionaries of these."
        )
    known = gym.registry.get(env_id)
    if known is None:
        return
    if known.entry_point != env:
        raise ValueError(f"The id {env_id!r} is taken by {known.entry_point}; choose another name or version.")
    there, new = (known.vector_entry_point, known.kwargs), (vector_env, dict(kwargs))
    if there != new:
        raise ValueError(
            f"The id {env_id!r} is registered with {there[0]} and the preset {there[1]!r}, not with {new[0]} and "
            f"{new[1]!r}; choose another name or version."
        )


def _is_plain(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def card(env_id: str) -> Card:
    """Return the card of an environment id.

    Raises:
        ValueError: If no family registered the id.
    """
    bare = env_id.rpartition(":")[2]
    if bare not in _cards:
        from mtl_gym.core.validation import did_you_mean

        raise ValueError(f"There is no card of {env_id!r}.{did_you_mean(bare, _cards)} Known: {', '.join(_cards)}.")
    return _cards[bare]


def registered_ids() -> list[str]:
    """Return the environment ids of all families, in order of registration."""
    return list(_cards)


def registered_agents() -> dict[str, str]:
    """Return the locations of the agents of all families, by agent name."""
    return dict(_agents)


def load_location(location: str, what: str) -> object:
    """Import what a location names.

    Raises:
        ImportError: If a module or the attribute does not exist; the message begins with `what`.
    """
    try:
        return EntryPoint(what, location, GROUP).load()
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{what} is {location!r}, but there is no module {error.name!r}; correct the location, install the "
            "package, or set PYTHONPATH."
        ) from error
    except AttributeError as error:
        raise ImportError(f"{what} is {location!r}, but {error}; correct the location.") from error


def load_packages() -> None:
    """Call the registration functions of other packages; warn about each one that fails."""
    for point in entry_points(group=GROUP):
        _call(point)


def _call(point: EntryPoint) -> None:
    try:
        point.load()()
    except Exception as error:  # code of another package may raise anything, and mtl_gym must still import
        package = point.dist.name if point.dist is not None else point.value
        warnings.warn(
            f"The environments of {package} ({point.value}) are not registered: {type(error).__name__}: {error}; "
            f"mend the function of its entry point in {GROUP!r}, or uninstall {package}.",
            RuntimeWarning,
            stacklevel=3,
        )
