"""Check that a family keeps the contract of this package, as Gymnasium's `check_env` does for any environment.

`check_family(env_id)` makes all checks; `CHECKS` has them one by one, for pytest's `parametrize`.
"""

from __future__ import annotations

from mtl_gym.testing.checks import CHECKS, Check
from mtl_gym.testing.walking import batch, single, valid_actions, walk

__all__ = ["CHECKS", "Check", "batch", "check_family", "single", "valid_actions", "walk"]


def check_family(env_id: str, **options: object) -> None:
    """Check everything that an environment of this package must keep.

    Args:
        env_id: The id, or `module:id`.
        **options: Options of the environment, such as those that make its episodes short.

    Raises:
        AssertionError: With a sentence, at the first thing that does not hold.

    Example:
        >>> check_family("MTLRouting-Digits-v0", hidden=4)
    """
    for check in CHECKS:
        check(env_id, options)
