"""Schedules that favour one task against hand-computed numbers."""

from math import exp

import numpy as np
import pytest
from mtl_agents import Exponential, PrioritiseEasy, PrioritiseHard, Sigmoid

from tests.agents.schedules import blank, decide, progress, rows

REFERENCE = [0.9, 0.6, 0.95]


def weights(agent, updates=1, **figures):
    return agent._weigh(progress(updates, trained=np.zeros(3), **figures), {})[0]


def test_the_hardest_or_easiest_task_has_weight_0_98_and_every_other_0_01():
    """The reference accuracies determine the hardest and the easiest task."""
    assert weights(PrioritiseHard(blank(3)), reference=REFERENCE).tolist() == [0.01, 0.98, 0.01]
    assert weights(PrioritiseEasy(blank(3)), reference=REFERENCE).tolist() == [0.01, 0.01, 0.98]


@pytest.mark.parametrize("rule", [PrioritiseEasy, PrioritiseHard, Sigmoid, Exponential])
def test_the_task_can_be_given(rule):
    now = progress(7, trained=np.zeros((2, 3)))  # without a reference
    found = rule(blank(3), task=2)._weigh(now, {})
    assert (found[:, :2] == found[0, 0]).all() and (found[:, 2] != found[0, 0]).all()


def test_the_sigmoid_rises_from_one_half_and_the_exponential_from_zero():
    early = {"epoch": 4, "slope": 0.5, "task": 1}
    assert weights(Sigmoid(blank(3), **early), 0).tolist() == [1, 0.5, 1]
    assert weights(Exponential(blank(3), **early), 0).tolist() == [1, 0, 1]
    for updates in (2, 4, 400):
        time = 0.5 * updates / 4
        assert weights(Sigmoid(blank(3), **early), updates) == pytest.approx([1, 1 / (1 + exp(-time)), 1])
        assert weights(Exponential(blank(3), **early), updates) == pytest.approx([1, 1 - exp(-time), 1])


def test_runs_at_different_updates_have_different_weights():
    now = progress(np.array([0, 4]), trained=np.zeros((2, 3)))
    actions, _ = decide(Exponential(blank(3, runs=2), task=0, epoch=4), now)
    np.testing.assert_allclose(actions, [[0, 1, 1], [1 - exp(-0.5), 1, 1]], rtol=1e-6)


def test_an_epoch_is_a_tenth_of_the_environments_run_and_is_saved(tmp_path):
    agent = Sigmoid(rows(2, updates=20, control="weights"))
    assert agent.epoch == 2
    agent.save(tmp_path / "agent.pt")
    assert Sigmoid.load(tmp_path / "agent.pt").epoch == 2
    assert Sigmoid.load(tmp_path / "agent.pt", rows(2, updates=60, control="weights")).epoch == 2


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match=r"task=3 .*0 to 2"):
        PrioritiseHard(blank(3), task=3)
    for argument in ({"slope": 0.0}, {"epoch": -1}):
        with pytest.raises(ValueError, match=rf"{next(iter(argument))}=.* is not possible"):
            Sigmoid(blank(3), **argument)
    with pytest.raises(ValueError, match=r"PrioritiseEasy .*task=\.\.\..*reference="):
        weights(PrioritiseEasy(blank(3)))
