"""Commands `mtl-gym list` and `mtl-gym data`: environments, agents and data sets."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table

from mtl_gym.lab.cli.common import Root, app, console, ids, sentences
from mtl_gym.lab.screen import say, warn
from mtl_gym.registration import card, registered_ids

UNKNOWN = "-"
data_app = typer.Typer(help="List data sets, and download them.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command("list")
def list_environments(
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]", help="Show the card of this id and the agents that fit it.", autocompletion=ids
        ),
    ] = None,
) -> None:
    """List benchmarks with their measured figures, replications, the state of their data, and the agents."""
    from mtl_gym.lab.agents import agents_by_role
    from mtl_gym.lab.environments import is_benchmark

    if env is not None:
        with sentences():
            show(env)
        return
    ids = registered_ids()
    benchmarks = [env_id for env_id in ids if is_benchmark(env_id)]
    if benchmarks:
        optimum = Column("optimum", max_width=10)  # ids are whole on 120 columns
        head = ("environment", optimum, "best control", "best learner", "seeds", "data")
        table = Table(*head, title="Benchmarks: the optimum is known")
        for env_id in benchmarks:
            data, _, there = _data_of(env_id)
            table.add_row(env_id, *_measured(env_id), data if there == "yes" else f"{data}, {there}")
        console.print(table)
        say(console, "Means over seeds. Where the optimum is below the best control, lower is better.")
    table = Table("environment", "data", "tasks", "available", title="Replications: the optimum is unknown")
    for env_id in ids:
        if env_id not in benchmarks:
            table.add_row(env_id, *_data_of(env_id))
    console.print(table)
    for role, names in agents_by_role(warn).items():
        console.print(f"{role}s: " + ", ".join(names))


def show(env_id: str) -> None:
    """Print the card of an id, its measured figures, and the agents that fit.

    Raises:
        gymnasium.error.Error: If the id is unknown.
        ValueError: If the id is not of this package.
    """
    from mtl_gym.lab.environments import class_of
    from mtl_gym.lab.fitting import fitting

    class_of(env_id)
    found = card(env_id)
    say(console, f"{env_id}: {found.decision}")
    say(console, f"Why controls fall short: {found.difficulty}")
    for name, dial in found.dials.items():
        say(console, f"Dial {name}, {dial.effect}")
    if found.benchmark:
        optimum, control, learner, seeds = _measured(env_id)
        say(console, f"Optimum {optimum}, best control {control}, best learner {learner}")
        if seeds != UNKNOWN:
            say(console, f"These are means over {seeds} seeds.")
        agent = found.best_learner or found.oracle
        run = f"--steps {found.steps} --num-envs {found.num_envs} --out runs/{agent}"
        say(console, f"A run: mtl-gym train {env_id} --agent {agent} {run}")
    for role, names in fitting(env_id).items():
        say(console, f"{role}s: {', '.join(names)}")


def _data_of(env_id: str) -> tuple[str, str, str]:
    """Return data set, number of tasks and availability."""
    from mtl_gym.data import data_root
    from mtl_gym.lab.environments import source_of

    source = source_of(env_id)
    if source is None:
        return "generated", "", "yes"
    there = "yes" if source.is_present(data_root()) else f"no: mtl-gym data get {source.name}"
    return source.name, str(source.tasks), there


def _measured(env_id: str) -> list[str]:
    """Return optimum with its unit, best control and best learner of a card, and the number of seeds, as text."""
    from mtl_gym.lab.environments import class_of

    found, measure = card(env_id), class_of(env_id).MEASURE
    best = UNKNOWN if found.best is None else f"{found.best:.4g} {measure.unit or measure.name}"
    named = (found.best_control, found.best_learner)
    figures = (UNKNOWN if name is None else f"{found.measured[name].mean:.4g} {name}" for name in named)
    seeds = sorted({found.measured[name].seeds for name in named if name is not None})
    return [best, *figures, " or ".join(map(str, seeds)) or UNKNOWN]


@data_app.command("list")
def list_data(root: Root = None) -> None:
    """List the data sets with size, licence and availability."""
    from mtl_gym.data import catalogue, data_root

    folder = data_root(root)
    table = Table("data set", "description", "tasks", "size", "licence", "available")
    for source in catalogue():
        there = "yes" if source.is_present(folder) else "no"
        table.add_row(source.name, source.description, str(source.tasks), source.size, source.licence, there)
    console.print(table)
    say(console, f"data root: {folder}")


@data_app.command("get")
def get_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a data set; `mtl-gym data list` shows them.")],
    root: Root = None,
) -> None:
    """Download a data set into the data root."""
    from mtl_gym.data import download, load

    with sentences():
        download(name, root)
        say(console, str(load(name, root)))
