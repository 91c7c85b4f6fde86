"""Where a run's figures go while it trains: TensorBoard events in its folder, and Weights and Biases if asked."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger

if TYPE_CHECKING:
    from mtl_gym.experiments.records import RunSettings

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

    def _add(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **fields).SerializeToString())
        with self.path.open("ab") as file:
            file.write(record.getvalue())

    def write(
        self, key_values: dict[str, Any], key_excluded: Mapping[str, tuple[str, ...] | str], step: int = 0
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
        self, key_values: dict[str, Any], key_excluded: Mapping[str, tuple[str, ...] | str], step: int = 0
    ) -> None:
        """Send the numbers of one table."""
        self.run.log(numbers(key_values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self.run.finish()


def numbers(key_values: Mapping[str, Any]) -> dict[str, float]:
    """What can be drawn as a curve.

    Example:
        >>> numbers({"train/loss": np.float32(0.5), "time/name": "run"})
        {'train/loss': 0.5}
    """
    return {key: float(value) for key, value in key_values.items() if isinstance(value, (int, float, np.number))}


def logger_of(settings: RunSettings, out: Path, done: int, wandb: str | None) -> Logger:
    """The logger of a run that has made `done` decisions: events in its folder, and in the project `wandb` if given."""
    outputs: list[KVWriter] = [Events(out / EVENTS, done)]
    if wandb is not None:
        outputs.append(WandbRun(settings, wandb, out))
    return Logger(str(out), outputs)


@contextmanager
def logging_to(agent: Any, settings: RunSettings, out: Path, done: int, wandb: str | None) -> Iterator[None]:
    """Let an agent that takes SB3's loggers log there; one that does not is left alone."""
    if not hasattr(agent, "set_logger"):
        yield
        return
    logger = logger_of(settings, out, done, wandb)
    agent.set_logger(logger)
    try:
        yield
    finally:
        logger.close()
