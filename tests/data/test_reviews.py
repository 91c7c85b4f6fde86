import pytest
import torch

from mtl_gym.data import DamagedDataError, MissingDataError, data_root, load
from mtl_gym.data.sources import reviews

from .fabricated import digest, review_lines, rows_of_each_task, write_reviews

LEAKED_TEST_REVIEWS = (7, 12, 26, 9, 6, 72, 30, 9, 8, 107, 14, 169, 62, 28, 0, 0)


def words_of(data, split, task):
    part = data.split(split)
    return [" ".join(data.vocabulary[word] for word in row if word) for row in part.x[part.task == task]]


def rewrite(folder, name, lines):
    (folder / name).write_bytes("\n".join([*lines, ""]).encode())


def test_the_last_200_training_reviews_are_for_validation(tmp_path):
    write_reviews(tmp_path)
    data = load("reviews", tmp_path)
    for split, rows in {"train": 6, "validation": 200, "test": 4}.items():
        assert rows_of_each_task(data, split) == [rows] * 16


def test_a_review_becomes_the_ids_of_its_words_and_its_label(tmp_path):
    write_reviews(tmp_path)
    data = load("reviews", tmp_path)
    assert data.task_names[:2] == ("books", "electronics")
    assert words_of(data, "train", 0)[:2] == ["this books train 0 is bad", "this books train 1 is good"]
    part = data.split("train")
    assert [data.class_names[0][label] for label in part.y[part.task == 0][:2]] == ["negative", "positive"]


def test_words_outside_the_training_reviews_are_unknown(tmp_path):
    folder = write_reviews(tmp_path)
    rewrite(folder, "books.task.test", ["1\tunheard unheard unheard unheard unheard"])
    data = load("reviews", tmp_path)
    assert "unheard" not in data.vocabulary
    assert words_of(data, "test", 0) == ["<unk> <unk> <unk> <unk> <unk>"]


def test_reviews_drops_leaked_reviews_and_reviews_leaked_keeps_them(tmp_path):
    folder = write_reviews(tmp_path)
    train = review_lines("dvd", "train", 206)
    train[0] = train[-1]  # in training and validation
    rewrite(folder, "dvd.task.train", train)
    other = review_lines("video", "train", 206)[0]
    rewrite(folder, "dvd.task.test", [train[2], other, "0\tnew"])
    dvd = reviews.DOMAINS.index("dvd")
    rows = {
        name: [rows_of_each_task(load(name, tmp_path), split)[dvd] for split in ("train", "validation", "test")]
        for name in ("reviews", "reviews-leaked")
    }
    assert rows == {"reviews": [5, 200, 1], "reviews-leaked": [6, 200, 3]}


def test_a_long_review_is_cut_and_an_empty_review_is_one_unknown_word(tmp_path):
    folder = write_reviews(tmp_path)
    rewrite(folder, "MR.task.test", ["1\t" + "good " * 300, "0\t", "0\t "])
    data = load("reviews", tmp_path)
    part = data.split("test")
    assert (part.x[part.task == 15] != 0).sum(1).tolist() == [256, 1, 1]


def test_lines_end_only_at_line_feeds_and_bytes_may_be_latin_1(tmp_path):
    folder = write_reviews(tmp_path)
    content = "1\tgood\u0085good caf\u00e9\n".encode() + b"0\tcaf\xe9 bad\n"
    (folder / "imdb.task.test").write_bytes(content)
    data = load("reviews-leaked", tmp_path)
    assert words_of(data, "test", 14) == ["good good <unk>", "<unk> bad"]


def test_a_missing_file_is_named_with_its_source(tmp_path):
    (write_reviews(tmp_path) / "video.task.test").unlink()
    with pytest.raises(MissingDataError, match=r"fdu-mtl/video\.task\.test.*ccsasuke/man"):
        load("reviews", tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["no tab"], r"line 1 begins with b'no tab', but a line is 0 or 1, a tab, and a text"),
        (["1\tfine", "2\ttwo"], r"line 2 begins with b'2\\ttwo'"),
        (["1\tone"] * 200, "it has 200 reviews where more than 200 are needed"),
        ([""], "it holds no review"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, lines, message):
    rewrite(write_reviews(tmp_path), "baby.task.train", lines)
    with pytest.raises(DamagedDataError, match=rf"baby\.task\.train is damaged: {message}"):
        load("reviews", tmp_path)


class TestWithTheRealFiles:
    def test_the_distributed_files_have_the_published_sizes(self, load_real):
        data = load_real("reviews-leaked")
        train = [1600, 1598, 1600, 1600, 1600, 1597, 1600, 1600, 1600, 1600, 1500, 1570, 1515, 1600, 1600, 1600]
        assert rows_of_each_task(data, "train") == [rows - 200 for rows in train]
        assert rows_of_each_task(data, "validation") == [200] * 16
        assert rows_of_each_task(data, "test") == [400] * 16

    def test_leaked_test_reviews_are_dropped(self, load_real):
        data = load_real("reviews")
        assert rows_of_each_task(data, "test") == [400 - leaked for leaked in LEAKED_TEST_REVIEWS]
        assert rows_of_each_task(data, "validation") == [200] * 16
        assert len(load_real("reviews-leaked").split("train")) - len(data.split("train")) == 377

    def test_no_review_is_in_two_splits(self, load_real):
        load_real("reviews")
        domains = reviews.without_leaks(reviews._read(data_root()))
        train, validation, test = (
            {review.words for parts in domains for review in parts[split]} for split in ("train", "validation", "test")
        )
        assert not train & validation
        assert not test & (train | validation)

    def test_the_splits_have_not_changed_since_version_0(self, load_real):
        assert digest(load_real("reviews"), "train", "validation", "test") == "febd6b42610f3485"
        assert digest(load_real("reviews-leaked"), "train", "validation", "test") == "d7c2fa329f004c3a"

    def test_few_words_are_unknown(self, load_real):
        x = load_real("reviews").split("test").x
        assert ((x == 1).sum() / (x > 0).sum()).item() < 0.05
        assert torch.all((x > 0).sum(1) <= 256)
