"""The bar that schedules are held against is measured once, and kept."""

import json
import logging

import numpy as np
import pytest
import torch

from mtl_gym.scheduling import reference
from mtl_gym.scheduling.training import Recipe, Training


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_known", {})
    return tmp_path


def kept(root):
    (path,) = (root / "references").glob("plants-*.json")
    return path


def test_single_task_networks_are_trained_once_and_kept(make, root, monkeypatch):
    first = make(reference="single-task", data_root=str(root))
    text = json.loads(kept(root).read_text())
    assert list(text["accuracy"]) == ["iris", "wine", "seeds"]
    assert list(text["accuracy"].values()) == pytest.approx(first.reference.tolist())
    monkeypatch.setattr(reference, "_known", {})
    monkeypatch.setattr(reference, "_train", lambda *args: pytest.fail("trained again"))
    assert np.array_equal(make(reference="single-task", data_root=str(root)).reference, first.reference)


def test_it_is_what_a_network_of_one_task_reaches_alone(make, root, plants, network):
    env = make(reference="single-task", data_root=str(root), updates=90)
    alone = Training(plants, "train", network, 1, 1, Recipe(4))
    alone.begin([1])
    for _ in range(30):
        alone.update(np.array([[1]]), np.ones((1, 1), np.float32))
    accuracy = env._held_out.figures(alone.runs).task_accuracy()[0, 1]
    assert env.reference[1] == pytest.approx(accuracy.item())


def test_other_settings_have_a_reference_of_their_own(make, root):
    make(reference="single-task", data_root=str(root))
    make(reference="single-task", data_root=str(root), updates=90)
    make(reference="single-task", data_root=str(root), updates=20, control="weights")  # as many minibatches of a task
    make(reference="single-task", data_root=str(root), hard_samples=3)  # changes nothing about networks
    assert len(list((root / "references").iterdir())) == 2


def test_a_damaged_file_is_replaced(make, root, monkeypatch, caplog):
    env = make(reference="single-task", data_root=str(root))
    path = kept(root)
    for damage in ("", '{"accuracy": {"iris": 1}}', '{"accuracy": null}'):
        path.write_text(damage)
        monkeypatch.setattr(reference, "_known", {})
        with caplog.at_level(logging.WARNING):
            again = make(reference="single-task", data_root=str(root))
        assert "damaged" in caplog.text and np.array_equal(again.reference, env.reference)
        assert json.loads(path.read_text())["accuracy"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(make, root, caplog):
    (root / "references").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        env = make(reference="single-task", data_root=str(root))
    assert env.reference.shape == (3,) and "cannot be kept" in caplog.text


@pytest.mark.parametrize("given", [[0.5, 0.5], 1.5, [0.5, -0.1, 0.5]])
def test_numbers_that_do_not_fit_are_refused(make, given):
    with pytest.raises(ValueError, match="one for each task of 'plants'"):
        make(reference=given)


def test_training_it_leaves_global_generators_alone(make, root):
    state = torch.get_rng_state()
    make(reference="single-task", data_root=str(root))
    assert torch.equal(state, torch.get_rng_state())
