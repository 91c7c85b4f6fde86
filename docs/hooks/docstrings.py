"""Show the sections of this package's docstrings: sources, deviations and examples."""

from __future__ import annotations

import re
from typing import Any

import griffe

LABEL = re.compile(r"^(Source|Deviation): ", re.MULTILINE)
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Set labels in bold type; let examples be code, as those of Google's section "Examples" are."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            text = LABEL.sub(r"**\1:** ", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub("Examples:", text)
