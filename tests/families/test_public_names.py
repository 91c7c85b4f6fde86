"""Public names of the families, imported on first use."""

import subprocess
import sys
from importlib import import_module

import pytest

FAMILIES = ("alignment", "limitless", "recurrent", "routing", "scheduling")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_public_name_is_imported_and_none_hides_a_module(family):
    package = import_module(f"mtl_gym.families.{family}")
    assert {"Env", "VectorEnv", "Options"} <= {name.removeprefix(family.title()) for name in package.__all__}
    for name in package.__all__:
        value = getattr(package, name)
        assert value.__name__ == name if isinstance(value, type) else value is not None
        with pytest.raises(ModuleNotFoundError):
            import_module(f"{package.__name__}.{name}")
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = package.Missing


def test_importing_the_families_does_not_import_torch():
    code = "import sys, mtl_gym; " + "; ".join(f"import mtl_gym.families.{family}" for family in FAMILIES)
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)
