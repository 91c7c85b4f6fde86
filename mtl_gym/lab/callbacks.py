"""Stable-Baselines3 callbacks of a run: validation curve, recorded policies, and progress."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.evaluation import evaluate
from mtl_gym.core.policies import PolicyHistory
from mtl_gym.core.rows import AnyEnv, AnyVectorEnv, Info, State
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.core.validation import short
from mtl_gym.core.wrappers import base_of
from mtl_gym.integrations.sb3 import Infos
from mtl_gym.lab.protocols import Diagnosed, Tabular

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

Wrapped: TypeAlias = "AnyEnv | AnyVectorEnv | VecEnv"

DIAGNOSTICS = ("policy_max", "policy_entropy")
MOMENTS = 200
# Number of first steps over which moments are about as dense as steps.
DENSE_STEPS = 30


class HeldOutCurve(BaseCallback):
    """Evaluation of the learning agent on held-out data at equal intervals.

    Unlike SB3's `EvalCallback`, it evaluates the network in training, on data that never trains this network. An agent
    can add `policy_max` and `policy_entropy` of its policy through the dictionary `diagnostics`.

    Args:
        env: The training environment, wrapped or not, as for `evaluate`.
        every: Decisions between two evaluations; None evaluates after every pass over the training data.
        path: CSV file, rewritten after each evaluation, or None.
        split: Split of the data; default "validation", so that the test split serves only once, at the end.

    Attributes:
        rows: One dictionary per evaluation.
        evaluated: Number of the last evaluation.
        seconds: Seconds of evaluation, to be subtracted from training time.
    """

    def __init__(self, env: Wrapped, every: int | None, path: Path | None = None, split: str = "validation") -> None:
        super().__init__()
        self.env, self._wrapped, self.every, self.path, self.split = base_of(env), env, every, path, split
        self.rows: list[Info] = []
        self.seconds = 0.0
        self.evaluated = 0

    def _on_step(self) -> bool:
        parts = int(self.env.epoch) if self.every is None else self.num_timesteps // self.every
        if parts > self.evaluated:
            self.evaluate(parts)
        return True

    def evaluate(self, parts: int) -> None:
        """Evaluate now, which is evaluation number `parts`."""
        self.evaluated = parts
        self._evaluate()

    def state_dict(self) -> State:
        """Return the evaluations as plain values, with the seconds of all processes of the run."""
        return {"rows": [dict(row) for row in self.rows], "seconds": self.seconds, "evaluated": self.evaluated}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`.

        Raises:
            ValueError: If the rows do not form a table.
        """
        rows = state["rows"]
        if not (isinstance(rows, list) and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)):
            raise ValueError(f"The curve is {short(rows)}; it takes a list of mappings with equal keys.")
        self.rows, self.seconds, self.evaluated = list(rows), state["seconds"], state["evaluated"]

    def _evaluate(self) -> None:
        start = time.perf_counter()
        result = evaluate(self.model, self._wrapped, self.split)
        row: Info = {"steps": self.num_timesteps, "epoch": self.env.epoch}
        row |= {"accuracy": result.mean_accuracy, "loss": result.mean_loss, "figure": result.figure}
        row["blocks_used"] = result.figures.get("blocks_used")
        row |= {name: result.figures[name] for name in self.env.CURVES}
        told = self.model.diagnostics if isinstance(self.model, Diagnosed) else {}
        row |= {name: told.get(name) for name in DIAGNOSTICS}
        row |= {f"accuracy/{name}": value for name, value in zip(result.task_names, result.accuracy, strict=True)}
        self.rows.append(row)
        self.logger.record(f"{self.split}/accuracy", result.mean_accuracy)
        self.logger.record(f"{self.split}/figure", result.figure)
        if self.path is not None:
            self._write(self.path)
        self.seconds += time.perf_counter() - start

    def _write(self, path: Path) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[0]))
        table.writeheader()
        table.writerows(self.rows)
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))


class PolicyRecorder(BaseCallback):
    """Record of a tabular router's policy at about 200 moments of its training, denser at the start.

    It records nothing for agents whose `policy` is not an array [tasks, depth, choices], and in environments with
    `keeps_policies` false.

    Args:
        env: The training environment.
        steps: Number of decisions of the training.

    Attributes:
        samples: Finished episodes per task of all runs, int64 [tasks].
    """

    def __init__(self, env: MultiTaskVectorEnv, steps: int) -> None:
        super().__init__()
        self.samples = np.zeros(env.runs * len(env.task_names), np.int64)
        self._keeps, self._runs = env.keeps_policies, env.runs
        self._first = np.repeat(np.arange(env.runs) * len(env.task_names), env.rows_per_run)
        self._moments = set(moments(-(-steps // env.rows_per_run)))
        self._kept: list[tuple[int, NDArray[np.int64], NDArray[np.float32]]] = []

    def history(self) -> PolicyHistory | None:
        """Return the recorded policies; None for an agent without a table."""
        if not self._kept:
            return None
        decisions, samples, policy = zip(*self._kept, strict=True)
        return PolicyHistory(np.array(decisions), np.stack(samples), np.stack(policy))

    def take(self, whole: PolicyRecorder, run: int) -> None:
        """Take over what a recorder of several runs has recorded of one."""
        part = slice(run * len(self.samples), (run + 1) * len(self.samples))
        self.samples, self.n_calls = whole.samples[part].copy(), whole.n_calls
        self._kept = [(decisions, n[part], policy[part]) for decisions, n, policy in whole._kept]

    def state_dict(self) -> State:
        """Return the recorded policies as tensors and plain values."""
        kept = [(decisions, torch.from_numpy(n), torch.from_numpy(policy)) for decisions, n, policy in self._kept]
        return {"samples": torch.from_numpy(self.samples.copy()), "kept": kept, "calls": self.n_calls}

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`."""
        self.samples, self.n_calls = state["samples"].numpy().copy(), state["calls"]
        self._kept = [(decisions, n.numpy(), policy.numpy()) for decisions, n, policy in state["kept"]]

    def _on_training_start(self) -> None:
        if not self._kept:
            self._keep()

    def _on_step(self) -> bool:
        if self._kept:
            self._count()
            if self.n_calls in self._moments:
                self._keep()
        return True

    def _count(self) -> None:
        infos, dones = self.locals.get("infos", ()), self.locals.get("dones", ())
        if isinstance(infos, Infos):
            tasks = infos.transition.final_info["task"] if dones.any() else np.zeros(len(dones), np.int64)
            ended = (tasks + self._first)[dones]
        else:
            ended = np.array([info["task"] for info, done in zip(infos, dones, strict=True) if done], np.int64)
        self.samples += np.bincount(ended, minlength=len(self.samples))

    def _keep(self) -> None:
        policy = self.model.policy if self._keeps and isinstance(self.model, Tabular) else None
        if isinstance(policy, np.ndarray) and policy.ndim == 3 and len(policy) == len(self.samples):
            self._kept.append((self.num_timesteps, self.samples.copy(), policy.astype(np.float32)))


def moments(steps: int) -> list[int]:
    """Return about 200 of the steps 1 to `steps`, ascending, with growing gaps, and including the last.

    Example:
        >>> moments(3), moments(30_000)[:4], len(moments(30_000)), moments(30_000)[-2:]
        ([1, 2, 3], [1, 2, 3, 4], 200, [28980, 30000])
    """
    if steps <= MOMENTS:
        return list(range(1, steps + 1))
    spaced = np.geomspace(DENSE_STEPS, DENSE_STEPS + steps, MOMENTS + 1)[1:] - DENSE_STEPS
    return [int(step) for step in np.unique(spaced.round()) if step]


class ProgressReporter(BaseCallback):
    """Report of decisions and last accuracy (NaN before the first evaluation) to a function at every step."""

    def __init__(self, tell: Callable[[int, float], None], curve: HeldOutCurve) -> None:
        super().__init__()
        self.tell, self.curve = tell, curve

    def _on_step(self) -> bool:
        self.tell(self.num_timesteps, self.curve.rows[-1]["accuracy"] if self.curve.rows else float("nan"))
        return True
