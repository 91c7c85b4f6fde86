"""Tables of the leaderboard from entries with known figures."""

import pytest

from mtl_gym.lab.leaderboard.entries import Entry, Figures
from mtl_gym.lab.leaderboard.page import across, boards, kind_of, matrix
from mtl_gym.lab.score import NoScoreError

PATHS, CONTEXT = "MTLRouting-Paths-v0", "MTLRouting-Context-v0"


def entry(env, agent, figures, **more):
    runs = {seed: Figures(figure, figure - 1 if agent == "ppo" else None) for seed, figure in enumerate(figures)}
    return Entry(env, agent, 96, 8, runs, {"torch": "1"}, 2.0, **more)


ENTRIES = [
    entry(PATHS, "oracle", [100.0, 100.0]),
    entry(PATHS, "shared", [20.0, 20.0]),
    entry(PATHS, "ppo", [60.0, 80.0]),
    entry(PATHS, "wpl", [40.0, 40.0]),
    entry(CONTEXT, "oracle", [90.0, 90.0]),
    entry(CONTEXT, "shared", [50.0, 50.0]),
    entry(CONTEXT, "ppo", [50.0, 70.0]),
]


def test_a_board_ranks_entries_on_the_scale_of_its_own_oracle_and_controls():
    paths, _ = boards(ENTRIES)
    head, *lines = paths.table()
    assert head[:4] == ["agent", "kind", "accuracy (%)", "score"] and head[-2:] == ["sampled", "CPU s"]
    assert [line[:2] for line in lines] == [
        *(["oracle", "oracle"], ["ppo", "SB3"], ["wpl", "learner"], ["shared", "control"])
    ]
    ppo = dict(zip(head, lines[1], strict=True))
    assert ppo["accuracy (%)"] == "70.00 ± 14.14" and ppo["score"].startswith("0.62") and ppo["sampled"] == "69.00"
    assert ppo["optimality gap"].startswith("0.38") and ppo["better than shared"] == "1.00 [1.00, 1.00]"


def test_the_matrix_has_every_learner_and_the_aggregate_those_that_are_everywhere():
    found = boards(ENTRIES)
    assert matrix(found) == [["agent", PATHS, CONTEXT], ["ppo", "0.62", "0.25"], ["wpl", "0.25", "-"]]
    head, *lines = across(found)
    assert head == ["agent", "interquartile mean", "median", "mean", "optimality gap"]
    assert [line[0] for line in lines] == ["ppo"] and lines[0][3].startswith("0.44")


def test_an_entry_of_another_package_is_told_apart():
    assert kind_of(entry(PATHS, "wpl", [1.0], requires="pip install mine")) == "other"
    assert kind_of(entry(PATHS, "ppo", [1.0], name="ppo-untrained")) == "reference"


def test_a_board_without_oracle_has_no_scale():
    (board,) = boards([entry(PATHS, "ppo", [1.0], env_kwargs={"instance": 3})])
    with pytest.raises(NoScoreError, match="no finished run of a control"):
        board.table()
