"""The benchmark of auxiliary tasks, on small data."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.data.split import SPLITS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SETTINGS = """
reviews:
  data: reviews
  few: 6
  train: 20
  validation: 8
  features: 3
  hidden: 4
  runs: 2
  search: 16
  rows: 8
  env_kwargs: {updates: 8, updates_per_step: 2, learning_rate: 0.01, minibatch: 4}
  tested: {targets: [b], seeds: [0, 1]}
"""


@pytest.fixture
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import auxiliary
    import auxiliary_data

    return auxiliary, auxiliary_data


@pytest.fixture
def source():
    random = np.random.default_rng(0)

    def split(rows):
        y = np.tile([0, 1], 3 * rows // 2)
        x = random.normal(size=(3 * rows, 3)).astype(np.float32) + y[:, None].astype(np.float32)
        return Split(torch.from_numpy(x), torch.arange(3).repeat_interleave(rows), torch.from_numpy(y))

    splits = {"train": split(40), "validation": split(10), "test": split(30)}
    return MultiTaskDataset("letters", splits, ("a", "b", "c"), (("no", "yes"),) * 3)


def features(source):
    return {name: split.x.numpy() for name, split in source.splits.items()}


def test_the_target_is_the_first_task_and_scarce(modules, source):
    _, data = modules
    size = data.Scarcity(few=6, train=20, validation=8)
    found = data.scarce(source, features(source), "b", 0, size)
    assert found.task_names == ("b", "a", "c")
    assert [found.task_sizes(split) for split in ("train", "validation", "test")] == [(6, 20, 20), (8,) * 3, (30,) * 3]
    own = found.splits["train"]
    assert own.y[own.task == 0].float().mean() == 0.5
    known = {tuple(row) for row in source.splits["train"].x[source.splits["train"].task == 1].tolist()}
    assert {tuple(row) for row in own.x[own.task == 0].tolist()} < known
    again, other = (data.scarce(source, features(source), "b", seed, size).splits["train"].x for seed in (0, 1))
    assert torch.equal(again, own.x) and not torch.equal(other, own.x)


def test_random_shares_are_those_of_a_target_and_some_helpers(modules):
    shares = modules[0].random_shares(np.random.default_rng(0), 200, 5)
    assert shares.sum(1) == pytest.approx(1) and set(shares[:, 0]) == set(modules[0].SHARES)
    assert all(len(set(row[row > 0].round(9))) <= 1 for row in shares[:, 1:])


def test_gains_are_paired_by_seed_and_against_the_best_fixed_schedule(modules):
    auxiliary, _ = modules
    names = ["target-only", "uniform", "odm"]
    figures = {0: (50, 60, 61), 1: (52, 63, 65)}
    found = [
        [{n: {"test": v, "share": 0.5, "seconds": 1} for n, v in zip(names, row, strict=True)}]
        for row in figures.values()
    ]
    (_, *only), (_, *uniform), (_, *odm) = auxiliary.lines(found, names)
    assert only[2] == "" and uniform[3] == ""
    assert odm[1] == "63.00" and odm[2].startswith("12.00 [") and odm[3].startswith("1.50 [")


def test_the_program_prints_a_table_and_resumes(modules, source, tmp_path, monkeypatch, capsys):
    auxiliary, _ = modules
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    monkeypatch.setattr(auxiliary, "features_of", lambda *_: (source, features(source)))
    command = ["auxiliary.py", "reviews", "--out", str(tmp_path), "--settings", str(tmp_path / "settings.yaml")]
    monkeypatch.setattr(sys, "argv", command)
    auxiliary.main()
    printed = capsys.readouterr().out
    assert all(f"| {name} " in printed for name in auxiliary.SCHEDULES) and "b, seed 1" in printed
    file = tmp_path / "reviews" / "b-0.json"
    known = json.loads(file.read_text())
    assert set(known) == set(auxiliary.SCHEDULES) and known["target-only"]["share"] == 1
    known["odm"]["test"] = 99.0
    file.write_text(json.dumps({name: one for name, one in known.items() if name != "qls"}))
    auxiliary.main()
    again = json.loads(file.read_text())
    assert again["odm"]["test"] == 99 and set(again) == set(known)
    assert "b, seed 1" not in capsys.readouterr().out


def test_features_of_images_have_unit_variance_in_training(modules, tmp_path, monkeypatch):
    _, data = modules
    random = np.random.default_rng(0)

    def split(rows):
        x = torch.from_numpy(random.integers(256, size=(rows, 3, 12, 12), dtype=np.uint8))
        return Split(x, torch.zeros(rows, dtype=torch.int64), torch.arange(rows) % 2)

    images = MultiTaskDataset("noise", {name: split(40) for name in SPLITS}, ("which",), (("no", "yes"),))

    def load(name, root, features=None):
        return images if features is None else images.with_features(features, cache=root)

    monkeypatch.setattr(data, "load", load)
    source, found = data.features_of("noise", 5, tmp_path)
    assert source is images and {name: part.shape for name, part in found.items()} == dict.fromkeys(SPLITS, (40, 5))
    assert found["train"].std(0, ddof=1) == pytest.approx(1, abs=1e-3)
    assert found["train"].mean(0) == pytest.approx(0, abs=1e-3)
