"""Recommendations of groups: the grouping itself, the figures, and the command."""

import json
import os

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import mtl_gym
from mtl_gym.data import MultiTaskDataset, Split
from mtl_gym.data.bags import bag_of_words
from mtl_gym.data.npz import read_npz
from mtl_gym.families.routing.grouped import same_partition
from mtl_gym.families.routing.groups import taught
from mtl_gym.lab.cli import app
from mtl_gym.recommend import Recommendation, recommend_groups
from mtl_gym.recommend.grouping import HeldOutAnswers, _Groups, agglomerate, together
from mtl_gym.recommend.training import Setup, default_body

TRUTH = taught(tasks=4, groups=2, samples=40, instance=101)


def answers_of(groups, noise=0.0, each=30, seeds=2):
    """Return answers in which networks are right on tasks of their group and wrong on others, except for noise."""
    rng = np.random.default_rng(0)
    groups = np.array(groups)
    task = np.repeat(np.arange(len(groups)), each)
    label = rng.integers(3, size=len(task))
    right = groups[:, None] == groups[task]
    scores = np.eye(3, dtype=np.float32)[np.where(right, label, (label + 1) % 3)]
    return HeldOutAnswers(scores + noise * rng.random((seeds, *scores.shape), np.float32), label, task)


def small(rng, rows, names):
    """Return two classes of points per task, the same in all tasks."""
    tasks = {
        name: (rng.normal(size=(rows, 4)) + 3 * (np.arange(rows) % 2)[:, None], np.arange(rows) % 2) for name in names
    }
    return MultiTaskDataset.from_tasks("alike", tasks)


def test_tasks_that_agree_form_a_group():
    groups = [0, 1, 1, 2, 0, 2, 1]
    assert agglomerate(answers_of(groups)).tolist() == groups
    assert same_partition(agglomerate(answers_of(groups, noise=1.2)), np.array(groups))


def test_bootstrap_draws_are_sure_of_clear_groups_only():
    clear = together(answers_of([0, 1, 0]), np.random.default_rng(0), draws=20)
    assert clear.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    noise = answers_of([0, 1, 0], noise=40.0)
    unclear = together(noise, np.random.default_rng(0), draws=50)
    assert ((unclear > 0) & (unclear < 1))[~np.eye(3, dtype=bool)].any()


def test_a_sample_drawn_twice_counts_as_two_samples():
    """A count enters the standard error as so many samples do, and not squared."""
    answers, random = answers_of([0, 1, 0, 2, 1], noise=8.0, each=12), np.random.default_rng(0)
    for _ in range(20):
        drawn, counts = answers.redrawn(random)
        scores, label, task = (
            np.repeat(values, counts, axis=axis)
            for values, axis in ((drawn.scores, 2), (drawn.label, 0), (drawn.task, 0))
        )
        copies = HeldOutAnswers(scores, label, task)
        counted, repeated = _Groups(drawn, counts), _Groups(copies, np.ones_like(task))
        assert counted.mergers.keys() == repeated.mergers.keys()
        for pair, merger in counted.mergers.items():
            np.testing.assert_allclose(merger, repeated.mergers[pair], rtol=1e-12, atol=1e-15)
        assert agglomerate(drawn, counts).tolist() == agglomerate(copies).tolist()


def test_planted_groups_are_found_and_told():
    told = []
    found = recommend_groups(
        TRUTH.data, seeds=(0, 1), samples=8_000, progress=lambda doing, share: told.append((doing, share))
    )
    assert found.choice == "grouped" and same_partition(found.recommended, TRUTH.groups)
    assert (found.sureness > 0.8).all() and found.trainings <= 7
    assert found.gain("shared").value > 10
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1 and told[0][0] == "separate, seed 0"
    printed = str(found)
    assert "grouped training is best" in printed and "grouped minus shared" in printed and "6.1 trainings" in printed
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["groups"] == [list(names) for names in found.groups] and plain["choice"] == "grouped"


def test_equal_calls_give_equal_figures():
    first, second = (recommend_groups(TRUTH.data, seeds=(3, 1), samples=640, hidden=8) for _ in range(2))
    assert first.to_json() == second.to_json()


def test_tasks_that_are_alike_should_share():
    found = recommend_groups(small(np.random.default_rng(0), 40, "abc"), seeds=(0, 1), samples=1_280)
    assert found.choice == "shared" and found.groups == (("a", "b", "c"),)
    assert found.test["grouped"] == found.test["shared"]  # one group: not trained again
    assert found.trainings < 5


def test_samples_that_do_not_pay_for_the_forward_passes_are_warned_of(caplog):
    """By hand: 3 seeds x 3 networks x 3 tasks x 4 rows x 1/3 = 36 = 4 x 3^2 samples."""
    rng = np.random.default_rng(0)
    tasks = {
        name: (rng.normal(size=(60, 4)), np.arange(60) % classes) for name, classes in (("a", 2), ("b", 3), ("c", 2))
    }
    data = MultiTaskDataset.from_tasks("unlike", tasks)
    enough = recommend_groups(data, samples=36)
    assert not caplog.records and enough.trainings == int(enough.trainings) <= 10
    few = recommend_groups(data, samples=35)
    assert "samples=35 for 3 tasks may cost more than ten trainings; give at least 4 x 3 x 3 = 36" in caplog.text
    assert few.trainings > int(few.trainings) + 1e-3


def test_classes_of_other_names_get_heads_of_their_own():
    rng = np.random.default_rng(0)
    tasks = {
        name: (rng.normal(size=(60, 4)), np.arange(60) % classes) for name, classes in (("a", 2), ("b", 3), ("c", 2))
    }
    setup = Setup(MultiTaskDataset.from_tasks("unlike", tasks), 640, default_body(8))
    trained = setup.train(np.array([0, 0, 1]), seed=0)
    assert not setup.one_meaning and trained.routes.tolist() == [[0, 0], [0, 1], [1, 2]]
    query, support = np.arange(18), np.arange(len(setup.data.split("train")))
    scores = trained.scores(query, support)
    two = setup.data.split("validation").task.numpy() != 1
    assert scores.shape == (2, 18, 3) and (scores[:, two, 2] == -np.inf).all() and np.isfinite(scores[..., :2]).all()
    assert recommend_groups(setup.data, seeds=(0, 1), samples=640).choice in ("separate", "shared", "grouped")


def test_a_body_of_ones_own_and_images_are_taken():
    rng = np.random.default_rng(0)
    images = {name: (rng.normal(size=(20, 1, 16, 16)), np.arange(20) % 2) for name in "ab"}
    data = MultiTaskDataset.from_tasks("images", images)
    received = []

    def body(given):
        received.append(given)
        return nn.Sequential(nn.Flatten(), nn.Linear(256, 4))

    assert isinstance(recommend_groups(data, seeds=(0, 1), samples=128, body=body), Recommendation)
    assert received and all(given is data for given in received)
    assert default_body(8)(data)(torch.zeros(2, 1, 16, 16)).shape == (2, 32)


def test_texts_become_bags_of_words():
    rng = np.random.default_rng(0)
    split = Split(rng.integers(1, 8, size=(24, 5)), np.arange(24) % 2, np.arange(24) // 2 % 2)
    words = ("<pad>", "<unk>", "a", "b", "c", "d", "e", "f")
    names, classes = ("one", "two"), (("no", "yes"),) * 2
    texts = MultiTaskDataset(
        "texts", dict.fromkeys(("train", "validation", "test"), split), names, classes, vocabulary=words
    )
    bags = bag_of_words(texts, words=4).split("train").x
    assert bags.shape == (24, 4) and bags.dtype == torch.uint8
    assert bags[3].tolist() == [int(word in split.x[3]) for word in range(2, 6)]
    assert recommend_groups(texts, seeds=(0, 1), samples=128).task_names == names
    with pytest.raises(ValueError, match="has no texts"):
        bag_of_words(TRUTH.data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": (0,)}, "two or three distinct seeds"),
        ({"seeds": (0, 1, 2, 3)}, "two or three distinct seeds"),
        ({"seeds": 3}, "seeds=3 is not possible"),
        ({"seeds": (0, -1)}, "seeds"),
        ({"hidden": 2.5}, "hidden=2.5 is not possible"),
        ({"samples": 0}, "samples=0 is not possible"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not possible"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        recommend_groups(TRUTH.data, **arguments)


def test_data_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="has one task"):
        recommend_groups(TRUTH.data.part([0]))
    with pytest.raises(ValueError, match="a label for every step"):
        rows = Split(np.zeros((4, 3)), [0, 0, 1, 1], np.zeros((4, 3), int))
        names = (("x",), ("x",))
        recommend_groups(
            MultiTaskDataset("steps", dict.fromkeys(("train", "validation", "test"), rows), ("a", "b"), names)
        )


def test_the_command_reads_a_file_of_arrays(tmp_path, caplog):
    rng = np.random.default_rng(0)
    y = np.tile(["no", "yes"], 40)
    x = rng.normal(size=(80, 4)) + 3 * (y == "yes")[:, None]
    np.savez(tmp_path / "own.npz", x=x, y=y, task=np.repeat(["left", "right"], 40))
    out = tmp_path / "found.json"
    arguments = ["recommend", str(tmp_path / "own.npz"), "--seeds", "2", "--samples", "1280", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "own, 2 tasks: shared training is best" in result.output
    assert json.loads(out.read_text())["groups"] == [["left", "right"]] and not caplog.records
    arguments = ["recommend", str(tmp_path / "own.npz"), "--seeds", "2", "--samples", "15"]
    assert CliRunner().invoke(app, arguments).exit_code == 0 and "at least 4 x 2 x 2 = 16" in caplog.text
    assert "at least 4 x tasks x tasks" in " ".join(CliRunner().invoke(app, ["recommend", "--help"]).output.split())


def test_files_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(4))
    with pytest.raises(ValueError, match=r"own.npz has no array 'task', but x, y; write it with numpy.savez"):
        read_npz(path)
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(4), task=np.zeros(3))
    with pytest.raises(ValueError, match=r"task has shape \[3\], but x has 4 rows"):
        read_npz(path)
    np.savez(path, x=np.array([{}] * 4), y=np.zeros(4), task=np.zeros(4))
    with pytest.raises(ValueError, match="no file of plain arrays"):
        read_npz(path)
    path.write_text("no arrays")
    with pytest.raises(ValueError, match="no file of plain arrays"):
        read_npz(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_files_are_named(tmp_path, save):
    path = tmp_path / "own.npz"
    save(path, x=np.zeros((40, 2)), y=np.tile([0, 1], 20), task=np.repeat([0, 1], 20))
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:60] + bytes(40) + whole[100:], whole[:-30], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"own.npz is no file of plain arrays \(.*\); write it with numpy.savez"):
            read_npz(path)


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch):
    def message(*arguments):
        result = CliRunner().invoke(app, ["recommend", *arguments])
        assert result.exit_code == 1
        return result.output

    assert "there is no data set 'digit'. Did you mean 'digits'" in message("digit")
    assert "No such file" in message(str(tmp_path / "none.npz"))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    assert "cut.npz is no file of plain arrays" in message(str(tmp_path / "cut.npz"))
    assert "none.npz cannot be read or written" in message(str(tmp_path / "none.npz"))
    assert "make it first" in message("digits", "--out", str(tmp_path / "none" / "found.json"))
    assert "is a folder: name a file, such as" in message("digits", "--out", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "choose another folder" in message("digits", "--out", str(tmp_path / "found.json"))


def test_the_function_is_public():
    assert mtl_gym.recommend_groups is recommend_groups
