import pytest
import torch

from mtl_gym.families.scheduling.spans import SpanScore, span_score, span_score_of_labels


def test_a_right_span_has_the_right_type_start_and_end():
    real = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"]]
    predicted = [["B-A", "I-A", "O", "B-A"], ["B-A", "I-A"]]
    score = span_score(predicted, real)
    assert score == SpanScore(right=1, marked=3, real=3)
    assert (score.precision, score.recall, score.f1) == (1 / 3, 1 / 3, 1 / 3)


def test_precision_recall_and_f1_by_hand():
    score = span_score([["S-A", "S-A", "O", "O"]], [["S-A", "O", "S-A", "O"]])
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, 0.5)
    score = SpanScore(right=3, marked=4, real=6)
    assert (score.precision, score.recall) == (0.75, 0.5)
    assert score.f1 == pytest.approx(2 * 0.75 * 0.5 / (0.75 + 0.5))


def test_tagging_schemes_can_be_mixed():
    assert span_score([["B-A", "E-A", "S-B"]], [["B-A", "I-A", "B-B"]]) == SpanScore(2, 2, 2)


@pytest.mark.parametrize("sentences", [[], [["O", "O"]]])
def test_scores_without_spans_are_0(sentences):
    score = span_score(sentences, sentences)
    assert (score.precision, score.recall, score.f1) == (0, 0, 0)


def test_labels_after_the_end_of_a_row_are_ignored():
    tags = ("B-A", "I-A", "O")
    real = torch.tensor([[0, 1, -1], [2, 0, 1]])
    predicted = torch.tensor([[0, 1, 0], [2, 0, 2]])
    assert span_score_of_labels(predicted, real, tags) == SpanScore(right=1, marked=2, real=2)
    assert span_score_of_labels(torch.where(real < 0, -1, predicted), real, tags).right == 1


def test_a_missing_tag_is_rejected():
    with pytest.raises(ValueError, match="2 tokens has 1 predicted"):
        span_score([["O"]], [["O", "O"]])
    with pytest.raises(ValueError):
        span_score([["O"]], [])
