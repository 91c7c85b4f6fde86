"""Old import paths, which work for one more release with a DeprecationWarning.

Importing `mtl_gym` or `mtl_agents` installs a finder, so that `from mtl_gym.routing.network import RoutedNetwork`
imports from the module `mtl_gym.families.routing.network`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

FAMILIES = ("alignment", "limitless", "recurrent", "routing", "scheduling")
MOVED = {
    "mtl_gym.checkpoint": "mtl_gym.core.state.checkpoint",
    "mtl_gym.cli": "mtl_gym.lab.cli",
    "mtl_gym.errors": "mtl_gym.core.errors",
    "mtl_gym.evaluation": "mtl_gym.core.evaluation",
    "mtl_gym.experiments": "mtl_gym.lab",
    "mtl_gym.memory": "mtl_gym.lab.memory",
    "mtl_gym.options": "mtl_gym.core.options",
    "mtl_gym.vector": "mtl_gym.core.env",
    "mtl_gym.wrappers": "mtl_gym.core.wrappers",
    **{f"mtl_gym.{family}": f"mtl_gym.families.{family}" for family in FAMILIES},
    "mtl_gym.alignment.parsimony": "mtl_gym.families.alignment.compression",
    "mtl_gym.routing.dispatch": "mtl_gym.core.nn.dispatch",
    "mtl_gym.routing.figures": "mtl_gym.core.policies",
}
AGENTS = {
    "mtl_agents.connections": "mtl_agents.recurrent.controls",
    "mtl_agents.dispatched": "mtl_agents.routing.dispatched",
    "mtl_agents.evolution": "mtl_agents.alignment.evolution",
    "mtl_agents.fixed": "mtl_agents.routing.controls",
    "mtl_agents.hardening": "mtl_agents.routing.hardening",
    "mtl_agents.lrn": "mtl_agents.limitless.lrn",
    "mtl_agents.lrn_policy": "mtl_agents.limitless.policy",
    "mtl_agents.qls": "mtl_agents.scheduling.qls",
    "mtl_agents.reinforce": "mtl_agents.routing.reinforce",
    "mtl_agents.routers": "mtl_agents.routing.router",
    "mtl_agents.scheduler": "mtl_agents.scheduling.rule",
    "mtl_agents.schedulers": "mtl_agents.scheduling.rules",
    "mtl_agents.search": "mtl_agents.scheduling.search",
    "mtl_agents.straight_through": "mtl_agents.recurrent.straight_through",
    "mtl_agents.tabular": "mtl_agents.routing.tables",
    "mtl_agents.targeted": "mtl_agents.scheduling.targeted_rules",
    "mtl_agents.weighting": "mtl_agents.scheduling.weighting_rules",
    "mtl_agents.wpl": "mtl_agents.routing.wpl",
}


class Aliases(MetaPathFinder, Loader):
    """Finder and loader of modules under their old names.

    Args:
        moved: New names of modules and packages, by old name; the contents of a package move with it.

    Example:
        >>> Aliases({"old": "new.home"}).target("old.part")
        'new.home.part'
    """

    def __init__(self, moved: dict[str, str]) -> None:
        self.moved = moved
        self.specs: dict[str, ModuleSpec | None] = {}

    def target(self, name: str) -> str | None:
        """Return the new name of a module, or None for a module that has not moved."""
        homes = [old for old in self.moved if name == old or name.startswith(f"{old}.")]
        home = max(homes, key=len, default="")
        return self.moved[home] + name[len(home) :] if home else None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the old name of an existing module."""
        new = self.target(fullname)
        return None if new is None or find_spec(new) is None else ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module under its new name, with a warning."""
        new = str(self.target(spec.name))
        warnings.warn(f"{spec.name} is now {new}; the next release removes the old name.", DeprecationWarning, 2)
        module = import_module(new)
        self.specs[module.__name__] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec of the module, which was executed under its new name."""
        module.__spec__ = self.specs.pop(module.__name__)


def install() -> None:
    """Make old names importable; a second call changes nothing."""
    if not any(isinstance(finder, Aliases) for finder in sys.meta_path):
        sys.meta_path.insert(0, Aliases(MOVED | AGENTS))
