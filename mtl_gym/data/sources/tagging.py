"""Part-of-speech tagging, chunking, and named entities of English news.

Source: QLS, section 5.2. Deviation: parts of speech are those of CoNLL-2000 (Wall Street Journal sections 15 to 18 and
20), because the complete Penn Treebank is not free.
"""

from pathlib import Path

from mtl_gym.data.dataset import MultiTaskDataset
from mtl_gym.data.errors import damaged
from mtl_gym.data.sources import conll2000
from mtl_gym.data.sources.columns import Format, Sentence, read_columns
from mtl_gym.data.sources.tagged import tagging_dataset
from mtl_gym.data.spans import as_iobes

NER = {"train": "conll2003/eng.train", "validation": "conll2003/eng.testa", "test": "conll2003/eng.testb"}
FILES = (*conll2000.FILES, *NER.values())
# Word, part of speech, chunk, entity.
_FORMAT = Format(columns=4, kept=(0, 3), ignored=lambda line: line.startswith("-DOCSTART-"))


def build(root: Path) -> MultiTaskDataset:
    """Build the data set from ``root/conll2000`` and ``root/conll2003``.

    Inputs are those of ``tagging_dataset``. Parts of speech and chunks share sentences and splits; a tenth of the
    training file is held out for validation. Chunks are tagged in BIO, entities in IOBES (IOB1 in the files).

    Raises:
        DamagedDataError: If a file is damaged; the message names it.
    """
    english = conll2000.read(root)
    tasks = {
        "pos": conll2000.with_tags(english, conll2000.POS),
        "chunking": conll2000.with_tags(english, conll2000.CHUNK),
        "ner": {split: _entities(root / name) for split, name in NER.items()},
    }
    return tagging_dataset("tagging", tasks)


def _entities(path: Path) -> list[Sentence]:
    sentences = read_columns(path, _FORMAT)
    try:
        return [(words, as_iobes(tags)) for words, tags in sentences]
    except ValueError as error:
        raise damaged(path, str(error)) from error
