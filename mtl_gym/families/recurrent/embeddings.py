"""Fronts of networks: identity for numbers, embeddings for words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_gym.data import MultiTaskDataset

WORD, CHARACTER = 64, 16


class WordsAndCharacters(nn.Module):
    """Embeddings of words, joined with max-pooled convolutions over the embeddings of their characters.

    Args:
        words: Size of the vocabulary; id 0 is padding.
        characters: Size of the alphabet; 0 for inputs without characters.
        word: Width of the embedding of a word.
        character: Width of the embedding of a character, and of the pooled convolution.

    Source: Santos and Zadrozny 2014, cited by MT-RMN for the tagging task; the widths are ours.

    Example:
        >>> front = WordsAndCharacters(words=100, characters=30)
        >>> front(torch.zeros(2, 5, 1 + 8, dtype=torch.int64)).shape
        torch.Size([2, 5, 80])
    """

    def __init__(self, words: int, characters: int, word: int = WORD, character: int = CHARACTER) -> None:
        super().__init__()
        self.word = nn.Embedding(words, word, padding_idx=0)
        self.character = nn.Embedding(characters, character, padding_idx=0) if characters else None
        self.convolution = nn.Conv1d(character, character, 3, padding=1) if characters else None
        self.width = word + (character if characters else 0)

    def forward(self, x: Tensor) -> Tensor:
        """Map ids [rows, steps] or [rows, steps, 1 + characters] to float32 [rows, steps, width]."""
        if self.character is None or self.convolution is None:
            return self.word(x if x.ndim == 2 else x[:, :, 0])
        spelled = self.character(x[:, :, 1:]).flatten(0, 1).mT
        responses = self.convolution(spelled).amax(2).unflatten(0, x.shape[:2])
        return torch.cat([self.word(x[:, :, 0]), responses], 2)


def front_of(data: MultiTaskDataset) -> tuple[nn.Module, int]:
    """Return the front for a data set and its output width."""
    if not data.has_text:
        return nn.Identity(), data.input_shape[1]
    front = WordsAndCharacters(len(data.vocabulary), len(data.characters))
    return front, front.width
