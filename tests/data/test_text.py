import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.data.text import padded, spelled_ids, token_ids, vocabulary_of
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.families.routing.env import RoutingVectorEnv

WORDS = ("<pad>", "<unk>", "a", "b")
LETTERS = ("<pad>", "<unk>", "a")


def tagged(**changes):
    """Return arguments of a small valid data set of two tasks with tagged sentences."""
    split = {
        "x": torch.tensor([[2, 3, 0], [1, 2, 3]], dtype=torch.int16),
        "task": torch.tensor([0, 1]),
        "y": torch.tensor([[0, 1, -1], [2, 0, 1]]),
    }
    spoiled = {name: changes.pop(name) for name in list(changes) if name in split}
    splits = {name: Split(**split | spoiled) for name in ("train", "validation", "test")}
    names = {"task_names": ("one", "two"), "class_names": (("N", "V"), ("N", "V", "X"))}
    return {"name": "toy", "splits": splits, **names, "vocabulary": WORDS} | changes


def spelled(**changes):
    words = tagged()["splits"]["train"].x
    x = torch.stack([words, words.clamp(max=2)], -1)
    splits = {name: Split(x, split.task, split.y) for name, split in tagged()["splits"].items()}
    return tagged() | {"splits": splits, "characters": LETTERS} | changes


def test_token_ids_are_returned_as_int64_copies():
    data = MultiTaskDataset(**tagged())
    rows = data.inputs("train", torch.tensor([[1]]))
    assert (rows.dtype, rows.tolist()) == (torch.int64, [[[1, 2, 3]]])
    rows.zero_()
    assert data.split("train").x[1].tolist() == [1, 2, 3]


def test_int64_ids_are_copied_as_well():
    splits = {name: Split(part.x.long(), part.task, part.y) for name, part in tagged()["splits"].items()}
    data = MultiTaskDataset(**tagged(splits=splits))
    data.inputs("train", torch.tensor(1)).zero_()
    assert data.split("train").x[1].tolist() == [1, 2, 3]


def test_without_a_vocabulary_integers_are_numbers():
    data = MultiTaskDataset(**tagged(vocabulary=()))
    assert data.inputs("train", torch.tensor([0])).dtype == torch.float32
    assert not data.has_text and data.has_sequences


def test_pickling_and_moving_preserve_the_vocabularies():
    data = MultiTaskDataset(**spelled())
    again = pickle.loads(pickle.dumps(data))
    assert (again.vocabulary, again.characters, again.has_text, again.has_sequences) == (WORDS, LETTERS, True, True)
    assert "input [3, 2] int16, 4 words, train 2" in repr(again)
    assert data.to("meta").vocabulary == WORDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.tensor([[2, 4, 0], [1, 2, 3]])}, "row 0 has token id 4, but there are 4 words.* 0 to 3"),
        ({"x": torch.tensor([[2, 3, 0], [1, -2, 3]])}, "row 1 has token id -2"),
        ({"x": torch.tensor([[2, 0, 3], [1, 2, 3]])}, "row 0 has no token at its first step, or one after padding"),
        ({"x": torch.tensor([[0, 0, 0], [1, 2, 3]])}, "row 0 has no token at its first step"),
        ({"x": torch.tensor([[2, 0, 0], [1, 2, 3]])}, "labels and tokens of row 0 differ"),
        ({"x": torch.zeros(2, 3)}, "dtype torch.float32, but with a vocabulary it holds token ids"),
        ({"x": torch.ones(2, 3, dtype=torch.uint8)}, "dtype torch.uint8"),
        ({"x": torch.ones(2, 3, 2).long()}, r"x has shape \[2, 3, 2\] .* \[rows, steps\] of a signed"),
        ({"y": torch.tensor([[0, 2, -1], [2, 0, 1]])}, "row 0 of task 'one' has label 2 at step 1.* 2 classes"),
        ({"y": torch.tensor([[0, -2, -1], [2, 0, 1]])}, "row 0 of task 'one' has label -2 at step 1.*or -1 after"),
        ({"y": torch.tensor([[0, 1, -1], [2, -1, 1]])}, "row 1 has no label at its first step"),
        ({"y": torch.tensor([[0, 1], [2, 0]])}, r"y has shape \[2, 2\], but x has 2 rows of 3 steps.* \[2, 3\]"),
        ({"mean": torch.zeros(1), "std": torch.ones(1)}, "token ids cannot be normalised"),
        ({"vocabulary": (), "characters": LETTERS}, "characters but no vocabulary"),
    ],
)
def test_inconsistent_texts_are_named(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        MultiTaskDataset(**tagged(**changes))
    assert "data set 'toy'" in str(caught.value)


def test_splits_with_and_without_label_sequences_are_refused():
    splits = tagged()["splits"] | {"test": tagged(y=torch.tensor([0, 1]))["splits"]["test"]}
    with pytest.raises(ValueError, match="'toy': some splits have label sequences and others do not"):
        MultiTaskDataset(**tagged(splits=splits))


def test_an_unknown_character_id_is_named():
    with pytest.raises(ValueError, match="row 0 has character id 2, but there are 2 characters"):
        MultiTaskDataset(**spelled(characters=LETTERS[:2]))


def test_words_without_their_characters_are_refused():
    with pytest.raises(ValueError, match=r"x has shape \[2, 3\] .* \[rows, steps, 1 \+ characters\]"):
        MultiTaskDataset(**tagged(characters=LETTERS))


@pytest.mark.parametrize("env", [RoutingVectorEnv, LimitlessVectorEnv])
def test_environments_with_one_answer_per_episode_refuse_texts(env):
    with pytest.raises(ValueError, match=r"'toy' holds texts, but MTL.* environments take inputs of numbers"):
        env(num_envs=2, data=MultiTaskDataset(**tagged()))


@pytest.mark.parametrize("env", [RoutingVectorEnv, LimitlessVectorEnv])
def test_environments_with_one_answer_per_episode_refuse_label_sequences(env):
    with pytest.raises(ValueError, match="'toy' holds a label for every step of an input, but MTL"):
        env(num_envs=2, data=MultiTaskDataset(**tagged(vocabulary=())))


@given(st.lists(st.sampled_from(["a", "b", "c", "<unk>", "<pad>"]), max_size=30), st.integers(1, 4))
def test_a_vocabulary_has_each_frequent_token_once(tokens, least):
    found = vocabulary_of(tokens, least)
    assert found[:2] == ("<pad>", "<unk>")
    assert set(found[2:]) == {token for token in "abc" if tokens.count(token) >= least}
    assert len(set(found)) == len(found)
    assert vocabulary_of(tokens[::-1], least) == found


@given(st.lists(st.text("abAB", min_size=1, max_size=6), min_size=1, max_size=8))
def test_spelled_ids_decode_to_the_words(tokens):
    words, letters = vocabulary_of([token.lower() for token in tokens], 1), vocabulary_of("".join(tokens), 1)
    ids = spelled_ids(tokens, words, letters, 6)
    assert [words[word] for word in ids[:, 0]] == [token.lower() for token in tokens]
    assert ["".join(letters[letter] for letter in row[1:] if letter) for row in ids] == tokens


def test_special_tokens_in_a_text_are_unknown():
    assert token_ids(["<pad>", "<unk>"], WORDS).tolist() == [1, 1]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_padded_rows_contain_the_flat_values(lengths):
    flat = np.arange(sum(lengths))
    rows = padded(flat, lengths, 6, padding=-1)
    assert rows[rows >= 0].tolist() == flat.tolist()
    assert (rows >= 0).sum(1).tolist() == lengths
