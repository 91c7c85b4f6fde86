"""Wide residual networks: the paper's blocks, independent samples, and training beside other architectures."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mtl_gym.data import SPLITS, TaskCollection, TaskData
from mtl_gym.families.alignment.env import AlignmentVectorEnv
from mtl_gym.families.alignment.joint import Form, JointModel
from mtl_gym.families.alignment.wide_resnet import WideResNet, small

KEEP = ["conv", "fc"]


@pytest.mark.parametrize(("depth", "blocks"), [(10, 378), (40, 2268)])
def test_it_has_the_papers_blocks(depth, blocks):
    assert JointModel([WideResNet(10, depth)], Form(), keep=[KEEP]).num_locations == blocks


def test_it_computes_what_the_authors_program_computes_with_group_norm():
    """Written after their function `resnet`; shortcuts are 3 x 3."""
    net, x = WideResNet(10, 16), torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    weights = dict(net.named_parameters())

    def active(x, name):
        return functional.group_norm(x, x.shape[1] // 8, weights[f"{name}.weight"], weights[f"{name}.bias"]).relu()

    def convolved(x, name, stride=1):
        return functional.conv2d(x, weights[f"{name}.weight"], stride=stride, padding=1)

    h = convolved(x / 127.5 - 1, "conv")
    for unit in range(6):
        name, stride = f"stages.{unit}", 2 if unit in (2, 4) else 1
        first = active(h, f"{name}.norm1")
        path = convolved(active(convolved(first, f"{name}.conv1", stride), f"{name}.norm2"), f"{name}.conv2")
        h = path + (convolved(first, f"{name}.shortcut", stride) if unit in (2, 4) else h)
    expected = net.fc(functional.avg_pool2d(active(h, "norm"), 8).flatten(1))
    assert torch.allclose(net(x), expected, atol=1e-5)


def test_depth_40_has_the_parameters_of_the_source_and_of_wider_shortcuts():
    assert sum(p.numel() for p in WideResNet(10, 40).parameters()) == 563_930 + 8 * (16 * 32 + 32 * 64)


def test_no_sample_changes_the_output_of_another():
    net, x = WideResNet(10, 10), torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(net(x)[:2], net(x[:2]), atol=1e-5)


@pytest.mark.parametrize("depth", [4, 12])
def test_a_depth_that_does_not_exist_is_named(depth):
    with pytest.raises(ValueError, match=rf"depth={depth} is not possible; it takes 6 n \+ 4"):
        WideResNet(10, depth)


def test_it_trains_beside_the_network_of_another_task():
    images, labels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8), torch.arange(4)
    bases, binding = torch.zeros(4, 30, dtype=torch.int64), torch.randn(4, 1)
    data = TaskCollection(
        "cross-modal",
        [
            TaskData("vision", "classification", dict.fromkeys(SPLITS, (images, labels)), 20),
            TaskData("dna", "regression", dict.fromkeys(SPLITS, (bases, binding)), 1),
        ],
    )
    env = AlignmentVectorEnv(
        1, data=data, network=small, keep=[KEEP, ["fc2"]], iterations=2, generations=2, learning_rate=0.01, device="cpu"
    )
    obs, _ = env.reset(seed=0)
    assert obs["assignment"].shape == (1, 378 + 52)
    _, reward, *_ = env.step(obs["assignment"][:, ::-1].copy())
    assert reward[0] > 0
