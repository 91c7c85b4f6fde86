"""Uncertainty and histograms against hand-computed numbers."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_gym.families.scheduling.uncertainty import MEASURES, entropy, hardest, histograms, least_confidence, margin

THREE = torch.tensor(3)


def test_margin_is_one_minus_the_lead_of_the_likeliest_class():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.0, 1.0, 0.0]])
    assert margin(probabilities, THREE).tolist() == pytest.approx([0.5, 1.0, 0.0])


def test_least_confidence_is_one_minus_the_highest_probability():
    assert least_confidence(torch.tensor([[0.7, 0.2, 0.1]]), THREE).tolist() == pytest.approx([0.3])


def test_entropy_of_uniform_probabilities_is_one_for_any_number_of_classes():
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]])
    assert entropy(probabilities, torch.tensor([2, 3, 3])).tolist() == pytest.approx([1, 1, 0])
    bits = -(0.9 * log(0.9) + 0.1 * log(0.1)) / log(2)
    assert entropy(torch.tensor([0.9, 0.1]), torch.tensor(2)).item() == pytest.approx(bits)


@pytest.mark.parametrize("name", MEASURES)
def test_a_task_of_one_class_has_no_uncertainty(name):
    assert MEASURES[name](torch.ones(2, 1), torch.tensor([1, 1])).tolist() == [0, 0]


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=6))
def test_every_measure_lies_between_0_and_1(logits):
    probabilities = torch.tensor([logits]).softmax(-1)
    for measure in MEASURES.values():
        assert -1e-6 <= measure(probabilities, torch.tensor([len(logits)])).item() <= 1 + 1e-6


def test_a_histogram_holds_shares_and_a_value_of_1_falls_into_the_last_bin():
    values = torch.tensor([0.0, 0.24, 0.25, 0.6, 0.99, 1.0])
    counted = torch.ones(6, dtype=torch.bool)
    assert histograms(values, counted, 4).tolist() == pytest.approx([2 / 6, 1 / 6, 1 / 6, 2 / 6])


def test_padding_is_not_counted_in_any_bin():
    values, counted = torch.tensor([0.1, 0.9, 0.9]), torch.tensor([True, True, False])
    assert histograms(values, counted, 2).tolist() == [0.5, 0.5]


def test_the_hardest_samples_have_the_highest_losses_with_ties_by_index():
    losses = torch.tensor([[1.0, 3.0, 2.0, 3.0, 1.0]])
    assert hardest(losses, 4).tolist() == [[1, 3, 2, 0]]
    assert hardest(losses, 99).shape == (1, 5)
