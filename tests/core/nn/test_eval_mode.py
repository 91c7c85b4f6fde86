import pytest
from torch import nn

from mtl_gym.core.nn.eval_mode import eval_mode
from mtl_gym.core.nn.stacked import StackedModule


def modes(module):
    return [part.training for part in module.modules()]


def partly_frozen():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout()))


def test_every_part_gets_its_own_mode_back():
    module = partly_frozen()
    before = modes(module)
    with eval_mode(module):
        assert not any(modes(module))
    assert modes(module) == before and len(set(before)) == 2


def test_an_exception_restores_the_modes_as_well():
    module = partly_frozen()
    before = modes(module)
    with pytest.raises(RuntimeError, match="no answer"), eval_mode(module):
        raise RuntimeError("no answer")
    assert modes(module) == before


def test_the_skeleton_of_stacked_modules_is_reached():
    stack = StackedModule(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), axes=(2,))
    with eval_mode(stack):
        assert not any(modes(stack._skeleton[0]))
    assert all(modes(stack._skeleton[0]))
