"""Reference accuracies are measured once per setting, and cached."""

import json
import logging
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from mtl_gym.families.scheduling import reference
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Classification
from mtl_gym.families.scheduling.training import RunRecipe, RunTraining


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Set a temporary cache folder."""
    monkeypatch.setattr(reference, "_known", {})
    monkeypatch.delenv("MTL_GYM_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *args, **kwargs: tmp_path)
    return tmp_path


@pytest.fixture
def measured(make, cache):
    """Return a function that makes an environment with a single-task reference."""
    return partial(make, reference="single-task", hard_samples=8)


def kept(cache):
    return list((cache / "references").iterdir())


def test_single_task_networks_are_trained_once_and_cached(measured, cache, monkeypatch):
    first = measured()
    (path,) = kept(cache)
    text = json.loads(path.read_text())
    assert path.name.startswith("plants-") and list(text["accuracy"]) == ["iris", "wine", "seeds"]
    assert list(text["accuracy"].values()) == pytest.approx(first.reference.tolist())
    monkeypatch.setattr(reference, "_known", {})
    monkeypatch.setattr(reference, "_train", lambda *args: pytest.fail("trained again"))
    assert np.array_equal(measured().reference, first.reference)


def test_nothing_is_written_to_the_data_root(measured, cache, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    measured(data_root=str(root))
    assert not list(root.iterdir()) and kept(cache)


def test_the_reference_is_the_accuracy_of_a_network_trained_on_one_task(measured, plants, network):
    env = measured(updates=90)
    alone = RunTraining(plants, "train", network, 1, 1, RunRecipe(4))
    alone.begin([1])
    for _ in range(30):
        alone.update(np.array([[1]]), np.ones((1, 1), np.float32))
    accuracy = env._held_out.figures(alone.runs).task_accuracy()[0, 1]
    assert env.reference[1] == pytest.approx(accuracy.item())


def test_other_settings_have_their_own_reference(measured, cache):
    measured()
    measured(updates=90)
    measured(updates=20, control="weights")  # as many minibatches of a task
    measured(hard_samples=3)  # changes nothing about networks
    assert len(kept(cache)) == 2
    measured(validation_samples=9)
    assert len(kept(cache)) == 3


class Mine(nn.Module):
    """Encoder whose repr does not depend on its arguments."""

    def __init__(self, scale=1.0, first=0.1, detached=False):
        super().__init__()
        self.scale, self.first, self.detached = scale, first, detached
        self.w = nn.Parameter(torch.empty(5, 8))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.w, 0, self.first)

    def forward(self, x):
        features = torch.tanh(x @ self.w) * self.scale
        return features.detach() if self.detached else features


class Halved(Classification):
    """Classification with scaled losses."""

    def __init__(self, share):
        self.share = share

    def losses(self, scores, label):
        return self.share * super().losses(scores, label)


def test_different_networks_of_equal_repr_have_their_own_references(measured, cache):
    """The networks differ in forward pass, initial weights, backward pass or losses."""
    encoders = [Mine(), Mine(scale=0.0), Mine(first=0.2), Mine(detached=True)]
    networks = [SharedNetwork(encoder, nn.Linear(8, 4)) for encoder in encoders]
    networks += [SharedNetwork(Mine(), nn.Linear(8, 4), Halved(share)) for share in (0.5, 0.25)]
    references = [measured(network=network, learning_rate=0.03).reference for network in networks]
    assert len({str(module.encoder) for module in networks}) == 1 and len(kept(cache)) == 6
    assert references[1].mean() < references[0].mean()


def test_a_new_but_equal_network_has_the_same_reference(measured, cache):
    for _ in range(2):
        measured(network=SharedNetwork(Mine(), nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4))))
    assert len(kept(cache)) == 1


def test_other_inputs_have_their_own_reference(measured, cache, plants):
    measured()
    plants.splits["train"].x[110] += 1.0  # one in the middle
    try:
        measured()
    finally:
        plants.splits["train"].x[110] -= 1.0
    assert len(kept(cache)) == 2


def damaged(text, **accuracy):
    whole = json.loads(text)
    return json.dumps(whole | {"accuracy": accuracy})


THREE = {"iris": 0.5, "wine": 0.5, "seeds": 0.5}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: '{"accuracy": null}',
        lambda text: "7",
        lambda text: damaged(text, iris=1.0),
        lambda text: damaged(text, **THREE, moss=0.5),
        lambda text: damaged(text, **THREE | {"wine": float("nan")}),
        lambda text: damaged(text, **THREE | {"wine": 7.5}),
        lambda text: damaged(text, **THREE | {"wine": -0.1}),
        lambda text: damaged(text, **THREE | {"wine": "0.5"}),
        lambda text: damaged(text, **THREE | {"wine": True}),
        lambda text: text.replace('"minibatch": 4', '"minibatch": 5'),
    ],
)
def test_an_invalid_cache_file_is_replaced_with_a_warning(measured, cache, monkeypatch, caplog, damage):
    env = measured()
    (path,) = kept(cache)
    text = path.read_text()
    path.write_text(damage(text))
    monkeypatch.setattr(reference, "_known", {})
    with caplog.at_level(logging.WARNING):
        again = measured()
    assert "cannot be used" in caplog.text and np.array_equal(again.reference, env.reference)
    assert path.read_text() == text


def test_an_unwritable_cache_folder_logs_a_warning(measured, cache, caplog):
    (cache / "references").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        env = measured()
    assert env.reference.shape == (3,) and "Cannot cache" in caplog.text


@pytest.mark.parametrize("given", [[0.5, 0.5], 1.5, [0.5, -0.1, 0.5]])
def test_invalid_given_accuracies_are_rejected(make, given):
    with pytest.raises(ValueError, match=r"one for each.*'plants'"):
        make(reference=given)


def test_training_the_reference_leaves_global_generators_unchanged(measured):
    state = torch.get_rng_state()
    measured()
    assert torch.equal(state, torch.get_rng_state())
