"""The command line: `mtl-gym list | data | train | evaluate | compare | report | transfer | figures`."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import gymnasium as gym
import typer
from rich.cells import cell_len
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import mtl_gym  # noqa: F401 (registers the ids)
from mtl_gym.core.validation import short
from mtl_gym.lab.memory import keep_memory
from mtl_gym.lab.screen import complain, console_of, descriptions, say, warn
from mtl_gym.registration import registered_ids

if TYPE_CHECKING:
    from mtl_gym.lab.compare import Row
    from mtl_gym.lab.records import RunResult, RunSettings
    from mtl_gym.lab.sweep import Failure

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="The data sets: which there are, and getting them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
console = console_of()
# Writing into a folder that is mounted or marked read-only.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
# The most of a name that a table keeps on one line, in columns.
WIDEST_NAME = 60

Env = Annotated[str, typer.Argument(metavar="ENV", help="An environment id; `mtl-gym list` shows them.")]
Steps = Annotated[int, typer.Option(min=1, help="Decisions, counted over all rows; a routed input takes three.")]
NumEnvs = Annotated[int, typer.Option(min=1, help="Episodes side by side; also the least episodes per update.")]
EnvKwargs = Annotated[str, typer.Option(help="Keyword arguments of the environment, as JSON.")]
Root = Annotated[Path | None, typer.Option(help="Data root; by default MTL_GYM_DATA or the user's cache folder.")]
Wandb = Annotated[str | None, typer.Option(metavar="PROJECT", help="Log to this project of Weights and Biases too.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


def program() -> None:
    """Run the command line in a process that does nothing else and ends with it, as the installed program does."""
    keep_memory()
    app()


@contextmanager
def sentences() -> Iterator[None]:
    """Errors that a user can cause end the program with their message, not with a traceback."""
    try:
        yield
    except (ValueError, OSError, ArithmeticError, ImportError, gym.error.Error) as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        say(console_of(stderr=True), "interrupted: what is finished, and the last checkpoint of each run, are kept.")
        raise typer.Exit(130) from error


@contextmanager
def unless_read_only(out: Path) -> Iterator[None]:
    """What is read from a folder that cannot be written is shown all the same."""
    try:
        yield
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        warn(f"{out} cannot be written ({error.strerror}): tables and pictures there are left as they are.")


@app.callback()
def main() -> None:
    """Environments whose actions are decisions inside multi-task learning, and fair comparisons of agents on them."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


@app.command("list")
def list_environments() -> None:
    """Show the environments, whether their data is there, and the agents."""
    from mtl_gym.data import catalogue, data_root
    from mtl_gym.lab.agents import agent_names

    sources = {source.name: source for source in catalogue()}
    table = Table("environment", "data", "tasks", "is the data there?")
    for env_id in registered_ids():
        source = sources.get(gym.spec(env_id).kwargs.get("data", ""))
        if source is None:
            table.add_row(env_id, "its own", "", "")
            continue
        there = "yes" if source.is_present(data_root()) else f"no: mtl-gym data get {source.name}"
        table.add_row(env_id, source.name, str(source.tasks), there)
    console.print(table)
    console.print("agents: " + ", ".join(agent_names()))


@data_app.command("list")
def list_data(root: Root = None) -> None:
    """Show the data sets, where they come from, and whether they are there."""
    from mtl_gym.data import catalogue, data_root

    folder = data_root(root)
    table = Table("data set", "what it is", "tasks", "size", "licence", "there?")
    for source in catalogue():
        there = "yes" if source.is_present(folder) else "no"
        table.add_row(source.name, source.description, str(source.tasks), source.size, source.licence, there)
    console.print(table)
    say(console, f"data root: {folder}")


@data_app.command("get")
def get_data(name: Annotated[str, typer.Argument(metavar="NAME")], root: Root = None) -> None:
    """Download a data set into the data root."""
    from mtl_gym.data import download, load

    with sentences():
        download(name, root)
        say(console, str(load(name, root)))


@app.command()
def train(
    env: Env,
    agent: Annotated[str, typer.Option(help="An agent's name; `mtl-gym list` shows them.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    steps: Steps = 100_000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    num_envs: NumEnvs = 64,
    env_kwargs: EnvKwargs = "{}",
    agent_kwargs: Annotated[str, typer.Option(help="Keyword arguments of the agent, as JSON.")] = "{}",
    wandb: Wandb = None,
    quiet: Quiet = False,
) -> None:
    """Train one agent with one seed and evaluate it on the test split; an interrupted run goes on."""
    from mtl_gym.lab.compare import summarise
    from mtl_gym.lab.progress import Bar
    from mtl_gym.lab.records import RunSettings
    from mtl_gym.lab.run import train as carry_out

    with sentences():
        kwargs = read_json("--env-kwargs", env_kwargs), read_json("--agent-kwargs", agent_kwargs)
        settings = RunSettings(env, agent, steps, seed, num_envs, *kwargs)
        check([settings])
        with Bar([settings], console, quiet) as bar:
            result = carry_out(settings, out, lambda done, accuracy: bar.moved(0, done, accuracy), wandb)
    console.print(table_of(summarise([result]), env))
    say(console, f"wrote {out}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    env: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:ID", help="The run's environment, where a module of another package registers it."
        ),
    ] = None,
) -> None:
    """Evaluate a trained run: accuracy and loss of every task."""
    from mtl_gym.core.evaluation import evaluate as evaluate_policy
    from mtl_gym.lab.run import restore

    with sentences():
        settings, vec_env, agent = restore(run, env)
        result = evaluate_policy(agent, vec_env.batched, split)
    table = Table("task", "episodes", "accuracy %", "loss", title=f"{settings.agent} on {settings.env_id}, {split}")
    for name, *figures in zip(result.task_names, result.episodes, result.accuracy, result.loss, strict=True):
        table.add_row(name, str(figures[0]), f"{100 * figures[1]:.1f}", f"{figures[2]:.3f}")
    table.add_section()
    table.add_row("mean", "", f"{100 * result.mean_accuracy:.2f}", f"{result.mean_loss:.3f}")
    console.print(table)


@app.command()
def compare(
    out: Annotated[Path, typer.Option(help="Folder of the comparison; finished runs in it are not run again.")],
    env: Annotated[str | None, typer.Argument(metavar="[ENV]", help="An environment id.", show_default=False)] = None,
    agents: Annotated[str | None, typer.Option(help="Names of agents, parted by commas.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A YAML file that names environment, agents and all else.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0, 1, ... of each agent; else 3.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Decisions, counted over all rows; else 100,000.")] = None,
    num_envs: Annotated[int | None, typer.Option(min=1, help="Episodes side by side; else 64.")] = None,
    env_kwargs: EnvKwargs = "{}",
    control: Annotated[
        str | None, typer.Option(help="The run that the others are set against; else random-fixed or uniform.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes on this machine, which share its threads.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help='A Ray cluster: its address, "auto", or "local" for this machine.'),
    ] = None,
    wandb: Wandb = None,
    quiet: Quiet = False,
) -> None:
    """Train several agents with several seeds each, and set them side by side.

    The same command again skips what is finished and goes on with what was interrupted.
    """
    from mtl_gym.lab.compare import alike, summarise, write_results, write_table
    from mtl_gym.lab.progress import Bar
    from mtl_gym.lab.statistics import default_control, differences
    from mtl_gym.lab.sweep import Failure, Sweep, carry_out

    with sentences():
        changes = {"seeds": seeds, "steps": steps, "num_envs": num_envs}
        runs = planned(env, agents, settings, read_json("--env-kwargs", env_kwargs), changes)
        env, names = runs[0].env_id, list(dict.fromkeys(run.name for run in runs))
        if control is not None and control not in names:
            raise ValueError(f"--control {control!r} is no run of this comparison; it has {', '.join(names)}.")
        control = control or default_control(names)
        with Bar(runs, console, quiet) as bar:
            outcomes = carry_out(Sweep(runs, out.absolute(), wandb), jobs, ray, bar)
        results, odd = alike([outcome for outcome in outcomes if not isinstance(outcome, Failure)])
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        failures += [Failure(result.settings, why) for result, why in odd]
        if not results:
            raise ValueError(told(failures))
    console.print(table_of(summarise(results), env))
    print_differences(results, control)
    with sentences(), unless_read_only(out):
        write_results(results, out / "results.csv")
        write_table(summarise(results), out / "table.md", differences(results, control), control)
        print_pictures(results, env, out)
    if failures:
        complain(told(failures))
        raise typer.Exit(1)


def print_pictures(results: Sequence[RunResult], env: str, out: Path) -> None:
    """Draw the pictures of a comparison, and print where these are and those of each agent's first run."""
    from mtl_gym.lab.environments import class_of
    from mtl_gym.lab.figures import task_accuracies
    from mtl_gym.lab.pictures import draw_curves, draw_more_curves, write_picture
    from mtl_gym.lab.sweep import folder

    folders, accuracies = [folder(out, result.settings) for result in results], out / "accuracies.png"
    told: dict[str, None] = {}
    write_picture(task_accuracies(results, env), accuracies)
    curves = draw_curves(folders, env, out, told.setdefault)
    more = draw_more_curves(folders, env, out)
    for sentence in told:
        warn(sentence)
    firsts = {result.settings.name: out / result.settings.name / "seed-0" for result in results}
    drawn = [(name, first / class_of(env).PICTURE) for name, first in firsts.items()]
    drawn += [("learning curves", curves)] if curves is not None else []
    drawn += [(picture.stem.replace("_", " "), picture) for picture in more]
    for label, picture in [*drawn, ("accuracies", accuracies)]:
        if picture.is_file():
            say(console, f"{label}: {picture}")


@app.command()
def transfer(
    out: Annotated[Path, typer.Option(help="Folder of the table; what is finished in it is not run again.")],
    env: Annotated[str | None, typer.Argument(metavar="[ENV]", help="A scheduling id.", show_default=False)] = None,
    agents: Annotated[str | None, typer.Option(help="Names of agents, parted by commas.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A YAML file, as for compare.")] = None,
    tasks: Annotated[str | None, typer.Option(help="The tasks to leave out, parted by commas; else every one.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0, 1, ... of each agent; else 3.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Decisions, counted over all rows; else 100,000.")] = None,
    num_envs: Annotated[int | None, typer.Option(min=1, help="Runs side by side; else 64.")] = None,
    env_kwargs: EnvKwargs = "{}",
    quiet: Quiet = False,
) -> None:
    """Train on all tasks but one, freeze the encoder, and cross-validate a new head on that one."""
    from mtl_gym.lab import transfer as leave_one_out

    with sentences():
        changes = {"seeds": seeds, "steps": steps, "num_envs": num_envs}
        runs = planned(env, agents, settings, read_json("--env-kwargs", env_kwargs), changes)
        names = [name.strip() for name in tasks.split(",")] if tasks else leave_one_out.tasks_of(runs[0])
        jobs = [(run, name) for name in names for run in runs]
        with bar_of(len(jobs), quiet) as move:
            found = [leave_one_out.transfer(run, task, out) for run, task in map(move, jobs)]
    head, *body = leave_one_out.lines(found)
    table = Table(*head, title=f"{runs[0].env_id}: accuracy in % on a task that was left out")
    for line in body:
        table.add_row(*line)
    console.print(table)
    with sentences(), unless_read_only(out):
        leave_one_out.write(found, out)
        say(console, f"wrote {out / 'transfer.md'}")


def told(failures: Sequence[Failure]) -> str:
    """The runs that failed, a line each, and what to do."""
    head = f"{len(failures)} of the runs failed; the same command tries them again:"
    return "\n".join([head, *(f"  {failure}" for failure in failures)])


def print_differences(results: Sequence[RunResult], control: str) -> None:
    """What sets the agents apart from the control: accuracy, and how many blocks or modules they use."""
    from mtl_gym.lab.statistics import differences

    compared = {
        "accuracy": differences(results, control),
    }
    if any(result.blocks_used is not None for result in results):
        compared["blocks used"] = differences(results, control, lambda result: result.blocks_used or 0)
    for figure, apart in compared.items():
        if apart:
            console.print(f"{figure} minus that of {control}, paired by seed, with 95% intervals:")
            console.print("\n".join(f"  {difference}" for difference in apart))


def planned(
    env: str | None,
    agents: str | None,
    settings: Path | None,
    env_kwargs: dict[str, Any],
    changes: dict[str, int | None],
) -> list[RunSettings]:
    """The runs of a comparison: of a settings file, or of an environment and agents from the command line.

    Raises:
        ValueError: If both are given, or neither, or a run cannot be made.
    """
    from mtl_gym.lab.compare import plan
    from mtl_gym.lab.records import RunSettings
    from mtl_gym.lab.settings import read_comparison

    if settings is not None:
        if env is not None or agents is not None or env_kwargs:
            raise ValueError("--settings names environment, agents and --env-kwargs itself: leave those out.")
        return check(read_comparison(settings, **changes))
    if env is None or agents is None:
        raise ValueError("compare takes an environment and --agents, or --settings FILE.")
    base = RunSettings(env, "", changes["steps"] or 100_000, 0, changes["num_envs"] or 64, env_kwargs)
    return check(plan(base, [name.strip() for name in agents.split(",") if name.strip()], changes["seeds"] or 3))


def check(runs: list[RunSettings]) -> list[RunSettings]:
    """The runs, if environments and agents take the arguments that they are given; nothing is made or loaded.

    Raises:
        ValueError: If one does not.
    """
    for run in runs:
        run.check()
    return runs


@app.command()
def figures(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_OR_COMPARISON", help="Folder of a finished run or comparison.")
    ],
    block: Annotated[int | None, typer.Option(min=0, help="Draw also who took this choice when.")] = None,
    depth: Annotated[int, typer.Option(min=0, help="The decision of the route whose policies are drawn.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder of the pictures; else RUN_OR_COMPARISON.")] = None,
) -> None:
    """Draw the pictures of a finished run or comparison again, from its files."""
    from mtl_gym.lab.pictures import redraw

    with sentences():
        for path in redraw(folder, block, depth, out, warn):
            say(console, f"wrote {path}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a comparison, or of several comparisons.")],
    control: Annotated[
        str | None, typer.Option(help="The run that the others are set against; else random-fixed or uniform.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report; else DIR.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write statistics, figures and a page about finished comparisons."""
    from mtl_gym.lab.report import report as write

    with sentences(), console.status("the runs") as status:
        if quiet or not console.is_terminal:
            status.stop()
        failed = write(folder, control, lambda doing: status.update(Text(doing)), out)
    for comparison, failures in failed.items():
        for failure in failures:
            say(console, f"failed: {comparison}, {failure.agent}, seed {failure.seed}: {failure.error}")
    say(console, f"wrote {(out or folder) / 'report.html'}")


def read_json(option: str, text: str) -> dict[str, Any]:
    """A JSON object from the command line.

    Raises:
        ValueError: If `text` is none.
    """
    from mtl_gym.lab.parsing import parse_json

    value = parse_json(text, option)
    if not isinstance(value, dict):
        raise ValueError(f'{option} {short(value)} must be a JSON object, such as {{"rho": 0.0}}.')
    return value


@contextmanager
def bar_of(jobs: int, quiet: bool) -> Iterator[Any]:
    """A bar over jobs; gives the function that names the next one and hands it on."""
    columns = (descriptions(), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        bar = progress.add_task("", total=jobs, completed=-1)

        def move(job: tuple[RunSettings, str]) -> tuple[RunSettings, str]:
            run, task = job
            progress.update(bar, advance=1, description=f"{run.name}, seed {run.seed}, without {task}")
            return job

        yield move


def table_of(rows: Sequence[Row], env: str) -> Table:
    """The comparison as a table."""
    from mtl_gym.lab.compare import table as lines_of

    seeds = max(row.seeds for row in rows)
    spread = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    table = Table(title=f"{env}: accuracy on the test split in %{spread}")
    head, *body = lines_of(rows)
    # Names that are cut short may be told apart no more.
    names = min(WIDEST_NAME, max(cell_len(line[0]) for line in [head, *body]))
    table.add_column(head[0], min_width=names, overflow="fold")
    for name in head[1:]:
        left = name in ("worst task", "best task")
        table.add_column(name, justify="left" if left else "right", no_wrap=name == "accuracy", overflow="fold")
    for line in body:
        table.add_row(*line)
    return table
