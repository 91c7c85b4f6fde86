"""Execution of a sweep on Ray, on this machine or on several that share a folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from types import ModuleType
from typing import Protocol

from mtl_gym.core.extras import needed_by
from mtl_gym.lab.sweep import Failure, Outcome, Sweep, Watcher

# Number of times that a run is resumed after its worker died.
RETRIES = 3
SECONDS_BETWEEN_LOOKS = 1.0


class ActorBoard:
    """Progress of the runs, kept in an actor."""

    def __init__(self) -> None:
        self.runs: dict[int, tuple[int, float]] = {}

    def tell(self, run: int, steps: int, accuracy: float) -> None:
        """Store the progress of a run."""
        self.runs[run] = steps, accuracy

    def read(self) -> dict[int, tuple[int, float]]:
        """Return decisions and last accuracy of the runs that moved since the last call."""
        moved, self.runs = self.runs, {}
        return moved


class Remote(Protocol):
    """A method that Ray calls in another process."""

    def remote(self, *arguments: object) -> object:
        """Start a call."""
        ...


class BoardActor(Protocol):
    """Handle of an `ActorBoard` in a Ray actor."""

    @property
    def tell(self) -> Remote:
        """Remote method `ActorBoard.tell`."""
        ...


def on_ray(sweep: Sweep, address: str, watcher: Watcher) -> list[Outcome]:
    """Carry out the runs as Ray tasks, and return their outcomes in order.

    Args:
        sweep: The runs; all machines must share their folder.
        address: Address of the cluster for `ray.init`; "local" starts one on this machine.
        watcher: Receiver of progress and outcomes.

    Raises:
        MissingExtraError: If Ray is not installed.
        ConnectionError: If there is no cluster at that address.
    """
    ray = _ray()
    options = {"include_dashboard": False} if address == "local" else {}
    ray.init(address, log_to_driver=False, logging_level="warning", configure_logging=False, **options)
    sweep.out.mkdir(parents=True, exist_ok=True)
    try:
        return _carry_out(ray, sweep, watcher)
    finally:
        ray.shutdown()


def _carry_out(ray: ModuleType, sweep: Sweep, watcher: Watcher) -> list[Outcome]:
    # With the driver: were it on a machine that is lost, the sweep would stop.
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    board = ray.remote(num_cpus=0, scheduling_strategy=here)(ActorBoard).remote()
    work = ray.remote(num_cpus=1, max_retries=RETRIES)(_work)
    shared = ray.put(sweep)  # once: with every task, time and memory would grow with the square of the runs
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    pending = {work.remote(shared, unit, board): unit for unit in sweep.units(range(len(sweep.runs)), cores)}
    outcomes: dict[int, Outcome] = {}
    while pending:
        done, _ = ray.wait(list(pending), num_returns=len(pending), timeout=SECONDS_BETWEEN_LOOKS)
        for run, (steps, accuracy) in ray.get(board.read.remote()).items():
            if run not in outcomes:
                watcher.moved(run, steps, accuracy)
        for task in done:
            unit = pending.pop(task)
            for run, outcome in zip(unit, _outcomes(ray, task, sweep, unit), strict=True):
                outcomes[run] = outcome
                watcher.ended(run, outcome)
    return [outcomes[run] for run in range(len(sweep.runs))]


def _outcomes(ray: ModuleType, task: object, sweep: Sweep, unit: Sequence[int]) -> Sequence[Outcome]:
    try:
        outcomes: Sequence[Outcome] = ray.get(task)
    except ray.exceptions.RayError as error:
        why = f"Ray gave up after {RETRIES} retries: {str(error).splitlines()[0]}"
        return [Failure(sweep.runs[run], why) for run in unit]
    return outcomes


def _work(sweep: Sweep, unit: Sequence[int], board: BoardActor) -> list[Outcome]:
    import mtl_gym  # noqa: F401 (registers the ids)

    if not sweep.out.is_dir():
        why = f"{sweep.out} does not exist on this machine; give a folder that all machines share."
        return [Failure(sweep.runs[run], why) for run in unit]
    told: dict[int, float] = {}

    def tell(run: int, steps: int, accuracy: float) -> None:
        if time.perf_counter() - told.get(run, 0.0) > SECONDS_BETWEEN_LOOKS:
            told[run] = time.perf_counter()
            board.tell.remote(run, steps, accuracy)

    # A unit is begun anew after its worker has died, and then its runs resume one by one.
    fresh = sweep.units(unit)
    return list(chain.from_iterable(sweep.attempt(part, tell) for part in fresh))


def _ray() -> ModuleType:
    with needed_by("A cluster"):
        import ray
    return ray
