"""Compression of joint models: rarely used modules are replaced by the blocks they generate.

Source: MUiR, section 3.2, last paragraph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtl_gym.families.alignment.joint import Index, JointModel


@dataclass(frozen=True)
class Compact:
    """Compressed blocks of one run.

    Attributes:
        generic: Locations whose module is used at least c times; int64 [generic].
        module: Index in `hypermodules` of each generic location's module; int64 [generic].
        hypermodules: Modules used at least c times; float32 [kept, c, m, n].
        contexts: Contexts of the generic locations; float32 [generic, c].
        plain: Blocks of the specific locations; float32 [specific, m, n].
        specific: Locations whose module is used fewer than c times; int64 [specific].
    """

    generic: Tensor
    module: Tensor
    hypermodules: Tensor
    contexts: Tensor
    plain: Tensor
    specific: Tensor

    @property
    def parameters(self) -> int:
        """Number of parameters, (L - L_o) c + K c m n + L_o m n."""
        return self.hypermodules.numel() + self.contexts.numel() + self.plain.numel()

    def blocks(self) -> Tensor:
        """Return the blocks of all locations; float32 [locations, m, n]."""
        count = len(self.generic) + len(self.specific)
        blocks = self.plain.new_zeros(count, *self.plain.shape[1:])
        blocks[self.generic] = torch.einsum("lc,lcmn->lmn", self.contexts, self.hypermodules[self.module])
        blocks[self.specific] = self.plain
        return blocks


@torch.no_grad()
def compact(joint: JointModel, run: int = 0) -> Compact:
    """Replace every module that is used fewer than c times by the blocks it generates.

    Adapters of locations (`Form.adapter`) are not included.

    Example:
        >>> from torch import nn
        >>> from mtl_gym.families.alignment.joint import Form
        >>> joint = JointModel([nn.Linear(8, 8)], Form((4, 4), 2))
        >>> joint.assignment[0] = torch.tensor([0, 0, 0, 3])
        >>> compact(joint).parameters  # one module of 2 x 16, three contexts of 2, one block of 16
        54
    """
    assignment = joint.assignment[run]
    c = joint.hypermodules.shape[2]
    usage = torch.bincount(assignment, minlength=joint.num_modules)
    rare = usage[assignment] < c
    generic, specific = (~rare).nonzero()[:, 0], rare.nonzero()[:, 0]
    left, module = assignment[generic].unique(return_inverse=True)
    own = joint.hypermodules[run, assignment[specific]]
    plain = torch.einsum("lc,lcmn->lmn", joint.contexts[run, specific], own)
    return Compact(generic, module, joint.hypermodules[run, left], joint.contexts[run, generic], plain, specific)


def count_parameters(joint: JointModel) -> Index:
    """Return `compact(joint, run).parameters` of every run, without compression; int64 [runs]."""
    m, n = joint.form.block
    c = joint.form.context
    counts = []
    for assignment in joint.assignment.cpu().numpy():
        usage = np.bincount(assignment, minlength=joint.num_modules)
        specific = usage[usage < max(1, c)].sum()
        kept = (usage >= max(1, c)).sum()
        counts.append((joint.num_locations - specific) * c + kept * max(1, c) * m * n + specific * m * n)
    return np.array(counts, np.int64)
