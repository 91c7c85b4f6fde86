"""Define a family of your own: the agent chooses the learning rate of each task at every update of a training run.

The loss of each task is a quadratic function with its own curvature, which no observation contains. A learning rate
above 2 / curvature diverges, a small one is slow, and 1 / curvature reaches the minimum at once. One rate for all tasks
is therefore slow on flat tasks or diverges on steep ones.

    export PYTHONPATH=.  # only because this file is not in an installed package
    mtl-gym compare examples.own_family:TaskRates-v0 --agents ppo,cautious,bold,oracle --steps 20000 --out runs/rates
    mtl-gym report runs/rates --env examples.own_family:TaskRates-v0
    python -c "import mtl_gym.testing as t; t.check_family('examples.own_family:TaskRates-v0')"

The docstring of `mtl_gym.core.training_run_env` says what each hook returns and when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from mtl_gym import Card, Dial, register_family
from mtl_gym.core.episode import TrainingResult
from mtl_gym.core.figures import show
from mtl_gym.core.interfaces import ORACLE
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.training_run_env import TrainingRunVectorEnv

RATES = np.array([0.25, 0.5, 1.0, 2.0], np.float32)


@dataclass(frozen=True, kw_only=True)
class RateOptions(EnvOptions):
    """Options of the family.

    Attributes:
        curvatures: Curvature of each task.
        updates: Number of updates of a run.
    """

    curvatures: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    updates: int = 8


@dataclass(frozen=True)
class Losses:
    """Progress of the runs: `validation_loss` of each task, float32 [num_envs, tasks]."""

    validation_loss: np.ndarray


class RateVectorEnv(TrainingRunVectorEnv[Losses]):
    """Action: the index of a rate for each task. Observation: the losses. Reward: the negative mean loss."""

    Options = RateOptions
    INTERFACES = frozenset({ORACLE})  # the bundled agent `oracle` asks for `best_actions`
    PROGRESS = Losses

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self.curvature = np.array(self.options.curvatures, np.float32)
        tasks = len(self.curvature)
        losses = gym.spaces.Box(0, np.inf, (tasks,), np.float32)
        self._set_spaces(losses, gym.spaces.MultiDiscrete([len(RATES)] * tasks))

    @property
    def run_length(self) -> int:
        """Number of updates of a run."""
        return self.options.updates

    @property
    def samples_per_epoch(self) -> int:
        """Number of samples per epoch, one for each task."""
        return len(self.curvature)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, with their curvatures."""
        return tuple(f"curvature {curvature:g}" for curvature in self.curvature)

    def best_actions(self) -> np.ndarray:
        """Return the index of the best rate of every task in every row; int64 [num_envs, tasks]."""
        return np.tile(np.abs(RATES * self.curvature[:, None] - 1).argmin(1), (self.num_envs, 1))

    def _build_runs(self) -> None:
        self.network = nn.ParameterList([torch.ones(self.num_envs, len(self.curvature))])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)

    def _begin_runs(self) -> Losses:
        starts = [np.random.default_rng(seed).uniform(0.5, 1.5, len(self.curvature)) for seed in self.run_seeds]
        self.network[0].data = torch.tensor(np.array(starts), dtype=torch.float32)
        return self._losses()

    def _train_runs(self, actions: np.ndarray) -> Losses:
        self.network[0].data *= torch.from_numpy(1 - RATES[actions] * self.curvature)
        self._count(updates=1, samples=actions.size)
        return self._losses()

    def _losses(self) -> Losses:
        return Losses(0.5 * self.curvature * self.network[0].detach().numpy() ** 2)

    def _reward(self, before: Losses, after: Losses) -> np.ndarray:
        return -after.validation_loss.mean(1)

    def _observe(self) -> np.ndarray:
        return self._progress.validation_loss.copy()

    def _result(self, split: str) -> TrainingResult:
        loss, each = self._progress.validation_loss, np.ones(len(self.curvature), np.int64)
        accuracy, success = np.clip(1 - loss, 0, 1), (loss < 1e-3).all(1)
        figures = {"accuracy": accuracy, "loss": loss, "labels": each, "samples": each}
        return TrainingResult(ended=np.ones(self.num_envs, bool), success=success, **figures)

    def _render(self) -> object:
        losses = dict(zip(self.task_names, self._progress.validation_loss[0].tolist(), strict=True))

        def draw(figure: Figure) -> None:
            figure.subplots().bar(list(losses), list(losses.values()))

        return show(self.render_mode, draw, lambda: str(losses), (6, 3), self.WINDOW, self.heading)


class RateEnv(BatchOfOne):
    """The batch of one that `gym.make` returns."""

    vector_class = RateVectorEnv


class OneRate:
    """A minimal agent: a control with one rate for all tasks. Without `save`, `mtl-gym evaluate` refuses its runs."""

    ROLE, RATE = "control", 0

    def __init__(self, env, *, seed: int | None = None) -> None:
        self.action = np.broadcast_to(self.RATE, env.action_space.shape)

    def learn(self, total_timesteps: int, callback: object = None) -> OneRate:
        """Do nothing; a control does not learn."""
        return self

    def predict(self, observation, state=None, episode_start=None, deterministic: bool = False):
        """Return the action of every row."""
        return np.tile(self.action, (len(observation), 1)), state


class Bold(OneRate):
    """A control that diverges on the steepest task."""

    RATE = 2


def register() -> None:
    """Register the family; a package names this function in the entry-point group `mtl_gym.environments`."""
    card = Card(
        decision="The learning rate of each task, at every update.",
        difficulty="One rate for all tasks is slow on flat tasks or diverges on steep ones.",
        controls=("cautious", "bold"),
        oracle="oracle",
        optimum=100.0,
        evidence="Proof: with rate 1 / curvature, one update reaches the minimum of a quadratic function.",
        dials={
            "curvatures": Dial("further apart: one rate for all is worse"),
            "updates": Dial("more: slow rates suffice"),
        },
        steps=20_000,
    )
    agents = {"cautious": f"{__name__}:OneRate", "bold": f"{__name__}:Bold"}
    kinds = {"env": f"{__name__}:RateEnv", "vector_env": f"{__name__}:RateVectorEnv"}
    register_family(**kinds, presets={"TaskRates-v0": {}}, card=card, agents=agents)


register()
