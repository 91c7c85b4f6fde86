"""Commands `mtl-gym list` and `mtl-gym data`: environments, agents and data sets."""

from __future__ import annotations

from typing import Annotated

import gymnasium as gym
import typer
from rich.table import Table

from mtl_gym.lab.cli.common import Root, app, console, sentences
from mtl_gym.lab.screen import say, warn
from mtl_gym.registration import registered_ids

data_app = typer.Typer(help="List data sets, and download them.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command("list")
def list_environments() -> None:
    """List the environments, the state of their data, and the agents."""
    from mtl_gym.data import catalogue, data_root
    from mtl_gym.lab.agents import agents_by_role

    sources = {source.name: source for source in catalogue()}
    table = Table("environment", "data", "tasks", "available")
    for env_id in registered_ids():
        source = sources.get(gym.spec(env_id).kwargs.get("data", ""))
        if source is None:
            table.add_row(env_id, "its own", "", "")
            continue
        there = "yes" if source.is_present(data_root()) else f"no: mtl-gym data get {source.name}"
        table.add_row(env_id, source.name, str(source.tasks), there)
    console.print(table)
    for role, names in agents_by_role(warn).items():
        console.print(f"{role}s: " + ", ".join(names))


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
