"""Replay of an entry of the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import torch

from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.leaderboard.entries import Entry, Figures
from mtl_gym.lab.provenance import versions
from mtl_gym.lab.records import BARE
from mtl_gym.lab.sweep import Failure, Sweep, Watcher

FIGURES = ("figure", "sampled")
# Means of equal figures differ by less.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Verdict:
    """Figures of a replay beside those of its entry.

    Attributes:
        entry: The entry.
        replayed: Figures of the replay by seed.
        here: Versions of the replay.
    """

    entry: Entry
    replayed: Mapping[int, Figures]
    here: Mapping[str, str]

    @property
    def changed(self) -> dict[str, tuple[str, str]]:
        """Versions in the entry and here, by package, where they differ."""
        return {
            name: (version, self.here.get(name, "not installed"))
            for name, version in self.entry.versions.items()
            if self.here.get(name) != version
        }

    @property
    def differing(self) -> list[str]:
        """Sentences on figures that are not equal to the last digit."""
        pairs = [
            (seed, name, getattr(self.entry.seeds[seed], name), getattr(run, name))
            for seed, run in self.replayed.items()
            for name in FIGURES
        ]
        return [f"seed {seed}: {name} is {a!r} in the entry, {b!r} here" for seed, name, a, b in pairs if a != b]

    @property
    def outside(self) -> list[str]:
        """Sentences on means outside the 95% interval that the entry predicts for a replay of that many seeds."""
        return list(self._outside())

    def _outside(self) -> Iterator[str]:
        for name in FIGURES:
            known = [value for run in self.entry.seeds.values() if (value := getattr(run, name)) is not None]
            found = [value for run in self.replayed.values() if (value := getattr(run, name)) is not None]
            if bool(known) != bool(found):
                yield f"{name} is in {'the entry' if known else 'the replay'} only"
            elif len(known) == 1 and known != found:
                yield f"{name} is another, and the one seed of the entry predicts no interval"
            elif known and abs(np.mean(found) - np.mean(known)) > predicted(known, len(found)) + ROUNDING:
                low, high = (np.mean(known) + sign * predicted(known, len(found)) for sign in (-1, 1))
                yield f"mean {name} is {np.mean(found):.4g} here, outside [{low:.4g}, {high:.4g}]"

    @property
    def holds(self) -> bool:
        """True if figures are equal to the last digit, or, with other versions, within the entry's interval."""
        return not self.differing or (bool(self.changed) and not self.outside)


def predicted(values: Sequence[float], seeds: int) -> float:
    """Return how far the mean of further runs reaches from that of several values, with 95% probability.

    Example:
        >>> round(predicted([1.0, 3.0], 2), 2)
        17.97
    """
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) * sqrt(1 / n + 1 / seeds))


def verify(entry: Entry, seeds: Sequence[int], out: Path, jobs: int = 1, watcher: Watcher | None = None) -> Verdict:
    """Replay runs of an entry, with as many threads as it was made with.

    Args:
        entry: The entry.
        seeds: Seeds to replay, all of them in the entry.
        out: Folder of the runs.
        jobs: Number of processes.
        watcher: Receiver of progress and outcomes.

    Raises:
        ValueError: If a run fails.
    """
    sweep = Sweep([entry.settings(seed) for seed in seeds], out, extras=BARE)
    with threads(entry.threads * jobs):
        outcomes = carry_out(sweep, jobs, watcher=watcher)
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            raise ValueError(f"The replay failed: {outcome}")
    replayed = {run.settings.seed: Figures(run.figure, run.sampled) for run in outcomes if not isinstance(run, Failure)}
    return Verdict(entry, replayed, versions() | {"threads": str(entry.threads)})


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use a number of threads, which processes of a sweep share; restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
