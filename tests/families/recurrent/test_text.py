"""Synthetic sequences of words with a label per word."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.families.recurrent.embeddings import WordsAndCharacters
from mtl_gym.families.recurrent.env import RecurrentVectorEnv
from mtl_gym.families.recurrent.sequences import SequenceSplit
from tests.families.recurrent.series import draw

WORDS, LETTERS, STEPS = ("<pad>", "<unk>", "a", "b", "c"), ("<pad>", "<unk>", "x", "y"), 6


def sentences(rows=24, seed=0):
    """Return sentences of 1 to 6 words; the tag of a word is its id modulo the number of tags."""
    rng = np.random.default_rng(seed)
    splits = {}
    for name in ("train", "validation", "test"):
        length, task = rng.integers(1, STEPS + 1, rows), np.arange(rows) % 2
        there = np.arange(STEPS) < length[:, None]
        x = np.concatenate([rng.integers(2, 5, (rows, STEPS, 1)), rng.integers(1, 4, (rows, STEPS, 3))], 2)
        y = np.where(there, x[:, :, 0] % np.where(task == 0, 2, 3)[:, None], -1)
        parts = (x * there[:, :, None], task, y)
        splits[name] = Split(*(torch.from_numpy(part) for part in parts))
    classes = (("even", "odd"), ("0", "1", "2"))
    return MultiTaskDataset("sentences", splits, ("two", "three"), classes, vocabulary=WORDS, characters=LETTERS)


DATA = sentences()


def make(num_envs=4, **options):
    options = {"data": DATA, "hidden": 6, "train_batch": num_envs, "device": "cpu"} | options
    return RecurrentVectorEnv(num_envs, **options)


def test_sentence_ends_with_its_last_word():
    split = SequenceSplit(DATA, "train")
    assert split.every_step and (split.length == (DATA.split("train").y >= 0).sum(1).numpy()).all()
    shortest = np.flatnonzero(split.length == split.length.min())[:2]
    assert split.inputs(shortest).shape == (2, split.length.min(), 4)
    env = make(train=False)
    env.reset(seed=0)
    lengths, rng = env._acting.length.copy(), np.random.default_rng(0)
    for step in range(1, lengths.max() + 1):
        task_before = env._acting.length.copy(), env._acting.episodes.step.copy()
        _, _, terminated, *_ = env.step(draw(env, rng))
        assert (terminated == (task_before[1] + 1 == task_before[0])).all()
        if step == 1:
            assert (terminated == (lengths == 1)).all()


def test_every_word_is_answered_and_rewarded():
    env, rng = make(num_envs=5, train=False, penalties=(0, 0)), np.random.default_rng(0)
    env.reset(seed=1)
    paid = [[] for _ in range(5)]
    for _ in range(3 * STEPS):
        _, reward, terminated, _, info = env.step(draw(env, rng))
        for row in range(5):
            paid[row].append(reward[row])
            if terminated[row]:
                final = {key: value[row] for key, value in info["final_info"].items() if key[0] != "_"}
                label = DATA.split("train").y[final["sample"]].numpy()
                length = (label >= 0).sum()
                assert (final["label"] == label).all() and (final["prediction"][length:] == -1).all()
                assert final["answers"] == length and len(paid[row]) == length
                assert final["right"] == (final["prediction"] == label)[:length].sum()
                assert final["correct"] == (final["right"] == length)
                assert sum(paid[row]) == pytest.approx(-final["loss"] * length, rel=1e-4)
                paid[row] = []


def test_accuracy_and_f1_count_words():
    env = make()
    env.reset(seed=0)
    everything = lambda obs: np.ones((len(obs["task"]), env.connections), int)  # noqa: E731
    result = mtl_gym.evaluate(everything, env, "test", num_envs=7)
    view = env.evaluation_view("test", 24)
    view.reset()
    right, answers, words = np.zeros(2), np.zeros(2), ([], [])
    while not view.pass_over:
        *_, info = view.step(np.ones((24, env.connections), int))
        final = info.get("final_info")
        for row in np.flatnonzero(info.get("_final_info", [])):
            if final["sample"][row] >= 0:
                right[final["task"][row]] += final["right"][row]
                answers[final["task"][row]] += final["answers"][row]
                there = final["label"][row] >= 0
                words[final["task"][row]].append(np.stack([final["label"][row], final["prediction"][row]])[:, there])
    np.testing.assert_allclose(result.accuracy, right / answers)
    assert result.episodes.tolist() == answers.tolist()
    f1 = [f1_score(*np.concatenate(parts, 1), average="macro") for parts in words]
    assert result.figures["f1"] == pytest.approx(dict(zip(DATA.task_names, f1, strict=True)))


def test_training_learns_tags_of_sentences_of_any_length():
    env = make(num_envs=8, train_batch=8, learning_rate=0.02)
    env.reset(seed=0)
    everything = np.ones((8, env.connections), int)
    for _ in range(400):
        env.step(everything)
    result = mtl_gym.evaluate(lambda obs: np.ones((len(obs["task"]), env.connections), int), env, "validation")
    assert (result.accuracy > 0.95).all()


def test_first_update_is_a_step_on_mean_loss_of_answered_words():
    env, rng, losses = make(num_envs=4, train_batch=12), np.random.default_rng(0), []
    env.reset(seed=0)
    real = env._training._loss
    env._training._loss = lambda *batch: losses.append(real(*batch)) or losses[-1]
    total = words = 0
    while not losses:
        *_, info = env.step(draw(env, rng))
        for row in np.flatnonzero(info.get("_final_info", [])):
            answers = info["final_info"]["answers"][row]
            total, words = total + info["final_info"]["loss"][row] * answers, words + answers
    assert losses[0].item() == pytest.approx(total / words, rel=1e-5)


def test_checkpoint_with_unfinished_sentences_resumes_exactly():
    env = make(num_envs=3, train_batch=5)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3 * STEPS + 1):
        env.step(draw(env, rng))
    twin = env.fork()
    for _ in range(3 * STEPS):
        actions = draw(env, rng)
        (obs, reward, *_), (others, other, *_) = env.step(actions), twin.step(actions)
        np.testing.assert_array_equal(reward, other)
        np.testing.assert_array_equal(obs["units"], others["units"])


def test_words_are_embedded_by_vectors_and_characters():
    torch.manual_seed(0)
    front = WordsAndCharacters(words=5, characters=4, word=3, character=2)
    x = torch.tensor([[[2, 1, 2, 0], [0, 0, 0, 0]]])
    read = front(x)
    assert read.shape == (1, 2, 5)
    assert torch.equal(read[0, 0, :3], front.word.weight[2]) and (read[0, 1, :3] == 0).all()
    letters = front.character.weight[[1, 2, 0]].T[None]
    torch.testing.assert_close(read[0, 0, 3:], front.convolution(letters).amax(2)[0])
    assert WordsAndCharacters(words=5, characters=0, word=3)(x[:, :, 0]).shape == (1, 2, 3)


def test_vectors_of_words_outside_the_batch_stay_bit_identical():
    env = make(num_envs=2, sharing=None)
    env.reset(seed=0)
    for _ in range(4 * STEPS):
        env.step(np.zeros((2, 1), int))
    before = env.network.front.word.weight.clone()
    assert isinstance(env.network.front.word, nn.Embedding)
    assert torch.equal(before[1], env.network.front.word.weight[1])  # the unknown word never occurs
    fresh = make(num_envs=2, sharing=None)
    fresh.reset(seed=0)
    assert torch.equal(fresh.network.front.word.weight[1], before[1])
    assert not torch.equal(fresh.network.front.word.weight[2], before[2])
