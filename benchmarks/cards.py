"""Write the card of every benchmark id, with its measured figures, into its documentation page.

`python benchmarks/cards.py` rewrites the pages; with `--check` it only says which ones are out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym

import mtl_gym
from mtl_gym.core.measure import Measure
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.registration import Card, registered_ids

PAGES = Path(__file__).parents[1] / "docs" / "environments"


def benchmarks() -> list[str]:
    """Return the bundled ids with a known best decision."""
    return [env_id for env_id in registered_ids() if env_id.startswith("MTL") and mtl_gym.card(env_id).benchmark]


def page_of(env_id: str) -> Path:
    """Return the documentation page of an id.

    Example:
        >>> page_of("MTLRouting-GroupedDigits-v0").name
        'routing-grouped-digits.md'
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", env_id.removeprefix("MTL").rpartition("-v")[0])
    return PAGES / f"{words.lower()}.md"


def fill(page: Path, marker: str, text: str, *, check: bool = False) -> bool:
    """Replace the block between `<!-- marker -->` and `<!-- /marker -->`, or the first of these alone, by a text.

    Args:
        page: The page.
        marker: Name of the block.
        text: The new block.
        check: Leave the page as it is.

    Returns:
        Whether the page was different.

    Raises:
        ValueError: If the page has no such marker.
    """
    old = page.read_text()
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if begin not in old:
        raise ValueError(f"{page} has no line {begin}; add one where the block goes.")
    before, after = old.split(begin, 1)
    after = after.split(end, 1)[1] if end in after else after
    new = f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
    if not check:
        write_atomically(page, lambda file: file.write(new.encode()))
    return new != old


def block(env_id: str) -> str:
    """Return the card of an id as Markdown."""
    card, measure = mtl_gym.card(env_id), gym.make_vec(env_id, num_envs=1).unwrapped.measure
    return "\n".join([*_facts(card, measure), "", *_figures(env_id, card, measure)])


def _facts(card: Card, measure: Measure) -> Iterator[str]:
    direction = "higher" if measure.higher else "lower"
    optimum = "the oracle's figure" if card.optimum is None else f"{card.optimum:g}"
    yield from ("| card | |", "|---|---|")
    yield f"| Decision | {card.decision} |"
    yield f"| Why controls fall short | {card.difficulty} |"
    yield f"| Figure | {measure}; {direction} is better |"
    yield f"| Optimum | {optimum}. {card.evidence} |"
    for name, dial in card.dials.items():
        yield f"| Dial `{name}` | {dial.effect} |"
    yield f"| A run | {card.steps:,} decisions, {card.num_envs} rows |"


def _figures(env_id: str, card: Card, measure: Measure) -> Iterator[str]:
    if not card.measured:
        yield f"Not measured yet: `mtl-gym gate {env_id} --out FOLDER --write FILE`."
        return
    seeds = max(one.seeds for one in card.measured.values())
    yield f"Mean ± standard deviation over {seeds} seeds on the test split, printed by"
    yield f"`mtl-gym gate {env_id} --seeds {seeds} --out runs/gate`:"
    yield from ("", f"| agent | {measure} | score |", "|---|---|---|")
    for agent, one in sorted(card.measured.items(), key=lambda item: -card.score(item[1].mean)):
        kind = " (oracle)" if agent == card.oracle else " (control)" * (agent in card.controls)
        yield f"| `{agent}`{kind} | {one.mean:.2f} ± {one.spread:.2f} | {card.score(one.mean) + 0.0:.2f} |"


def main() -> None:
    """Rewrite or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    check = parser.parse_args().check
    old = [page_of(one) for one in benchmarks() if fill(page_of(one), "card", block(one), check=check)]
    what = "out of date" if check else "rewritten"
    print("\n".join(f"{page.name}: {what}" for page in old) or "All pages are up to date.")
    sys.exit(check and bool(old))


if __name__ == "__main__":
    main()
