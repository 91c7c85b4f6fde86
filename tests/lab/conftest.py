"""A finished run, trained once, and folders that cannot be written."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

DIGITS = "MTLRouting-Digits-v0"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A comparison of two agents, one seed each."""
    from mtl_gym.lab.run import RunSettings, train

    out = tmp_path_factory.mktemp("trained")
    for agent in ("wpl", "random-fixed"):
        train(RunSettings(DIGITS, agent, 96, 0, 16), out / agent / "seed-0")
    return out


@pytest.fixture
def sweep(trained, tmp_path):
    """A copy of that comparison, to be changed."""
    return shutil.copytree(trained, tmp_path / "sweep")


@contextmanager
def read_only(folder):
    """Nothing in the folder can be written meanwhile."""
    if os.name != "posix":
        pytest.skip("there are no modes of folders here")
    if os.geteuid() == 0:
        mounted = [
            subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0
            for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"])
        ]
        if not all(mounted):
            pytest.skip("no folder can be mounted read-only here")
        undo = lambda: subprocess.run(["umount", str(folder)], check=True)  # noqa: E731
    else:
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        undo = lambda: [path.chmod(0o755) for path in folders]  # noqa: E731
    try:
        yield
    finally:
        undo()
