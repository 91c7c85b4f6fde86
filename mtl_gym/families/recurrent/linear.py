"""Network of linear modules that answer at every step by themselves."""

from __future__ import annotations

from torch import Tensor, nn

from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.nn.grouped import GroupedLinear
from mtl_gym.families.recurrent.connections import ConnectionLayout, Gates
from mtl_gym.families.recurrent.modular import SharedOutput, Sharing, connected
from mtl_gym.families.recurrent.network import MultiTaskNetwork


class LinearModules(Sharing):
    """Linear modules that read the input of a step; a task takes the mean of those that are on, zeros without any.

    A mean of linear modules is linear: modules that stay on for a whole sequence follow one linear rule.

    Args:
        inputs: Width of x_t.
        outputs: Width of the outputs of the modules.
        modules: Number of modules.

    Example:
        >>> modules = LinearModules(inputs=8, outputs=4, modules=3)
        >>> modules.layout.names, modules.width
        (['A > decoder 1', 'B > decoder 1', 'C > decoder 1'], 4)
    """

    def __init__(self, inputs: int, outputs: int, modules: int) -> None:
        super().__init__()
        self.layout = ConnectionLayout(decoder=(modules,))
        self.embedded, self.width, self.unit = inputs, outputs, outputs
        self.linear = GroupedLinear(modules, inputs, outputs)

    def embed(self, x: Tensor, groups: Dispatch) -> Tensor:
        """Return the inputs unchanged."""
        return x

    def share(
        self, embedded: Tensor, own: Tensor | None, memory: Tensor, groups: Dispatch, gates: Gates
    ) -> SharedOutput:
        """Run every module and average those that are on."""
        units = self.linear(embedded.expand(self.layout.c2, *embedded.shape))
        on = gates.decoder(0, units, own, groups)
        return SharedOutput(connected(units, on.unsqueeze(2))[0], memory, on)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return all parameters."""
        return list(self.parameters())


class LinearAnswers(MultiTaskNetwork):
    """Network whose answer at a step is the mean of the linear modules that are on; tasks have no parts of their own.

    Args:
        inputs: Width of what modules read.
        cues: Width of what routers alone read, behind it.
        modules: Number of modules.
        tasks: Number of tasks.
        classes: Number of classes.

    Example:
        >>> network = LinearAnswers(inputs=4, cues=2, modules=3, tasks=5, classes=4)
        >>> network.parts, [list(part.shape) for part in network.parameters()]
        ({'embedded': 6, 'memory': 0, 'own': 0}, [[3, 4, 4], [3, 1, 4]])
    """

    sharing: LinearModules

    def __init__(self, inputs: int, cues: int, modules: int, tasks: int, classes: int) -> None:
        sharing = LinearModules(inputs, classes, modules)
        super().__init__(nn.Identity(), None, sharing, tasks, classes, "every", cues)
        del self.head  # the modules answer

    def answer(self, knowledge: Tensor, own: Tensor, groups: Dispatch) -> Tensor:
        """Return the knowledge as logits."""
        return knowledge
