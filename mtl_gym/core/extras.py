"""Optional modules of the package, and one message for a missing one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

# Package and extra of every optional module.
EXTRAS = {
    "filelock": ("filelock", "lab"),
    "rich": ("rich", "lab"),
    "tqdm": ("tqdm", "lab"),
    "typer": ("typer", "lab"),
    "yaml": ("pyyaml", "lab"),
    "jinja2": ("jinja2", "report"),
    "rliable": ("rliable", "report"),
    "tensorboard": ("tensorboard", "tracking"),
    "wandb": ("wandb", "tracking"),
    "pettingzoo": ("pettingzoo", "pettingzoo"),
    "ray": ("ray", "ray"),
    "torchjd": ("torchjd", "torchjd"),
    "datasets": ("datasets", "huggingface"),
    "sacrebleu": ("sacrebleu", "translation"),
}


class MissingExtraError(ImportError):
    """Missing module of an extra."""


def advice(purpose: str, module: str) -> str:
    """Return the message for a missing module.

    Example:
        >>> advice("A settings file", "yaml")
        'A settings file needs pyyaml: pip install "mtl-gym[lab]".'
    """
    package, extra = EXTRAS[module]
    return f'{purpose} needs {package}: pip install "mtl-gym[{extra}]".'


@contextmanager
def needed_by(purpose: str) -> Iterator[None]:
    """Convert the error of importing a missing optional module.

    Args:
        purpose: Subject of the message, such as "The command line".

    Raises:
        MissingExtraError: If a module in `EXTRAS` is missing. Errors of other modules are raised unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise MissingExtraError(advice(purpose, module)) from error


def require(purpose: str, *modules: str) -> None:
    """Import optional modules; raise `MissingExtraError` if one is missing, as `needed_by` does."""
    with needed_by(purpose):
        for module in modules:
            import_module(module)
