import numpy as np
import pytest
import torch

from mtl_gym import data
from mtl_gym.data.sources import cross_modal

from .fabricated import cifar_arrays


def write_texts(root, **texts):
    (root / "wikitext-2").mkdir()
    for name, path in cross_modal.TEXTS.items():
        (root / path).write_text(texts.get(name, "the cat sat on the mat\n" * 20), encoding="utf-8")


def test_a_text_is_cut_into_pieces_labelled_by_the_next_words(tmp_path):
    write_texts(tmp_path)
    task = cross_modal.text(tmp_path)
    assert task.outputs == 7  # <unk>, <eos>, cat, mat, on, sat, the
    x, y = task.splits["train"]
    assert x.shape == y.shape == (3, 35)
    assert torch.equal(x.flatten()[1:], y.flatten()[:-1])


def test_words_are_numbered_by_frequency_and_rare_words_are_unknown(tmp_path):
    write_texts(tmp_path, train="a a a b b c <unk>\n" * 30, test="a b c d <unk>\n" * 30)
    task = cross_modal.text(tmp_path, words=4)  # <unk>, a, b, and one of <eos> and c, which are as frequent
    assert task.outputs == 4
    assert task.splits["train"][0][0, :8].tolist() == [1, 1, 1, 2, 2, 0, 0, 3]
    assert task.splits["test"][0][0, :6].tolist() == [1, 2, 0, 0, 0, 3]


def test_a_share_of_the_texts_keeps_the_words_of_the_whole(tmp_path):
    write_texts(tmp_path, train="a b\n" * 40 + "c d\n" * 40)
    whole, half = cross_modal.text(tmp_path), cross_modal.text(tmp_path, share=0.5)
    assert half.outputs == whole.outputs == 6
    assert [len(task.splits["train"][0]) for task in (whole, half)] == [6, 3]
    assert torch.equal(half.splits["train"][0], whole.splits["train"][0][:3])


def test_the_binding_strength_of_dna_is_that_of_the_best_positions(monkeypatch):
    random = np.random.default_rng(0)
    motifs = random.normal(size=(3, 8, 4))
    monkeypatch.setattr(cross_modal, "NOISE", 0.0)
    sequence, strength = cross_modal._bind(np.random.default_rng(1), motifs, 5)
    by_hand = sum(
        max(sum(motif[place, sequence[2, at + place]] for place in range(8)) for at in range(33)) for motif in motifs
    )
    assert strength[2] == pytest.approx(by_hand)


def test_dna_has_unit_variance_and_is_reproducible():
    task = cross_modal.dna()
    y = task.splits["train"][1]
    assert y.mean().item() == pytest.approx(0, abs=1e-5) and y.std().item() == pytest.approx(1, abs=1e-3)
    assert torch.equal(cross_modal.dna().splits["test"][1], task.splits["test"][1])


def test_a_text_that_is_too_short_is_named(tmp_path):
    write_texts(tmp_path, validation="too short\n")
    with pytest.raises(data.DamagedDataError, match=r"valid.txt is damaged: it has 3 words"):
        cross_modal.text(tmp_path)


def test_all_three_tasks_come_from_one_root(tmp_path, monkeypatch):
    write_texts(tmp_path)
    counts = cross_modal.cifar.ImageCounts(4, 1, 2)
    build = cross_modal.cifar.build
    monkeypatch.setattr(cross_modal.cifar, "build", lambda root: build(root, counts))
    np.savez(tmp_path / "cifar100.npz", **cifar_arrays())
    assert data.registry.find("cross-modal").is_present(tmp_path)
    found = cross_modal.build(tmp_path)
    assert found.task_names == ("vision", "text", "dna") and found.groups is None
    assert found.tasks[0].outputs == 20 and found.tasks[0].splits["train"][0].dtype == torch.uint8
