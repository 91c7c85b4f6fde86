"""Turn LaTeX between dollars into MathML, which browsers show without a script."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

# Fenced blocks and code spans come first, so that their dollars stay.
FORMULA = re.compile(r"^```.*?^```|`[^`\n]+`|\$\$(.+?)\$\$|\$([^$\s][^$\n]*)\$", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, **rest: object) -> str:
    """Replace the formulas of a page."""
    return FORMULA.sub(_mathml, markdown)


def _mathml(found: re.Match[str]) -> str:
    if found[1]:
        return f'<div class="formula">{convert(found[1], display="block")}</div>'
    # A line that begins with <math> would be a paragraph of its own.
    return f"<span>{convert(found[2])}</span>" if found[2] else found[0]
