"""A generated language with parts of speech, dependency trees, and a translation by rule.

Source sentences are in the order subject, verb, object; an adjective stands before its noun, a preposition before its
noun. In the translation the verb stands last and agrees with its subject in number and gender, an adjective follows its
noun and agrees in gender, and a preposition and its noun precede the noun that they describe. Some words are both the
plural of a noun and the singular of a verb, as "walks" in English, with two translations. So order, agreement and
choice of words depend on parts of speech and on the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_gym.core.instances import secret

NAME = "translation"
NOUN, VERB, ADJECTIVE, ADVERB, PREPOSITION, DETERMINER = "NOUN", "VERB", "ADJ", "ADV", "ADP", "DET"
SIZES = {NOUN: 30, VERB: 20, ADJECTIVE: 12, ADVERB: 6, PREPOSITION: 5, DETERMINER: 2}
# Stems that are both a noun and a verb.
SHARED = 10
GENDERS = ("a", "o")
ROOT = 0
# Chances of the parts of a sentence.
OBJECT, PLURAL, WITH_ADJECTIVE, WITH_PHRASE, WITH_ADVERB = 0.6, 0.4, 0.4, 0.3, 0.3


@dataclass(frozen=True)
class Sentence:
    """A sentence, its analysis and its translation.

    Attributes:
        words: Words.
        tags: Part of speech of each word.
        heads: Distance from each word to its head, with the relation, such as "+2 det"; "0 root" for the verb.
        translation: Words of the translation.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    heads: tuple[str, ...]
    translation: tuple[str, ...]


@dataclass(frozen=True)
class _Word:
    """A word in a sentence: its form, part of speech and relation, and the place of its head."""

    form: str
    tag: str
    relation: str
    head: int


@dataclass(frozen=True)
class _Phrase:
    """A noun with its dependents: source words, translated words, place of the noun, number and gender."""

    words: list[_Word]
    translation: list[str]
    noun: int
    plural: bool
    gender: str


class Language:
    """Words of a language and of its translation, drawn for an instance.

    Example:
        >>> sentence = Language(instance=0).sentences("train", 1)[0]
        >>> len(sentence.words) == len(sentence.tags) == len(sentence.heads)
        True
    """

    def __init__(self, instance: int) -> None:
        self.instance, random = instance, secret(f"{NAME}, words", instance)
        count = sum(SIZES.values())
        source, target = (iter(_stems(count, random)) for _ in range(2))
        self._source: Mapping[str, list[str]] = {
            tag: [next(source) for _ in range(size)] for tag, size in SIZES.items()
        }
        self._target: Mapping[str, list[str]] = {
            tag: [next(target) for _ in range(size)] for tag, size in SIZES.items()
        }
        self._source[VERB][:SHARED] = self._source[NOUN][-SHARED:]
        self._gender = random.choice(GENDERS, SIZES[NOUN])
        self._chance = {tag: _zipf(size, random) for tag, size in SIZES.items()}

    def sentences(self, part: str, count: int) -> list[Sentence]:
        """Draw sentences, which depend on the instance and the name of the part only."""
        random = secret(f"{NAME}, {part}", self.instance)
        return [self._sentence(random) for _ in range(count)]

    def _sentence(self, random: np.random.Generator) -> Sentence:
        subject = self._phrase(random, 0, "subj", random.random() < WITH_PHRASE)
        verb = len(subject.words)
        stem = self._draw(VERB, random)
        words = [*subject.words, _Word(self._inflected(VERB, stem, not subject.plural), VERB, "root", verb)]
        middle: list[str] = []
        if random.random() < OBJECT:
            other = self._phrase(random, len(words), "obj", random.random() < WITH_PHRASE / 2)
            words += other.words
            middle += other.translation
        if random.random() < WITH_ADVERB:
            adverb = self._draw(ADVERB, random)
            words.append(_Word(self._source[ADVERB][adverb], ADVERB, "adv", verb))
            middle.append(self._target[ADVERB][adverb])
        ending = subject.gender + ("n" if subject.plural else "")
        last = self._target[VERB][stem] + ending
        return _finished(words, verb, {"subj": verb, "obj": verb}, [*subject.translation, *middle, last])

    def _phrase(self, random: np.random.Generator, start: int, relation: str, described: bool) -> _Phrase:
        """Draw a noun with its dependents, from place `start`; the head of the noun is filled in later (-1)."""
        noun, plural = self._draw(NOUN, random), bool(random.random() < PLURAL)
        gender, adjectives = str(self._gender[noun]), int(random.random() < WITH_ADJECTIVE)
        place = start + 1 + adjectives
        determiner = self._draw(DETERMINER, random)
        words = [_Word(self._source[DETERMINER][determiner], DETERMINER, "det", place)]
        after: list[str] = []
        for adjective in (self._draw(ADJECTIVE, random) for _ in range(adjectives)):
            words.append(_Word(self._source[ADJECTIVE][adjective], ADJECTIVE, "mod", place))
            after.append(self._target[ADJECTIVE][adjective] + gender)
        words.append(_Word(self._inflected(NOUN, noun, plural), NOUN, relation, -1))
        own = [
            self._target[DETERMINER][determiner] + gender,
            self._target[NOUN][noun] + gender + ("n" if plural else ""),
        ]
        before: list[str] = []
        if described:
            preposition = self._draw(PREPOSITION, random)
            inner = self._phrase(random, place + 2, "pobj", False)
            words.append(_Word(self._source[PREPOSITION][preposition], PREPOSITION, "case", inner.noun))
            words += [_Word(w.form, w.tag, w.relation, place if w.head < 0 else w.head) for w in inner.words]
            before = [*inner.translation, self._target[PREPOSITION][preposition]]
        return _Phrase(words, [*before, *own, *after], place, plural, gender)

    def _draw(self, tag: str, random: np.random.Generator) -> int:
        return int(random.choice(SIZES[tag], p=self._chance[tag]))

    def _inflected(self, tag: str, stem: int, ends: bool) -> str:
        """Return the form of a noun, which ends in "s" in the plural, or of a verb, which does so in the singular."""
        return self._source[tag][stem] + ("s" if ends else "")


def _finished(words: list[_Word], verb: int, heads: Mapping[str, int], translation: Sequence[str]) -> Sentence:
    """Give nouns their heads, and return the sentence."""
    places = [word.head if word.head >= 0 else heads[word.relation] for word in words]
    labels = tuple(
        "0 root" if place == verb else f"{head - place:+d} {word.relation}"
        for place, (head, word) in enumerate(zip(places, words, strict=True))
    )
    return Sentence(tuple(word.form for word in words), tuple(word.tag for word in words), labels, tuple(translation))


def _zipf(size: int, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return Zipf's chances of words in random order; float64 [size]."""
    chance = random.permutation(1 / np.arange(3, size + 3))
    return np.asarray(chance / chance.sum())


def _stems(count: int, random: np.random.Generator) -> list[str]:
    """Draw distinct stems of two syllables and a final consonant."""
    parts = [[*"bdfgklmnprstvz"], [*"aeiou"], [*"bdfgklmnprtvz"], [*"aeiou"], [*"bdfgklmnprtvz"]]
    stems: dict[str, None] = {}
    while len(stems) < count:
        stems["".join(str(random.choice(part)) for part in parts)] = None
    return list(stems)
