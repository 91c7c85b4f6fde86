import pytest
import torch
from torch import nn

from mtl_gym.core.nn.shapes import output_shape, trouble_with_one_row
from mtl_gym.core.nn.typing import Modules


@pytest.mark.parametrize(
    ("module", "in_shape", "out_shape"),
    [(nn.Linear(4, 3), (4,), (3,)), (nn.Linear(4, 3), (2, 4), (2, 3)), (nn.Conv1d(2, 5, 3), (2, 9), (5, 7))],
)
def test_the_shape_of_an_output_is_found(module, in_shape, out_shape):
    assert output_shape(module, in_shape, "it") == out_shape


def test_a_probe_changes_neither_the_mode_nor_the_statistics_of_a_module():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4).eval())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert output_shape(module, (4,), "it") == (4,) and trouble_with_one_row(module, (4,)) is not None
    assert module.training and [part.training for part in module] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_module_that_does_not_take_the_shape_is_named():
    with pytest.raises(ValueError, match="the trunk"):
        output_shape(nn.Linear(4, 4), (5,), "the trunk")


class Narrow(nn.Module):
    def forward(self, x):
        return x[:1]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize("module", [Narrow(), Pair(), nn.Linear(4, 4).double(), nn.Linear, None])
def test_a_module_without_one_float_output_per_input_is_named(module):
    with pytest.raises(ValueError, match="the trunk"):
        output_shape(module, (4,), "the trunk")


@pytest.mark.parametrize(("modules", "kind"), [([nn.Linear], nn.Module), ([nn.Linear(2, 2)], nn.LSTM)])
def test_a_list_of_modules_refuses_another_class(modules, kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} 0=.*Linear"):
        Modules(modules, kind)
