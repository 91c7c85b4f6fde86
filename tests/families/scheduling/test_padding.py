"""Padding of texts is cut without effect on results."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.scheduling.held_out import HeldOut
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Classification, Tagging, right
from mtl_gym.families.scheduling.padding import Padding
from mtl_gym.families.scheduling.text import CRFHead, ReviewEncoder, TaggingEncoder


def texts(rows, seed, tagged=False):
    """Draw texts of two tasks; a text's label depends on its first word, a tag on its word."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, rows)
    there = np.arange(12) < lengths[:, None]
    words = rng.integers(2, 9, (rows, 12)) * there
    task = np.arange(rows) % 2
    y = np.where(there, (words + task[:, None]) % 2, -1) if tagged else (words[:, 0] + task) % 2
    spelled = np.stack([words, words, 0 * words], -1) if tagged else words
    return Split(*(torch.from_numpy(part) for part in (spelled, task, y)))


def data(tagged=False):
    splits = {name: texts(rows, seed, tagged) for seed, (name, rows) in enumerate(SIZES.items())}
    characters = tuple("0123456789") if tagged else ()
    return MultiTaskDataset("texts", splits, ("odd", "even"), (("n", "y"),) * 2, None, None, WORDS, characters)


SIZES = {"train": 60, "validation": 21, "test": 30}
WORDS = ("<pad>", "<unk>", *"abcdefg")


@pytest.fixture(params=["reviews", "tagging"])
def template(request):
    if request.param == "reviews":
        return data(), SharedNetwork(ReviewEncoder(9, 4, 6), nn.Linear(6, 2))
    return data(tagged=True), SharedNetwork(TaggingEncoder(9, 10, 4, 3), CRFHead(6, 2), Tagging())


def begun(template, **options):
    texts, network = template
    env = gym.make_vec(
        "MTLScheduling-Digits-v0", 2, data=texts, network=network, updates=40, reference=None, **options
    ).unwrapped
    env.reset(seed=0)
    return env


def test_padding_is_cut_and_samples_are_sorted_by_length():
    padding, split = Padding(data(), "train"), data().splits["train"]
    rows = np.array([[3, 5, 7], [2, 4, 6]])
    x, y = padding.cut(rows, split.x[torch.from_numpy(rows)], split.y[torch.from_numpy(rows)])
    assert x.shape == (2, 3, padding.lengths[rows].max()) and y.shape == (2, 3)
    ordered = np.take_along_axis(rows, padding.by_length(rows), -1)
    assert (np.diff(padding.lengths[ordered], axis=-1) >= 0).all()


def test_figures_do_not_depend_on_the_number_of_texts_at_once(template, monkeypatch):
    env = begun(template)
    whole = env._held_out.figures(env.network)
    monkeypatch.setattr(Padding, "rows_at_once", 4)
    parts = env._held_out.figures(env.network)
    for name in ("loss", "right", "uncertainty"):
        assert torch.allclose(getattr(whole, name), getattr(parts, name), atol=1e-5), name


def test_padding_samples_of_short_tasks_do_not_count(template):
    env = begun(template)
    held_out = HeldOut(env.data, "validation", env.template.objective, "margin")
    assert (held_out.labels > 0).sum(1).tolist() == [11, 10]
    figures, split = held_out.figures(env.network), env.data.splits["validation"]
    encoder, heads = env.network.single(1)
    scores = heads[1](encoder(split.x[split.task == 1]))
    label = split.y[split.task == 1]
    objective = env.template.objective
    assert figures.task_loss()[1, 1] == pytest.approx(objective.losses(scores, label).mean().item(), abs=1e-5)
    hits = right(objective.predict(scores, label), label).sum() / (label >= 0).sum()
    assert figures.task_accuracy()[1, 1] == pytest.approx(hits.item())


def test_runs_on_texts_learn(template):
    env = begun(template, learning_rate=0.03, minibatch=16)
    before = env.progress.validation_accuracy.mean()
    for step in range(39):
        env.step(np.array([step % 2] * 2))
    assert env.progress.validation_accuracy.mean() > max(before + 0.1, 0.8)


def test_tags_outside_a_task_are_never_predicted():
    objective, allowed = Tagging(), torch.tensor([[True, True, False]])
    scores = objective.restrict((torch.tensor([[[0.0, 1.0, 9.0]]]), torch.zeros(1, 4, 3)), allowed)
    assert objective.predict(scores, torch.tensor([[1]])).tolist() == [[1]]
    assert objective.probabilities(scores, torch.tensor([[1]]))[0, 0, 2] == 0
    assert torch.isfinite(objective.losses(scores, torch.tensor([[0]]))).all()


def test_losses_of_sequences_are_means_over_tokens():
    scores = (torch.zeros(2, 3, 2), torch.zeros(2, 3, 2))
    losses = Tagging().losses(scores, torch.tensor([[0, 1, 1], [0, -1, -1]]))
    assert losses.tolist() == pytest.approx([np.log(2)] * 2, abs=1e-6)
    assert Classification().losses(torch.zeros(1, 2), torch.tensor([0])).item() == pytest.approx(np.log(2))


def test_predictions_have_the_positions_of_the_labels(template, monkeypatch):
    env = begun(template)
    held_out = HeldOut(env.data, "validation", env.template.objective, None)
    whole = held_out.predictions(env.network)
    monkeypatch.setattr(Padding, "rows_at_once", 6)
    assert torch.equal(whole, held_out.predictions(env.network)) and whole.shape == (2, *held_out.y.shape)
    real = held_out.labels > 0
    hits = (whole == held_out.y) & (held_out.y >= 0)
    hits = (hits if hits.ndim == 3 else hits.sum(-1)) * real
    assert torch.equal(hits.float(), held_out.figures(env.network).right * real)


def test_evaluations_report_f1_for_tasks_with_span_tags():
    whole = data(tagged=True)
    spans = MultiTaskDataset(
        "spans", whole.splits, whole.task_names, (("B-X", "O"), ("no", "yes")), None, None, WORDS, whole.characters
    )
    network = SharedNetwork(TaggingEncoder(9, 10, 4, 3), CRFHead(6, 2), Tagging())
    env = begun((spans, network), learning_rate=0.03)
    result = mtl_gym.evaluate(lambda obs: np.zeros(len(obs), int), env)
    assert list(result.figures["f1"]) == ["odd"]  # the other task's tags are no spans
    assert result.accuracy[0] > 0.9 and result.figures["f1"]["odd"] > 0.9


def test_f1_counts_each_sentence_of_a_small_task_once():
    whole, found = data(tagged=True), []
    test = whole.splits["test"]
    y = test.y.clone()
    y[2] = torch.where(y[2] >= 0, 1 - y[2], -1)  # the second sentence of the small task, which is now tagged wrongly
    for other in (2, 15):
        rows = torch.cat([torch.arange(0, 30, 2)[:2], torch.arange(1, 30, 2)[:other]])
        splits = dict(whole.splits) | {"test": Split(test.x[rows], test.task[rows], y[rows])}
        tags = (("B-X", "O"), ("no", "yes"))
        spans = MultiTaskDataset("spans", splits, whole.task_names, tags, None, None, WORDS, whole.characters)
        network = SharedNetwork(TaggingEncoder(9, 10, 4, 3), CRFHead(6, 2), Tagging())
        result = mtl_gym.evaluate(lambda obs: np.zeros(len(obs), int), begun((spans, network), learning_rate=0.03))
        found.append(result.figures["f1"]["odd"])
    assert found[0] == found[1] and 0 < found[0] < 1
