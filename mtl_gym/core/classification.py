"""Rewards of answers and the classes of each task, for every family that classifies.

The reward of an answer is a function of (logits [rows, classes], label [rows], task [rows]) that gives [rows].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.episode import AnswerResult
from mtl_gym.core.rows import Array, Flags, Rows
from mtl_gym.core.validation import takes
from mtl_gym.data import MultiTaskDataset

FinalReward: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
Reward = TypeVar("Reward", bound=Callable[..., object])


def correct(logits: Tensor, label: Tensor, task: Tensor) -> Tensor:
    """+1 where the prediction is right, -1 where it is wrong; float32 [rows]."""
    return (logits.argmax(1) == label).to(logits.dtype) * 2 - 1


def loss(logits: Tensor, label: Tensor, task: Tensor) -> Tensor:
    """Minus the cross-entropy; float32 [rows]."""
    return -torch.nn.functional.cross_entropy(logits, label, reduction="none")


FINAL_REWARDS: dict[str, FinalReward] = {"correct": correct, "loss": loss}


def final_reward(reward: str | FinalReward) -> FinalReward:
    """As `named_reward`, of an answer."""
    return named_reward(reward, FINAL_REWARDS, ("logits", "label", "task"))


def named_reward(reward: str | Reward, known: Mapping[str, Reward], arguments: tuple[str, ...]) -> Reward:
    """Return the reward of that name, or the callable itself.

    Args:
        reward: Name or callable.
        known: Rewards by name.
        arguments: Names of the arguments of a reward.

    Raises:
        ValueError: If no reward has that name, or the callable does not take the arguments.
    """
    if not isinstance(reward, str):
        if not takes(reward, len(arguments)):
            raise ValueError(f"reward={reward!r} does not take the arguments ({', '.join(arguments)}): add them.")
        return reward
    if reward not in known:
        raise ValueError(f"reward={reward!r} is unknown; use one of {sorted(known)} or a callable.")
    return known[reward]


def judge(reward: FinalReward, logits: Tensor, losses: Tensor, label_and_task: Tensor) -> NDArray[np.float32]:
    """Return rewards, losses and predicted classes of answers, in one copy from the device; float32 [3, rows].

    Args:
        reward: What an answer is worth.
        logits: The answers; [rows, classes].
        losses: Of each; [rows].
        label_and_task: int64 [2, rows].

    Raises:
        ValueError: If the reward is no tensor of shape [rows].
    """
    earned = reward(logits, *label_and_task)
    _check_reward(reward, earned, len(logits))
    figures: NDArray[np.float32] = torch.stack([earned.float(), losses, logits.argmax(1).float()]).cpu().numpy()
    return figures


def _check_reward(reward: FinalReward, earned: object, rows: int) -> None:
    if isinstance(earned, Tensor) and earned.shape == (rows,) and not earned.is_complex():
        return
    shape = list(earned.shape) if isinstance(earned, (Tensor, np.ndarray)) else []
    imaginary = isinstance(earned, Tensor) and earned.is_complex()
    given = f"{'complex ' * imaginary}{type(earned).__name__} of shape {shape}"
    raise ValueError(
        f"reward={reward!r} gave {given} for {rows} answers; of (logits [rows, classes], label [rows], task [rows]) it "
        f"makes a real Tensor of shape [rows], which is [{rows}] here."
    )


@dataclass(frozen=True)
class Answers:
    """Answers of one step; rows without an answer have prediction -1 and no loss.

    Attributes:
        prediction: Predicted classes; int64 [num_envs].
        correct: bool [num_envs].
        loss: float32 [num_envs].
        given: Rows with an answer; bool [num_envs].
    """

    prediction: Rows
    correct: Flags
    loss: NDArray[np.float32]
    given: Flags

    @classmethod
    def none(cls, rows: int) -> Answers:
        """Return a step without answers."""
        return cls(np.full(rows, -1), np.zeros(rows, bool), np.zeros(rows, np.float32), np.zeros(rows, bool))

    def enter(self, rows: Rows, label: Rows, loss: NDArray[np.float32], named: NDArray[np.float32]) -> None:
        """Enter the answers of `rows`: their labels, losses and predicted classes; [n] each."""
        self.loss[rows], self.prediction[rows] = loss, named
        self.correct[rows] = named == label
        self.given[rows] = True

    def result(
        self, ended: Flags, task: Rows, weight: NDArray[np.float64] | None = None, **more: Array
    ) -> AnswerResult:
        """Return the result of the episodes that ended with these answers, as `AnswerResult` has them."""
        return AnswerResult(
            ended=ended,
            success=self.correct.copy(),
            task=task,
            correct=self.correct,
            prediction=self.prediction,
            loss=self.loss,
            answered=self.given,
            weight=weight,
            more=more,
        )


def one_answer_each(data: MultiTaskDataset, family: str) -> MultiTaskDataset:
    """The data set itself, if its inputs are numbers and each has one label.

    Args:
        data: The data set.
        family: Which environments ask, for the message.

    Raises:
        ValueError: If it holds texts or label sequences.
    """
    if data.has_text or data.has_sequences:
        held = "texts" if data.has_text else "a label for every step of an input"
        raise ValueError(
            f"data set {data.name!r} holds {held}, but {family} environments take inputs of numbers with one label "
            "each; choose another data set (`mtl-gym data list` shows them) or make one with MultiTaskDataset."
        )
    return data


class Classes:
    """Classes of each task, where tasks with different numbers of classes share logits.

    Args:
        data: The data set.
        device: Device of the logits.

    Attributes:
        allowed: Classes of each task; bool [tasks, classes].

    Example:
        >>> from mtl_gym.data import load
        >>> Classes(load("digits"), torch.device("cpu")).restrict(torch.zeros(1, 2), torch.tensor([3]))
        tensor([[0., 0.]])
    """

    def __init__(self, data: MultiTaskDataset, device: torch.device) -> None:
        sizes = torch.tensor(data.num_classes, device=device)
        self.allowed = torch.arange(data.max_classes, device=device) < sizes[:, None]
        self._same_everywhere = len(set(data.num_classes)) == 1

    def restrict(self, logits: Tensor, task: Tensor) -> Tensor:
        """Rule out the classes that the task of a row lacks; float32 [rows, n >= classes], int64 [rows]."""
        logits = logits[:, : self.allowed.shape[1]]
        return logits if self._same_everywhere else logits.masked_fill(~self.allowed[task], -torch.inf)
