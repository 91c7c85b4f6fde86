import sys

import numpy as np
import pytest
import torch
from mtl_agents import TargetOnly
from torch import nn

import mtl_gym  # noqa: F401  registers the ids
from mtl_gym.core.evaluation import evaluate
from mtl_gym.data.split import NO_LABEL
from mtl_gym.families.scheduling.network import SharedNetwork
from mtl_gym.families.scheduling.stack import RunStack
from mtl_gym.families.scheduling.translation import TranslationVectorEnv
from mtl_gym.families.scheduling.translation_data import END, firsts, translation
from mtl_gym.families.scheduling.translation_grammar import Language
from mtl_gym.families.scheduling.translation_network import bleu, decoded, translation_network
from mtl_gym.integrations.sb3 import make_vec_env

SMALL = {"updates": 4, "updates_per_step": 2, "pairs": 50}


def test_verb_stands_last_and_agrees_with_its_subject():
    plain = [s for s in Language(0).sentences("any", 500) if "ADP" not in s.tags]
    for sentence in plain:
        gender = sentence.translation[0][-1]  # of the determiner of the subject, without a phrase before it
        singular = sentence.words[sentence.tags.index("VERB")].endswith("s")
        assert sentence.translation[-1].endswith(gender if singular else f"{gender}n")
        assert len(sentence.translation) == len(sentence.words)


def test_phrase_stands_before_its_noun():
    sentences = [s for s in Language(0).sentences("any", 500) if s.tags[:3] == ("DET", "NOUN", "ADP")]
    prepositions = {s.words[2]: set() for s in sentences}
    for sentence in sentences:
        inside = sentence.tags[3 : 3 + sentence.tags[3:].index("VERB")]  # the noun after the preposition, and its own
        prepositions[sentence.words[2]].add(sentence.translation[len(inside)])
    assert len(prepositions) > 1
    assert all(len(translated) == 1 for translated in prepositions.values())


def test_heads_form_a_tree_whose_root_is_the_verb():
    for sentence in Language(3).sentences("any", 200):
        distances = [int(head.split()[0]) for head in sentence.heads]
        verb = sentence.tags.index("VERB")
        assert [place for place, d in enumerate(distances) if d == 0] == [verb]
        for place in range(len(distances)):
            seen = set()
            while distances[place]:
                assert place not in seen
                seen.add(place)
                place += distances[place]
            assert place == verb


def test_some_words_are_noun_and_verb_with_two_translations():
    tags = {}
    for sentence in Language(0).sentences("any", 3000):
        for word, tag in zip(sentence.words, sentence.tags, strict=True):
            tags.setdefault(word, set()).add(tag)
    assert {"NOUN", "VERB"} in tags.values()


def test_labels_before_a_step_are_shifted_and_numbered_over_all_tasks():
    data = translation(pairs=20, instance=0)
    split = data.split("train")
    words = len(data.class_names[0])
    row = int((split.task == 1).nonzero()[0])
    label, before = split.y[row], split.x[row, :, 1].long()
    there = int((label != NO_LABEL).sum())
    assert before[0] == 0
    assert torch.equal(before[1:there], label[: there - 1] + 1 + words)


@pytest.mark.parametrize("task", range(3))
def test_scores_are_those_of_a_decoder_that_reads_one_sentence_in_single_steps(task):
    """No padding, torch's cells, and an attention that is a sum over words."""
    data = translation(pairs=20, instance=0)
    network = translation_network(data)
    encoder, head, first = network.encoder, network.head, firsts(data.num_classes)[task]
    rows = (data.split("train").task == task).nonzero().ravel()[:8]
    found, label = head(encoder(data.inputs("train", rows))), data.split("train").y[rows]
    for row, words in enumerate(data.split("train").x[rows, :, 0].long()):
        vectors = encoder.words.weight[words[words > 0]]
        memory = torch.cat([states(encoder.ahead, vectors), states(encoder.back, vectors.flip(0)).flip(0), vectors], 1)
        wanted = label[row][label[row] != NO_LABEL]
        before = torch.cat([torch.zeros(1, dtype=torch.int64), first + wanted[:-1]])
        for step, state in enumerate(states(head.lstm, encoder.labels.weight[before])):
            share = torch.stack([head.score.weight @ state @ word for word in memory]).softmax(0)
            seen = sum(part * word for part, word in zip(share, memory, strict=True))
            expected = head.output(head.combined(torch.cat([state, seen])).tanh())
            assert torch.allclose(found[row, step], expected, atol=1e-5)


def states(lstm, vectors):
    """The states of an LSTM over vectors [steps, width], by torch's cell."""
    cell = nn.LSTMCell(vectors.shape[1], lstm.hidden)
    cell.load_state_dict(dict(zip(cell.state_dict(), lstm.state_dict().values(), strict=True)))
    found = [(torch.zeros(lstm.hidden), torch.zeros(lstm.hidden))]
    for vector in vectors:
        found.append(cell(vector, found[-1]))
    return torch.stack([state for state, _ in found[1:]])


def test_greedy_output_does_not_depend_on_the_true_labels():
    data = translation(pairs=20, instance=0)
    runs = RunStack(translation_network(data), data.num_tasks, 2, torch.device("cpu"))
    runs.renew([0, 1])
    x = data.inputs("test", torch.arange(5))
    other = x.clone()
    other[..., 1] = 3
    found = decoded(runs, x, 0, data.num_classes)
    assert torch.equal(found, decoded(runs, other, 0, data.num_classes))
    assert found.shape == (2, 5, x.shape[1])
    assert not torch.equal(found[0], found[1])


def test_greedy_output_is_what_teacher_forcing_predicts_from_it():
    data = translation(pairs=20, instance=0)
    network: SharedNetwork = translation_network(data)
    runs = RunStack(network, data.num_tasks, 1, torch.device("cpu"))
    runs.renew([5])
    x = data.inputs("test", torch.arange(3))
    found = decoded(runs, x, 0, data.num_classes)[0]
    x[..., 1] = 0
    x[:, 1:, 1] = (found[:, :-1] + 1).float()
    encoder, heads = runs.single(0)
    scores = heads[0](encoder(x))[..., : data.num_classes[0]]
    assert torch.equal(scores.argmax(-1), found)


def test_bleu_is_that_of_whole_sentences():
    words = ("a", "b", "c", "d", "e", END)
    real = torch.tensor([[0, 1, 2, 3, 4, 5]])
    assert bleu(real, real, words) == pytest.approx(1)
    after_the_end = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 0]])
    assert bleu(after_the_end, real, words) == pytest.approx(1)
    precisions = 4 / 5 * 3 / 4 * 2 / 3 * 1 / 2
    assert bleu(torch.tensor([[0, 1, 2, 3, 0, 5]]), real, words) == pytest.approx(precisions**0.25)


def test_reward_is_of_translation_alone():
    env = TranslationVectorEnv(num_envs=2, **SMALL)
    env.reset(seed=0)
    _, reward, *_, info = env.step(np.array([0, 1]))
    np.testing.assert_allclose(reward, -info["validation_loss"][:, 0], rtol=1e-6)


def test_evaluation_returns_bleu_as_accuracy_of_translation():
    env = make_vec_env("MTLScheduling-Translation-v0", 2, **SMALL)
    result = evaluate(TargetOnly(env, seed=0), env.batched)
    assert str(result.measure) == "BLEU"
    assert result.figure == pytest.approx(100 * result.accuracy[0])
    assert result.accuracy.shape == (3,)


@pytest.mark.parametrize("helpers", [(), ("tagging",), ("parsing",)])
def test_helpers_can_be_left_out(helpers):
    env = TranslationVectorEnv(num_envs=1, helpers=helpers, **SMALL)
    env.reset(seed=0)
    env.step(np.array([len(helpers)]))
    assert env.task_names == ("translation", *helpers)


def test_unknown_helper_is_refused_by_name():
    with pytest.raises(ValueError, match=r"helpers=\('chunking',\).*tagging"):
        TranslationVectorEnv(helpers=("chunking",))


def test_missing_sacrebleu_is_told_before_any_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"BLEU.*mtl-gym\[translation\]"):
        TranslationVectorEnv()


def test_another_target_than_translation_is_refused():
    with pytest.raises(ValueError, match=r"target_tasks=\['tagging'\].*BLEU is the figure of translation"):
        TranslationVectorEnv(target_tasks=["tagging"])
