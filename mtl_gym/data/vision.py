"""Import of torchvision, the only one in the package.

torchvision's public wheel is built for CUDA. Beside a CPU-only torch its C extension cannot load, and the import then
fails with ``RuntimeError: operator torchvision::nms does not exist``, because ``torchvision/_meta_registrations.py``
registers shape functions for operators that only the extension defines. Data sets and transforms need none of these
operators, so declaring them, without any kernel, is enough.
"""

import functools
import importlib
import re
import sys
from types import ModuleType
from typing import Any

import torch

# Signatures of torchvision/csrc/ops/nms.cpp. These operators are registered by name at import; all others are guarded
# by a check for the extension.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_MISSING_OPERATOR = re.compile(r"operator torchvision::\w+ does not exist")

# torch does not annotate the class.
_Library: Any = torch.library.Library

# Operators exist only as long as the library object that defined them.
_libraries: list[torch.library.Library] = []


@functools.lru_cache(maxsize=1)
def import_torchvision() -> ModuleType:
    """Import torchvision, even with a CPU-only torch.

    Returns:
        The module, with its ``datasets`` and ``transforms``. Operators such as ``torchvision.ops.nms`` work only if
        torchvision's own extension could be loaded.

    Raises:
        ImportError: If torchvision is not installed.
        RuntimeError: If the import fails for a reason other than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if not _MISSING_OPERATOR.fullmatch(str(error)):
            raise
    _define_operators()
    _forget_half_imported()
    return importlib.import_module("torchvision")


def _define_operators() -> None:
    library = _Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _libraries.append(library)


def _forget_half_imported() -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[module]
