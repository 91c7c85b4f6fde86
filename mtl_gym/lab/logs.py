"""Logging of a run in training: TensorBoard events in its folder, and optionally Weights & Biases."""

from __future__ import annotations

import inspect
import io
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mtl_gym.core.extras import MissingExtraError, needed_by, require
from mtl_gym.core.rows import State
from mtl_gym.lab.protocols import Logged

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunSettings

logger = logging.getLogger(__name__)

EVENTS = "tensorboard"


class Events(KVWriter):
    """TensorBoard events of a resumable run; events beyond `done` decisions are purged.

    SB3's own writer writes in a thread, which swallows disk-full errors.

    Args:
        folder: Folder of the events.
        done: Decisions before the run was resumed; 0 for a new run.
    """

    def __init__(self, folder: Path, done: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._add(file_version="brain.Event:2")
        if done:
            from tensorboard.compat.proto.event_pb2 import SessionLog

            self._add(step=done + 1, session_log=SessionLog(status=SessionLog.START))

    def _add(self, **fields: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **fields).SerializeToString())
        with self.path.open("ab") as file:
            file.write(record.getvalue())

    def write(
        self, key_values: dict[str, object], key_excluded: Mapping[str, tuple[str, ...] | str], step: int = 0
    ) -> None:
        """Write the numbers of one table."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        shown = {key: value for key, value in key_values.items() if "tensorboard" not in (key_excluded[key] or ())}
        values = [Summary.Value(tag=key, simple_value=value) for key, value in numbers(shown).items()]
        self._add(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """Do nothing, because no file stays open."""


class WandbRun(KVWriter):
    """Weights & Biases as an output of SB3's logger.

    Args:
        settings: Settings of the run, stored as its configuration.
        project: Name of the project.
        folder: Folder for the files of Weights & Biases.

    Raises:
        MissingExtraError: If wandb is not installed.
    """

    def __init__(self, settings: RunSettings, project: str, folder: Path) -> None:
        with needed_by("Weights & Biases"):
            import wandb
        name = f"{settings.name}-seed-{settings.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            project=project,
            name=name,
            group=settings.env_id,
            config=asdict(settings),
            dir=str(folder),
            reinit="create_new",
        )

    def write(
        self, key_values: dict[str, object], key_excluded: Mapping[str, tuple[str, ...] | str], step: int = 0
    ) -> None:
        """Send the numbers of one table."""
        self.run.log(numbers(key_values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


def numbers(key_values: Mapping[str, object]) -> dict[str, float]:
    """Return the numeric values, which can be drawn as curves.

    Example:
        >>> numbers({"train/loss": np.float32(0.5), "time/name": "run"})
        {'train/loss': 0.5}
    """
    return {key: float(value) for key, value in key_values.items() if isinstance(value, (int, float, np.number))}


class RunLogger(Logger):
    """SB3's logger with a state, which has the recorded but unwritten values and the count of tables.

    Args:
        folder: Folder of the run.
        outputs: Writers of the tables.
        every: Interval of written tables; later values replace the values of tables in between.
    """

    def __init__(self, folder: Path, outputs: list[KVWriter], every: int = 1) -> None:
        super().__init__(str(folder), outputs)
        self.every, self.tables = every, 0

    def dump(self, step: int = 0) -> None:
        """Write the table if it is due."""
        self.tables += 1
        if self.tables % self.every == 0:
            super().dump(step)

    def state_dict(self) -> State:
        """Return the unwritten numbers and the count of tables as plain values."""
        values = numbers(self.name_to_value)
        excluded = {name: list(self.name_to_excluded[name]) for name in values}
        counts = {name: count for name, count in self.name_to_count.items() if name in values}
        return {"values": values, "excluded": excluded, "counts": counts, "tables": self.tables}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`."""
        self.name_to_value.update(state["values"])
        self.name_to_excluded.update({name: tuple(outputs) for name, outputs in state["excluded"].items()})
        self.name_to_count.update(state["counts"])
        self.tables = int(state["tables"])


@cache
def has_tensorboard() -> bool:
    """Return whether TensorBoard is installed; otherwise log this once per process, as information."""
    try:
        require("Logging of runs as events", "tensorboard")
    except MissingExtraError as error:
        logger.info("%s Runs are trained without it.", error)
        return False
    return True


def logger_of(
    settings: RunSettings, out: Path, done: int, wandb: str | None, every: int = 1, events: bool = True
) -> RunLogger:
    """Return the logger of a run after `done` decisions, which writes to the project `wandb` if given.

    With `events` it also writes events into the folder of the run if TensorBoard is installed.
    """
    outputs: list[KVWriter] = [Events(out / EVENTS, done)] if events and has_tensorboard() else []
    if wandb is not None:
        outputs.append(WandbRun(settings, wandb, out))
    return RunLogger(out, outputs, every)


@contextmanager
def logging_to(
    agent: object, settings: RunSettings, out: Path, done: int, wandb: str | None, events: bool = True
) -> Iterator[dict[str, int]]:
    """Set the logger of an agent that accepts SB3's loggers; leave other agents unchanged.

    Yields:
        Arguments for the agent's `learn`. SB3's on-policy algorithms restart the count of rollouts between tables in
        every call. They therefore dump every table, and the logger, which keeps its count, writes only some.
    """
    if not isinstance(agent, Logged):
        yield {}
        return
    interval = inspect.signature(agent.learn).parameters.get("log_interval")
    counted = isinstance(agent, OnPolicyAlgorithm) and interval is not None
    every = interval.default if counted and interval is not None else 1
    logger = logger_of(settings, out, done, wandb, every, events)
    agent.set_logger(logger)
    try:
        yield {"log_interval": 1} if counted else {}
    finally:
        logger.close()
