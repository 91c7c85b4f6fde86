"""Tables of the leaderboard from entries with known figures."""

import pytest

import mtl_gym
from mtl_gym.lab.leaderboard.entries import Entry, Figures
from mtl_gym.lab.leaderboard.page import SEEDS, across, boards, kind_of, markdown, matrix
from mtl_gym.lab.score import NoScoreError

PATHS, CONTEXT = "MTLRouting-Paths-v0", "MTLRouting-Context-v0"


def entry(env, agent, *figures, **more):
    """Return an entry whose seeds take the figures in turn."""
    card = mtl_gym.card(env)
    each = [figures[seed % len(figures)] for seed in range(SEEDS)]
    runs = {seed: Figures(figure, figure - 1 if agent == "ppo" else None) for seed, figure in enumerate(each)}
    fields = {"steps": card.steps, "num_envs": card.num_envs, "seeds": runs} | more
    return Entry(env, agent, versions={"torch": "1"}, cpu_seconds=2.0, **fields)


ENTRIES = [
    entry(PATHS, "oracle", 100.0),
    entry(PATHS, "shared", 20.0),
    entry(PATHS, "ppo", 60.0, 80.0),
    entry(PATHS, "wpl", 90.0),
    entry(CONTEXT, "oracle", 90.0),
    entry(CONTEXT, "shared", 50.0),
    entry(CONTEXT, "ppo", 50.0, 70.0),
]


def test_a_board_ranks_entries_on_the_scale_of_its_own_oracle_and_controls():
    paths, _ = boards(ENTRIES)
    head, *lines = paths.table()
    assert head[:4] == ["agent", "kind", "accuracy (%)", "score"] and head[-2:] == ["sampled", "CPU s"]
    assert [line[:2] for line in lines] == [
        *(["oracle", "oracle"], ["wpl", "learner"], ["ppo", "SB3"], ["shared", "control"])
    ]
    ppo = dict(zip(head, lines[2], strict=True))
    assert ppo["accuracy (%)"] == "70.00 ± 10.54" and ppo["score"].startswith("0.62") and ppo["sampled"] == "69.00"
    assert ppo["optimality gap"].startswith("0.38") and ppo["better than shared"] == "1.00 [1.00, 1.00]"


def test_the_matrix_has_every_learner_and_the_aggregate_those_that_are_everywhere():
    found = boards(ENTRIES)
    # wpl is better where it is, and is on fewer environments.
    assert matrix(found) == [["agent", PATHS, CONTEXT], ["ppo", "0.62", "0.25"], ["wpl", "0.88", "-"]]
    head, *lines = across(found)
    assert head == ["agent", "interquartile mean", "median", "mean", "optimality gap"]
    assert [line[0] for line in lines] == ["ppo"] and lines[0][3].startswith("0.44")


def test_an_entry_of_another_package_is_told_apart():
    assert kind_of(entry(PATHS, "theirs", 1.0, requires="pip install mine")) == "other"
    assert kind_of(entry(PATHS, "ppo", 1.0, name="ppo-untrained")) == "reference"
    assert "| theirs | other |" in markdown([*ENTRIES, entry(PATHS, "theirs", 1.0, requires="pip install mine")])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"env_kwargs": {"noise": 0.0}}, "has env_kwargs={'noise': 0.0}; the leaderboard has {}"),
        ({"steps": 96}, "has steps=96; the leaderboard has 30000"),
        ({"num_envs": 8}, "has num_envs=8; the leaderboard has 64"),
        ({"seeds": {seed: Figures(1.0) for seed in range(100, 110)}}, r"lacks the seeds \[0, 1, "),
    ],
)
def test_an_entry_that_cannot_be_compared_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        boards([*ENTRIES, entry(PATHS, "a2c", 1.0, **fields)])


def test_a_board_without_oracle_has_no_scale(monkeypatch):
    (board,) = boards([entry(PATHS, "ppo", 1.0), entry(PATHS, "shared", 2.0)])
    assert board.scale.optimum.value == 100  # the card states it
    monkeypatch.setattr("mtl_gym.registration.Card.best", None)
    with pytest.raises(NoScoreError, match="no finished run of the oracle"):
        board.table()


def test_no_entries_make_no_tables():
    assert markdown([]) == "There are no entries yet."
