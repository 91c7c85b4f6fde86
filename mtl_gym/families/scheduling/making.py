"""Construction of shared networks from the options of an environment."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.network import Make, SharedNetwork

ROWS = 2


def make_template(context: NetworkContext, data: MultiTaskDataset, default: Make) -> SharedNetwork:
    """Return the network given by the options or made by `default`, whose weights every run redraws.

    Raises:
        ValueError: If the option `network` is invalid or its network does not fit the data set.
    """
    given = context.options.network
    with seeded(0):
        template = given_network(given, SharedNetwork, context, lambda _: default(data))
        if given is not None:
            _try_out(template, data)
    return template


def _try_out(template: SharedNetwork, data: MultiTaskDataset) -> None:
    """Call a network on two samples before training, for early error messages."""
    label = data.split("train").y[:ROWS]
    x = data.inputs("train", torch.arange(len(label), device=label.device))
    given, expected = f"inputs {list(x.shape)} of data set {data.name!r}", [*label.shape, data.max_classes]
    encoder, head = (copy.deepcopy(part).to(x.device).eval() for part in (template.encoder, template.head))
    if not any(parameter.requires_grad for part in (encoder, head) for parameter in part.parameters()):
        raise ValueError("The network has no parameter to train: give encoder or head one with requires_grad=True.")
    with torch.no_grad():
        try:
            found: object = template.objective.probabilities(head(encoder(x)), label)
        except Exception as error:  # modules of users may raise anything
            raise ValueError(f"The network cannot take {given}: {error}") from error
    if not isinstance(found, Tensor) or list(found.shape) != expected or found.dtype != torch.float32:
        shape = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"The network gives probabilities {shape} for {given}; there must be one for each class: float32 "
            f"{expected}."
        )
