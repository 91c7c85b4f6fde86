"""Weighted policy learner: one policy per task and depth, with steps weighted by its probabilities."""

from __future__ import annotations

from typing_extensions import Unpack

from mtl_agents.routing.tables import Averaging, PolicyArguments, TabularPolicyGradient, Weighting
from mtl_gym.integrations.sb3 import EnvLike


class WPL(TabularPolicyGradient):
    """Router with one tabular agent per task, trained by the weighted policy learner.

    The agent is `TabularPolicyGradient` with weighted steps.

    Source: Rosenbaum et al. 2018, algorithms 3 (WPL-Update) and 4 (WPL-Trainer); Abdallah and Lesser 2006.

    Deviation: algorithm 4 averages returns "for each action" (`average="action"`); the default averages returns for
    each decision, over all its actions. The printed algorithm 3 omits a hat; we use return minus estimate. Batches,
    projection and masks are as in `TabularPolicyGradient`.

    Args:
        env: As for `Agent`.
        weighting: "abdallah" is the original, with gains times (1 - pi) and losses times pi, so that a policy slows
            down near the edge of the simplex. "rosenbaum", the default, is the reverse, as in the text of the routing
            paper; it routes better.
        average: Baseline of a return: "decision" for the mean return of a task at a depth over all choices, "action"
            for the mean return of the same choice (algorithm 4).
        **arguments: Keyword arguments of `TabularPolicyGradient` and `Agent`.

    Raises:
        ValueError: If an argument is invalid.

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
