"""Adam that leaves the heads of tasks that are not trained as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class HeadAdam(torch.optim.Optimizer):
    """Adam over stacked parameters [runs, tasks, ...], in which every run and task counts its own updates.

    `torch.optim.Adam` would go on moving a head without gradient by its momentum.

    Args:
        params: Tensors that begin with the axes runs and tasks.
        lr: Step size.
        betas: Decay of the running means of gradient and squared gradient.
        eps: Added to the denominator.

    Source: Kingma and Ba 2015, algorithm 1.
    """

    def __init__(
        self, params: Sequence[Tensor], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        for p in params:
            self.state[p] = {
                "step": torch.zeros(p.shape[:2], device=p.device),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }

    @torch.no_grad()
    def step_trained(self, trained: Tensor) -> None:
        """Update the heads that were trained; bool [runs, tasks]."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, trained, group)

    def _update(self, p: Tensor, trained: Tensor, group: dict[str, Any]) -> None:
        state, (first, second), gradient = self.state[p], group["betas"], p.grad
        assert gradient is not None
        state["step"] += trained
        chosen = trained.view(*trained.shape, *[1] * (p.ndim - 2))
        mean = torch.where(chosen, state["exp_avg"].lerp(gradient, 1 - first), state["exp_avg"])
        square = torch.where(chosen, state["exp_avg_sq"].lerp(gradient * gradient, 1 - second), state["exp_avg_sq"])
        state["exp_avg"], state["exp_avg_sq"] = mean, square
        steps = state["step"].clamp(min=1).view_as(chosen)
        size = group["lr"] / (1 - first**steps)
        denominator = (square / (1 - second**steps)).sqrt() + group["eps"]
        p.copy_(torch.where(chosen, p - size * mean / denominator, p))
