"""Networks for texts: an encoder of whole texts, an encoder of tokens, and a head that scores tag sequences.

Token ids are those of `mtl_gym.data`: 0 is padding after a text's end, and every text has at least one token. All
modules run under `torch.func.vmap`, over stacked parameters and stacked inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mtl_gym.families.scheduling.lstm import LSTM


def longest(words: Tensor) -> int:
    """Return the number of steps of the longest text; use it to cut the padding that all texts share.

    Args:
        words: Token ids, int64 [..., steps].

    Example:
        >>> words = torch.tensor([[4, 2, 0, 0], [3, 0, 0, 0]])
        >>> words[:, : longest(words)].tolist()
        [[4, 2], [3, 0]]
    """
    return int((words != 0).sum(-1).max())


class TokenEmbedding(nn.Module):
    """Trainable vectors of tokens, initially uniform in +-sqrt(3 / width).

    Source: Ma and Hovy 2016, section 3.1.

    Args:
        tokens: Number of tokens, including padding and the unknown token.
        width: Width of a vector.
        vectors: Initial vectors, such as those of `mtl_gym.data.word_vectors`; float32 [tokens, width].

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> TokenEmbedding(10, 4)(torch.tensor([[2, 3, 0]])).shape
        torch.Size([1, 3, 4])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, tokens: int, width: int, vectors: Tensor | None = None) -> None:
        super().__init__()
        if vectors is not None and vectors.shape != (tokens, width):
            raise ValueError(
                f"vectors has shape {list(vectors.shape)}, but {tokens} tokens of width {width} need "
                f"[{tokens}, {width}]: read the vectors of this vocabulary, or change embedding=."
            )
        self.weight = nn.Parameter(torch.empty(tokens, width))
        # Not a buffer, which every stacked run would copy: only initialisation needs it.
        self._vectors = vectors
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw the vectors, or restore the given ones."""
        bound = math.sqrt(3 / self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self._vectors is not None:
            with torch.no_grad():
                self.weight.copy_(self._vectors)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of tokens; int64 [...] -> float32 [..., width]."""
        return nn.functional.embedding(ids, self.weight)


class ReviewEncoder(nn.Module):
    """Word embeddings and an LSTM; the features of a text are the state at its last word.

    Source: QLS, section 3 and eq. 1.

    Args:
        words: Size of the vocabulary.
        embedding: Width of word vectors.
        hidden: Width of the state.
        vectors: Initial word vectors; float32 [words, embedding].
        dropout: Dropout rate of the embeddings; under `vmap` it needs `randomness="different"`.

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> ReviewEncoder(words=50, hidden=8)(torch.tensor([[4, 2, 0], [3, 7, 9]])).shape
        torch.Size([2, 8])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(
        self, words: int, embedding: int = 100, hidden: int = 128, vectors: Tensor | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.words = TokenEmbedding(words, embedding, vectors)
        self.dropout = _dropout(dropout)
        self.lstm = LSTM(embedding, hidden)
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of texts; int64 [rows, steps] -> float32 [rows, hidden]."""
        states = self.lstm(self.dropout(self.words(x)))
        last = ((x != 0).sum(1) - 1).clamp(min=0)
        return states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


class SpellingEncoder(nn.Module):
    """Features of a word's characters: a convolution over windows of three, and the maximum over the word.

    Source: Ma and Hovy 2016, section 2.1 and table 1.

    Args:
        characters: Number of characters, including padding and the unknown character.
        embedding: Width of character vectors.
        filters: Width of the result.

    Example:
        >>> SpellingEncoder(30)(torch.tensor([[[2, 5, 7, 0], [4, 0, 0, 0]]])).shape
        torch.Size([1, 2, 30])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, characters: int, embedding: int = 30, filters: int = 30) -> None:
        super().__init__()
        self.characters = TokenEmbedding(characters, embedding)
        self.filters = nn.Linear(3 * embedding, filters)

    def forward(self, spelled: Tensor) -> Tensor:
        """Return features of words, 0 for padding.

        int64 [rows, steps, characters] -> float32 [rows, steps, filters].
        """
        vectors = nn.functional.pad(self.characters(spelled), (0, 0, 1, 1))
        # Under vmap a convolution would become a grouped one, with a group per run; this is a batched matrix product.
        windows = torch.cat([vectors[..., :-2, :], vectors[..., 1:-1, :], vectors[..., 2:, :]], -1)
        real = (spelled != 0).unsqueeze(-1)
        found = torch.where(real, self.filters(windows), -torch.inf).amax(-2)
        return torch.where(real[..., 0, :], found, 0.0)


class TaggingEncoder(nn.Module):
    """Embeddings of words and characters and a bidirectional LSTM; features of every token.

    Source: Ma and Hovy 2016, section 2. Deviation: no dropout by default, because QLS mentions none.

    Args:
        words: Size of the vocabulary.
        characters: Number of characters, including padding and the unknown character.
        embedding: Width of word vectors.
        hidden: Width of the state in each direction.
        vectors: Initial word vectors; float32 [words, embedding].
        dropout: Dropout rate before and after the LSTM (0.5 in the source); under `vmap` it needs
            `randomness="different"`.

    Raises:
        ValueError: If `vectors` has another shape.

    Example:
        >>> x = torch.tensor([[[4, 2, 3, 0], [2, 5, 0, 0], [0, 0, 0, 0]]])  # two words, of two letters and of one
        >>> TaggingEncoder(words=50, characters=30, hidden=8)(x).shape
        torch.Size([1, 3, 16])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

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
        """Return features of tokens, undefined for padding.

        int64 [rows, steps, 1 + characters] -> float32 [rows, steps, 2 hidden].
        """
        words = x[..., 0]
        tokens = self.dropout(torch.cat([self.words(words), self.spelling(x[..., 1:])], -1))
        return self.dropout(both_directions(self.ahead, self.back, tokens, (words != 0).sum(1)))


class CRFHead(nn.Module):
    """Scores of tags and transitions for `mtl_gym.families.scheduling.crf`.

    Args:
        features: Width of a token's features.
        tags: Number of tags.

    Example:
        >>> emissions, transitions = CRFHead(16, tags=5)(torch.zeros(2, 7, 16))
        >>> emissions.shape, transitions.shape
        (torch.Size([2, 7, 5]), torch.Size([1, 6, 5]))
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, features: int, tags: int) -> None:
        super().__init__()
        self.emissions = nn.Linear(features, tags)
        self.transitions = nn.Parameter(torch.empty(tags + 1, tags))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all transition scores to 0."""
        nn.init.zeros_(self.transitions)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return emissions [rows, steps, tags] and transitions [1, tags + 1, tags] of [rows, steps, features]."""
        return self.emissions(features), self.transitions.unsqueeze(0)


def both_directions(ahead: LSTM, back: LSTM, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the states of an LSTM in each direction, side by side.

    Args:
        ahead: LSTM from the first token to the last.
        back: LSTM from the last token of a text to the first.
        tokens: float32 [rows, steps, width].
        lengths: Tokens of each text; int64 [rows].

    Returns:
        float32 [rows, steps, 2 * hidden], undefined for padding.
    """
    order = _reversed(lengths, tokens.shape[1])
    return torch.cat([ahead(tokens), _taken(back(_taken(tokens, order)), order)], -1)


def _dropout(share: float) -> nn.Module:
    # nn.Dropout needs vmap's `randomness` even at a rate of 0.
    return nn.Dropout(share) if share else nn.Identity()


def _reversed(lengths: Tensor, steps: int) -> Tensor:
    """Return the order that reverses texts and leaves padding in place; int64 [rows] -> int64 [rows, steps]."""
    place = torch.arange(steps, device=lengths.device)
    mirrored = lengths[:, None] - 1 - place
    return torch.where(mirrored >= 0, mirrored, place)


def _taken(values: Tensor, order: Tensor) -> Tensor:
    """Reorder the steps of [rows, steps, width]; the order is int64 [rows, steps]."""
    return values.gather(1, order.unsqueeze(2).expand(-1, -1, values.shape[2]))
