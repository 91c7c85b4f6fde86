"""Construction of module pools from the options of an environment."""

from __future__ import annotations

from functools import partial

import torch

from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.shapes import Shape
from mtl_gym.core.options import NetworkContext
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.limitless.modules import paper_pool
from mtl_gym.families.limitless.options import LimitlessOptions
from mtl_gym.families.limitless.pool import ModulePool


def make_pool(options: LimitlessOptions, data: MultiTaskDataset, shape: Shape, context: NetworkContext) -> ModulePool:
    """Return the pool given by the options; `shape` is the shape of one input.

    Raises:
        ValueError: If `options.network` is invalid or its pool does not fit the data set.
    """
    default = partial(_paper_pool, options, data, shape)
    pool = given_network(options.network, ModulePool, context, default)
    if pool.input_shape != shape or pool.classes < data.max_classes:
        raise ValueError(
            f"The pool takes inputs of shape {pool.input_shape} and returns {pool.classes} classes, but data set "
            f"{data.name!r} has inputs of shape {shape} and up to {data.max_classes} classes."
        )
    return pool


def make_template(
    options: LimitlessOptions, data: MultiTaskDataset, shape: Shape, context: NetworkContext
) -> ModulePool:
    """Return the pool of `make_pool`, with the default pool on the meta device, which allocates no weights."""
    if options.network is not None:
        return make_pool(options, data, shape, context)
    with torch.device("meta"):
        return make_pool(options, data, shape, context)


def _paper_pool(options: LimitlessOptions, data: MultiTaskDataset, shape: Shape, context: NetworkContext) -> ModulePool:
    return paper_pool(shape, data.max_classes, options.duplicates, options.filters, options.hidden)
