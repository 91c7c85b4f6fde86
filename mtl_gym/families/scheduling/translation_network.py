"""An encoder-decoder with attention, its greedy output, and BLEU.

Source: Sutskever et al. 2014; Luong et al. 2015, section 3.1 (global attention, "general" score).

Deviation: Bahdanau et al. 2014, whom QLS cites, feed the attention back into the decoder. Here it acts on the decoder's
output, so that all steps of a known translation are one call of an LSTM. The decoder starts from an empty state, in
place of the encoder's last one: it sees the source by attention alone. Attention reads the vectors of the source words
beside the states of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.lstm import LSTM
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.objectives import SequenceClassification
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.text import TokenEmbedding, both_directions
from mtl_gym.families.scheduling.translation_data import END, firsts

EMBEDDING, HIDDEN = 48, 64


class SourceEncoder(nn.Module):
    """Bidirectional LSTM over the source, which tasks share, and vectors of the labels of the steps before.

    Args:
        words: Number of words, including padding.
        labels: Number of labels of all tasks, including the one before the first step.

    Attributes:
        memory: Width of a source word's features.

    Example:
        >>> SourceEncoder(words=9, labels=7)(torch.ones(2, 5, 2)).shape
        torch.Size([2, 5, 225])
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, words: int, labels: int) -> None:
        super().__init__()
        self.words, self.labels = TokenEmbedding(words, EMBEDDING), TokenEmbedding(labels, EMBEDDING)
        self.ahead, self.back = LSTM(EMBEDDING, HIDDEN), LSTM(EMBEDDING, HIDDEN)
        self.memory = 2 * HIDDEN + EMBEDDING

    def forward(self, x: Tensor) -> Tensor:
        """Return, side by side, features of source words, vectors of labels, and 1 where there is a source word.

        float32 [rows, steps, 2] -> float32 [rows, steps, memory + EMBEDDING + 1].
        """
        words, labels = x.long().unbind(-1)
        vectors, there = self.words(words), words != 0
        read = both_directions(self.ahead, self.back, vectors, there.sum(1))
        return torch.cat([read, vectors, self.labels(labels), there.float()[..., None]], -1)


class AttentionDecoder(nn.Module):
    """Decoder of one task: an LSTM over the labels before, attention to the source, and logits of the next label.

    Args:
        memory: Width of a source word's features.
        labels: Number of labels.
    """

    alike_alone = True  # without vmap the same to the bit, see `is_alike_alone`

    def __init__(self, memory: int, labels: int) -> None:
        super().__init__()
        self.memory = memory
        self.lstm, self.score = LSTM(EMBEDDING, HIDDEN), nn.Linear(HIDDEN, memory, bias=False)
        self.combined, self.output = nn.Linear(memory + HIDDEN, HIDDEN), nn.Linear(HIDDEN, labels)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits; float32 [rows, steps, memory + EMBEDDING + 1] -> float32 [rows, steps, labels]."""
        source, before, there = features.split([self.memory, EMBEDDING, 1], -1)
        states = self.lstm(before)
        scores = (self.score(states) @ source.transpose(1, 2)).masked_fill(there.transpose(1, 2) == 0, -torch.inf)
        seen = scores.softmax(-1) @ source
        return self.output(torch.tanh(self.combined(torch.cat([states, seen], -1))))


def translation_network(data: MultiTaskDataset) -> SharedNetwork:
    """Make the encoder of the source and a decoder for each task."""
    words, labels = (1 + max(int(split.x[..., column].max()) for split in data.splits.values()) for column in (0, 1))
    encoder = SourceEncoder(words, labels)
    head = AttentionDecoder(encoder.memory, data.max_classes)
    return SharedNetwork(encoder, head, SequenceClassification(), last_shared=("ahead", "back"))


@torch.no_grad()
def decoded(runs: RunStack, x: Tensor, task: int, num_classes: Sequence[int]) -> Tensor:
    """Predict sequences one label at a time, each from the network's own labels before it.

    Args:
        runs: Trained networks.
        x: Inputs, whose second column is ignored; float32 [rows, steps, 2].
        task: Number of the task.
        num_classes: Number of labels of each task.

    Returns:
        int64 [runs, rows, steps].
    """
    own = x.expand(runs.runs, 1, *x.shape).clone()
    own[..., 1] = 0
    heads = runs.heads_at(runs.places(torch.full((runs.runs, 1), task).numpy()))
    found = torch.zeros(runs.runs, *x.shape[:2], dtype=torch.int64, device=x.device)
    with runs.measured():
        for step in range(x.shape[1]):
            scores = runs.run(own, heads)[:, step, : num_classes[task]]
            found[..., step] = scores.argmax(-1).view(runs.runs, -1)
            own[:, 0, :, step + 1 : step + 2, 1] = (found[..., step, None] + firsts(num_classes)[task]).float()
    return found


def bleu(predicted: Tensor, real: Tensor, words: Sequence[str]) -> float:
    """Return corpus BLEU in [0, 1], case-sensitive, over words that are given already.

    Source: Papineni et al. 2002, by sacrebleu.

    Args:
        predicted: int64 [rows, steps]; what follows the first end is ignored.
        real: int64 [rows, steps], -1 after the end.
        words: Word of each label.
    """
    from sacrebleu import corpus_bleu

    texts = [[_text(row, words) for row in part.tolist()] for part in (predicted, real)]
    return float(corpus_bleu(texts[0], [texts[1]], tokenize="none", force=True).score) / 100


def _text(labels: Sequence[int], words: Sequence[str]) -> str:
    named = [words[label] for label in labels if label >= 0]
    return " ".join(named[: named.index(END)] if END in named else named)
