"""The keyword arguments of the alignment environments."""

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

    Defaults are the paper's for its cross-modal experiments; where it is silent, those of its authors' program.

    Attributes:
        data: Name of a data set, or a `TaskCollection`.
        tasks: Names of the tasks that are taken; None takes all.
        network: One module per task, in a list or `nn.ModuleList`, as templates whose weights are drawn anew for every
            run; or a function of one `NetworkContext` (data, options, device) that returns them. None takes the
            architectures that fit the data.
        keep: With `network`: for each module the names of layers that are not generated.
        width: "small" or "paper": the size of the architectures that fit the data.
        block: m inputs and n outputs of a block.
        context: c, the size of a context vector; 0 shares blocks exactly.
        modules: K, how many hypermodules there are; None for as many as locations.
        adapter: Rank of a term of its own that every location adds to its block; 0 for none.
        start: The assignment that a run begins with: "disjoint" (a module for each location), "hierarchical" (the i-th
            locations of all architectures have the i-th module), "oracle" (the locations of a group have one module;
            for data whose groups are known), or the module of each location.
        challengers: lambda, the challengers at each location in a step; the action names as many for each location.
        decomposition: What competes as one: "location" (D = L), "task" (D = T) or "model" (D = 1).
        selection: "best", or "random", which is the control of table 2.
        reward: What a generation earns: "validation" (the fall of the validation loss relative to its scale),
            "training" (the fall of the training loss), or a callable of what was `Measured` before and after it that
            gives a number for each run.
        challenger_share: The belief that challengers begin with, all together; None gives every slot the same.
        iterations: Gradient steps in a generation, which is a step of the environment.
        generations: Of a run, which is an episode.
        final_generations: So many more follow for the assignment that was best on the validation samples.
        learning_rate: Adam's, for hypermodules, contexts and all other parameters.
        score_learning_rate: Adam's, for the weights s of the soft merge.
        minibatch: Training samples of each task in a gradient step, drawn with replacement; None for all.
        samples: Training and validation samples of each task that are measured after a generation; None for all.
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
    tasks: Sequence[str] | None = None
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
        """Refuse values that cannot work."""
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
        """How joint models are trained."""
        return JointRecipe(self.learning_rate, self.score_learning_rate, self.challenger_share, self.minibatch)
