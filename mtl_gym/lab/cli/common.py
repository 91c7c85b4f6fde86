"""What the commands share: the application, its console, options, and errors as sentences."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import gymnasium as gym
import typer

from mtl_gym.core.validation import short
from mtl_gym.lab.screen import complain, console_of, say, warn

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = console_of()
# Errors of writing into a folder that is mounted or marked read-only.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

Env = Annotated[str, typer.Argument(metavar="ENV", help="An environment id, or MODULE:ID; `mtl-gym list` shows ids.")]
OptionalEnv = Annotated[str | None, typer.Argument(metavar="[ENV]", help="As for train.", show_default=False)]
Agents = Annotated[str | None, typer.Option(help="Comma-separated names of agents.")]
Settings = Annotated[Path | None, typer.Option(help="A YAML file with environment, agents and all other settings.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Number of seeds of each agent: 0, 1, ...; default 3.")]
OptionalSteps = Annotated[int | None, typer.Option(min=1, help="As for train; default 100,000.")]
OptionalNumEnvs = Annotated[int | None, typer.Option(min=1, help="As for train; default 64.")]
EnvKwargs = Annotated[str, typer.Option(help="Keyword arguments of the environment, as JSON.")]
Control = Annotated[
    str | None, typer.Option(help="The run that the others are compared with; default: the card's first control.")
]
ModuleId = Annotated[
    str | None,
    typer.Option("--env", metavar="MODULE:ID", help="The environment of the runs, if a module registers it."),
]
Root = Annotated[Path | None, typer.Option(help="Data root; default MTL_GYM_DATA or the user's cache folder.")]
Wandb = Annotated[str | None, typer.Option(metavar="PROJECT", help="Log to this project of Weights and Biases too.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@contextmanager
def sentences() -> Iterator[None]:
    """End the program with the message of an error that a user can cause, not with a traceback."""
    try:
        yield
    except (ValueError, OSError, ArithmeticError, ImportError, gym.error.Error) as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        say(console_of(stderr=True), "interrupted: what is finished, and the last checkpoint of each run, are kept.")
        raise typer.Exit(130) from error


@contextmanager
def unless_read_only(out: Path) -> Iterator[None]:
    """Warn instead of failing where a folder is read-only: its contents have been shown."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"{out} cannot be written ({error.strerror}): tables and pictures there are left as they are.")


def planned(
    env: str | None,
    agents: str | None,
    settings: Path | None,
    env_kwargs: dict[str, object],
    changes: dict[str, int | None],
) -> list[RunSettings]:
    """The runs of a comparison: of a settings file, or of an environment and agents from the command line.

    Raises:
        ValueError: If both are given, or neither, or a run cannot be made.
    """
    from mtl_gym.lab.compare import plan
    from mtl_gym.lab.records import RunSettings
    from mtl_gym.lab.settings import read_comparison

    if settings is not None:
        if env is not None or agents is not None or env_kwargs:
            raise ValueError("--settings names environment, agents and --env-kwargs itself: leave those out.")
        return check(read_comparison(settings, **changes))
    if env is None or agents is None:
        raise ValueError("compare takes an environment and --agents, or --settings FILE.")
    base = RunSettings(env, "", changes["steps"] or 100_000, 0, changes["num_envs"] or 64, env_kwargs)
    return check(plan(base, [name.strip() for name in agents.split(",") if name.strip()], changes["seeds"] or 3))


def check(runs: list[RunSettings]) -> list[RunSettings]:
    """The runs, if environments and agents take the arguments that they are given; nothing is made or loaded.

    Raises:
        ValueError: If one does not.
    """
    for run in runs:
        run.check()
    return runs


def read_json(option: str, text: str) -> dict[str, object]:
    """A JSON object from the command line.

    Raises:
        ValueError: If `text` is none.
    """
    from mtl_gym.lab.parsing import parse_json

    value = parse_json(text, option)
    if not isinstance(value, dict):
        raise ValueError(f'{option} {short(value)} must be a JSON object, such as {{"rho": 0.0}}.')
    return value
