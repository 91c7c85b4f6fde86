"""Carrying out the runs of the gate, and judging each id once its last run has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.gate.judgement import Judgement, judge
from mtl_gym.lab.gate.plan import Trial
from mtl_gym.lab.records import BARE, RunResult
from mtl_gym.lab.sweep import Failure, Outcome, Sweep, Watcher


@dataclass
class Measured:
    """Outcomes of the gate.

    Attributes:
        judgements: Judgement of each id with a finished run, in the order of the trials.
        failures: Runs that failed.
    """

    judgements: list[Judgement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def complete(self) -> list[Judgement]:
        """Judgements of ids of which no run failed."""
        failed = {failure.settings.env_id for failure in self.failures}
        return [judgement for judgement in self.judgements if judgement.env_id not in failed]


def measure(
    trials: Sequence[Trial], out: Path, jobs: int, watcher: Watcher, tell: Callable[[Judgement], None]
) -> Measured:
    """Carry out all unfinished runs, as one sweep; judge the ids.

    Args:
        trials: The runs of each id.
        out: Folder of the runs.
        jobs: Number of processes.
        watcher: Receiver of progress and outcomes.
        tell: Receives each judgement as soon as the last run of its id has ended.
    """
    desk = _Desk(trials, watcher, tell)
    places = [(run, part) for trial in trials for part, runs in trial.parts.items() for run in runs]
    sweep = Sweep([run for run, _ in places], out, extras=BARE, parts=[part for _, part in places])
    outcomes = carry_out(sweep, jobs, watcher=desk)
    judgements = [desk.judgements[trial.env_id] for trial in trials if trial.env_id in desk.judgements]
    return Measured(judgements, [outcome for outcome in outcomes if isinstance(outcome, Failure)])


class _Desk(Watcher):
    """Watcher that judges an id when its last run has ended."""

    def __init__(self, trials: Sequence[Trial], watcher: Watcher, tell: Callable[[Judgement], None]) -> None:
        self.watcher, self.tell = watcher, tell
        self.judgements: dict[str, Judgement] = {}
        self._places = [(trial, part) for trial in trials for part, runs in trial.parts.items() for _ in runs]
        self._outcomes: dict[int, Outcome] = {}

    def moved(self, run: int, steps: int, accuracy: float) -> None:
        """Pass the progress on."""
        self.watcher.moved(run, steps, accuracy)

    def ended(self, run: int, outcome: Outcome) -> None:
        """Keep the outcome; judge the id if it was the last of its runs."""
        self.watcher.ended(run, outcome)
        self._outcomes[run] = outcome
        trial = self._places[run][0]
        runs = [number for number, (other, _) in enumerate(self._places) if other is trial]
        if all(number in self._outcomes for number in runs):
            self._judge(trial, runs)

    def _judge(self, trial: Trial, runs: Sequence[int]) -> None:
        results: dict[str, list[RunResult]] = {part: [] for part in trial.parts}
        for number in runs:
            outcome = self._outcomes[number]
            if not isinstance(outcome, Failure):
                results[self._places[number][1]].append(outcome)
        own = results[trial.folder]
        if own:
            others = {length: results[trial.folder_at(length)] for length in trial.lengths}
            self.judgements[trial.env_id] = judge(trial, own, others)
            self.tell(self.judgements[trial.env_id])
