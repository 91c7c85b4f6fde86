"""Weights of widely used modules against those of rarely used ones.

Source: MUiR, section 4.2.2 and table 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.families.alignment.joint import JointModel

# Statistics of a tensor by the paper's names; [tensors, numbers] -> [tensors].
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "stdev": lambda tensors: tensors.std(1, correction=0),
    "max": lambda tensors: tensors.amax(1),
    "mean": lambda tensors: tensors.mean(1),
    "norm": lambda tensors: tensors.norm(dim=1),
}


@dataclass(frozen=True)
class Genericity:
    """Tensors of one run, and whether they are generic.

    Attributes:
        tensors: One tensor per line; float32 [tensors, numbers].
        generic: Tensors of modules with more than c locations; bool [tensors].
    """

    tensors: Tensor
    generic: Tensor

    def compare(self, statistic: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return a statistic of `STATISTICS` for each generic and for each specific tensor."""
        values = STATISTICS[statistic](self.tensors)
        return values[self.generic].cpu().numpy(), values[~self.generic].cpu().numpy()


@torch.no_grad()
def genericity(joint: JointModel, run: int = 0) -> dict[str, Genericity]:
    """Return the modules in use, the contexts and the linear maps of a run: "modules", "contexts" and "maps".

    A module is generic if more than c locations use it, and specific otherwise. Contexts and linear maps are what their
    modules are. Modules without a location are left out.

    Example:
        >>> from torch import nn
        >>> from mtl_gym.families.alignment.joint import Form
        >>> joint = JointModel([nn.Linear(8, 8)], Form((4, 4), 2))
        >>> joint.assignment[0] = torch.tensor([0, 0, 0, 3])
        >>> {name: part.generic.tolist() for name, part in genericity(joint).items()}
        {'modules': [True, False], 'contexts': [True, True, True, False], 'maps': [True, True, True, False]}

    Source: MUiR, section 4.2.2.
    """
    assignment = joint.assignment[run]
    generic = torch.bincount(assignment, minlength=joint.num_modules) > joint.hypermodules.shape[2]
    modules, contexts = joint.hypermodules.detach()[run], joint.contexts.detach()[run]
    used = assignment.unique()
    maps = joint.blocks(joint.table(joint.assignment[..., None]))[run]
    return {
        "modules": Genericity(modules[used].flatten(1), generic[used]),
        "contexts": Genericity(contexts, generic[assignment]),
        "maps": Genericity(maps.flatten(1), generic[assignment]),
    }
