"""Parts of speech of Hindi-English posts, with English and Hindi as auxiliary tasks.

Source: MT-RMN, "POS Tagging of Code-Switched Sentences". Deviation: the paper's Hindi-English and Hindi data are not
public; the posts of the ICON 2016 contest (coarse tags) and the Universal Dependencies treebank of Hindi stand in.
"""

from pathlib import Path

import numpy as np

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.sources import conll2000
from mtl_gym.data.sources.columns import Format, Sentence, read_columns
from mtl_gym.data.sources.tagged import parts_of, tagging_dataset
from mtl_gym.data.stratified import split_sizes

POSTS = "icon2016/FB_HI_EN_CR.txt"
# The treebank's training part is not in its public mirror, so its development part is used for training.
HINDI = ("ud/hi-ud-dev.conllu", "ud/hi-ud-test.conllu")
FILES = (POSTS, *HINDI, *conll2000.FILES)

# Token, language, tag.
_POSTS_FORMAT = Format(columns=3, kept=(0, 2), separator="\t")
# Lines that begin with a number are words; "1-2" marks a contraction of words, "1.1" an omitted word.
_UD_FORMAT = Format(columns=10, kept=(1, 3), separator="\t", ignored=lambda line: not line.split("\t", 1)[0].isdigit())
_LONGEST = 80
_VALIDATION, _TEST = 0.1, 0.2
_SEED = 20161


def build(root: Path) -> MultiTaskDataset:
    """Build the data set from ``root/icon2016``, ``root/ud`` and ``root/conll2000``.

    Inputs are those of ``tagging_dataset``. Of the posts, 70% are for training, 10% for validation and 20% for test;
    posts with the same words are in one split. Posts of more than 80 tokens are cut into pieces, one row each.

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    english = conll2000.with_tags(conll2000.read(root), conll2000.POS)
    tasks = {"hindi-english": _posts(root / POSTS), "english": english, "hindi": _hindi(root)}
    return tagging_dataset("code-switched", tasks)


def _posts(path: Path) -> dict[str, list[Sentence]]:
    posts = read_columns(path, _POSTS_FORMAT)
    distinct = list(dict.fromkeys(post[0] for post in posts))
    validation, test = split_sizes(len(distinct), _VALIDATION, _TEST)
    order = np.random.default_rng(_SEED).permutation(len(distinct)).tolist()
    names = ["validation"] * validation + ["test"] * test + ["train"] * (len(distinct) - validation - test)
    place = {distinct[row]: name for row, name in zip(order, names, strict=True)}
    parts: dict[str, list[Sentence]] = {"train": [], "validation": [], "test": []}
    for post in posts:
        parts[place[post[0]]].extend(_pieces(post))
    return parts


def _pieces(post: Sentence) -> list[Sentence]:
    starts = range(0, len(post[0]), _LONGEST)
    return [tuple(column[start : start + _LONGEST] for column in post) for start in starts]


def _hindi(root: Path) -> dict[str, list[Sentence]]:
    train, test = (read_columns(root / name, _UD_FORMAT) for name in HINDI)
    return parts_of(train, test, _SEED)
