"""Count what a step makes the host wait for on a GPU, without one.

The aim: with `tensors=True` a step reads the device once, for the final reward. Uploads without `non_blocking=True` are
counted apart: the host waits for these, too. The limits are what was measured, so that a new read or upload is noticed.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mtl_gym.testing import CHECKS, batch, valid_actions
from tests.foreign import NAME, ForeignDevice, Record, counted, tensors_in
from tests.test_registry import short

ROWS, MOST_STEPS = 4, 200


@dataclass(frozen=True)
class Case:
    """Limits of the steps of an environment.

    Attributes:
        options: Options that shorten its episodes.
        uploads: Most uploads of a step that the host waits for.
        reads: Most reads of a step.
        because: Why there are more reads than the aim.
    """

    options: dict
    uploads: int
    reads: int = 1
    because: str = ""


OFTEN = {"train_batch": ROWS}
ENDS = "the figures of the next runs are read when others end"
HELD_OUT = "the reward of the held-out sample is read beside the loss of the episode's own"
COMPETITION = (
    "each generation and each measurement is read, and assignments and the slices that Adam leaves alone apart"
)
SHORT = {"generations": 4, "iterations": 2, "final_generations": 1}
CASES = {
    "MTLRouting-Digits-v0": Case(OFTEN, uploads=0),
    "MTLRouting-Digits-v1": Case(OFTEN | {"reward_split": "validation"}, 0, 2, HELD_OUT),
    "MTLRouting-Paths-v0": Case(OFTEN, uploads=1),
    "MTLRouting-Context-v0": Case(OFTEN, uploads=0),
    "MTLRouting-Groups-v0": Case(OFTEN, uploads=0),
    "MTLRouting-GroupedDigits-v0": Case(OFTEN, uploads=0),
    "MTLLimitless-Digits-v0": Case(OFTEN, uploads=0),
    "MTLLimitless-Digits-v1": Case(OFTEN, uploads=0),
    "MTLLimitless-Paths-v0": Case(OFTEN, uploads=0),
    "MTLRecurrent-Switching-v0": Case(OFTEN, uploads=5),
    "MTLRecurrent-BrainSeries-v0": Case(OFTEN, uploads=5),
    "MTLScheduling-Digits-v0": Case({"updates": 4, "reference": None}, 7, 2, ENDS),
    "MTLScheduling-Digits-v1": Case({"updates": 6, "reference": None}, 13, 2, ENDS),
    "MTLScheduling-Prerequisites-v0": Case({"updates": 8}, 21, 2, ENDS),
    "MTLScheduling-TextMixture-v0": Case({"updates": 12}, 26, 2, ENDS),
    "MTLScheduling-Skills-v0": Case({}, uploads=0, reads=0),
    "MTLAlignment-Linear-v0": Case(SHORT | {"samples": 4, "minibatch": 2}, 28, 20, COMPETITION),
    "MTLAlignment-Linear-v1": Case(SHORT, 10, 20, COMPETITION),
    "MTLAlignment-LinearDiscrete-v1": Case(SHORT, 10, 20, COMPETITION),
}


def most(device, env):
    """Return the step with most reads, the one with most uploads, and all faults, over updates and ends of episodes."""
    reads, uploads, faults, rng = [], [], [], np.random.default_rng(0)
    trains = any(p.requires_grad for p in env.network.parameters())
    for _ in range(MOST_STEPS):
        actions = valid_actions(env, rng)
        device.record.clear(), device.prune()
        env.step(actions)
        reads, uploads = max(reads, device.record.reads, key=len), max(uploads, device.record.uploads, key=len)
        faults += device.record.faults
        if env.episodes >= 3 * ROWS and (env.updates > 2 or not trains):
            return Record(reads, uploads, faults)
    raise AssertionError(f"only {env.episodes} episodes and {env.updates} updates in {MOST_STEPS} steps")


def made(name):
    """A small environment on the device after a reset."""
    env = batch(name, ROWS, {"device": NAME, "tensors": True, **CASES[name].options})
    env.reset(seed=0)
    return env


@pytest.mark.parametrize("name", CASES)
def test_a_step_reads_the_device_once(name):
    case = CASES[name]
    with ForeignDevice() as device:
        found = most(device, made(name))
    assert not found.faults, counted(found.faults)
    assert len(found.reads) <= case.reads, counted(found.reads)
    assert len(found.uploads) <= case.uploads, counted(found.uploads)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_the_contract_holds_on_the_device_and_nothing_in_it_fails_on_a_gpu(name, check):
    with ForeignDevice() as device:
        check(name, {"device": NAME, **short(name)})
    assert not device.record.faults, counted(device.record.faults)


def test_more_reads_than_the_aim_have_a_reason():
    assert all(bool(case.because) == (case.reads > 1) for case in CASES.values())


@pytest.mark.parametrize("name", ["MTLRouting-Paths-v0", "MTLScheduling-Prerequisites-v0"])
def test_with_tensors_everything_that_a_step_returns_lies_on_the_device(name):
    with ForeignDevice() as device:
        env = made(name)
        *figures, _ = env.step(valid_actions(env, np.random.default_rng(0)))
        returned = tensors_in(figures)
        assert len(returned) > 3
        assert all(map(device.is_there, returned))


def test_actions_on_the_device_are_read_once_more():
    with ForeignDevice() as device:
        env = made("MTLRouting-Paths-v0")
        actions = torch.from_numpy(valid_actions(env, np.random.default_rng(0))).to(NAME)
        device.record.clear()
        env.step(actions)
    assert len(device.record.reads) == 1 and "rows.py" in device.record.reads[0].where, counted(device.record.reads)
