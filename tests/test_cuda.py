"""Checks of every id on a GPU; skipped without one."""

import warnings

import numpy as np
import pytest
import torch

from mtl_gym.testing import batch, check_family, valid_actions
from tests.conftest import ids
from tests.families.test_foreign_device import CASES, ROWS
from tests.test_registry import short

DEVICE = "cuda"
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is False"),
    pytest.mark.filterwarnings("ignore:.* does not have a deterministic implementation"),
]
STEPS = 24


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch):
    """Sums in one order and in full precision, as far as torch can: forks are compared to the bit."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ids())
def test_every_id_keeps_the_contract_on_a_gpu(name):
    check_family(name, device=DEVICE, **short(name))


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_no_more_often_than_was_counted_without_a_gpu(name):
    case = CASES[name]
    env = batch(name, ROWS, {"device": DEVICE, "tensors": True, **case.options})
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        actions = valid_actions(env, rng)
        assert waits(env, actions) <= case.reads + case.uploads


def waits(env, actions):
    """Return how often the host waits for the GPU in a step."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            env.step(actions)
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    return sum("synchronizing" in str(one.message) for one in caught)
