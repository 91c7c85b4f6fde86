"""Commands `mtl-gym train` and `mtl-gym evaluate`: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mtl_gym.lab.cli.common import (
    Env,
    EnvKwargs,
    ModuleId,
    OptionalNumEnvs,
    OptionalSteps,
    Quiet,
    Wandb,
    app,
    check,
    console,
    loading,
    read_json,
    sentences,
)
from mtl_gym.lab.cli.tables import table_of
from mtl_gym.lab.screen import say


@app.command()
def train(
    env: Env,
    agent: Annotated[str, typer.Option(help="Agent name; `mtl-gym list` shows them.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    steps: OptionalSteps = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of environment and agent.")] = 0,
    num_envs: OptionalNumEnvs = None,
    env_kwargs: EnvKwargs = "{}",
    agent_kwargs: Annotated[str, typer.Option(help="Keyword arguments of the agent, as JSON.")] = "{}",
    wandb: Wandb = None,
    quiet: Quiet = False,
) -> None:
    """Train one agent with one seed and evaluate it on the test split.

    Rerunning the same command resumes an interrupted run.
    """
    with sentences():
        kwargs = read_json("--env-kwargs", env_kwargs), read_json("--agent-kwargs", agent_kwargs)
    loading(quiet)
    from mtl_gym.lab.compare import summarise
    from mtl_gym.lab.environments import size_of_run
    from mtl_gym.lab.progress import Bar
    from mtl_gym.lab.records import RunSettings
    from mtl_gym.lab.run import train as carry_out

    with sentences():
        length, rows = size_of_run(env, steps, num_envs)
        settings = RunSettings(env, agent, length, seed, rows, *kwargs)
        check([settings])
        with Bar([settings], console, quiet) as bar:
            result = carry_out(settings, out, lambda done, accuracy: bar.moved(0, done, accuracy), wandb)
    console.print(table_of(summarise([result]), env))
    say(console, f"wrote {out}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    split: Annotated[str, typer.Option(help="Split to evaluate on: test, validation or train.")] = "test",
    env: ModuleId = None,
    module: Annotated[
        str | None,
        typer.Option(help="Module to import first, if it provides the data set or the network of the run."),
    ] = None,
) -> None:
    """Evaluate a trained run; print accuracy and loss of every task."""
    from mtl_gym.core.evaluation import evaluate as evaluate_policy
    from mtl_gym.core.measure import ACCURACY
    from mtl_gym.lab.locations import imported
    from mtl_gym.lab.run import restore

    with sentences():
        if module is not None:
            imported(module, "--module")
        settings, vec_env, agent = restore(run, env, module)
        result = evaluate_policy(agent, vec_env.batched, split)
    table = Table("task", "episodes", "accuracy %", "loss", title=f"{settings.agent} on {settings.env_id}, {split}")
    for name, *figures in zip(result.task_names, result.episodes, result.accuracy, result.loss, strict=True):
        table.add_row(name, str(figures[0]), f"{100 * figures[1]:.1f}", f"{figures[2]:.3f}")
    table.add_section()
    table.add_row("mean", "", f"{100 * result.mean_accuracy:.2f}", f"{result.mean_loss:.3f}")
    console.print(table)
    tasks = vec_env.batched.figure_tasks
    if result.measure != ACCURACY or tasks:
        of = f" of {', '.join(tasks)}" if tasks else ""
        say(console, f"{result.measure}{of}: {result.measure.text(result.figure)}")
