"""Small networks for texts, for training runs by the hundred.

Settings files name the functions as `network: "mtl_gym.families.scheduling.small_texts:small_reviews"`.

Deviation: QLS encodes texts with an LSTM of 128 units over word vectors of width 300 (section 4.4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import Tagging
from mtl_gym.families.scheduling.text import CRFHead, TokenEmbedding
from mtl_gym.families.scheduling.word_windows import WindowEncoder

EMBEDDING, HIDDEN = 16, 32


class BagEncoder(nn.Module):
    """Mean word vector of a text, then a fully connected layer with ReLU; the order of the words is lost.

    Source: Joulin et al. 2017 (fastText), section 2, for the mean.

    Args:
        words: Size of the vocabulary.
        embedding: Width of word vectors.
        hidden: Width of the features.

    Example:
        >>> BagEncoder(words=50)(torch.tensor([[4, 2, 0], [3, 7, 9]])).shape
        torch.Size([2, 32])
    """

    def __init__(self, words: int, embedding: int = EMBEDDING, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.words = TokenEmbedding(words, embedding)
        self.layer = nn.Linear(embedding, hidden)
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of texts; int64 [rows, steps] -> float32 [rows, hidden]."""
        there = (x != 0).to(self.layer.weight.dtype)
        total = (there.unsqueeze(1) @ self.words.weight[x]).squeeze(1)
        return torch.relu(self.layer(total / there.sum(1, keepdim=True).clamp(min=1)))


def small_reviews(context: NetworkContext) -> SharedNetwork:
    """Return a bag of word vectors of width 16, a layer of 32 units, and a softmax for each task."""
    data = _texts(context)
    encoder = BagEncoder(len(data.vocabulary))
    return SharedNetwork(encoder, nn.Linear(encoder.features, data.max_classes))


def small_tagging(context: NetworkContext) -> SharedNetwork:
    """Return a layer of 64 units over fixed features of five words, and a conditional random field for each task.

    Deviation: QLS tags with word vectors and LSTMs that are trained (section 5.2).

    Raises:
        ValueError: If the data set has no texts with characters.
    """
    data = _texts(context)
    if not data.characters:
        raise ValueError(f"{data} has no characters, which this network reads: choose data='tagging'.")
    encoder = WindowEncoder.of(data)
    return SharedNetwork(encoder, CRFHead(encoder.features, data.max_classes), Tagging())


def _texts(context: NetworkContext) -> MultiTaskDataset:
    data = context.data
    if not isinstance(data, MultiTaskDataset) or not data.vocabulary:
        raise ValueError(f"{data} holds no texts, which this network reads: choose data='reviews' or 'tagging'.")
    return data
