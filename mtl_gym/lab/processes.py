"""Execution of a sweep in several processes of this machine, which end with their parent.

Processes report progress through shared memory without locks, so that a killed process blocks no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from ctypes import Array, c_double
from multiprocessing.connection import wait as wait_for

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.lab.memory import keep_memory
from mtl_gym.lab.sweep import Failure, Outcome, Sweep, Watcher

# Maximum number of attempts at a run whose process dies; later attempts resume from its checkpoint.
TRIES = 3
SECONDS_BETWEEN_LOOKS = 0.2
WAITING, UNDER_WAY, ENDED = 0, 1, 2


class StoppedError(BaseException):
    """Interruption of the sweep; not an error of the run."""


class SharedBoard:
    """Shared progress of the runs: state, decisions and accuracy, float64 [runs, 3]; the parent reads it.

    Attributes:
        stop: Flag of an interrupted sweep, float64 [1].
        runs: Progress, float64 [runs, 3].
    """

    def __init__(self, memory: Array[c_double]) -> None:
        values: NDArray[np.float64] = np.ctypeslib.as_array(memory)
        self.stop, self.runs = values[:1], values[1:].reshape(-1, 3)

    @staticmethod
    def memory(runs: int) -> Array[c_double]:
        """Allocate memory for a board; processes receive it at their start."""
        return multiprocessing.get_context("spawn").RawArray("d", 1 + 3 * runs)

    def under_way(self) -> list[int]:
        """Return the runs that are under way."""
        return np.flatnonzero(self.runs[:, 0] == UNDER_WAY).tolist()

    def tell(self, run: int, steps: int, accuracy: float) -> None:
        """Store the progress of a run.

        Raises:
            StoppedError: If the sweep was interrupted.
        """
        if self.stop[0]:
            raise StoppedError
        self.runs[run, 1:] = steps, accuracy


def in_processes(sweep: Sweep, jobs: int, watcher: Watcher) -> list[Outcome]:
    """Carry out the runs in `jobs` processes, and return their outcomes in order."""
    outcomes: dict[int, Outcome] = {}
    deaths: Counter[int] = Counter()
    while len(outcomes) < len(sweep.runs):
        left = [run for run in range(len(sweep.runs)) if run not in outcomes]
        waiting = sweep.units(left, jobs) if not deaths else [[run] for run in left]
        died = _pool(sweep, waiting, jobs, watcher, outcomes)
        deaths.update(died)
        for run in died:
            if deaths[run] == TRIES:
                outcomes[run] = Failure(sweep.runs[run], f"its process died {TRIES} times; is there enough memory?")
                watcher.ended(run, outcomes[run])
    return [outcomes[run] for run in range(len(sweep.runs))]


def _pool(
    sweep: Sweep, waiting: list[list[int]], jobs: int, watcher: Watcher, outcomes: dict[int, Outcome]
) -> list[int]:
    """Carry out waiting units until all have ended or a process died; return the runs of dead processes."""
    memory = SharedBoard.memory(len(sweep.runs))
    board = SharedBoard(memory)
    threads = max(1, torch.get_num_threads() // jobs)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(waiting)), spawn, _begin, (sweep, memory, threads)) as pool:
        pending = {pool.submit(_work, unit): unit for unit in waiting}
        try:
            while pending:
                _look(pending, board, watcher, outcomes)
        except BrokenProcessPool:
            # If none was under way, processes cannot start; blame the first run.
            return [run for run in board.under_way() if run not in outcomes] or waiting[0][:1]
        except BaseException:
            board.stop[0] = 1
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _look(
    pending: dict[Future[list[Outcome]], list[int]], board: SharedBoard, watcher: Watcher, outcomes: dict[int, Outcome]
) -> None:
    done, _ = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
    for run in board.under_way():
        watcher.moved(run, int(board.runs[run, 1]), float(board.runs[run, 2]))
    # Results first: the exception of a dead process ends the loop.
    for future in sorted(done, key=lambda future: future.exception() is not None):
        ended = dict(zip(pending[future], future.result(), strict=True))
        del pending[future]
        outcomes.update(ended)
        for run, outcome in ended.items():
            watcher.ended(run, outcome)


_sweep: Sweep
_board: SharedBoard


def _begin(sweep: Sweep, memory: Array[c_double], threads: int) -> None:
    """Initialise a process."""
    global _sweep, _board
    import mtl_gym  # noqa: F401 (registers the ids)

    _sweep, _board = sweep, SharedBoard(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and stops the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(unit: list[int]) -> list[Outcome]:
    _board.runs[unit] = UNDER_WAY, 0, np.nan
    outcomes = _sweep.attempt(unit, _board.tell)
    _board.runs[unit, 0] = ENDED
    return outcomes
