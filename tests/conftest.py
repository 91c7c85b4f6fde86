"""What all tests share: one thread each, so that parallel workers do not fight, and ids whose data is there."""

import os
import shutil

import gymnasium as gym
import pytest
import torch

import mtl_gym  # noqa: F401
from mtl_gym.data import catalogue, data_root, loading
from mtl_gym.registration import registered_ids

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the programs that tests start


@pytest.fixture(autouse=True)
def _few_data_sets_in_memory():
    """Forget loaded data sets once there are two: a worker runs tests of all of them."""
    yield
    if loading._build.cache_info().currsize > 1:
        loading._build.cache_clear()


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def has_data(env_id):
    sources = {source.name: source for source in catalogue()}
    name = gym.spec(env_id).kwargs.get("data")
    return name not in sources or sources[name].is_present(data_root())  # environments without a source generate theirs


def ids(family=""):
    reason = "its data is not here: set MTL_GYM_DATA"
    return [
        pytest.param(
            env_id, marks=[pytest.mark.skipif(not has_data(env_id), reason=f"{env_id}: {reason}"), *size_marks(env_id)]
        )
        for env_id in registered_ids()
        if env_id.startswith(family)
    ]


def size_marks(env_id):
    """Keep data that takes over 1 GB to decode out of the fast tests."""
    return [pytest.mark.slow] if "MiniImageNet" in env_id else []


def pytest_generate_tests(metafunc):
    if "env_id" in metafunc.fixturenames:
        metafunc.parametrize("env_id", ids())
    if "routing_id" in metafunc.fixturenames:
        metafunc.parametrize("routing_id", ids("MTLRouting"))
