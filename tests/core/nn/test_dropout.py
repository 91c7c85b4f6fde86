"""Keyed dropout: rates, scale, independence of masks, keys of runs, and torch's generator."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_gym.core.nn.dropout import KeyedDropout, RunKeys, key_of_part

ONES = torch.ones(200, 50, 4)


def masked(key, function=functional.dropout, x=ONES, share=0.25, training=True):
    with KeyedDropout(torch.tensor(key)):
        return function(x, share, training)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_has_the_requested_rate_and_preserves_the_mean(share):
    kept = masked(3, share=share)
    assert (kept == 0).float().mean().item() == pytest.approx(share, abs=0.01)
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0, 1 / (1 - share)])


def test_masks_of_different_keys_calls_and_parts_are_independent():
    part = key_of_part(torch.tensor(0), torch.tensor(0))
    with KeyedDropout(torch.tensor(0)):
        twice = [functional.dropout(ONES, 0.5) for _ in range(2)]
    rows = torch.stack([*twice, *(masked(key, share=0.5) for key in (1, 2, 2**32 - 1, int(part)))])
    correlations = torch.corrcoef(rows.flatten(1)) - torch.eye(len(rows))
    assert correlations.abs().max() < 0.025  # five standard errors of 40,000 values


@pytest.mark.parametrize("function", [functional.dropout1d, functional.dropout2d, functional.feature_alpha_dropout])
def test_channel_dropout_drops_whole_channels(function):
    x = ONES[..., None] if function is functional.dropout2d else ONES
    found = masked(1, function, x).flatten(2)
    assert (found == found[..., :1]).all() and len(found.unique()) == 2


def test_alpha_dropout_preserves_mean_and_variance():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    found = masked(1, functional.alpha_dropout, x, 0.3)
    assert found.mean().item() == pytest.approx(0, abs=0.02) and found.std().item() == pytest.approx(1, abs=0.02)


def test_nothing_is_dropped_outside_training_or_at_rate_0():
    assert torch.equal(masked(1, training=False), ONES) and torch.equal(masked(1, share=0.0), ONES)
    assert not masked(1, share=1.0).any()


def test_modules_have_the_defaults_of_torch():
    with KeyedDropout(torch.tensor(1)):
        assert torch.equal(functional.alpha_dropout(ONES), ONES)  # training=False there
        assert (functional.dropout(ONES) == 0).any() and (nn.Dropout()(ONES) == 0).any()
        assert torch.equal(nn.Dropout().eval()(ONES), ONES)


def test_keyed_dropout_does_not_advance_torchs_generator():
    state = torch.get_rng_state()
    masked(1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_run_has_its_own_key_at_every_update_with_or_without_other_runs():
    together, alone, updates = RunKeys([5, 6]), RunKeys([6]), (0, 255, 256, 3)
    keys = np.stack([together.at(update) for update in updates])
    assert [alone.at(update)[0] for update in updates] == keys[:, 1].tolist()
    assert len(np.unique(keys)) == 8
