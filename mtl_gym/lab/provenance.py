"""Provenance of a run: versions of packages, and the git commit of the working directory."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version

import torch

PACKAGES = ("mtl-gym", "gymnasium", "torch", "stable-baselines3", "sb3-contrib", "numpy")


def versions() -> dict[str, str]:
    """Return what the last digits of a run depend on: versions of Python and packages, kind of processor, threads."""
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    packages = {name: version(name) for name in PACKAGES}
    here = {"processor": processor, "threads": str(torch.get_num_threads())}
    return {"python": platform.python_version(), **packages, **here}


def git_state() -> dict[str, str | bool] | None:
    """Return the commit of the working directory and whether it has changes; None outside of git."""
    try:
        commit, changes = (_git(*command) for command in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changes)}


def _git(*command: str) -> str:
    # Without the option, `git status` locks the index, and commands of the user fail meanwhile.
    program = ("git", "--no-optional-locks", *command)
    return subprocess.run(program, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
