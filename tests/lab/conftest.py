"""Fixtures: finished runs that are trained once, read-only folders, and pages in a browser."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

DIGITS = "MTLRouting-Digits-v0"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Train a comparison of two agents with one seed each."""
    from mtl_gym.lab.run import RunSettings, train

    out = tmp_path_factory.mktemp("trained")
    for agent in ("wpl", "random-fixed"):
        train(RunSettings(DIGITS, agent, 96, 0, 16), out / agent / "seed-0")
    return out


@pytest.fixture
def sweep(trained, tmp_path):
    """Copy the trained comparison, so that a test can change it."""
    return shutil.copytree(trained, tmp_path / "sweep")


@contextmanager
def read_only(folder):
    """Make a folder read-only during the context."""
    if os.name != "posix":
        pytest.skip("this system has no folder modes")
    if os.geteuid() == 0:
        mounted = [
            subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode == 0
            for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"])
        ]
        if not all(mounted):
            pytest.skip("read-only mounts are not permitted")
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


@contextmanager
def opened(browser, path):
    """Open a page; record its requests in `asked` and its errors and console messages in `complaints`."""
    page = browser.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.goto(path.as_uri())
    yield page
    page.close()
