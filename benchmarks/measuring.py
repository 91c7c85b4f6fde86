"""Shared parts of the benchmarks: alternating timings, synthetic data, and Markdown tables."""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.options import choose_device
from mtl_gym.data import MultiTaskDataset, Split

Name = TypeVar("Name", bound=Hashable)

SKEWS = ("even", "zipf", "90% on one", "all on one")


@dataclass(frozen=True)
class Timing:
    """Duration of a call in every round.

    Attributes:
        seconds: Seconds per call, float64 [rounds].
    """

    seconds: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median."""
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(high - low) / self.median

    def speed_against(self, other: Timing) -> float:
        """Return the speed relative to `other`, median over rounds in which both were measured."""
        return float(np.median(other.seconds / self.seconds))

    def share_beyond(self, *parts: Timing) -> float:
        """Return the share of the time that is not spent in `parts`, median over rounds."""
        return float(np.median(1 - sum(part.seconds for part in parts) / self.seconds))


def alternate(ways: Mapping[Name, Callable[[], object]], rounds: int, seconds: float) -> dict[Name, Timing]:
    """Time several functions in turn, so that disturbances of the machine affect all of them.

    Args:
        ways: Functions by name.
        rounds: Number of turns of each function, in random order within a round.
        seconds: Approximate duration of a turn; faster functions are called more often.
    """
    calls = {name: _calls_within(seconds, way) for name, way in ways.items()}
    taken: dict[Name, list[float]] = {name: [] for name in ways}
    names, random = list(ways), np.random.default_rng(0)
    for _ in range(rounds + 1):
        for name in (names[place] for place in random.permutation(len(names))):
            taken[name].append(_time(ways[name], calls[name]))
    # The first round is a warm-up, in which memory is allocated.
    return {name: Timing(np.array(times[1:])) for name, times in taken.items()}


def _calls_within(seconds: float, way: Callable[[], object]) -> int:
    way()
    return max(1, round(seconds / _time(way, 1)))


def _time(way: Callable[[], object], calls: int) -> float:
    start = now()
    for _ in range(calls):
        way()
    return (now() - start) / calls


def now() -> float:
    """Return the seconds of a clock once a GPU, if this process uses one, has done all that was asked of it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def resident_mebibytes() -> float:
    """Return the resident memory of this process in MiB, or its maximum on systems that report only that."""
    table_of_pages = Path("/proc/self/statm")
    if table_of_pages.exists():
        return int(table_of_pages.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers have three significant digits."""
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return `share` in whole per cent."""
    return f"{share:.0%}"


def parser(description: str | None, rounds: int, seconds: float) -> argparse.ArgumentParser:
    """Return a parser with the arguments of every benchmark."""
    made = argparse.ArgumentParser(
        description=(description or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--rounds", type=int, default=rounds, help="turns of each measured function")
    made.add_argument("--seconds", type=float, default=seconds, help="approximate duration of a turn")
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    made.add_argument("--device", type=_device, default="cpu", help="device of networks and data: cpu, cuda, cuda:1")
    return made


def _device(name: str) -> torch.device:
    try:
        return choose_device(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def begin(title: str, arguments: argparse.Namespace) -> None:
    """Set the threads and the GPU, and print versions and settings."""
    torch.set_num_threads(arguments.threads)
    if arguments.device.type == "cuda" and arguments.device.index is not None:
        torch.cuda.set_device(arguments.device)
    torch.manual_seed(0)
    print(f"## {title}\n")
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {_told(arguments.device)}, "
        f"{arguments.threads} threads, medians of {arguments.rounds} rounds.\n",
        flush=True,
    )


def _told(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def routes(skew: str, blocks: int, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.int64]:
    """Draw choices of blocks with a distribution of `SKEWS`; int64 [*shape]."""
    weights = {
        "even": np.ones(blocks),
        "zipf": 1 / np.arange(1, blocks + 1),
        "90% on one": np.array([9.0 * max(blocks - 1, 1), *np.ones(blocks - 1)]),
        "all on one": np.eye(blocks)[0],
    }[skew]
    return random.choice(blocks, shape, p=weights / weights.sum())


def random_images(rows: int = 10_000, tasks: int = 20, classes: int = 5, size: int = 32) -> MultiTaskDataset:
    """Return noise in the shape of CIFAR-100's twenty tasks: uint8 [rows, 3, size, size]."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (rows, 3, size, size), dtype=torch.uint8, generator=generator)
    mean, std = torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 73.9)
    return _random_labels("random images", images, tasks, classes, mean, std)


def random_features(rows: int = 10_000, tasks: int = 20, classes: int = 5, size: int = 128) -> MultiTaskDataset:
    """Return noise in the shape of a trunk's outputs: float32 [rows, size]."""
    features = torch.randn(rows, size, generator=torch.Generator().manual_seed(0))
    return _random_labels("random features", features, tasks, classes, torch.zeros(size), torch.ones(size))


def _random_labels(
    name: str, x: torch.Tensor, tasks: int, classes: int, mean: torch.Tensor, std: torch.Tensor
) -> MultiTaskDataset:
    row = torch.arange(len(x))
    everything = Split(x=x, task=row % tasks, y=row // tasks % classes)
    part = slice(0, tasks * classes)
    little = Split(x=x[part], task=everything.task[part], y=everything.y[part])
    task_names = tuple(f"task {task}" for task in range(tasks))
    class_names = (tuple(str(label) for label in range(classes)),) * tasks
    splits = {"train": everything, "validation": little, "test": little}
    return MultiTaskDataset(name, splits, task_names, class_names, mean, std)
