"""Wide residual networks: the paper's blocks, independent samples, and training beside other architectures."""

from __future__ import annotations

import pytest
import torch

from mtl_gym.data import SPLITS, TaskCollection, TaskData
from mtl_gym.families.alignment.env import AlignmentVectorEnv
from mtl_gym.families.alignment.joint import Form, JointModel
from mtl_gym.families.alignment.wide_resnet import WideResNet, small

KEEP = ["conv", "fc"]


@pytest.mark.parametrize(("depth", "blocks"), [(10, 378), (40, 2268)])
def test_it_has_the_papers_blocks(depth, blocks):
    assert JointModel([WideResNet(10, depth)], Form(), keep=[KEEP]).num_locations == blocks


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
