"""Stable-Baselines3 callbacks that every agent takes: held-out evaluation while training, and progress."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from mtl_gym.checkpoint import write_atomically
from mtl_gym.evaluation import evaluate
from mtl_gym.vector import MultiTaskVectorEnv


class HeldOutCurve(BaseCallback):
    """Evaluates the learning agent on held-out data, evenly spaced over its training.

    Unlike SB3's `EvalCallback` it evaluates the network that is being trained, on data that never trains it.

    Args:
        env: The environment that is trained.
        every: Decisions between two evaluations.
        path: CSV file that is written anew after each, or None.
        split: The data; "validation", so that the test split is looked at once, at the end.

    Attributes:
        rows: One dictionary per evaluation.
        seconds: Spent evaluating, to be left out of training times.
    """

    def __init__(
        self, env: MultiTaskVectorEnv, every: int, path: Path | None = None, split: str = "validation"
    ) -> None:
        super().__init__()
        self.env, self.every, self.path, self.split = env, every, path, split
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._next = every

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self._evaluate()
        return True

    def _evaluate(self) -> None:
        start = time.perf_counter()
        result = evaluate(self.model, self.env, self.split)
        row: dict[str, Any] = {"steps": self.num_timesteps, "accuracy": result.mean_accuracy, "loss": result.mean_loss}
        row["blocks_used"] = result.figures.get("blocks_used")
        row |= {f"accuracy/{name}": value for name, value in zip(result.task_names, result.accuracy, strict=True)}
        self.rows.append(row)
        self.logger.record(f"{self.split}/accuracy", result.mean_accuracy)
        if self.path is not None:
            self._write(self.path)
        self.seconds += time.perf_counter() - start

    def _write(self, path: Path) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[0]))
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))


class Progress(BaseCallback):
    """Tells a function how many decisions have been made."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()
        self.tell = tell

    def _on_step(self) -> bool:
        self.tell(self.num_timesteps)
        return True
