"""Schedules that favour one task against numbers worked out by hand."""

from math import exp

import numpy as np
import pytest
from mtl_agents import Exponential, PrioritiseEasy, PrioritiseHard, Sigmoid

from tests.agents.schedules import blank, decide, progress, rows

REFERENCE = [0.9, 0.6, 0.95]


def weights(agent, updates=1, **figures):
    return agent._weigh(progress(updates, trained=np.zeros(3), **figures), {})[0]


def test_the_hardest_or_easiest_task_counts_0_98_and_every_other_0_01():
    """Hard and easy by the accuracy of their single-task networks."""
    assert weights(PrioritiseHard(blank(3)), reference=REFERENCE).tolist() == [0.01, 0.98, 0.01]
    assert weights(PrioritiseEasy(blank(3)), reference=REFERENCE).tolist() == [0.01, 0.01, 0.98]


@pytest.mark.parametrize("rule", [PrioritiseEasy, PrioritiseHard, Sigmoid, Exponential])
def test_the_task_can_be_given(rule):
    now = progress(7, trained=np.zeros((2, 3)))  # without a reference
    found = rule(blank(3), task=2)._weigh(now, {})
    assert (found[:, :2] == found[0, 0]).all() and (found[:, 2] != found[0, 0]).all()


def test_the_sigmoid_rises_from_a_half_and_the_exponential_from_nothing():
    early = {"epoch": 4, "slope": 0.5, "task": 1}
    assert weights(Sigmoid(blank(3), **early), 0).tolist() == [1, 0.5, 1]
    assert weights(Exponential(blank(3), **early), 0).tolist() == [1, 0, 1]
    for updates in (2, 4, 400):
        time = 0.5 * updates / 4
        assert weights(Sigmoid(blank(3), **early), updates) == pytest.approx([1, 1 / (1 + exp(-time)), 1])
        assert weights(Exponential(blank(3), **early), updates) == pytest.approx([1, 1 - exp(-time), 1])


def test_runs_that_are_not_equally_far_have_weights_of_their_own():
    now = progress(np.array([0, 4]), trained=np.zeros((2, 3)))
    actions, _ = decide(Exponential(blank(3, runs=2), task=0, epoch=4), now)
    np.testing.assert_allclose(actions, [[0, 1, 1], [1 - exp(-0.5), 1, 1]], rtol=1e-6)


def test_an_epoch_is_a_tenth_of_the_environments_run_and_stays_it_in_a_file(tmp_path):
    agent = Sigmoid(rows(2, updates=20, control="weights"))
    assert agent.epoch == 2
    agent.save(tmp_path / "agent.pt")
    assert Sigmoid.load(tmp_path / "agent.pt").epoch == 2
    assert Sigmoid.load(tmp_path / "agent.pt", rows(2, updates=60, control="weights")).epoch == 2


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="task=3 is not possible: there are tasks 0 to 2"):
        PrioritiseHard(blank(3), task=3)
    for argument in ({"slope": 0.0}, {"epoch": -1}):
        with pytest.raises(ValueError, match=rf"{next(iter(argument))}=.* is not possible"):
            Sigmoid(blank(3), **argument)
    with pytest.raises(ValueError, match=r"PrioritiseEasy favours the task .*: give task=\.\.\., or make .*reference="):
        weights(PrioritiseEasy(blank(3)))
