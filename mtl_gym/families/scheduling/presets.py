"""Default networks by type of data."""

from __future__ import annotations

from torch import nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.network import SharedNetwork, plain_network
from mtl_gym.families.scheduling.objectives import Tagging
from mtl_gym.families.scheduling.text import CRFHead, ReviewEncoder, TaggingEncoder


def network_for(data: MultiTaskDataset) -> SharedNetwork:
    """Make the paper's network for texts, or a fully connected or convolutional one for other inputs.

    Raises:
        ValueError: If the inputs have no default network.

    Example:
        >>> from mtl_gym.data import load
        >>> network_for(load("digits")).encoder[0]
        Linear(in_features=64, out_features=64, bias=True)
    """
    if not data.vocabulary:
        return plain_network(data)
    return tagging_network(data) if data.characters else review_network(data)


def review_network(data: MultiTaskDataset) -> SharedNetwork:
    """Make word embeddings, an LSTM of 128 units, and a softmax for each task.

    Source: QLS, sections 3 and 4.4. Deviation: word vectors of width 100, trained from random values; the paper starts
    from GloVe vectors of width 300. To do so, pass `network=` with a `ReviewEncoder(vectors=...)`.
    """
    encoder = ReviewEncoder(len(data.vocabulary))
    return SharedNetwork(encoder, nn.Linear(encoder.features, data.max_classes))


def tagging_network(data: MultiTaskDataset) -> SharedNetwork:
    """Make embeddings of words and characters, an LSTM of 100 units in each direction, and a CRF for each task.

    Source: QLS, section 5.2; Ma and Hovy 2016.
    """
    encoder = TaggingEncoder(len(data.vocabulary), len(data.characters), hidden=100)
    head = CRFHead(encoder.features, data.max_classes)
    return SharedNetwork(encoder, head, Tagging(), last_shared=("ahead", "back"))
