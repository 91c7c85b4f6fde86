"""Old import paths, with a DeprecationWarning."""

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from mtl_gym.aliases import AGENTS, MOVED


@pytest.mark.parametrize("old", [*MOVED, *AGENTS, "mtl_gym.routing.network", "mtl_gym.experiments.run"])
def test_an_old_path_gives_the_module_of_today_and_warns(old):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module(old.rpartition(".")[0])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now "):
        module = import_module(old)
    assert module is import_module(module.__name__)
    assert module.__name__ != old


def test_names_can_be_imported_from_old_paths():
    code = (
        "from mtl_gym.routing.network import RoutedNetwork; from mtl_agents.wpl import WPL; from mtl_gym import "
        "checkpoint; assert checkpoint.save and RoutedNetwork.__module__ == 'mtl_gym.families.routing.network'"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_path_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("mtl_gym.routing.nothing")
