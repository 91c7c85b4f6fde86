"""Draw how the dials of benchmark ids set their difficulty, and put the figures into the documentation pages.

`python benchmarks/dials.py [ID]... --out runs/dials` runs oracle, controls and the best learner of the card at each
value of each dial, one dial at a time. Finished runs in `--out` are reused, so the same command resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from cards import PAGES, benchmarks, fill, page_of

import mtl_gym
from mtl_gym.core.figures import COLOURS, FAINT, INK, figure_of
from mtl_gym.core.measure import Measure
from mtl_gym.lab.compare import plan
from mtl_gym.lab.execution import carry_out
from mtl_gym.lab.pictures import write_picture
from mtl_gym.lab.records import BARE, RunResult, RunSettings
from mtl_gym.lab.statistics import best_of, figures_of
from mtl_gym.lab.sweep import Failure, Sweep
from mtl_gym.registration import Card

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS = PAGES.parent
PICTURES = Path("images") / "dials"
SIZE = (4.4, 2.9)


@dataclass(frozen=True)
class Scan:
    """Runs over the values of a dial.

    Attributes:
        env_id: The id.
        dial: Name of the dial.
        runs: Runs at each value, in the order of the card.
    """

    env_id: str
    dial: str
    runs: Sequence[Sequence[RunSettings]]

    @property
    def picture(self) -> Path:
        """File of the figure, below the folder of the documentation."""
        return PICTURES / f"{page_of(self.env_id).stem}-{self.dial.replace('_', '-')}.png"

    def parts(self) -> list[str]:
        """Return the folder of each run."""
        return [f"{self.env_id}/{self.dial}-{number}" for number, runs in enumerate(self.runs) for _ in runs]


def scans(env_id: str, seeds: int, share: float) -> list[Scan]:
    """Return the runs of all dials of an id that have values; `share` of the card's decisions each."""
    card = mtl_gym.card(env_id)
    agents = [card.oracle or "", *card.controls, learner_of(card)]
    steps = max(1, int(share * card.steps))
    found = []
    for name, dial in card.dials.items():
        bases = [RunSettings(env_id, "", steps, 0, card.num_envs, {name: value}) for value in dial.values]
        if bases:
            found.append(Scan(env_id, name, [plan(base, agents, seeds) for base in bases]))
    return found


def learner_of(card: Card) -> str:
    """Return the learner that the gate measured as the best; before a measurement the first of the card, or PPO."""
    return card.best_learner or next(iter(card.learners), "ppo")


def measured(scan: Scan, out: Path, jobs: int) -> list[list[RunResult]]:
    """Carry out the runs of a dial; return the results at each value.

    Raises:
        RuntimeError: If a run failed.
    """
    runs = [run for at_value in scan.runs for run in at_value]
    outcomes = iter(carry_out(Sweep(runs, out, extras=BARE, parts=scan.parts()), jobs))
    results: list[list[RunResult]] = [[] for _ in scan.runs]
    for number, at_value in enumerate(scan.runs):
        for _ in at_value:
            outcome = next(outcomes)
            if isinstance(outcome, Failure):
                raise RuntimeError(f"{scan.env_id}, {scan.dial}: a run failed ({outcome}); rerun to retry it.")
            results[number].append(outcome)
    return results


def lines_of(card: Card, results: Sequence[Sequence[RunResult]]) -> dict[str, list[list[float]]]:
    """Return figures by line and value: of the oracle, of the control that is best there, and of the learner."""
    lines: dict[str, list[list[float]]] = {
        "optimum": [],
        "best control": [],
        learner_of(card): [],
    }
    for at_value in results:
        figures = {name: list(by_seed.values()) for name, by_seed in figures_of(at_value).items()}
        means = {name: float(np.mean(figures[name])) for name in card.controls}
        shown = [card.oracle or "", best_of(means, at_value[0].measure), learner_of(card)]
        for line, name in zip(lines.values(), shown, strict=True):
            line.append(figures[name])
    return lines


def draw(scan: Scan, lines: Mapping[str, list[list[float]]], measure: Measure) -> Figure:
    """Draw a line per agent over the values of a dial, in a band from the lowest seed to the highest."""
    values = [run[0].env_kwargs[scan.dial] for run in scan.runs]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (name, seeds) in zip((INK, COLOURS[0], COLOURS[2]), lines.items(), strict=False):
            _draw_line(axes, name, np.array(seeds), colour)
        axes.set_xticks(range(len(values)), [_told(value) for value in values], parse_math=False)
        axes.set_xlabel(scan.dial, color=INK)
        axes.set_ylabel(str(measure), color=INK)
        axes.set_title(scan.env_id, color=INK, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[:].set_color(FAINT)
        axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
        axes.grid(color="#e8e8e8", lw=0.6, axis="y")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)

    return figure_of(paint, SIZE)


def _draw_line(axes: Axes, name: str, seeds: np.ndarray[tuple[int, int], np.dtype[np.float64]], colour: str) -> None:
    x = np.arange(len(seeds))
    axes.plot(x, seeds.mean(1), color=colour, lw=1.8, marker="o", ms=4, label=name)
    axes.fill_between(x, seeds.min(1), seeds.max(1), color=colour, alpha=0.18, lw=0)


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def block(env_id: str, drawn: Sequence[Scan], seeds: int, share: float) -> str:
    """Return the figures of an id as Markdown, with the command that draws them."""
    card = mtl_gym.card(env_id)
    command = f"python benchmarks/dials.py {env_id} --seeds {seeds} --share {share:g} --out runs/dials"
    told = f"Mean and range over {seeds} seeds, {max(1, int(share * card.steps)):,} decisions each, drawn by"
    parts = [f"{told}\n`{command}`."]
    for scan in drawn:
        link = (Path("..") / scan.picture).as_posix()
        told = f"`{scan.dial}`, {card.dials[scan.dial].effect}"
        parts.append(f"![Optimum, best control and {learner_of(card)} over {scan.dial}]({link})\n\n{told}.")
    return "\n\n".join(parts)


def main(arguments: argparse.Namespace) -> None:
    """Measure and draw the dials of all ids; fill the pages."""
    for env_id in arguments.ids or benchmarks():
        card, drawn = mtl_gym.card(env_id), scans(env_id, arguments.seeds, arguments.share)
        for scan in drawn:
            results = measured(scan, arguments.out, arguments.jobs)
            path = arguments.docs / scan.picture
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(draw(scan, lines_of(card, results), results[0][0].measure), path)
            print(f"wrote {path}", flush=True)
        page = arguments.docs / PAGES.name / page_of(env_id).name
        if drawn and page.is_file():
            fill(page, "dials", block(env_id, drawn, arguments.seeds, arguments.share))


if __name__ == "__main__":
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("ids", metavar="ID", nargs="*", help="benchmark ids; default all")
    made.add_argument("--out", type=Path, required=True, help="folder of the runs")
    made.add_argument("--seeds", type=int, default=2, help="seeds per agent and value")
    made.add_argument("--share", type=float, default=1.0, help="share of the decisions of the gate's runs")
    made.add_argument("--jobs", type=int, default=1, help="parallel processes")
    made.add_argument("--docs", type=Path, default=DOCS, help="folder of the documentation")
    main(made.parse_args())
