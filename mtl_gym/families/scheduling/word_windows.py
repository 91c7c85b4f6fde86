"""A tagger of fixed word features in a window, with one layer to train, for training runs by the hundred.

Source: Collobert et al. 2011, "Natural language processing (almost) from scratch", section 3.3.1, for the window;
Schütze 1995, "Distributional part-of-speech tagging", section 3, for the vectors of words by their neighbours.
Deviation: the vectors are not trained, and spellings have vectors of the same kind.

Settings files name it as `network: "mtl_gym.families.scheduling.word_windows:small_tagging"`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.encoders.lsa import leading
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Tagging
from mtl_gym.families.scheduling.text import CRFHead

ENDING, REACH = 3, 2
_WORDS, _ENDINGS, _NEIGHBOURS, _LEAST = 48, 24, 1000, 5
_SMALLEST = 1e-3  # deviation of a coordinate, below which it is rounding
_KINDS = (str.isupper, str.islower, str.isdigit)


class WindowEncoder(nn.Module):
    """Fixed features of a word and its neighbours, then a fully connected layer with ReLU.

    The features of a word are vectors of its lower-case form and of its last three characters, and whether its first,
    second and last characters are capitals, small letters, digits or others.

    Args:
        words: Vector of each word; float32 [words, width].
        ending_at: Number of the ending of three characters, at first * characters^2 + second * characters + third;
            int64 [characters^3].
        endings: Vector of each ending; float32 [endings, width].
        kinds: Whether a character is of a kind; float32 [characters, kinds].
        hidden: Width of the result.

    Example:
        >>> x = torch.tensor([[[4, 2, 3, 0], [2, 5, 0, 0], [0, 0, 0, 0]]])  # two words, of two letters and of one
        >>> tables = torch.randn(9, 5), torch.zeros(6**3, dtype=torch.int64), torch.randn(7, 4), torch.randn(6, 3)
        >>> WindowEncoder(*tables, hidden=8)(x).shape
        torch.Size([1, 3, 8])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`
    words: Tensor
    ending_at: Tensor
    endings: Tensor
    kinds: Tensor

    def __init__(self, words: Tensor, ending_at: Tensor, endings: Tensor, kinds: Tensor, hidden: int = 64) -> None:
        super().__init__()
        for name, table in (("words", words), ("ending_at", ending_at), ("endings", endings), ("kinds", kinds)):
            self.register_buffer(name, table)
        width = words.shape[1] + endings.shape[1] + 3 * kinds.shape[1]
        self.layer = nn.Linear((2 * REACH + 1) * width, hidden)
        self.features = hidden

    @classmethod
    def of(cls, data: MultiTaskDataset, hidden: int = 64) -> WindowEncoder:
        """Return an encoder with the vectors of the training sentences of a data set; the tags are not used."""
        x = data.split("train").x.cpu()
        words, codes = x[..., 0].long(), endings_of(x[..., 1:], len(data.characters))
        ending_at = _numbers(codes[words != 0], len(data.characters) ** ENDING)
        return cls(
            neighbour_vectors(words, words, _WORDS),
            ending_at,
            neighbour_vectors(words, ending_at[codes], _ENDINGS),
            kinds_of(data.characters),
            hidden,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of tokens, undefined for padding.

        int64 [rows, steps, 1 + characters] -> float32 [rows, steps, hidden].
        """
        tokens = nn.functional.pad(self._tokens(x), (0, 0, REACH, REACH))
        steps = x.shape[1]
        windows = torch.cat([tokens[:, place : place + steps] for place in range(2 * REACH + 1)], -1)
        return torch.relu(self.layer(windows))

    def _tokens(self, x: Tensor) -> Tensor:
        """Return the features of words without their neighbours; float32 [rows, steps, width]."""
        words, spelled = x[..., 0], x[..., 1:]
        codes = endings_of(spelled, len(self.kinds))
        seen = torch.cat([spelled[..., :2], codes.unsqueeze(-1) % len(self.kinds)], -1)
        parts = [
            nn.functional.embedding(words, self.words),
            nn.functional.embedding(self.ending_at[codes], self.endings),
            nn.functional.embedding(seen, self.kinds).flatten(-2),
        ]
        return torch.cat(parts, -1)


def small_tagging(context: NetworkContext) -> SharedNetwork:
    """Return a layer of 64 units over fixed features of five words, and a conditional random field for each task.

    Deviation: QLS tags with word vectors and LSTMs that are trained (section 5.2).

    Raises:
        ValueError: If the data set has no texts with characters.
    """
    data = context.data
    if not isinstance(data, MultiTaskDataset) or not data.characters:
        raise ValueError(f"{data} has no texts with characters, which this network reads: choose data='tagging'.")
    encoder = WindowEncoder.of(data)
    return SharedNetwork(encoder, CRFHead(encoder.features, data.max_classes), Tagging())


def endings_of(spelled: Tensor, characters: int) -> Tensor:
    """Return the code of each word's last three characters; int [..., characters of a word] -> int64 [...].

    Args:
        spelled: Numbers of the characters of each word, padded with 0.
        characters: Number of different characters.

    Example:
        >>> endings_of(torch.tensor([[4, 1, 2, 3, 0], [5, 0, 0, 0, 0]]), characters=10).tolist()
        [123, 5]
    """
    length = (spelled != 0).sum(-1, keepdim=True)
    places = length + torch.arange(ENDING, device=spelled.device)
    last = nn.functional.pad(spelled, (ENDING, 0)).gather(-1, places).long()
    return (last[..., 0] * characters + last[..., 1]) * characters + last[..., 2]


def kinds_of(characters: Sequence[str]) -> Tensor:
    """Return whether each character is a capital, a small letter, a digit, or another one; float32 [characters, 4].

    The first two, padding and the unknown character, are of no kind.

    Example:
        >>> kinds_of(("<pad>", "<unk>", "A", "b", "-"))[2:].tolist()
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    kinds = torch.tensor([[float(kind(character)) for kind in _KINDS] for character in characters])
    kinds[:2] = 0
    other = (kinds.sum(1, keepdim=True) == 0).float()
    other[:2] = 0
    return torch.cat([kinds, other], 1)


def neighbour_vectors(words: Tensor, numbers: Tensor, width: int, seed: int = 0) -> Tensor:
    """Return vectors of tokens of one kind from counts of the words before and after them.

    The vectors are the coordinates of the logarithms of these counts, at unit length, along their leading singular
    vectors, with mean 0 and variance 1 over all tokens. That of padding, 0, is 0.

    Args:
        words: Words of sentences in the order of frequency, int64 [rows, steps]; 0 pads.
        numbers: Number of each token, such as that of its ending; int64 [rows, steps].
        width: Width of a vector.
        seed: Seed of the search for singular vectors.

    Returns:
        float32 [numbers, width].
    """
    there, known = words != 0, torch.where(words < _NEIGHBOURS, words, 1)
    before, after = (nn.functional.pad(part, pad) for part, pad in ((known[:, :-1], (1, 0)), (known[:, 1:], (0, 1))))
    own, size = numbers[there], int(numbers.max()) + 1
    places = torch.stack([own.repeat(2), torch.cat([before[there], after[there] + _NEIGHBOURS])])
    shape = (size, 2 * _NEIGHBOURS)
    counts = torch.sparse_coo_tensor(places, torch.ones(places.shape[1]), shape, check_invariants=True).coalesce()
    logs = counts.values().log1p()
    lengths = torch.zeros(size).index_add_(0, counts.indices()[0], logs.square()).sqrt()
    rows = torch.sparse_coo_tensor(counts.indices(), logs / lengths[counts.indices()[0]], shape, check_invariants=True)
    vectors = rows @ leading(rows, width, torch.Generator().manual_seed(seed))
    share = torch.bincount(own, minlength=size)[:, None] / len(own)
    vectors = vectors - (share * vectors).sum(0)
    vectors = vectors / (share * vectors.square()).sum(0).sqrt().clamp(min=_SMALLEST)
    vectors[0] = 0
    return vectors


def _numbers(codes: Tensor, size: int) -> Tensor:
    """Number the codes that occur at least five times from 2 on, and others as 1; int64 [tokens] -> int64 [size]."""
    counts = torch.bincount(codes, minlength=size)
    numbers = torch.ones(size, dtype=torch.int64)
    often = counts >= _LEAST
    numbers[often] = torch.arange(2, 2 + int(often.sum()))
    numbers[0] = 0
    return numbers
