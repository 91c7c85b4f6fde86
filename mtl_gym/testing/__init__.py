"""Checks that a family fulfils the contract of this package, in addition to Gymnasium's `check_env`.

`check_family(env_id)` runs all checks; `CHECKS` lists them for pytest's `parametrize`.
"""

from __future__ import annotations

from mtl_gym.testing.checks import CHECKS, Check
from mtl_gym.testing.walking import batch, single, valid_actions, walk

__all__ = ["CHECKS", "Check", "batch", "check_family", "single", "valid_actions", "walk"]


def check_family(env_id: str, **options: object) -> None:
    """Check that an environment fulfils the contract of this package.

    Args:
        env_id: Environment id, or `module:id` to import the module first.
        **options: Options of the environment, for example to shorten its episodes.

    Raises:
        AssertionError: At the first violation.
        ValueError: If a hook returns what the environment refuses itself; the message names the hook.

    Example:
        >>> check_family("MTLRouting-Digits-v0", hidden=4)
    """
    for check in CHECKS:
        check(env_id, options)
