"""Transfer to held-out tasks: train on all others, freeze the encoder, and cross-validate a new head.

Source: QLS, section 5.1 and table 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mtl_gym.core.evaluation import roll_out
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.data import MultiTaskDataset
from mtl_gym.data.task_numbers import task_number
from mtl_gym.lab.files import AGAIN, read_mapping, reading, there
from mtl_gym.lab.locks import alone_in
from mtl_gym.lab.records import RunSettings, built, require, settings_of
from mtl_gym.lab.sheets import write_csv, write_markdown

FOLDS = 5
# Percent-encoding of characters that are not allowed in file names.
UNFIT = {ord(letter): f"%{ord(letter):02X}" for letter in "%/\\\0"}


@dataclass(frozen=True)
class Transfer:
    """Transfer accuracy of the encoders of one agent and seed to a held-out task.

    Attributes:
        settings: Settings of the training on the other tasks.
        task: Name of the held-out task.
        folds: Accuracy of the new head on each fold, mean over training runs.
    """

    settings: RunSettings
    task: str
    folds: list[float]

    @property
    def accuracy(self) -> float:
        """Mean over folds."""
        return float(np.mean(self.folds))


def tasks_of(settings: RunSettings) -> tuple[str, ...]:
    """Return the names of the tasks that can be held out.

    Raises:
        ValueError: If the environment does not support transfer, or an option excludes it.
    """
    return _data(settings).task_names


def _data(settings: RunSettings) -> MultiTaskDataset:
    data = settings.make_env().batched.transferable
    if data is None:
        raise ValueError(
            f"{settings.env_id} does not support transfer: none of its tasks can be held out. Choose another one."
        )
    return data


def transfer(settings: RunSettings, task: str, out: Path) -> Transfer:
    """Measure the transfer to one task, or read the measurement if `out` contains it.

    Args:
        settings: Settings of the training on the other tasks.
        task: Name of the held-out task.
        out: Folder of the table.

    Raises:
        ValueError: If the task does not exist.
        FileExistsError: If `out` contains a measurement with other settings.
        CheckpointError: If the file cannot be read.
    """
    path = out / settings.name / f"seed-{settings.seed}" / f"{task.translate(UNFIT)}.json"
    if there(path):
        return _read(path, settings)
    whole = _data(settings)
    left = task_number(whole, task)
    with alone_in(path.parent):
        found = _read(path, settings) if there(path) else _measured(settings, whole, left)
        write_atomically(path, lambda file: file.write(json.dumps(asdict(found), indent=2).encode()))
    return found


def _measured(settings: RunSettings, whole: MultiTaskDataset, left: int) -> Transfer:
    others = whole.part([number for number in range(whole.num_tasks) if number != left])
    env = settings.make_env(data=others, data_kwargs=None)  # arguments are for a data set loaded by name
    agent = settings.make_agent(env)
    agent.learn(settings.steps)
    view = env.batched.evaluation_view("validation")
    roll_out(agent, view)
    scores = view.transfer(whole, left, FOLDS, settings.seed)
    return Transfer(settings, whole.task_names[left], scores.mean(0).tolist())


def _read(path: Path, settings: RunSettings) -> Transfer:
    with reading("transfer result", path, AGAIN):
        fields = read_mapping(path)
        found = built(Transfer, {**fields, "settings": settings_of(fields.get("settings"))})
        for fold in found.folds:
            require("folds", fold, 0, 1)
        if len(found.folds) != FOLDS:
            raise ValueError(f"folds has {len(found.folds)} numbers; it takes {FOLDS}")
    if found.settings != settings:
        raise FileExistsError(f"{path} has another training ({found.settings}); choose another folder.")
    return found


def lines(found: Sequence[Transfer]) -> list[list[str]]:
    """Return the table as text, header first: tasks by agents, mean over seeds in per cent, and mean over tasks."""
    agents, tasks = (dict.fromkeys(names) for names in zip(*((t.settings.name, t.task) for t in found), strict=True))
    cells = {key: _percent(found, *key) for key in ((agent, task) for task in tasks for agent in agents)}
    body = [[task, *(f"{cells[agent, task]:.1f}" for agent in agents)] for task in tasks]
    means = [f"{np.mean([cells[agent, task] for task in tasks]):.2f}" for agent in agents]
    return [["left out", *agents], *body, ["mean", *means]]


def _percent(found: Sequence[Transfer], agent: str, task: str) -> float:
    return 100 * float(np.mean([t.accuracy for t in found if t.settings.name == agent and t.task == task]))


def write(found: Sequence[Transfer], out: Path) -> None:
    """Write `transfer.md`, and `transfer.csv` with a line per agent, seed and task."""
    head, *body = lines(found)
    write_markdown([head, *body], out / "transfer.md")
    write_csv([_line(transfer) for transfer in found], out / "transfer.csv")


def _line(found: Transfer) -> dict[str, object]:
    folds = {f"fold {number + 1}": accuracy for number, accuracy in enumerate(found.folds)}
    line = {"agent": found.settings.name, "seed": found.settings.seed, "left out": found.task}
    return {**line, "accuracy": found.accuracy, **folds}
