"""A family of your own: the learning rate of each task, chosen anew at every update of a training run.

Each task is a quadratic bowl with a curvature of its own, which no observation shows. A learning rate above
2 / curvature diverges, a small one is slow, and 1 / curvature reaches the bottom at once. One rate for all tasks is
therefore slow on the flat ones or diverges on the steep ones.

    export PYTHONPATH=.  # only because this file is in no installed package
    mtl-gym compare examples.own_family:TaskRates-v0 --agents ppo,cautious,bold,oracle --steps 20000 --out runs/rates
    mtl-gym report runs/rates --env examples.own_family:TaskRates-v0
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from mtl_gym import Card, register_family
from mtl_gym.core.episode import TrainingResult, Transition
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.training_run_env import TrainingRunVectorEnv

RATES = np.array([0.25, 0.5, 1.0, 2.0], np.float32)


@dataclass(frozen=True, kw_only=True)
class RateOptions(EnvOptions):
    """`curvatures` of the tasks, and the `updates` of a run."""

    curvatures: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    updates: int = 8


class RateVectorEnv(TrainingRunVectorEnv):
    """Action: the number of a rate for each task. Observation: its loss. Reward: minus the mean loss."""

    Options = RateOptions

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self.curvature = np.array(self.options.curvatures, np.float32)
        tasks = len(self.curvature)
        losses = gym.spaces.Box(0, np.inf, (tasks,), np.float32)
        self._set_spaces(losses, gym.spaces.MultiDiscrete([len(RATES)] * tasks))

    def _build(self) -> None:
        self.network = nn.ParameterList([torch.ones(self.num_envs, len(self.curvature))])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self.episodes = self._samples = 0

    def _begin(self, rows: np.ndarray) -> None:
        self._draw_seeds()
        starts = [np.random.default_rng(seed).uniform(0.5, 1.5, len(self.curvature)) for seed in self.run_seeds]
        self.network[0].data = torch.tensor(np.array(starts), dtype=torch.float32)

    def _losses(self) -> np.ndarray:
        return 0.5 * self.curvature * self.network[0].detach().numpy() ** 2

    def _observe(self) -> np.ndarray:
        return self._losses()

    def _advance(self, actions: np.ndarray, valid: np.ndarray) -> Transition:
        self.network[0].data *= torch.from_numpy(1 - RATES[actions] * self.curvature)
        self._step += 1
        self.updates += 1
        self._samples += actions.size
        over = np.full(self.num_envs, self._step == self.options.updates)
        result = self._result() if over.all() else None
        return Transition(-self._losses().mean(1), np.zeros(self.num_envs, bool), over, result)

    def _result(self) -> TrainingResult:
        self.episodes += self.num_envs
        loss, ones = self._losses(), np.ones(len(self.curvature), np.int64)
        accuracy = np.clip(1 - loss, 0, 1)
        good = (loss < 1e-3).all(1)
        ended = np.ones(self.num_envs, bool)
        return TrainingResult(ended=ended, success=good, accuracy=accuracy, loss=loss, labels=ones, samples=ones)

    def _adopt(self, source: RateVectorEnv) -> None:
        self._restart(int(np.random.SeedSequence([source.seed, 1]).generate_state(1)[0]))

    def _measures(self) -> dict[str, np.ndarray]:
        return {"validation_loss": self._losses()}

    def _state(self) -> dict[str, object]:
        counts = {"step": self._step, "samples": self._samples, "episodes": self.episodes}
        return {**counts, "seeds": self.run_seeds.tolist()}

    def _load_state(self, state: dict) -> None:
        self._step, self._samples, self.episodes = state["step"], state["samples"], state["episodes"]
        self.run_seeds = np.array(state["seeds"])

    def _render(self) -> object:
        from mtl_gym.core.figures import show

        losses = dict(zip(self.task_names, self._losses()[0].tolist(), strict=True))
        return show(self.render_mode, lambda figure: figure.subplots().bar(*zip(*losses.items(), strict=True)),
                    lambda: str(losses), (4, 3), self.WINDOW)  # fmt: skip

    @property
    def _train_size(self) -> int:
        return len(self.curvature)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The curvature of each task."""
        return tuple(f"curvature {curvature:g}" for curvature in self.curvature)

    @property
    def best_action(self) -> np.ndarray:
        """The capability that the oracle asks for."""
        return np.abs(RATES * self.curvature[:, None] - 1).argmin(1)


class RateEnv(BatchOfOne):
    """What `gym.make` returns."""

    vector_class = RateVectorEnv


class OneRate:
    """A control: the same rate for every task. An agent needs no more than this."""

    ROLE, RATE = "control", 0

    def __init__(self, env, *, seed: int | None = None) -> None:
        self.action = np.broadcast_to(self.RATE, env.action_space.shape)

    def learn(self, total_timesteps: int, callback: object = None) -> OneRate:
        """Learn nothing."""
        return self

    def predict(self, observation, state=None, episode_start=None, deterministic: bool = False):
        """Return the action of every row."""
        return np.tile(self.action, (len(observation), 1)), state


class Bold(OneRate):
    """A control that diverges on the steepest task."""

    RATE = 2


class Oracle(OneRate):
    """The best rate of each task, which the environment knows."""

    ROLE = "rule"

    def __init__(self, env, *, seed: int | None = None) -> None:
        self.action = env.get_attr("best_action")[0]


def register() -> None:
    """Register the family; a package names this function in the entry-point group `mtl_gym.environments`."""
    card = Card(
        decision="The learning rate of each task, at every update.",
        difficulty="One rate for all tasks is slow on flat tasks or diverges on steep ones.",
        controls=("cautious", "bold"),
        oracle="oracle",
        optimum=1.0,
        dials={"curvatures": "further apart: one rate for all is worse", "updates": "fewer: slow rates are worse"},
    )
    agents = {"cautious": f"{__name__}:OneRate", "bold": f"{__name__}:Bold", "oracle": f"{__name__}:Oracle"}
    kinds = {"env": f"{__name__}:RateEnv", "vector_env": f"{__name__}:RateVectorEnv"}
    register_family(**kinds, presets={"TaskRates-v0": {}}, card=card, agents=agents)


register()
