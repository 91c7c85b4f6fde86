import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from mtl_gym.data import vision


def run(script):
    return subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)


@pytest.fixture
def attempts(monkeypatch):
    """Replace the import: raise or return the test's outcomes, and count the definitions."""
    record = SimpleNamespace(outcomes=[], defined=0, forgotten=0)

    def import_module(name):
        outcome = record.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def define():
        record.defined += 1

    def forget():
        record.forgotten += 1

    monkeypatch.setattr(vision, "importlib", SimpleNamespace(import_module=import_module))
    monkeypatch.setattr(vision, "_define_operators", define)
    monkeypatch.setattr(vision, "_forget_half_imported", forget)
    return record


def test_a_fresh_process_imports_torchvision_with_its_data_sets():
    done = run(
        "from mtl_gym.data.vision import import_torchvision\n"
        "vision = import_torchvision()\n"
        "assert vision is import_torchvision()\n"
        "assert vision.datasets.MNIST and vision.transforms.ToTensor\n"
        "import torchvision; assert torchvision is vision\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_torchvision_imports_after_a_failed_import():
    done = run(
        "try:\n    import torchvision\nexcept RuntimeError:\n    pass\n"
        "from mtl_gym.data.vision import import_torchvision\n"
        "assert import_torchvision().datasets.MNIST\n"
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_data_package_imports_neither_torchvision_nor_sklearn():
    done = run("import sys, mtl_gym.data\nassert not {'torchvision', 'sklearn'} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


def test_no_operator_is_defined_if_the_import_succeeds(attempts):
    module = ModuleType("torchvision")
    attempts.outcomes = [module]
    assert vision.import_torchvision.__wrapped__() is module
    assert attempts.defined == attempts.forgotten == 0


@pytest.mark.parametrize("name", ["nms", "qnms", "roi_align"])
def test_missing_operators_are_defined_once_and_the_import_is_repeated(attempts, name):
    module = ModuleType("torchvision")
    attempts.outcomes = [RuntimeError(f"operator torchvision::{name} does not exist"), module]
    assert vision.import_torchvision.__wrapped__() is module
    assert attempts.defined == attempts.forgotten == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error"),
        RuntimeError("operator other::nms does not exist"),
        ImportError("no torchvision"),
    ],
)
def test_other_errors_are_raised_and_no_operator_is_defined(attempts, error):
    attempts.outcomes = [error]
    with pytest.raises(type(error), match=str(error)):
        vision.import_torchvision.__wrapped__()
    assert attempts.defined == 0


def test_a_second_failure_is_raised(attempts):
    attempts.outcomes = [RuntimeError("operator torchvision::nms does not exist"), RuntimeError("still not")]
    with pytest.raises(RuntimeError, match="still not"):
        vision.import_torchvision.__wrapped__()


def test_a_failed_import_is_not_cached(attempts):
    vision.import_torchvision.cache_clear()
    module = ModuleType("torchvision")
    attempts.outcomes = [ImportError("not yet"), module]
    with pytest.raises(ImportError):
        vision.import_torchvision()
    assert vision.import_torchvision() is module
    vision.import_torchvision.cache_clear()


def test_only_modules_of_torchvision_are_removed(monkeypatch):
    for name in ("torchvision_like", "torchvision", "torchvision.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] != "torchvision"}
    # The real modules are put back, because operators can be registered only once in a process.
    real = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchvision"}
    vision._forget_half_imported()
    left = dict(sys.modules)
    sys.modules.update(real)
    assert left == others
