"""Parts of the state of several runs: what belongs to one of them is told by a state, never guessed."""

import pytest
import torch

from mtl_gym.core.state.parts import merged, part_of
from mtl_gym.core.state.structure import Maybe

WHOLE = {
    "square": torch.arange(16).view(4, 4),  # [tasks, rows], with as many tasks as rows
    "shared": torch.arange(4),
    "lists": ["a", "b", "c", "d"],
    "counts": [1, 2],
}
SOLO = {"square": torch.zeros(4, 2), "shared": torch.zeros(4), "lists": ["", ""], "counts": [0, 0]}


def test_parts_make_the_whole_again():
    parts = [part_of(WHOLE, SOLO, run, runs=2, rows=4) for run in range(2)]
    assert parts[1]["square"].tolist() == [[2, 3], [6, 7], [10, 11], [14, 15]]
    assert parts[1]["shared"].tolist() == [0, 1, 2, 3]
    assert (parts[1]["lists"], parts[1]["counts"]) == (["c", "d"], [1, 2])
    whole = merged(parts, WHOLE, rows=4)
    assert torch.equal(whole["square"], WHOLE["square"]) and torch.equal(whole["shared"], WHOLE["shared"])
    assert (whole["lists"], whole["counts"]) == (WHOLE["lists"], WHOLE["counts"])


@pytest.mark.parametrize("name", WHOLE)
def test_what_a_single_run_lacks_is_not_guessed(name):
    like = {key: value for key, value in SOLO.items() if key != name}
    with pytest.raises(ValueError, match="model of the state lacks a"):
        part_of(WHOLE, like, 0, runs=2, rows=4)
    with pytest.raises(ValueError, match="model of the state lacks a"):
        merged([SOLO, SOLO], {key: value for key, value in WHOLE.items() if key != name}, rows=4)


def test_lists_that_fit_nowhere_are_refused():
    with pytest.raises(ValueError, match="lacks a list of 3, but has one of 2"):
        part_of([1, 2, 3], [1, 2], 0, runs=2, rows=4)


def test_the_model_tells_of_what_is_there_later():
    model = {"ended": Maybe({"step": torch.zeros(4)})}  # as many steps as rows
    assert part_of({"ended": {"step": torch.arange(4)}}, model, 1, runs=2, rows=4)["ended"]["step"].tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert part_of({"ended": None}, model, 1, runs=2, rows=4) == {"ended": None}
