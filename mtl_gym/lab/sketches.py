"""Pictures of runs while they train, which those of the finished runs replace."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.lab.pictures import title_of, write_picture
from mtl_gym.lab.records import RunSettings

logger = logging.getLogger(__name__)

# Time between two drawings: a multiple of the time that the last one took, and a minimum in seconds.
COSTS_APART, LEAST_APART = 20, 10.0


class Pace:
    """Times of drawing: none in the first ten seconds, then at most a twentieth of the time."""

    def __init__(self) -> None:
        self._due = time.perf_counter() + LEAST_APART

    @property
    def due(self) -> bool:
        """Return whether it is time to draw."""
        return time.perf_counter() > self._due

    def took(self, seconds: float) -> None:
        """Set the next time after a drawing that took some seconds."""
        self._due = time.perf_counter() + max(LEAST_APART, COSTS_APART * seconds)


class Sketch:
    """Pictures of a run under way.

    Args:
        env: The environment.
        settings: Settings of the run.
        out: Folder of the pictures.
    """

    def __init__(self, env: MultiTaskVectorEnv, settings: RunSettings, out: Path) -> None:
        self._env, self._title, self._out = env, title_of(settings), out
        self._fails = False

    def draw(self, decisions: int) -> None:
        """Draw the run after a number of decisions; it goes on without pictures if they cannot be drawn."""
        if self._fails:
            return
        try:
            figures = self._env.training_pictures(f"{self._title}: training after {decisions:,}")
            for name, figure in figures.items():
                write_picture(figure, self._out / name)
        except Exception:  # whatever is wrong with a picture must not end a training
            self._fails = True
            logger.warning("The run goes on without pictures until its end: they cannot be drawn.", exc_info=True)


class Sketches(BaseCallback):
    """Drawing of a run at its pace.

    Args:
        sketch: The pictures.
        set_aside: Callback that receives the seconds of each drawing, which are none of the training.
    """

    def __init__(self, sketch: Sketch, set_aside: Callable[[float], object]) -> None:
        super().__init__()
        self._sketch, self._set_aside, self._pace = sketch, set_aside, Pace()

    def _on_step(self) -> bool:
        if self._pace.due:
            start = time.perf_counter()
            self._sketch.draw(self.num_timesteps)
            seconds = time.perf_counter() - start
            self._set_aside(seconds)
            self._pace.took(seconds)
        return True
