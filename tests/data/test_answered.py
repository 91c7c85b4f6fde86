import numpy as np
import pytest
import torch

from mtl_gym.data.answered import ROWS, answered


def largest(x, task):
    """Answer with the largest of the first three values, moved on by one in odd tasks."""
    return torch.where(torch.from_numpy(task % 2 == 0)[:, None], x[:, :3], x[:, :3].roll(1, 1))


def test_labels_are_the_answers_and_classes_are_balanced():
    data = answered("largest", 2, (5,), largest, np.random.default_rng(0))
    for split, rows in ROWS.items():
        part = data.split(split)
        assert torch.equal(largest(part.x, part.task.numpy()).argmax(1), part.y)
        counts = [torch.bincount(part.y[part.task == task]).tolist() for task in (0, 1)]
        assert all(sum(count) == rows and max(count) - min(count) <= 1 for count in counts)


def test_a_class_that_is_rarely_answered_has_all_its_candidates():
    rare = answered(
        "rare", 1, (2,), lambda x, task: torch.stack([x[:, 0] * 0, x[:, 0] - 1.5], 1), np.random.default_rng(0)
    )
    share = torch.cat([part.y for part in rare.splits.values()]).float().mean()
    assert share == pytest.approx(4 * 0.0668, abs=0.05)


def test_noise_replaces_training_labels_by_another_class():
    data = answered("noisy", 1, (5,), largest, np.random.default_rng(0), noise=0.5)
    wrong = {name: largest(part.x, part.task.numpy()).argmax(1) != part.y for name, part in data.splits.items()}
    assert wrong["train"].float().mean() == pytest.approx(0.5, abs=0.1)
    assert not wrong["validation"].any() and not wrong["test"].any()


def test_inputs_have_the_shape():
    data = answered("images", 1, (1, 2, 3), lambda x, task: x.flatten(1)[:, :2], np.random.default_rng(0))
    assert data.input_shape == (1, 2, 3) and data.split("test").x.dtype == torch.float32
