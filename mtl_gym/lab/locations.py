"""Data sets and networks of the user as `module:function` in settings files and JSON.

The function of `data` takes no argument and returns the data set; the function of `network` takes a `NetworkContext`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.validation import did_you_mean

# Options that accept a location.
LOCATED = ("data", "network")
LOCATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def locations(options: Mapping[str, object]) -> dict[str, str]:
    """Return the locations among the options of an environment, by option.

    Example:
        >>> locations({"data": "mypackage.data:make", "depth": 2}), locations({"data": "digits"})
        ({'data': 'mypackage.data:make'}, {})
    """
    texts = {name: options.get(name) for name in LOCATED}
    return {name: text for name, text in texts.items() if isinstance(text, str) and LOCATION.fullmatch(text)}


def functions(options: Mapping[str, object]) -> dict[str, Callable[..., object]]:
    """Import the functions at the locations among options, without calling them.

    Raises:
        ValueError: If a module or a function does not exist.
    """
    return {name: _function(name, location) for name, location in locations(options).items()}


def _function(option: str, location: str) -> Callable[..., object]:
    module, _, name = location.partition(":")
    names = vars(imported(module, f"{option}={location!r}"))
    found = names.get(name)
    if not callable(found):
        near = did_you_mean(name, [known for known, value in names.items() if callable(value)])
        raise ValueError(f"{option}={location!r}: the module {module!r} has no function {name!r}.{near}")
    function: Callable[..., object] = found
    return function


def imported(module: str, given: str) -> ModuleType:
    """Import a module that the user names.

    Args:
        module: Name of the module.
        given: Where the user names it, for the error.

    Raises:
        ValueError: If there is no such module.
    """
    try:
        return import_module(module)
    except (ModuleNotFoundError, TypeError, ValueError) as error:  # ".x" and "" are no names
        lacking = getattr(error, "name", None) or module
        raise ValueError(f"{given}: there is no module {lacking!r}; install its package, or set PYTHONPATH.") from error


def with_objects(options: Mapping[str, object]) -> dict[str, object]:
    """Return options in which locations are replaced by the data set and the network function.

    Raises:
        ValueError: If a module or a function does not exist.
    """
    found = functions(options)
    if "data" in found:
        return {**options, **found, "data": found["data"]()}
    return {**options, **found}


def refuse_imports(options: Mapping[str, object], path: Path, module: str | None = None) -> None:
    """Refuse the locations in a run's file, unless the user names their module.

    Args:
        options: Options of the environment.
        path: The file.
        module: A module, for its functions and those of its submodules; None for no function.

    Raises:
        CheckpointError: If a function is of another module; files never import or call anything themselves.
    """
    for name, location in locations(options).items():
        own = location.partition(":")[0]
        if module is None or not f"{own}.".startswith(f"{module}."):
            raise CheckpointError(
                f"{path} has {name}={location!r}, and files never import: name the module yourself, with --module "
                f"{own} or restore(..., module={own!r})."
            )
