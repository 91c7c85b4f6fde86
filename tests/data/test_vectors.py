import pytest
import torch

from mtl_gym.data import DamagedDataError, MissingDataError, word_vectors

WORDS = ("<pad>", "<unk>", "the", "cat", "unheard")


def write(tmp_path, *lines):
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_vectors_of_the_file_are_in_the_order_of_the_vocabulary(tmp_path):
    path = write(tmp_path, "cat 3 -4e-1", "dog 5 6", "the 1 2", "cat 7 8")
    vectors = word_vectors(path, WORDS, width=2)
    assert vectors.dtype == torch.float32
    assert vectors[2:4].tolist() == [[1, 2], [3, pytest.approx(-0.4)]]
    assert vectors[0].tolist() == [0, 0]


def test_vectors_of_missing_words_depend_only_on_the_seed(tmp_path):
    path = write(tmp_path, "the 1 2")
    first, again, other = (word_vectors(path, WORDS, 2, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first[4], other[4])
    assert torch.equal(first[4], word_vectors(write(tmp_path, "cat 1 2"), WORDS, 2, seed=1)[4])
    assert (first[1:].abs() <= 1.5**0.5).all() or first[2].tolist() == [1, 2]


def test_words_with_spaces_and_other_line_breaks_are_skipped(tmp_path):
    path = write(tmp_path, "the 1 2", ". . 5 6", "\u0085 3 4", "\u2028 3 4", "cat 5 6")
    assert word_vectors(path, WORDS, 2)[3].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["the 1 2", "cat 1"], "line 2 has 1 numbers after its word where 2 are needed"),
        (["the 1 2 3"], "line 1 has 3 numbers after its word where 2 are needed"),
        (["400000 2"], "line 1 has 1 numbers"),
        (["the 1 2", ""], "line 2 has 0 numbers"),
        (["the 1 2", "cat 1 x"], "line 2 holds something other than numbers"),
        (["the 1 nan"], "line 1 holds a number that is not finite"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, lines, message):
    with pytest.raises(DamagedDataError, match=rf"vectors\.txt is damaged: {message}"):
        word_vectors(write(tmp_path, *lines), WORDS, 2)


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "vectors.bin"
    path.write_bytes(b"the \xff\xfe\n")
    with pytest.raises(DamagedDataError, match=r"vectors\.bin is damaged: it is not UTF-8"):
        word_vectors(path, WORDS, 2)


def test_a_missing_file_is_named_with_a_source(tmp_path):
    with pytest.raises(MissingDataError, match=r"no file of word vectors .*nothing\.txt'; .*https"):
        word_vectors(tmp_path / "nothing.txt", WORDS, 2)
