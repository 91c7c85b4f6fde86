import logging

import pytest
from torch import nn

from mtl_gym.families.alignment.blocks import UNKNOWN, left_out
from mtl_gym.families.alignment.joint import Form, JointModel

FORM = Form((4, 4), 2)
NORMED = nn.utils.parametrizations.weight_norm
SPECTRAL = nn.utils.parametrizations.spectral_norm


class Attention(nn.MultiheadAttention):
    """Separate class, because the warning is logged once per class."""


class Upwards(nn.Sequential):
    """As `Attention`."""


class Normed(nn.Sequential):
    """As `Attention`."""


class Spectral(nn.Sequential):
    """As `Attention`."""


@pytest.mark.parametrize(
    ("net", "generated", "others"),
    [
        (Attention(8, 2), ["out_proj.weight"], ["in_proj_weight"]),
        (Upwards(nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 4, 3)), ["1.weight"], ["0.weight"]),
        (
            Normed(NORMED(nn.Linear(4, 4)), nn.Linear(4, 4)),
            ["1.weight"],
            ["0.parametrizations.weight.original0", "0.parametrizations.weight.original1"],
        ),
        (
            Spectral(SPECTRAL(nn.Linear(4, 4)), nn.Linear(4, 4)),
            ["1.weight"],
            ["0.parametrizations.weight.original"],
        ),
    ],
    ids=["attention", "transposed", "weight-norm", "spectral-norm"],
)
def test_matrices_that_are_not_generated_are_logged_once_by_name(net, generated, others, caplog):
    with caplog.at_level(logging.WARNING):
        joint = JointModel([net], FORM)
        JointModel([net], FORM)
    blocks, left = joint.coverage(0)
    assert list(blocks) == generated
    assert [name for name, reason in left.items() if reason == UNKNOWN] == others
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{type(net).__name__}: {', '.join(others)} will not be generated")


def test_every_parameter_is_generated_or_has_a_reason():
    tied, frozen = nn.Linear(6, 4, bias=False), nn.Linear(4, 3)
    frozen.weight.requires_grad_(False)
    net = nn.Sequential(nn.Embedding(5, 6), tied, tied, nn.LayerNorm((4, 4)), frozen, nn.LSTM(4, 4), nn.Linear(4, 4))
    tied = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    tied[1].weight = tied[0].weight
    net.append(tied)
    blocks, left = JointModel([net], FORM, keep=[["6"]]).coverage(0)
    assert {*blocks, *left} == {name for name, _ in net.named_parameters(remove_duplicate=False)} - {"2.weight"}
    assert left["0.weight"] == "embedding" and left["3.weight"] == "bias or norm" and left["4.weight"] == "frozen"
    assert left["6.weight"] == "kept" and left["7.0.weight"] == left["7.1.weight"] == "shared by two layers"
    assert left["5.bias_ih_l0"] == "bias or norm" and blocks["5.weight_ih_l0"] == 4


def test_a_module_without_generated_weights_is_rejected_with_its_parameters():
    with pytest.raises(ValueError, match=rf"Bilinear has no dense.*\(weight: {UNKNOWN}; bias: bias or norm\)"):
        JointModel([nn.Bilinear(3, 4, 5)])
    assert left_out(nn.Bilinear(3, 4, 5)) == {"weight": UNKNOWN, "bias": "bias or norm"}


def test_architectures_that_are_not_modules_are_rejected_by_number():
    with pytest.raises(ValueError, match=r"Architecture 1 is <class .*Linear is a class"):
        JointModel([nn.Linear(2, 2), nn.Linear])
    with pytest.raises(ValueError, match="Architecture 0 is 'net', not a module"):
        JointModel(["net"])
    with pytest.raises(ValueError, match=r"single module.*list"):
        JointModel(nn.Sequential(nn.Linear(2, 2)))
