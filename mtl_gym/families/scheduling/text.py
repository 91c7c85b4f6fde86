"""Networks that read texts: an encoder of whole texts, one of every token, and a head that scores tag sequences.

Token ids are those of `mtl_gym.data`: 0 is padding, behind a text's end, and every text has one token at least. All
modules run under `torch.func.vmap`, over stacked parameters and stacked inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mtl_gym.families.scheduling.lstm import LSTM


def longest(words: Tensor) -> int:
    """Number of steps that the longest of some texts has; to cut the padding that all of them share.

    Args:
        words: Token ids, int64 [..., steps].

    Example:
        >>> words = torch.tensor([[4, 2, 0, 0], [3, 0, 0, 0]])
        >>> words[:, : longest(words)].tolist()
        [[4, 2], [3, 0]]
    """
    return int((words != 0).sum(-1).max())


class TokenEmbedding(nn.Module):
    """A trained vector for each token.

    Source: Ma and Hovy 2016, section 3.1: uniform in +-sqrt(3 / width).

    Args:
        tokens: How many there are, padding and the unknown one included.
        width: Of a vector.
        vectors: What to start from instead, float32 [tokens, width], such as `mtl_gym.data.word_vectors` reads.

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> TokenEmbedding(10, 4)(torch.tensor([[2, 3, 0]])).shape
        torch.Size([1, 3, 4])
    """

    def __init__(self, tokens: int, width: int, vectors: Tensor | None = None) -> None:
        super().__init__()
        if vectors is not None and vectors.shape != (tokens, width):
            raise ValueError(
                f"vectors has shape {list(vectors.shape)}, but there are {tokens} tokens with vectors of {width}: "
                f"it must be [{tokens}, {width}]; read those of this vocabulary, or change embedding=."
            )
        self.weight = nn.Parameter(torch.empty(tokens, width))
        # Not a buffer: stacked runs need it once, and only to start.
        self._vectors = vectors
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew, or put the given ones back."""
        bound = math.sqrt(3 / self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self._vectors is not None:
            with torch.no_grad():
                self.weight.copy_(self._vectors)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [...] -> float32 [..., width]."""
        return nn.functional.embedding(ids, self.weight)


class ReviewEncoder(nn.Module):
    """Word embeddings and an LSTM, whose state at the last word stands for the whole text.

    Source: QLS, section 3 and eq. 1.

    Args:
        words: Size of the vocabulary.
        embedding: Width of word vectors.
        hidden: Width of the state.
        vectors: Word vectors to start from, float32 [words, embedding].
        dropout: Share of the embeddings' values that training leaves out; under `vmap` it needs
            `randomness="different"`.

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> ReviewEncoder(words=50, hidden=8)(torch.tensor([[4, 2, 0], [3, 7, 9]])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self, words: int, embedding: int = 100, hidden: int = 128, vectors: Tensor | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.words = TokenEmbedding(words, embedding, vectors)
        self.dropout = _dropout(dropout)
        self.lstm = LSTM(embedding, hidden)
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """int64 [rows, steps] -> float32 [rows, hidden]."""
        states = self.lstm(self.dropout(self.words(x)))
        last = ((x != 0).sum(1) - 1).clamp(min=0)
        return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


class SpellingEncoder(nn.Module):
    """What a word's characters say: a convolution over three of them at a time, and the maximum over the word.

    Source: Ma and Hovy 2016, section 2.1 and table 1.

    Args:
        characters: How many there are, padding and the unknown one included.
        embedding: Width of character vectors.
        filters: Width of the result.

    Example:
        >>> SpellingEncoder(30)(torch.tensor([[[2, 5, 7, 0], [4, 0, 0, 0]]])).shape
        torch.Size([1, 2, 30])
    """

    def __init__(self, characters: int, embedding: int = 30, filters: int = 30) -> None:
        super().__init__()
        self.characters = TokenEmbedding(characters, embedding)
        self.filters = nn.Linear(3 * embedding, filters)

    def forward(self, spelled: Tensor) -> Tensor:
        """int64 [rows, steps, characters] -> float32 [rows, steps, filters], 0 where there is no word."""
        vectors = nn.functional.pad(self.characters(spelled), (0, 0, 1, 1))
        # A convolution of stacked runs would be one with a group per run; this is one matrix product for each.
        windows = torch.cat([vectors[..., :-2, :], vectors[..., 1:-1, :], vectors[..., 2:, :]], -1)
        real = (spelled != 0).unsqueeze(-1)
        found = torch.where(real, self.filters(windows), -torch.inf).amax(-2)
        return torch.where(real[..., 0, :], found, 0.0)


class TaggingEncoder(nn.Module):
    """Embeddings of words and of their characters, read in both directions: features of every token.

    Source: Ma and Hovy 2016, section 2. Deviation: no dropout unless asked for, as in QLS, which names none.

    Args:
        words: Size of the vocabulary.
        characters: How many characters there are.
        embedding: Width of word vectors.
        hidden: Width of the state in each direction.
        vectors: Word vectors to start from, float32 [words, embedding].
        dropout: Share of the values that training leaves out, before and behind the LSTM (the source: 0.5); under
            `vmap` it needs `randomness="different"`.

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> x = torch.tensor([[[4, 2, 3, 0], [2, 5, 0, 0], [0, 0, 0, 0]]])  # two words, of two letters and of one
        >>> TaggingEncoder(words=50, characters=30, hidden=8)(x).shape
        torch.Size([1, 3, 16])
    """

    def __init__(
        self,
        words: int,
        characters: int,
        embedding: int = 100,
        hidden: int = 200,
        vectors: Tensor | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words = TokenEmbedding(words, embedding, vectors)
        self.spelling = SpellingEncoder(characters)
        width = embedding + self.spelling.filters.out_features
        self.ahead, self.back = LSTM(width, hidden), LSTM(width, hidden)
        self.dropout = _dropout(dropout)
        self.features = 2 * hidden

    def forward(self, x: Tensor) -> Tensor:
        """int64 [rows, steps, 1 + characters] -> float32 [rows, steps, 2 hidden], anything where there is no token."""
        words = x[..., 0]
        tokens = self.dropout(torch.cat([self.words(words), self.spelling(x[..., 1:])], -1))
        order = _reversed((words != 0).sum(1), words.shape[1])
        back = _taken(self.back(_taken(tokens, order)), order)
        return self.dropout(torch.cat([self.ahead(tokens), back], -1))


class CRFHead(nn.Module):
    """The scores that `mtl_gym.families.scheduling.crf` works on: of every tag at every token, and of every transition.

    Args:
        features: Width of a token's features.
        tags: How many tags the task has.

    Example:
        >>> emissions, transitions = CRFHead(16, tags=5)(torch.zeros(2, 7, 16))
        >>> emissions.shape, transitions.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 6, 5]))
    """

    def __init__(self, features: int, tags: int) -> None:
        super().__init__()
        self.emissions = nn.Linear(features, tags)
        self.transitions = nn.Parameter(torch.empty(tags + 1, tags))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """No transition is better than another at first."""
        nn.init.zeros_(self.transitions)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [rows, steps, features] -> emissions [rows, steps, tags], transitions [rows, tags + 1, tags]."""
        return self.emissions(features), self.transitions.expand(len(features), -1, -1)


def _dropout(share: float) -> nn.Module:
    # Even with a share of 0, nn.Dropout asks vmap for randomness.
    return nn.Dropout(share) if share else nn.Identity()


def _reversed(lengths: Tensor, steps: int) -> Tensor:
    """Where each step of the reversed texts is from; padding stays. int64 [rows] -> int64 [rows, steps]."""
    place = torch.arange(steps, device=lengths.device)
    mirrored = lengths[:, None] - 1 - place
    return torch.where(mirrored >= 0, mirrored, place)


def _taken(values: Tensor, order: Tensor) -> Tensor:
    """Steps of [rows, steps, width] in another order, int64 [rows, steps]."""
    return values.gather(1, order.unsqueeze(2).expand(-1, -1, values.shape[2]))
