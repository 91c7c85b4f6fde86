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
    write_hindi,
    write_posts,
)


@pytest.fixture
def root(tmp_path):
    write_conll2000(tmp_path)
    write_hindi(tmp_path)
    write_posts(tmp_path)
    return tmp_path


def test_every_token_of_every_file_is_in_one_split(root):
    data = load("code-switched", root)
    assert data.task_names == ("hindi-english", "english", "hindi")
    tokens = [tokens_of_each_task(data, split) for split in data.splits]
    assert [sum(counts) for counts in zip(*tokens, strict=True)] == [19 * 4 + 100, 25 * 4, 25 * 2]


def test_a_tenth_is_held_out_of_sources_without_a_validation_part(root):
    data = load("code-switched", root)
    assert rows_of_each_task(data, "validation")[1:] == [2, 2]
    assert rows_of_each_task(data, "train")[1:] == [18, 18]
    assert rows_of_each_task(data, "test")[1:] == [5, 5]


def test_posts_are_split_70_10_20_and_long_posts_cut_into_pieces(root):
    data = load("code-switched", root)
    rows = [rows_of_each_task(data, split)[0] for split in ("train", "validation", "test")]
    assert sum(rows) == 21  # 19 short ones, and 100 tokens in pieces of 80 and 20
    assert data.input_shape == (80, 17)


def test_words_keep_their_tags(root):
    data = load("code-switched", root)
    assert labels_by_text(data, "train", 1) == {(("the", "<unk>", "runs", "."), ("DT", "NN", "VBZ", "."))}
    assert labels_by_text(data, "train", 2) == {(("<unk>", "में"), ("NOUN", "ADP"))}
    assert (("yeh", "<unk>", "hai", "#tag"), ("G_PRP", "G_N", "G_V", "#")) in labels_by_text(data, "train", 0)


def test_characters_keep_their_case_and_words_do_not(root):
    data = load("code-switched", root)
    part = data.split("test")
    the = part.x[part.task == 1][0, 0]
    assert data.vocabulary[the[0]] == "the"
    assert [data.characters[letter] for letter in the[1:5]] == ["T", "h", "e", "<pad>"]


def test_inputs_are_stored_as_int16_and_returned_as_int64(root):
    data = load("code-switched", root)
    assert data.inputs("train", torch.tensor([0, 3])).dtype == torch.int64
    assert data.split("train").x.dtype == torch.int16


def test_posts_of_the_same_words_are_in_one_split(tmp_path):
    write_conll2000(tmp_path)
    write_hindi(tmp_path)
    post = [[("acha", "hi", "G_J")]] * 30
    others = [[(f"w{n}", "en", "G_N")] for n in range(3)]
    write_columns(tmp_path / "icon2016" / "FB_HI_EN_CR.txt", post + others, "\t")
    data = load("code-switched", tmp_path)
    rows = sorted(rows_of_each_task(data, split)[0] for split in data.splits)
    assert sum(rows) == 33
    assert rows[-1] >= 30


def test_a_line_with_too_few_columns_is_named(root):
    path = root / "icon2016" / "FB_HI_EN_CR.txt"
    path.write_text(path.read_text("utf-8").replace("hai\thi\tG_V", "hai\thi", 1), "utf-8")
    with pytest.raises(DamagedDataError, match=r"FB_HI_EN_CR\.txt is damaged: line 3 is .* has 3 columns"):
        load("code-switched", root)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it holds no sentence"), (b"\xff\xfe a b\n", "it is not UTF-8"), (b"a b \n", "line 1")],
)
def test_a_file_with_invalid_contents_is_named(root, content, message):
    (root / "conll2000" / "test.txt").write_bytes(content)
    with pytest.raises(DamagedDataError, match=f"test.txt is damaged: {message}"):
        load("code-switched", root)


class TestWithTheRealFiles:
    def test_all_tokens_are_present(self, load_real):
        data = load_real("code-switched")
        tokens = torch.tensor([tokens_of_each_task(data, split) for split in data.splits])
        assert tokens.sum(0).tolist() == [20_615, 211_727 + 47_377, 35_217 + 35_430]
        assert tokens[2, 1:].tolist() == [47_377, 35_430]
        assert rows_of_each_task(data, "test")[1:] == [2_012, 1_684]

    def test_each_task_has_the_tags_of_its_source(self, load_real):
        data = load_real("code-switched")
        assert data.num_classes == (18, 44, 15)
        assert data.input_shape == (80, 17)

    def test_the_splits_have_not_changed_since_version_0(self, load_real):
        assert digest(load_real("code-switched"), "train", "validation", "test") == "8aa4e541baa72821"
