"""Shared parts of the commands: the application, its console, options, and error handling."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import gymnasium as gym
import typer

from mtl_gym.lab.screen import complain, console_of, say, warn
from mtl_gym.registration import registered_ids

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunSettings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = console_of()
# Error numbers of writes into a read-only folder.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def ids(incomplete: str) -> list[str]:
    """Return the environment ids that begin so, for completion in a shell."""
    return [env_id for env_id in registered_ids() if env_id.startswith(incomplete)]


def known(context: typer.Context, env_id: str | None) -> str | None:
    """Return an environment id; refuse a misspelt one before a missing option."""
    # MODULE:ID is registered by its module; the shell asks for completions.
    if env_id is None or ":" in env_id or env_id in gym.registry or context.resilient_parsing:
        return env_id
    from mtl_gym.lab.environments import spec_of

    with sentences():
        spec_of(env_id)
    return env_id


Env = Annotated[
    str,
    typer.Argument(
        metavar="ENV",
        help="Environment id, or MODULE:ID; `mtl-gym list` shows ids.",
        autocompletion=ids,
        callback=known,
    ),
]
OptionalEnv = Annotated[
    str | None,
    typer.Argument(
        metavar="[ENV]",
        help="Environment id, or MODULE:ID; required without --settings.",
        show_default=False,
        autocompletion=ids,
        callback=known,
    ),
]
Agents = Annotated[str | None, typer.Option(help="Comma-separated agent names; required without --settings.")]
Settings = Annotated[
    Path | None, typer.Option(help="YAML file with all settings, in place of ENV, --agents and --env-kwargs.")
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Number of seeds per agent; default 3.")]
FirstSeed = Annotated[int | None, typer.Option(min=0, help="Smallest seed; the others follow it. Default 0.")]
OptionalSteps = Annotated[
    int | None,
    typer.Option(min=1, help="Total decisions of a run over all environments; default: of the card, or 100,000."),
]
OptionalNumEnvs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Parallel environments; also the minimum number of episodes per update; default: of the card, or 64.",
    ),
]
EnvKwargs = Annotated[str, typer.Option(help="Keyword arguments of the environment, as JSON.")]
Control = Annotated[
    str | None, typer.Option(help="Name of the reference run; default: first control on the environment's card.")
]
ModuleId = Annotated[
    str | None,
    typer.Option("--env", metavar="MODULE:ID", help="Environment of the runs, if importing MODULE registers it."),
]
Root = Annotated[Path | None, typer.Option(help="Data root; default MTL_GYM_DATA or the user's cache folder.")]
Wandb = Annotated[str | None, typer.Option(metavar="PROJECT", help="Also log to this Weights & Biases project.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Hide progress.")]


@contextmanager
def sentences(
    interrupted: str = "finished runs and the last checkpoint of each run are kept.",
) -> Iterator[None]:
    """Print user errors as one message without a traceback, then exit with code 1.

    Args:
        interrupted: What is printed of an interrupted command.
    """
    try:
        yield
    except (ValueError, OSError, ArithmeticError, ImportError, gym.error.Error) as error:
        complain(sentence_of(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        say(console_of(stderr=True), f"interrupted: {interrupted}")
        raise typer.Exit(130) from error


def loading(quiet: bool) -> None:
    """Print on standard error that torch is being imported, which takes seconds."""
    if not quiet:
        say(console_of(stderr=True), "loading torch and the environments ...")


def sentence_of(error: Exception) -> str:
    """Return the message of an error, that of the system without its number.

    Example:
        >>> sentence_of(PermissionError(13, "Permission denied", "runs/result.json"))
        'runs/result.json cannot be read or written: Permission denied.'
    """
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{error.filename or 'A file'} cannot be read or written: {error.strerror}."


def check_out(out: Path) -> None:
    """Refuse a path at which no file can be written, before anything takes time.

    Raises:
        ValueError: If it is a folder, or its folder is missing or read-only.
    """
    folder = out.absolute().parent
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder: name a file, such as {out / 'found.json'}.")
    if not folder.is_dir():
        raise ValueError(f"--out {out}: there is no folder {folder}; make it first.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--out {out}: nothing can be written in {folder}; choose another folder.")


@contextmanager
def unless_read_only(out: Path) -> Iterator[None]:
    """Warn, instead of failing, if a folder is read-only."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"{out} cannot be written ({error.strerror}): its tables and pictures stay unchanged.")


def planned(
    env: str | None,
    agents: str | None,
    settings: Path | None,
    env_kwargs: dict[str, object],
    changes: dict[str, int | None],
) -> list[RunSettings]:
    """Return the runs of a comparison, from a settings file or from an environment and agents.

    Raises:
        ValueError: If both sources are given, or neither, or a run has invalid arguments.
    """
    from mtl_gym.lab.compare import plan
    from mtl_gym.lab.environments import size_of_run
    from mtl_gym.lab.records import RunSettings
    from mtl_gym.lab.settings import read_comparison

    if settings is not None:
        if env is not None or agents is not None or env_kwargs:
            raise ValueError("--settings excludes ENV, --agents and --env-kwargs: set them in the file.")
        return check(read_comparison(settings, **changes))
    if env is None or agents is None:
        raise ValueError("No runs are defined: give ENV and --agents, or --settings FILE.")
    steps, num_envs = size_of_run(env, changes["steps"], changes["num_envs"])
    base = RunSettings(env, "", steps, 0, num_envs, env_kwargs)
    names = [name.strip() for name in agents.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--agents={agents!r} names no agent; `mtl-gym list {env}` shows those that fit.")
    return check(plan(base, names, changes["seeds"] or 3, changes.get("first_seed") or 0))


def check(runs: list[RunSettings]) -> list[RunSettings]:
    """Check the arguments of environments and agents without making or loading anything; return the runs.

    Raises:
        ValueError: If an argument is invalid.
    """
    for run in runs:
        run.check()
    return runs


def read_json(option: str, text: str) -> dict[str, object]:
    """Parse a JSON object from the command line.

    Raises:
        ValueError: If `text` is not a JSON object.
    """
    from mtl_gym.core.validation import short
    from mtl_gym.lab.parsing import parse_json

    value = parse_json(text, option)
    if not isinstance(value, dict):
        raise ValueError(f'{option} {short(value)} must be a JSON object, such as {{"rho": 0.0}}.')
    return value
