"""Runs in several processes of this machine, which die with the one that began them.

Processes tell how far they are through shared memory without locks, so that one that is killed blocks no other.
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

# A run whose process dies is begun again from its checkpoint, so often in all.
TRIES = 3
SECONDS_BETWEEN_LOOKS = 0.2
WAITING, UNDER_WAY, ENDED = 0, 1, 2


class StoppedError(BaseException):
    """The sweep was interrupted; not an error of the run."""


class Board:
    """What the processes write and the first one reads: of each run its state, decisions and accuracy; [runs, 3]."""

    def __init__(self, memory: Array[c_double]) -> None:
        values: NDArray[np.float64] = np.ctypeslib.as_array(memory)
        self.stop, self.runs = values[:1], values[1:].reshape(-1, 3)

    @staticmethod
    def memory(runs: int) -> Array[c_double]:
        """Memory for a board, which can be handed to processes when they begin."""
        return multiprocessing.get_context("spawn").RawArray("d", 1 + 3 * runs)

    def under_way(self) -> list[int]:
        """Runs that have begun and not ended."""
        return np.flatnonzero(self.runs[:, 0] == UNDER_WAY).tolist()

    def tell(self, run: int, steps: int, accuracy: float) -> None:
        """Write how far a run is.

        Raises:
            StoppedError: If the sweep was interrupted.
        """
        if self.stop[0]:
            raise StoppedError
        self.runs[run, 1:] = steps, accuracy


def in_processes(sweep: Sweep, jobs: int, watcher: Watcher) -> list[Outcome]:
    """Carry out the runs in so many processes; their outcomes, in their order."""
    outcomes: dict[int, Outcome] = {}
    deaths: Counter[int] = Counter()
    while len(outcomes) < len(sweep.runs):
        waiting = [run for run in range(len(sweep.runs)) if run not in outcomes]
        died = _pool(sweep, waiting, jobs, watcher, outcomes)
        deaths.update(died)
        for run in died:
            if deaths[run] == TRIES:
                outcomes[run] = Failure(sweep.runs[run], f"its process died {TRIES} times; is there enough memory?")
                watcher.ended(run, outcomes[run])
    return [outcomes[run] for run in range(len(sweep.runs))]


def _pool(sweep: Sweep, waiting: list[int], jobs: int, watcher: Watcher, outcomes: dict[int, Outcome]) -> list[int]:
    """Carry out those runs until all have ended or a process died; the runs that were under way then."""
    memory = Board.memory(len(sweep.runs))
    board = Board(memory)
    threads = max(1, torch.get_num_threads() // jobs)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(waiting)), spawn, _begin, (sweep, memory, threads)) as pool:
        pending = {pool.submit(_work, run): run for run in waiting}
        try:
            while pending:
                _look(pending, board, watcher, outcomes)
        except BrokenProcessPool:
            # If none was under way, processes cannot even begin; the first run stands for that.
            return [run for run in board.under_way() if run not in outcomes] or waiting[:1]
        except BaseException:
            board.stop[0] = 1
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


def _look(pending: dict[Future[Outcome], int], board: Board, watcher: Watcher, outcomes: dict[int, Outcome]) -> None:
    done, _ = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
    for run in board.under_way():
        watcher.moved(run, int(board.runs[run, 1]), float(board.runs[run, 2]))
    # Results first: one of a process that died ends this.
    for future in sorted(done, key=lambda future: future.exception() is not None):
        run = pending[future]
        outcomes[run] = future.result()
        del pending[future]
        watcher.ended(run, outcomes[run])


_sweep: Sweep
_board: Board


def _begin(sweep: Sweep, memory: Array[c_double], threads: int) -> None:
    """Begin a process."""
    global _sweep, _board
    import mtl_gym  # noqa: F401 (registers the ids)

    _sweep, _board = sweep, Board(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and stops the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(run: int) -> Outcome:
    _board.runs[run] = UNDER_WAY, 0, np.nan
    outcome = _sweep.attempt(run, lambda steps, accuracy: _board.tell(run, steps, accuracy))
    _board.runs[run, 0] = ENDED
    return outcome
