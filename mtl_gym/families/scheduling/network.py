"""A fully shared network: one encoder for all tasks, one head per task.

Source: QLS, section 3 (FS-MTL).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from torch import nn

from mtl_gym.core.validation import complaint
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.objectives import Classification, Objective


@dataclass(frozen=True)
class SharedNetwork:
    """Template of the network of every training run; runs get copies with fresh weights.

    Attributes:
        encoder: Map from inputs [rows, *input_shape] to features, shared by all tasks. Unless it has linear
            layers and elementwise functions in sequence, it runs under `torch.func.vmap`, which does not support
            running statistics: use group, layer or instance normalisation, not batch normalisation.
        head: Map from features to the scores of one task; logits [rows, max_classes] for a `Classification`. Every task
            has its own copy.
        objective: Loss, predictions and probabilities of the scores.
        last_shared: Names of modules or parameters that form the encoder's last layer. Gradient norms are computed over
            its weight matrices. By default, the module that has the last matrix.

    Raises:
        ValueError: If encoder or head is not a module, a module keeps running statistics or is an attention with
            dropout, or the encoder lacks a name in `last_shared`.

    Example:
        >>> SharedNetwork(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), nn.Linear(4, 2)).encoder[0].in_features
        8
    """

    encoder: nn.Module
    head: nn.Module
    objective: Objective = field(default_factory=Classification)
    last_shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject modules that mix tasks or runs, and unknown names in `last_shared`."""
        for name, part in (("encoder", self.encoder), ("head", self.head)):
            wrong = complaint(name, part, nn.Module)
            if wrong is not None:
                raise ValueError(wrong)
        for module in [*self.encoder.modules(), *self.head.modules()]:
            _refuse_mixing(module)
        known = [name for name, _ in [*self.encoder.named_modules(), *self.encoder.named_parameters()] if name]
        for name in self.last_shared:
            if name not in known:
                raise ValueError(
                    f"last_shared={self.last_shared} names {name!r}, which the encoder does not have; "
                    f"use some of {', '.join(known)}."
                )

    def __deepcopy__(self, memo: dict[int, object]) -> SharedNetwork:
        """Return the template itself, which is immutable."""
        return self


def _refuse_mixing(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
        raise ValueError(
            f"{module} keeps running statistics, which would come from minibatches of one task but apply to all tasks: "
            "use nn.GroupNorm, nn.LayerNorm or track_running_stats=False."
        )
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        raise ValueError(
            f"{type(module).__name__}(dropout={module.dropout}) draws its masks inside a kernel, for all stacked runs "
            "together: set its dropout to 0, or use nn.Dropout outside it."
        )


Make = Callable[[MultiTaskDataset], SharedNetwork]


def plain_network(data: MultiTaskDataset, hidden: int | None = None) -> SharedNetwork:
    """Make a fully connected network for flat inputs, or a convolutional one for images.

    Flat inputs get an encoder of two layers of 64 units, images one of four convolutions and a layer of 128 units.

    Args:
        data: Data set.
        hidden: Width of the fully connected layers, in place of 64 or 128.

    Raises:
        ValueError: If the inputs are neither flat nor images.

    Example:
        >>> from mtl_gym.data import load
        >>> plain_network(load("digits")).head
        Linear(in_features=64, out_features=2, bias=True)
    """
    shape = data.input_shape
    if len(shape) == 1:
        encoder, features = _flat_encoder(shape[0], hidden or 64), hidden or 64
    elif len(shape) == 3:
        encoder, features = _image_encoder(shape, hidden or 128), hidden or 128
    else:
        raise ValueError(f"Inputs of shape {shape} have no default network: pass network=SharedNetwork(...).")
    return SharedNetwork(encoder, nn.Linear(features, data.max_classes))


def _flat_encoder(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


def _image_encoder(shape: tuple[int, ...], hidden: int, filters: int = 32, stages: int = 4) -> nn.Sequential:
    """Make four stages (3x3 convolution, group norm, 2x2 max-pool, ReLU) and one fully connected layer.

    Deviation: the trunk of the routing environments has batch norm. Here a minibatch holds a single task, whose
    statistics do not represent the other tasks.
    """
    modules: list[nn.Module] = []
    for stage in range(stages):
        modules += [
            nn.Conv2d(filters if stage else shape[0], filters, 3, padding=1),
            nn.GroupNorm(8, filters),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
    left = prod(size >> stages for size in shape[1:])
    if not left:
        raise ValueError(
            f"Images of {shape[1]} x {shape[2]} are too small for {stages} poolings, which need {2**stages} x "
            f"{2**stages}: pass network=SharedNetwork(...)."
        )
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(filters * left, hidden), nn.ReLU())
