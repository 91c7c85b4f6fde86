"""The weighted policy learner: one small policy per task and depth, whose steps depend on what it does already."""

from __future__ import annotations

from typing_extensions import Unpack

from mtl_agents.routing.tables import Averaging, PolicyArguments, TabularPolicyGradient, Weighting
from mtl_gym.integrations.sb3 import EnvLike


class WPL(TabularPolicyGradient):
    """A router with one tabular agent per task, trained by the weighted policy learner.

    It is the policy gradient of `TabularPolicyGradient` with weighted steps.

    Source: Rosenbaum et al. 2018, algorithms 3 (WPL-Update) and 4 (WPL-Trainer); Abdallah and Lesser 2006.

    Deviation: algorithm 4 keeps a running average of the returns "for each action" (`average="action"`); by default
    there is one for each decision, over all its actions. The printed algorithm 3 has lost a hat; the difference taken
    is return minus estimate. Batches, projection and masks are as in `TabularPolicyGradient`.

    Args:
        env: As for `Agent`.
        weighting: "abdallah" is the original: gains times (1 - pi), losses times pi, so that a policy slows down on its
            way to the edge of the simplex. "rosenbaum" is the routing paper's text, which has them the other way round;
            it routes better and is the default.
        average: What a return is compared with: "decision", the mean return of a task at a depth, whatever was chosen,
            or "action", algorithm 4's, the mean return of a task at a depth with that choice.
        **arguments: Of `TabularPolicyGradient` and `Agent`.

    Raises:
        ValueError: If an argument has a value that is not allowed.

    Example:
        >>> agent = WPL("MTLRouting-Digits-v0", seed=0).learn(60)
        >>> agent.policy.shape, round(float(agent.policy[0, 0].sum()), 6)
        ((10, 3, 11), 1.0)
    """

    def __init__(
        self,
        env: EnvLike,
        *,
        weighting: Weighting = "rosenbaum",
        average: Averaging = "decision",
        **arguments: Unpack[PolicyArguments],
    ) -> None:
        super().__init__(env, **arguments)
        self._weigh_steps(weighting, average)
