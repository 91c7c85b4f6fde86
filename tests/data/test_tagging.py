import pytest
import torch

from mtl_gym.data import DamagedDataError, load

from .fabricated import (
    digest,
    labels_by_text,
    rows_of_each_task,
    tokens_of_each_task,
    write_columns,
    write_conll2000,
    write_conll2003,
)


@pytest.fixture
def root(tmp_path):
    write_conll2000(tmp_path)
    write_conll2003(tmp_path)
    return tmp_path


def test_tasks_have_different_tags_for_the_same_words(root):
    data = load("tagging", root)
    assert data.task_names == ("pos", "chunking", "ner")
    words = ("the", "<unk>", "runs", ".")
    assert labels_by_text(data, "train", 0) == {(words, ("DT", "NN", "VBZ", "."))}
    assert labels_by_text(data, "train", 1) == {(words, ("B-NP", "I-NP", "B-VP", "O"))}


def test_entities_are_in_iobes(root):
    data = load("tagging", root)
    words = ("<unk>", "p.", "visits", "rome", "paris", ".")
    assert labels_by_text(data, "train", 2) == {(words, ("B-PER", "E-PER", "O", "S-LOC", "S-LOC", "O"))}


def test_both_tasks_of_conll_2000_have_the_same_sentences_in_each_split(root):
    data = load("tagging", root)
    for split, rows in {"train": 18, "validation": 2, "test": 5}.items():
        part = data.split(split)
        assert rows_of_each_task(data, split)[:2] == [rows, rows]
        assert torch.equal(part.x[part.task == 0], part.x[part.task == 1])


def test_each_file_of_conll_2003_is_one_split(root):
    data = load("tagging", root)
    assert [rows_of_each_task(data, split)[2] for split in data.splits] == [12, 4, 4]


def test_repeated_sentences_and_test_sentences_are_not_held_out(root):
    twice = [[("same", "NN", "B-NP")]] * 30 + [[("tested", "NN", "B-NP")]]
    write_columns(root / "conll2000" / "train.txt", [*twice, [("once", "NN", "B-NP")]])
    write_columns(root / "conll2000" / "test.txt", [[("tested", "NN", "B-NP")]])
    data = load("tagging", root)
    assert rows_of_each_task(data, "validation")[:2] == [1, 1]
    part = data.split("validation")
    first, *_ = part.x[part.task == 0][0, 0, 1:].tolist()
    assert data.characters[first] == "o"  # of "once"


def test_words_that_occur_once_are_unknown_even_if_tasks_share_sentences(root):
    write_columns(root / "conll2000" / "train.txt", [[(f"rare{n}", "NN", "B-NP")] for n in range(20)])
    data = load("tagging", root)
    assert not [word for word in data.vocabulary if word.startswith("rare")]


def test_an_unknown_tag_is_named_with_its_file(root):
    path = root / "conll2003" / "eng.testa"
    path.write_text(path.read_text().replace("B-LOC", "LOC", 1))
    with pytest.raises(DamagedDataError, match=r"eng\.testa is damaged: tag 'LOC' is unknown"):
        load("tagging", root)


def test_a_file_truncated_within_a_line_is_named(root):
    path = root / "conll2003" / "eng.train"
    path.write_text(path.read_text().rstrip()[:-2])
    with pytest.raises(DamagedDataError, match=r"eng\.train is damaged: line 107 is '\. \. O'"):
        load("tagging", root)


class TestWithTheRealFiles:
    def test_sentences_and_tokens_are_those_of_the_sources(self, load_real):
        data = load_real("tagging")
        rows = torch.tensor([rows_of_each_task(data, split) for split in data.splits])
        tokens = torch.tensor([tokens_of_each_task(data, split) for split in data.splits])
        assert (rows[0] + rows[1])[:2].tolist() == [8_936] * 2
        assert (tokens[0] + tokens[1])[:2].tolist() == [211_727] * 2
        assert (rows[2, 0], tokens[2, 0]) == (2_012, 47_377)
        assert rows[:, 2].tolist() == [14_041, 3_250, 3_453]
        assert tokens[:, 2].tolist() == [203_621, 51_362, 46_435]

    def test_each_task_has_the_tags_of_its_source(self, load_real):
        data = load_real("tagging")
        assert data.num_classes == (44, 23, 17)  # I-LST is in the test file of the chunks only
        assert set("BIES") == {tag[0] for tag in data.class_names[2]} - {"O"}

    def test_the_splits_have_not_changed_since_version_0(self, load_real):
        assert digest(load_real("tagging"), "train", "validation", "test") == "a59f941e87b2c54b"
