"""Recurrent routing with a known answer: a cue tells which regime holds, and every task has its own module for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mtl_gym.core.instances import GeneratedOptions
from mtl_gym.core.interfaces import ORACLE, Interface
from mtl_gym.core.options import EnvOptions, shallow_dict
from mtl_gym.core.ranges import COUNTS, SIZES, Range
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.recurrent.bases import BaseMaker
from mtl_gym.families.recurrent.env import RecurrentVectorEnv
from mtl_gym.families.recurrent.linear import LinearAnswers
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.options import RecurrentOptions
from mtl_gym.families.recurrent.regimes import NAME, switching

# Options that generated networks and data leave without effect.
_FIXED = ("data", "network", "tasks", "base", "sharing", "layers", "hidden", "readout", "unseen_task")


@dataclass(frozen=True, kw_only=True)
class SwitchingOptions(RecurrentOptions, GeneratedOptions):
    """Keyword arguments of `SwitchingVectorEnv`, besides those of `RecurrentOptions`.

    Attributes:
        regimes: Number of regimes, of modules and of classes.
        num_tasks: Number of tasks. Multiples of `regimes` leave a policy that ignores the task at chance.
        steps: Number of steps of a sequence.
        regime_steps: Number of steps after which another regime begins.
        noise: Standard deviation of the noise on the cue; a cue without noise is 3 for its regime and 0 for others.
        head_start: Multiple of its rule that is added to the random initial weights of each module. At 0, nothing tells
            which module is meant for which rule.

    Data and network are generated: `data` is "recurrent-switching"; `network`, `tasks`, `base`, `sharing`, `layers`,
    `hidden`, `readout` and `unseen_task` keep their defaults.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        "regimes": Range(2, 100),
        "num_tasks": SIZES,
        **dict.fromkeys(("steps", "regime_steps"), COUNTS),
        **dict.fromkeys(("noise", "head_start"), Range(0, 100)),
    }

    data: str | MultiTaskDataset = NAME
    base: str | BaseMaker | None = None
    regimes: int = 4
    num_tasks: int = 4
    steps: int = 12
    regime_steps: int = 3
    noise: float = 0.5
    head_start: float = 3.0
    reward: str = "correct"
    penalties: tuple[float, float] = (0.0, 0.0)
    learning_rate: float = 5e-3
    lr_decay: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for invalid values."""
        super().__post_init__()
        given = shallow_dict(self) | {"layers": tuple(self.layers)}  # settings files contain lists
        for field in fields(self):
            if field.name in _FIXED:
                same = given[field.name] == field.default
                self._require(field.name, same, f"{field.default!r} only, because network and data are generated")


class SwitchingVectorEnv(RecurrentVectorEnv):
    """Batch of `num_envs` sequences of changing regimes, answered by linear modules that train during the steps.

    Each regime lasts `regime_steps` steps; a cue tells which one it is. In a regime, a task needs one module: the
    module whose rule gives the label of every step. The rule of module m is a secret rule with all classes shifted by
    m. Modules do not see the cue and keep no state. Answers are the mean of the modules that are on.

    * Observation: `units` float32 [num_envs, 2 regimes], the input of the modules and then the cue; `task` int64
      [num_envs]; `step` int64 [num_envs].
    * Action: int8 [num_envs, regimes], 1 for each module that is on.
    * Reward: float32 [num_envs]: at every step +1 for a right answer, -1 for a wrong one.
    * Termination: after `steps` decisions. After `train_batch` episodes, one gradient step updates the modules.
    * Dials: `regimes` (more modules), `num_tasks` (fewer episodes of each), `noise` (cues are mistaken for each other),
      `head_start` (less: modules are harder to tell apart). `instance` draws other rules, cues and data.
    * Optimum: the module of the task for the regime that is most likely after the cues so far, alone; `best_actions`
      returns it. Modules that are chosen without the cue, or without the task, answer at chance, 1 / `regimes`: the
      labels of an input are then equally likely.

    Example:
        >>> env = SwitchingVectorEnv(num_envs=64)
        >>> obs, info = env.reset(seed=0)
        >>> obs["units"].shape, env.single_action_space, env.best_actions().sum(1)[:3]
        ((64, 8), MultiBinary(4), array([1, 1, 1]))
        >>> for _ in range(12):
        ...     obs, reward, terminated, truncated, info = env.step(env.best_actions())
        >>> bool(terminated.all()), env.updates
        (True, 1)
    """

    Options: ClassVar[type[EnvOptions]] = SwitchingOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = RecurrentVectorEnv.INTERFACES | {ORACLE}
    options: SwitchingOptions

    def best_actions(self) -> NDArray[np.int8]:
        """Return the module of every row's task for the most likely regime; int8 [num_envs, regimes], 1 for on."""
        self._require_reset("best_actions()")
        step = np.minimum(self._acting.episodes.step, self.options.steps - 1)
        return np.eye(self.options.regimes, dtype=np.int8)[self._problem.best[self.options.split][self._sample, step]]

    def _load_data(self) -> MultiTaskDataset:
        options = self.options
        sizes = (options.regimes, options.num_tasks, options.steps, options.regime_steps)
        self._problem = switching(*sizes, options.noise, options.instance)
        return self._problem.data

    def _make_network(self) -> MultiTaskNetwork:
        regimes = self.options.regimes
        return LinearAnswers(regimes, regimes, regimes, self.options.num_tasks, regimes)

    def _build(self) -> None:
        super()._build()
        assert isinstance(self.network, LinearAnswers)
        rules = torch.from_numpy(self._problem.truth.rules).to(self.device)
        with torch.no_grad():
            self.network.sharing.linear.weight.add_(rules, alpha=self.options.head_start)


class SwitchingEnv(BatchOfOne):
    """Single environment of changing regimes, as returned by `gym.make("MTLRecurrent-Switching-v0")`.

    Args:
        **options: The fields of `SwitchingOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRecurrent-Switching-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.unwrapped.best_actions()[0])
        >>> terminated
        False
    """

    vector_class = SwitchingVectorEnv
