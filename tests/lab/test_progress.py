"""Progress bar of a sweep."""

import io

from rich.console import Console

from mtl_gym.lab.compare import plan
from mtl_gym.lab.progress import Bar
from mtl_gym.lab.run import RunResult, RunSettings
from mtl_gym.lab.sweep import Failure

RUNS = plan(RunSettings("MTLRouting-Digits-v0", "", 100), ["wpl", "shared"], 1)


def shown(terminal, quiet=False):
    """Return the output of the bar on a terminal or in a file for two runs, one of which fails."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120)
    with Bar(RUNS, console, quiet) as bar:
        bar.moved(0, 50, float("nan"))
        bar._progress.refresh()
        bar.moved(0, 80, 0.913)
        bar._progress.refresh()
        bar.ended(0, RunResult(RUNS[0], 0.95, {}, None, None, 1.0, 1.0))
        bar._progress.refresh()
        bar.ended(1, Failure(RUNS[1], "it broke"))
        bar._progress.refresh()
    return screen.getvalue()


def test_the_bar_shows_completed_runs_score_share_and_remaining_time():
    screen = shown(terminal=True)
    for label in (
        "0/2 runs, wpl seed 0 ",
        "0/2 runs, wpl seed 0 91.3%",
        "1/2 runs, wpl seed 0: 95.0%",
        "2/2 runs, 1 failed",
    ):
        assert label in screen
    assert " 25%" in screen and "100%" in screen and "0:00:00" in screen


def test_the_bar_is_hidden_without_a_terminal_and_if_quiet():
    assert shown(terminal=False).strip() == ""
    assert shown(terminal=True, quiet=True) == ""
