"""Command `mtl-gym compare`: several agents with several seeds each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtl_gym.lab.cli.common import (
    Agents,
    Control,
    EnvKwargs,
    FirstSeed,
    OptionalEnv,
    OptionalNumEnvs,
    OptionalSteps,
    Quiet,
    Seeds,
    Settings,
    Wandb,
    app,
    check,
    console,
    loading,
    planned,
    read_json,
    sentences,
    unless_read_only,
)
from mtl_gym.lab.cli.tables import ONLY_IN_FILES, legend_of, plain_table, table_of
from mtl_gym.lab.screen import complain, say, warn

if TYPE_CHECKING:
    from mtl_gym.lab.records import RunResult, RunSettings

FAILED = "of the runs failed; rerun the same command to retry them:"
EXCLUDED = "of the runs cannot be compared with the others and are left out:"


@app.command()
def compare(
    out: Annotated[Path, typer.Option(help="Folder of the comparison; its finished runs are reused.")],
    env: OptionalEnv = None,
    agents: Agents = None,
    settings: Settings = None,
    seeds: Seeds = None,
    steps: OptionalSteps = None,
    num_envs: OptionalNumEnvs = None,
    env_kwargs: EnvKwargs = "{}",
    first_seed: FirstSeed = None,
    references: Annotated[
        bool,
        typer.Option("--references", help="Add oracle, controls, random choices and an untrained PPO as rows."),
    ] = False,
    control: Control = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Parallel processes on this machine; they share OMP_NUM_THREADS threads (default 1 each)."
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help='Address of a Ray cluster, "auto", or "local" for a cluster on this machine.'
        ),
    ] = None,
    wandb: Wandb = None,
    quiet: Quiet = False,
) -> None:
    """Train several agents with several seeds each, and compare them.

    Rerunning the same command resumes an interrupted comparison.
    """
    loading(quiet)
    from mtl_gym.core.state.scratch import remove_unfinished
    from mtl_gym.lab.alike import alike
    from mtl_gym.lab.compare import summarise, write_results, write_table
    from mtl_gym.lab.execution import carry_out
    from mtl_gym.lab.progress import Bar
    from mtl_gym.lab.statistics import default_control, differences
    from mtl_gym.lab.sweep import Failure, Sweep

    with sentences():
        changes = {"seeds": seeds, "steps": steps, "num_envs": num_envs, "first_seed": first_seed}
        runs = planned(env, agents, settings, read_json("--env-kwargs", env_kwargs), changes)
        runs = with_references(runs) if references else runs
        env, names = runs[0].env_id, list(dict.fromkeys(run.name for run in runs))
        if control is not None and control not in names:
            raise ValueError(f"--control {control!r} is not a run of this comparison; choose from {', '.join(names)}.")
        control = control or default_control(names, env)
        with Bar(runs, console, quiet) as bar:
            outcomes = carry_out(Sweep(runs, out.absolute(), wandb), jobs, ray, bar)
        results, odd = alike([outcome for outcome in outcomes if not isinstance(outcome, Failure)])
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if not results:
            raise ValueError(told(failures))
    rows = summarise(results)
    console.print(table_of(rows, env, ONLY_IN_FILES))
    if legend := legend_of(rows):
        say(console, legend)
    print_scale(results)
    print_evidence(results)
    print_differences(results, control)
    with sentences(), unless_read_only(out):
        remove_unfinished(out)
        write_results(results, out / "results.csv")
        write_table(rows, out / "table.md", differences(results, control), control)
        say(console, f"table with all columns: {out / 'table.md'}; a line per run: {out / 'results.csv'}")
        print_pictures(results, env, out)
    for head, those in ((FAILED, failures), (EXCLUDED, [Failure(result.settings, why) for result, why in odd])):
        if those:
            complain(told(those, head))
    if failures or odd:
        raise typer.Exit(1)


def with_references(runs: Sequence[RunSettings]) -> list[RunSettings]:
    """Return the runs after those of their references."""
    from mtl_gym.lab.references import references

    names = dict.fromkeys(run.name for run in runs)
    seeds = {seed: [run for run in runs if run.seed == seed] for seed in dict.fromkeys(run.seed for run in runs)}
    if any(len({(run.steps, run.num_envs, str(run.env_kwargs)) for run in those}) > 1 for those in seeds.values()):
        raise ValueError(
            "--references needs one length and environment for all agents; these differ in steps, num_envs or "
            "env_kwargs: name oracle and controls in the settings file instead."
        )
    return [*check([more for those in seeds.values() for more in references(those[0], names)]), *runs]


def print_pictures(results: Sequence[RunResult], env: str, out: Path) -> None:
    """Draw the pictures of a comparison; print their paths and the picture of each agent's first run."""
    from mtl_gym.lab.environments import class_of
    from mtl_gym.lab.figures import task_accuracies
    from mtl_gym.lab.pictures import draw_curves, draw_more_curves, write_picture
    from mtl_gym.lab.sweep import folder

    folders, accuracies = [folder(out, result.settings) for result in results], out / "accuracies.png"
    told: dict[str, None] = {}
    write_picture(task_accuracies(results, env), accuracies)
    curves = draw_curves(folders, env, out, told.setdefault, results[0].measure)
    more = draw_more_curves(folders, env, out)
    for sentence in told:
        warn(sentence)
    firsts: dict[str, Path] = {}
    for result, place in zip(results, folders, strict=True):
        firsts.setdefault(result.settings.name, place)
    drawn = [(name, first / class_of(env).PICTURE) for name, first in firsts.items()]
    drawn += [("learning curves, validation split", curves)] if curves is not None else []
    drawn += [(picture.stem.replace("_", " "), picture) for picture in more]
    for label, picture in [*drawn, ("accuracies, test split", accuracies)]:
        if picture.is_file():
            say(console, f"{label}: {picture}")


def told(failures: Sequence[object], head: str = FAILED) -> str:
    """Return a message with a line per run without a place in the table."""
    return "\n".join([f"{len(failures)} {head}", *(f"  {failure}" for failure in failures)])


def print_scale(results: Sequence[RunResult]) -> None:
    """Print what scores 0 and 1 are, or why there are none."""
    from mtl_gym.lab.score import scale_or_reason

    scale = scale_or_reason(results)
    sentence = f"no scores: {scale}" if isinstance(scale, str) else scale.sentence(results[0].measure)
    say(console, sentence)


def print_evidence(results: Sequence[RunResult]) -> None:
    """Print interquartile means, optimality gaps and probabilities of improvement of scores, if there are any."""
    from mtl_gym.lab.evidence import LEGEND, TITLE, evidence
    from mtl_gym.lab.score import scale_or_reason

    scale = scale_or_reason(results)
    if isinstance(scale, str):
        return  # `print_scale` tells the reason
    lines = evidence(results, scale)
    if isinstance(lines, str):
        say(console, f"no aggregate statistics: {lines}")
    else:
        console.print(plain_table(lines, TITLE))
        say(console, LEGEND)


def print_differences(results: Sequence[RunResult], control: str) -> None:
    """Print the differences to the control in the figure."""
    from mtl_gym.lab.statistics import differences

    apart = differences(results, control)
    if apart:
        console.print(f"{results[0].measure.name} minus that of {control}, paired by seed, Student's 95% intervals:")
        console.print("\n".join(f"  {difference}" for difference in apart))
