"""The fully shared network: one encoder for all tasks, one head per task.

Source: QLS, section 3 (FS-MTL).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from torch import nn

from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling.objectives import Classification, Objective


@dataclass(frozen=True)
class SharedNetwork:
    """A template, of which every training run gets a copy with fresh weights.

    Attributes:
        encoder: Takes inputs [rows, *input_shape] and gives features, the same for all tasks. It is run under
            `torch.func.vmap`, which knows no running statistics: normalise by group, layer or instance, not by batch.
        head: Takes the features and gives the scores of one task, logits [rows, classes] for as many classes as the
            task with most has. Every task has one of its own.
        objective: What the scores mean.
        last_shared: Names of modules or parameters of the encoder that make up its last layer, at whose weight matrices
            gradient norms are taken. Without any it is the module that has the last matrix.

    Raises:
        ValueError: If a module keeps running statistics or has dropout inside of its attention, or the encoder has
            nothing of a name in `last_shared`.

    Example:
        >>> SharedNetwork(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), nn.Linear(4, 2)).encoder[0].in_features
        8
    """

    encoder: nn.Module
    head: nn.Module
    objective: Objective = field(default_factory=Classification)
    last_shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse modules that would mix tasks or runs, and names that are not there."""
        for module in [*self.encoder.modules(), *self.head.modules()]:
            _refuse_mixing(module)
        known = [name for name, _ in [*self.encoder.named_modules(), *self.encoder.named_parameters()] if name]
        for name in self.last_shared:
            if name not in known:
                raise ValueError(f"last_shared={self.last_shared} is not possible: the encoder has {', '.join(known)}.")

    def __deepcopy__(self, memo: dict[int, object]) -> SharedNetwork:
        """Returns the template itself: it never changes."""
        return self


def _refuse_mixing(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
        raise ValueError(
            f"{module} keeps running statistics, but a minibatch holds one task and evaluation holds all: "
            "use nn.GroupNorm, nn.LayerNorm or track_running_stats=False."
        )
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        raise ValueError(
            f"{type(module).__name__}(dropout={module.dropout}) draws inside of a kernel, for all stacked runs at "
            "once: set its dropout to 0. nn.Dropout around it is fine."
        )


Make = Callable[[MultiTaskDataset], SharedNetwork]


def plain_network(data: MultiTaskDataset, hidden: int | None = None) -> SharedNetwork:
    """Two fully connected layers over flat inputs of 64, a convolutional encoder and one of 128 over images.

    Args:
        data: The data set.
        hidden: Features of the encoder.

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
        raise ValueError(f"Inputs of shape {shape} need a network of your own: pass network=SharedNetwork(...).")
    return SharedNetwork(encoder, nn.Linear(features, data.max_classes))


def _flat_encoder(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())


def _image_encoder(shape: tuple[int, ...], hidden: int, filters: int = 32, stages: int = 4) -> nn.Sequential:
    """Four times (3x3 convolution, group norm, 2x2 max-pool, ReLU), then one fully connected layer.

    Deviation: the routing environments' trunk has batch norm. Here a minibatch holds one task, and its statistics are
    not those of the next task nor of all.
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
        raise ValueError(f"Images of {shape[1]} x {shape[2]} are too small for {stages} poolings: pass network=....")
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(filters * left, hidden), nn.ReLU())
