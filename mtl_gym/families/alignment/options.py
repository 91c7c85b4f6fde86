"""Keyword arguments of the alignment environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mtl_gym.core.options import EnvOptions
from mtl_gym.core.ranges import COUNTS, POSITIVE, SIZES, Range
from mtl_gym.data import TaskCollection
from mtl_gym.families.alignment.assignments import STARTS
from mtl_gym.families.alignment.competition import DECOMPOSITIONS
from mtl_gym.families.alignment.joint import Form
from mtl_gym.families.alignment.rewards import AlignmentReward
from mtl_gym.families.alignment.training import JointRecipe

SELECTIONS = ("best", "random")


@dataclass(frozen=True, kw_only=True)
class AlignmentOptions(EnvOptions):
    """Keyword arguments of the alignment environments, besides those of `EnvOptions`.

    Defaults are those of the paper's cross-modal experiments or, where unspecified, of the authors' program.

    Attributes:
        data: Name of a data set, or a `TaskCollection`.
        tasks: Names or numbers of the tasks to use; None for all.
        network: One module per task, in a list or `nn.ModuleList`, as templates whose weights are redrawn for every
            run; or a function of one `NetworkContext` (data, options, device) that returns them. None chooses default
            architectures by the data.
        keep: With `network`: for each module, the names of layers whose weights are not generated.
        width: Size of the default architectures: "small" or "paper".
        block: Inputs m and outputs n of a block.
        context: Size c of a context vector; 0 shares blocks exactly.
        modules: Number K of hypermodules; None for the number of locations.
        adapter: Rank of a term that every location adds to its block; 0 for none.
        start: Initial assignment: "disjoint" (one module per location), "hierarchical" (the i-th locations of all
            architectures share the i-th module), "oracle" (the i-th locations of a group's architectures share a
            module; for data with known groups), "cyclic" (location l has module l modulo K), or the module of each
            location.
        challengers: Number lambda of challengers per location in a step and in the action.
        decomposition: Unit of competition: "location" (D = L), "task" (D = T) or "model" (D = 1).
        selection: "best", or "random" for the control of table 2.
        reward: "validation" (decrease of the relative validation loss), "training" (decrease of the training loss), or
            a callable of the `Measured` before and after a generation that returns one number per run.
        challenger_share: Total initial softmax weight of the challengers; None gives all slots equal weights.
        iterations: Gradient steps per generation, which is a step of the environment.
        generations: Generations per run, which is an episode.
        final_generations: Further generations without challengers, from the best weights on the validation samples.
        learning_rate: Learning rate of Adam for hypermodules, contexts and all other parameters.
        score_learning_rate: Learning rate of Adam for the logits s of the soft merge.
        minibatch: Training samples of each task in a gradient step, drawn with replacement; None for all.
        samples: Training and validation samples of each task to measure after a generation; None for all.
    """

    RANGES: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("iterations", "generations", "minibatch", "samples"), COUNTS),
        **dict.fromkeys(("block", "challengers"), SIZES),
        "modules": COUNTS,
        **dict.fromkeys(("context", "adapter"), Range(0, 10_000)),
        "challenger_share": Range(0, 1, "both"),
        **dict.fromkeys(("learning_rate", "score_learning_rate"), POSITIVE),
    }

    data: str | TaskCollection = "linear"
    tasks: Sequence[str | int] | None = None
    keep: Sequence[Sequence[str]] | None = None
    width: str = "small"
    block: tuple[int, int] = (16, 16)
    context: int = 4
    modules: int | None = None
    adapter: int = 0
    start: str | Sequence[int] = "disjoint"
    challengers: int = 1
    decomposition: str = "location"
    selection: str = "best"
    reward: str | AlignmentReward = "validation"
    challenger_share: float | None = None
    iterations: int = 100
    generations: int = 1000
    final_generations: int = 200
    score_learning_rate: float = 1e-2
    minibatch: int | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        """Reject invalid values."""
        super().__post_init__()
        self._require("width", self.width in ("small", "paper"), 'one of ("small", "paper")')
        self._require("decomposition", self.decomposition in DECOMPOSITIONS, f"one of {DECOMPOSITIONS}")
        self._require("selection", self.selection in SELECTIONS, f"one of {SELECTIONS}")
        known = not isinstance(self.start, str) or self.start in STARTS
        self._require("start", known, f"one of {STARTS}, or the module of each location")
        self._require("keep", self.keep is None or self.network is not None, "None without network")
        assert self.form

    @property
    def form(self) -> Form:
        """Form of the generated weights."""
        m, n = self.block
        return Form((int(m), int(n)), self.context, self.modules, self.adapter)

    @property
    def recipe(self) -> JointRecipe:
        """Hyperparameters of the joint models' training."""
        return JointRecipe(self.learning_rate, self.score_learning_rate, self.challenger_share, self.minibatch)
