"""Which network fits which data."""

from __future__ import annotations

from torch import nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.network import SharedNetwork, plain_network
from mtl_gym.families.scheduling.objectives import Tagging
from mtl_gym.families.scheduling.text import CRFHead, ReviewEncoder, TaggingEncoder


def network_for(data: MultiTaskDataset) -> SharedNetwork:
    """The paper's networks for texts; fully connected or convolutional encoders for what else there is.

    Raises:
        ValueError: If no network is known for such inputs.

    Example:
        >>> from mtl_gym.data import load
        >>> network_for(load("digits")).encoder[0]
        Linear(in_features=64, out_features=64, bias=True)
    """
    if not data.vocabulary:
        return plain_network(data)
    return tagging_network(data) if data.characters else review_network(data)


def review_network(data: MultiTaskDataset) -> SharedNetwork:
    """Word embeddings, an LSTM of 128, and a softmax for each task.

    Source: QLS, sections 3 and 4.4. Deviation: vectors of 100 that are trained with the rest, where the paper starts
    from GloVe's of 300; give `network=` an encoder with `vectors=` to do so.
    """
    encoder = ReviewEncoder(len(data.vocabulary))
    return SharedNetwork(encoder, nn.Linear(encoder.features, data.max_classes))


def tagging_network(data: MultiTaskDataset) -> SharedNetwork:
    """Embeddings of words and characters, an LSTM of 100 in each direction, and a CRF for each task.

    Source: QLS, section 5.2; Ma and Hovy 2016.
    """
    encoder = TaggingEncoder(len(data.vocabulary), len(data.characters), hidden=100)
    head = CRFHead(encoder.features, data.max_classes)
    return SharedNetwork(encoder, head, Tagging(), last_shared=("ahead", "back"))
