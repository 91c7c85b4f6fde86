"""Entry point of `mtl-gym` and of `python -m mtl_gym.lab`, which tells what to install for the command line."""

from __future__ import annotations

import os
import sys

from mtl_gym.core.extras import MissingExtraError


def main() -> None:
    """Run the command line, then exit the process; print one message if an extra is missing.

    Runs get one thread unless OMP_NUM_THREADS is set: the threads of small networks mostly wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads it when it is imported
    try:
        from mtl_gym.lab.cli import program
    except MissingExtraError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    program()


if __name__ == "__main__":
    main()
