import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.families.alignment.assignments import find_groups
from mtl_gym.families.alignment.competition import Competition, units
from mtl_gym.families.alignment.compression import compact, count_parameters
from mtl_gym.families.alignment.history import AssignmentHistory, sharing_between
from mtl_gym.families.alignment.joint import Form, JointModel

EACH, ONE = np.arange(2), np.zeros(2, int)


def competition(challengers, unit=EACH, incumbents=((4, 7),)):
    return Competition.between(np.array(incumbents), np.array(challengers), 9, unit)


def test_a_slot_without_a_challenger_repeats_the_incumbent():
    found = competition([[[5, 9], [9, 9]]])
    assert found.slots.tolist() == [[[4, 5, 4], [7, 7, 7]]]
    assert found.real.tolist() == [[[True, False], [False, False]]]
    assert found.used(9)[0].nonzero()[0].tolist() == [4, 5, 7]


def test_duplicates_add_up():
    found = competition([[[5, 5], [8, 9]]])
    belief = np.array([[[0.4, 0.3, 0.3], [0.3, 0.5, 0.2]]])
    scores = found.scores(belief)
    assert scores == pytest.approx(np.array([[[0.4, 0.6, 0.6], [0.5, 0.5, 0.5]]]))
    assert found.best(scores).tolist() == [[5, 7]]


def test_a_tie_goes_to_the_incumbent():
    found = competition([[[5], [8]]])
    assert found.best(found.scores(np.full((1, 2, 2), 0.5))).tolist() == [[4, 7]]


def test_with_one_submapping_all_locations_change_together():
    found = competition([[[5], [8]]], ONE)
    assert found.shape == (1, 1, 2)
    belief = found.spread(torch.tensor([[[0.0, 1.0]]])).numpy()
    assert belief.shape == (1, 2, 2) and np.array_equal(belief[:, 0], belief[:, 1])
    assert found.best(found.scores(belief)).tolist() == [[5, 8]]


def test_submappings_are_equal_only_if_they_agree_at_all_locations():
    found = competition([[[5, 5], [8, 9]]], ONE)
    scores = found.scores(np.tile([0.2, 0.3, 0.5], (1, 2, 1)))
    assert scores == pytest.approx(np.tile([0.2, 0.3, 0.5], (1, 2, 1)))
    found = competition([[[5, 5], [8, 8]]], ONE)
    assert found.scores(np.tile([0.4, 0.3, 0.3], (1, 2, 1)))[0, 0] == pytest.approx([0.4, 0.6, 0.6])


def test_random_selection_takes_one_slot_for_a_whole_submapping():
    found = competition([[[5, 6], [8, 0]]], ONE)
    chosen = {tuple(found.random(np.random.default_rng(seed))[0]) for seed in range(30)}
    assert chosen == {(4, 7), (5, 8), (6, 0)}


def test_challengers_begin_with_their_share_of_the_softmax_weight():
    found = competition([[[5, 6], [8, 0]]])
    belief = found.spread(found.first_scores(0.5, torch.device("cpu"))).detach()
    assert belief[0, 0].tolist() == pytest.approx([0.5, 0.25, 0.25])
    belief = found.spread(found.first_scores(None, torch.device("cpu"))).detach()
    assert belief[0, 0].tolist() == pytest.approx([1 / 3] * 3)


def test_submappings_are_locations_tasks_or_the_model():
    places = JointModel([nn.Linear(4, 4), nn.Linear(4, 2)], Form((2, 2), 1)).locations
    assert units("location", places).tolist() == list(range(6))
    assert units("task", places).tolist() == [0] * 4 + [1] * 2
    assert units("model", places).tolist() == [0] * 6


def test_the_true_groups_are_found_up_to_the_numbers_of_modules():
    location = np.arange(4)
    assignment = np.array([[5, 5, 2, 2], [5, 5, 5, 5], [5, 1, 2, 2], [5, 2, 5, 2]])
    assert find_groups(assignment, location, (0, 0, 1, 1)).tolist() == [True, False, False, False]


def test_rare_modules_are_replaced_by_the_blocks_they_generate():
    torch.manual_seed(0)
    joint = JointModel([nn.Linear(12, 8)], Form((4, 4), 3), runs=2)
    with torch.no_grad():
        joint.contexts.normal_()
    joint.assignment[1] = torch.tensor([0, 0, 0, 5, 5, 2])
    small = compact(joint, 1)
    assert small.generic.tolist() == [0, 1, 2] and len(small.plain) == 3
    assert torch.allclose(small.blocks(), joint.blocks(joint.table(joint.assignment[..., None]))[1], atol=1e-6)
    assert small.parameters == 3 * 3 + 3 * 16 + 3 * 16
    assert count_parameters(joint).tolist() == [6 * 16, small.parameters]


def test_rare_modules_do_not_make_a_model_larger_than_the_original():
    joint = JointModel([nn.Linear(16, 16)], Form((4, 4), 4))
    random = np.random.default_rng(0)
    for modules in (1, 3, 8, 16):
        joint.assignment[0] = torch.from_numpy(random.integers(modules, size=16))
        assert count_parameters(joint)[0] <= 16 * 16 + 16 * 4
        assert count_parameters(joint)[0] == compact(joint).parameters


def test_sharing_is_measured_relative_to_chance():
    assignment, layer = np.array([1, 1, 2, 1, 3, 4]), np.array([0, 0, 0, 1, 1, 1])
    ratio = sharing_between(assignment, layer)
    same = 3 / 15  # of all pairs, locations 0, 1 and 3 share
    assert ratio == pytest.approx(np.array([[1 / 3, 2 / 9], [2 / 9, 0]]) / same)


def test_a_history_counts_modules_and_can_be_restored():
    history = AssignmentHistory(3, 4)
    history.add(np.array([0, 1, 2, 3]))
    history.add(np.array([0, 0, 2, 2]))
    again = AssignmentHistory.of(history.assignment.copy(), 3)
    again.add(np.array([2, 2, 2, 2]))
    assert again.modules_used().tolist() == [4, 2, 1]
