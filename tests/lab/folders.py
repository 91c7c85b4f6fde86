"""Comparison and completeness checks of run folders."""

import json

import torch

from mtl_gym.core.state import checkpoint
from tests.lab.events import read


def curves(run):
    """Return the TensorBoard curves without measured times."""
    return {tag: points for tag, points in read(run / "tensorboard").items() if not tag.startswith("time/")}


def same(one, other):
    if one.suffix == ".pt":
        return equal(checkpoint.load(one), checkpoint.load(other))
    return one.read_bytes() == other.read_bytes()


def equal(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())
    return one == other or one != one


def nothing_is_half_written(out):
    for path in out.rglob("*.json"):
        json.loads(path.read_text())
    for path in out.rglob("*.pt"):
        checkpoint.load(path)
    for path in out.rglob("*.csv"):
        assert path.read_text().endswith("\n")
