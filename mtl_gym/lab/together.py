"""Runs that differ in their seed alone, trained together as one computation: results as one by one, in less time.

Agents and environments with `STACKS` allow it. Each run has its own folder with its own files; a checkpoint is that of
the run alone, so that an interrupted run resumes alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from mtl_gym.core.validation import short
from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.agents import find_agent
from mtl_gym.lab.callbacks import HeldOutCurve, PolicyRecorder
from mtl_gym.lab.environments import class_of
from mtl_gym.lab.files import CHECKPOINT, CONFIG, PROGRESS, RESULT, there
from mtl_gym.lab.fitting import fitted
from mtl_gym.lab.locks import alone_in
from mtl_gym.lab.logs import EVENTS, Events, has_tensorboard
from mtl_gym.lab.protocols import Learner
from mtl_gym.lab.records import Extras, RunResult, RunSettings
from mtl_gym.lab.resume import COSTS_APART, LEAST_APART, Checkpoints
from mtl_gym.lab.run import begin, conclude, evaluation_spacing, tidy
from mtl_gym.lab.sketches import Pace, Sketch

# Most rows of runs that are trained together.
MOST_ROWS = 4096

Tell = Callable[[int, int, float], None]


@runtime_checkable
class Stacks(Protocol):
    """A class of agents that tells whether it learns in several runs at once."""

    STACKS: bool


@runtime_checkable
class OfRuns(Protocol):
    """An agent of several runs."""

    num_timesteps: int

    def solo(self, run: int, env: VecEnv) -> Learner:
        """Return the agent of one run, in its environment."""
        ...

    def take_draws(self, solo: Learner, run: int) -> None:
        """Let a run draw on from where its own agent is."""
        ...


def units(runs: Mapping[int, RunSettings], folders: Mapping[int, Path], jobs: int = 1) -> list[list[int]]:
    """Return the numbers of the runs, those that can be trained together in one list.

    Args:
        runs: Settings by number.
        folders: Folder of each run.
        jobs: Number of processes among which one agent's runs may have to be divided.
    """
    alike: dict[str, list[int]] = {}
    for number, run in runs.items():
        alone = "" if fresh(folders[number]) and stacks(run) else f"{number}"
        alike.setdefault(f"{alone} {replace(run, seed=0)}", []).append(number)
    most = -(-len(runs) // jobs)
    return [part for numbers in alike.values() for part in _in_a_row(runs, numbers, most)]


def fresh(folder: Path) -> bool:
    """Return whether no run has begun in a folder."""
    return not any(there(folder / name) for name in (CONFIG, RESULT))


def stacks(run: RunSettings) -> bool:
    """Return whether runs with these settings and other seeds can be trained together."""
    kind = find_agent(run.agent)
    return class_of(run.env_id).STACKS and isinstance(kind, Stacks) and kind.STACKS


def _in_a_row(runs: Mapping[int, RunSettings], numbers: Sequence[int], most: int) -> list[list[int]]:
    """Divide runs into lists of consecutive seeds, none longer than `most` or than fits."""
    parts: list[list[int]] = []
    for number in sorted(numbers, key=lambda one: runs[one].seed):
        longest = max(1, min(most, MOST_ROWS // runs[number].num_envs))
        follows = parts and runs[parts[-1][-1]].seed + 1 == runs[number].seed and len(parts[-1]) < longest
        parts[-1].append(number) if follows else parts.append([number])
    return parts


def train_together(runs: Sequence[RunSettings], folders: Sequence[Path], tell: Tell, extras: Extras) -> list[RunResult]:
    """Carry out runs that differ in their seeds alone, which are consecutive.

    Args:
        runs: Settings of the runs.
        folders: Their folders.
        tell: Callback that receives the number of a run, its decisions and its last validation accuracy.
        extras: What the runs record beside their results.

    Raises:
        RunInUseError: If another process uses one of the folders.
        FileExistsError: If a run has begun.
    """
    env = runs[0].make_env(runs=len(runs))
    agent = fitted(runs[0], env)
    if not isinstance(agent, OfRuns):
        raise TypeError(f"{short(agent)} has STACKS, but no solo(run, env).")
    with ExitStack() as locks:
        for folder in folders:
            locks.enter_context(alone_in(folder))
        begun = [folder for folder in folders if not fresh(folder)]  # another process may have been here since
        if begun:
            raise FileExistsError(f"{begun[0]} contains a run; it goes on alone.")
        records = [_Record(env, run, settings, folder, extras) for run, (settings, folder) in _numbered(runs, folders)]
        together = Together(env, records, PolicyRecorder(env.batched, runs[0].steps), tell)
        agent.learn(runs[0].steps, callback=[together])
        together.end()
        results = [record.conclude(agent, together) for record in records]
    for folder in folders:
        tidy(folder)
    return results


def _numbered(runs: Sequence[RunSettings], folders: Sequence[Path]) -> list[tuple[int, tuple[RunSettings, Path]]]:
    return list(enumerate(zip(runs, folders, strict=True)))


class _Record:
    """Files that one of the runs writes."""

    def __init__(self, env: BatchedVecEnv, run: int, settings: RunSettings, folder: Path, extras: Extras) -> None:
        self.run, self.settings, self.folder, self.extras, self._all = run, settings, folder, extras, env
        begin(settings, env, folder)
        self.env = BatchedVecEnv(env.batched.of_run(run))
        self.spacing = evaluation_spacing(self.env.batched, settings.steps, extras)
        self.curve = HeldOutCurve(self.env.batched, self.spacing, folder / PROGRESS)
        self.policies = PolicyRecorder(self.env.batched, settings.steps)
        self.checkpoints = Checkpoints(folder / CHECKPOINT, self.env, self.curve, self.policies)
        self.sketch = Sketch(self.env.batched, settings, folder)

    def refresh(self, agent: OfRuns, together: Together) -> Learner:
        """Bring environment and callbacks up to now, and return the agent of the run."""
        self.checkpoints.set_seconds(*together.shares)
        self.policies.take(together.policies, self.run)
        self.env.take_statistics(self._all, self.run)
        self._all.batched.of_run(self.run)
        alone = agent.solo(self.run, self.env)
        for callback in (self.curve, self.policies, self.checkpoints):
            callback.model = alone  # type: ignore[assignment]
            callback.num_timesteps = agent.num_timesteps
        return alone

    def conclude(self, agent: OfRuns, together: Together) -> RunResult:
        """Write what remains after training."""
        alone = self.refresh(agent, together)
        if self.extras.events and has_tensorboard():
            events = Events(self.folder / EVENTS, 0)
            for row in self.curve.rows:
                shown = {"validation/accuracy": row["accuracy"]}
                events.write(shown, dict.fromkeys(shown, ()), row["steps"])
        return conclude(self.settings, self.folder, self.env, alone, self.checkpoints, self.policies, self.extras)


class Together(BaseCallback):
    """Curves, policies and checkpoints of all runs."""

    def __init__(self, env: BatchedVecEnv, records: Sequence[_Record], policies: PolicyRecorder, tell: Tell) -> None:
        super().__init__()
        self.env, self.records, self.policies, self.tell = env, records, policies, tell
        self._away = self._cost = 0.0
        self._ended: tuple[float, float] | None = None
        self._pace = Pace()
        self._start_clocks()

    def _start_clocks(self) -> None:
        self._start = self._saved = time.perf_counter()
        self._cpu_start = time.process_time()

    def init_callback(self, model: object) -> Self:  # type: ignore[override]
        """Begin, with the recorder of policies."""
        super().init_callback(model)  # type: ignore[arg-type]
        self.policies.init_callback(model)  # type: ignore[arg-type]
        return self

    @property
    def shares(self) -> tuple[float, float]:
        """Seconds and processor seconds of each run, the former without evaluations, pictures and checkpoints."""
        seconds, cpu = time.perf_counter() - self._start - self._away, time.process_time() - self._cpu_start
        return self._ended or (seconds / len(self.records), cpu / len(self.records))

    def end(self) -> None:
        """Stop the clocks after training."""
        self._ended = self.shares

    def _on_training_start(self) -> None:
        self._start_clocks()
        self.policies.on_training_start(self.locals, self.globals)

    def _on_rollout_start(self) -> None:
        if self.n_calls and time.perf_counter() > self._saved + max(LEAST_APART, COSTS_APART * self._cost):
            self._cost = self._aside(lambda record: record.checkpoints.keep())
            self._saved = time.perf_counter()

    def _on_step(self) -> bool:
        self.policies.update_locals(self.locals)
        self.policies.on_step()
        spacing, shown = self.records[0].spacing, self.env.batched
        parts = int(shown.epoch) if spacing is None else self.num_timesteps // spacing
        if parts > self.records[0].curve.evaluated:
            self._aside(lambda record: record.curve.evaluate(parts))
        if self.records[0].extras.pictures and self._pace.due:
            self._pace.took(self._aside(lambda record: record.sketch.draw(self.num_timesteps)))
        for record in self.records:
            rows = record.curve.rows
            self.tell(record.run, self.num_timesteps, rows[-1]["accuracy"] if rows else float("nan"))
        return True

    def _aside(self, act: Callable[[_Record], None]) -> float:
        """Do something for every run beside training; return the seconds that it took."""
        start = time.perf_counter()
        agent: object = self.model
        assert isinstance(agent, OfRuns)
        for record in self.records:
            alone = record.refresh(agent, self)
            act(record)
            agent.take_draws(alone, record.run)
        taken = time.perf_counter() - start
        self._away += taken
        return taken
