"""QLS with the network and the settings of its paper.

Source: QLS ("Q-Learning Scheduler for Multi-Task Learning through the use of Histogram of Task Uncertainty").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from stable_baselines3.dqn.policies import DQNPolicy, MlpPolicy
from torch import Tensor

from mtl_agents.scheduling.qls import QLS
from mtl_gym.integrations.sb3 import EnvLike


class PaperQLS(QLS):
    """QLS with the network and the settings of its paper: one Q-network over the histograms of all tasks.

    Source: QLS, section 4.3 and 4.4.

    Deviation: the paper specifies only gamma and the exploration; all other settings are ours. Q-values are learned in
    units of (1 - gamma) times the return, a discounted mean of future rewards, because a penalty of -10 at every step
    leads to returns of -1000, which a network learns slowly; the optimal policy is the same.

    Args:
        env: As for `QLS`; an id is made with its own options.
        initial_temperature: Initial temperature, in units of a mean reward.
        final_temperature: Temperature after `exploration_fraction` of the training; from then on it is 0.
        gamma: Discount factor, in [0, 1).
        n_steps: Decisions whose rewards a target value sums.
        gradient_steps: Gradient steps after every step of all rows.
        seed: As for `QLS`.
        **arguments: Arguments of SB3's DQN; see `DEFAULTS`.

    Example:
        >>> PaperQLS("MTLScheduling-Digits-v0", seed=0).observation_space.shape  # 20 bins of 10 tasks
        (200,)
    """

    DEFAULTS: ClassVar[dict[str, Any]] = QLS.DEFAULTS | {
        "learning_rate": 5e-4,
        "learning_starts": 500,
        "target_update_interval": 1_000,
    }
    ENV_KWARGS: ClassVar[Mapping[str, Any]] = {}
    OWN: ClassVar[frozenset[str]] = QLS.OWN - {"policy_kwargs"} | {"task_numbers"}
    POLICY: ClassVar[type[DQNPolicy]] = MlpPolicy
    RELATIVE: ClassVar[bool] = False

    def __init__(
        self,
        env: EnvLike,
        *,
        initial_temperature: float = 1.0,
        final_temperature: float = 1e-3,
        gamma: float = 0.99,
        n_steps: int = 1,
        gradient_steps: int | None = 1,
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(
            env,
            initial_temperature=initial_temperature,
            final_temperature=final_temperature,
            gamma=gamma,
            n_steps=n_steps,
            gradient_steps=gradient_steps,
            seed=seed,
            **arguments,
        )

    def _next_values(self, observations: Tensor, target: Tensor) -> Tensor:
        return target.max(1, keepdim=True).values

    def _set_units(self) -> None:
        self._rescale(1 - self.gamma)

    def _standardise(self, observations: Tensor) -> None:
        """Leave observations as they are: histograms lie in [0, 1]."""
