"""Where a run's figures go while it trains: TensorBoard events in its folder, and Weights and Biases if asked."""

from __future__ import annotations

import inspect
import io
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from mtl_gym.core.rows import State
from mtl_gym.lab.protocols import Logged

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunSettings

EVENTS = "tensorboard"


class Events(KVWriter):
    """TensorBoard events of a run that may go on after a kill: what was logged beyond `done` decisions is purged.

    SB3's own writer leaves a file to a thread, from which a full disk reaches nobody but as a traceback.

    Args:
        folder: Where the events go.
        done: Decisions that the run has made already.
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
        """Nothing is kept open."""


class WandbRun(KVWriter):
    """Weights and Biases as an output of SB3's logger.

    Args:
        settings: The run, which becomes the configuration.
        project: Its project.
        folder: Where Weights and Biases keeps its files.

    Raises:
        ImportError: If wandb is not installed.
    """

    def __init__(self, settings: RunSettings, project: str, folder: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError("Weights and Biases is not installed: pip install 'mtl-gym[wandb]'.") from error
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
    """What can be drawn as a curve.

    Example:
        >>> numbers({"train/loss": np.float32(0.5), "time/name": "run"})
        {'train/loss': 0.5}
    """
    return {key: float(value) for key, value in key_values.items() if isinstance(value, (int, float, np.number))}


class RunLogger(Logger):
    """SB3's logger with a state: what is recorded and not yet written belongs to the run, as does the pace of writing.

    Args:
        folder: Of the run.
        outputs: Where tables go.
        every: Only every so many tables are written; the others are overwritten by what is recorded after them.
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
        """The numbers that wait to be written, and the count of tables; plain values."""
        values = numbers(self.name_to_value)
        excluded = {name: list(self.name_to_excluded[name]) for name in values}
        counts = {name: count for name, count in self.name_to_count.items() if name in values}
        return {"values": values, "excluded": excluded, "counts": counts, "tables": self.tables}

    def load_state_dict(self, state: State) -> None:
        """Undo `state_dict`."""
        self.name_to_value.update(state["values"])
        self.name_to_excluded.update({name: tuple(outputs) for name, outputs in state["excluded"].items()})
        self.name_to_count.update(state["counts"])
        self.tables = int(state["tables"])


def logger_of(settings: RunSettings, out: Path, done: int, wandb: str | None, every: int = 1) -> RunLogger:
    """The logger of a run that has made `done` decisions: events in its folder, and in the project `wandb` if given."""
    outputs: list[KVWriter] = [Events(out / EVENTS, done)]
    if wandb is not None:
        outputs.append(WandbRun(settings, wandb, out))
    return RunLogger(out, outputs, every)


@contextmanager
def logging_to(
    agent: object, settings: RunSettings, out: Path, done: int, wandb: str | None
) -> Iterator[dict[str, int]]:
    """Let an agent that takes SB3's loggers log there; one that does not is left alone.

    Yields:
        Arguments for its `learn`. SB3's on-policy algorithms count the rollouts between two tables anew in every call,
        so that they are asked for all tables, and the logger, whose count goes on, picks those that are written.
    """
    if not isinstance(agent, Logged):
        yield {}
        return
    interval = inspect.signature(agent.learn).parameters.get("log_interval")
    counted = isinstance(agent, OnPolicyAlgorithm) and interval is not None
    logger = logger_of(settings, out, done, wandb, interval.default if counted and interval is not None else 1)
    agent.set_logger(logger)
    try:
        yield {"log_interval": 1} if counted else {}
    finally:
        logger.close()
