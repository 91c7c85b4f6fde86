"""Execution of one seeded training run, from its settings to its folder.

A run's folder contains `config.json` (settings, versions, git state), `progress.csv` (validation figures during
training), `tensorboard/`, `environment.pt` and `agent.pt` (tensors and plain values only), `result.json` (test
figures) and pictures; for tabular routers also `policies.npz` (policies over time).
`result.json` is written last, so only finished runs have one. An interrupted run has a `checkpoint.pt`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.evaluation import Evaluation, evaluate
from mtl_gym.core.rows import State
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting
from mtl_gym.core.state.scratch import remove_unfinished
from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.agents import find_agent, role_of
from mtl_gym.lab.callbacks import HeldOutCurve, PolicyRecorder, ProgressReporter
from mtl_gym.lab.files import (
    AGENT,
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    ERROR,
    POLICIES,
    PROGRESS,
    RESULT,
    read_origin,
    read_result,
    read_settings,
    registered,
    there,
)
from mtl_gym.lab.fitting import fitted
from mtl_gym.lab.locations import refuse_imports
from mtl_gym.lab.locks import LOCK, alone_in
from mtl_gym.lab.logs import logging_to
from mtl_gym.lab.pictures import draw_policies, title_of, write_picture
from mtl_gym.lab.protocols import Learner, Loadable, Saved
from mtl_gym.lab.provenance import git_state, versions
from mtl_gym.lab.records import EVERYTHING, Extras, RunResult, RunSettings, difference
from mtl_gym.lab.resume import Checkpoints
from mtl_gym.lab.sketches import Sketch, Sketches
from mtl_gym.registration import SB3

__all__ = ["RunResult", "RunSettings", "restore", "train"]

logger = logging.getLogger(__name__)
# Spacing of evaluations that no run reaches.
NEVER = sys.maxsize


def train(
    settings: RunSettings,
    out: Path,
    tell: Callable[[int, float], None] = lambda steps, accuracy: None,
    wandb: str | None = None,
    extras: Extras = EVERYTHING,
) -> RunResult:
    """Carry out a run, resume it if it was interrupted, or read its result if it is finished.

    A resumed run ends as if it had never been interrupted. A run restarts from the beginning only if the state of its
    agent cannot be saved.

    Args:
        settings: Settings of the run.
        out: Folder of the run.
        tell: Callback that receives the number of decisions and the last validation accuracy.
        wandb: Weights & Biases project that also receives the logs, or None.
        extras: What the run records beside its result.

    Raises:
        FileExistsError: If `out` contains a run with other settings.
        RunInUseError: If another process uses `out`.
        CheckpointError: If a file of the run is damaged.
    """
    finished = finished_run(settings, out)
    if finished is None:
        env = settings.make_env()
        agent = fitted(settings, env)
        with alone_in(out):
            # Another process may have finished the run in the meantime.
            finished = finished_run(settings, out) or _train(settings, out, env, agent, tell, wandb, extras)
    tidy(out)
    return finished


def tidy(out: Path) -> None:
    """Remove checkpoint and lock file of a finished run; they may stay in a read-only folder."""
    for name in (CHECKPOINT, LOCK):
        with suppress(OSError):
            (out / name).unlink()


def _train(
    settings: RunSettings,
    out: Path,
    env: BatchedVecEnv,
    agent: Learner,
    tell: Callable[[int, float], None],
    wandb: str | None,
    extras: Extras,
) -> RunResult:
    clear(out)
    curve = HeldOutCurve(env.batched, evaluation_spacing(env.batched, settings.steps, extras), out / PROGRESS)
    policies = PolicyRecorder(env.batched, settings.steps)
    checkpoints = Checkpoints(out / CHECKPOINT, env, curve, policies)
    done = checkpoints.restore(agent)
    _write_config(settings, env, out, done)
    with logging_to(agent, settings, out, done, wandb, extras.events) as options:
        going_on = options | ({"reset_num_timesteps": False} if done else {})
        sketches = [Sketches(Sketch(env.batched, settings, out), checkpoints.set_aside)] if extras.pictures else []
        callbacks = [ProgressReporter(tell, curve), policies, curve, *sketches, checkpoints]
        checkpoints.start_clock()
        agent.learn(settings.steps - done, callback=callbacks, **going_on)
    return conclude(settings, out, env, agent, checkpoints, policies, extras)


def begin(settings: RunSettings, env: BatchedVecEnv, out: Path) -> None:
    """Begin the folder of a run that has not begun."""
    clear(out)
    _write_config(settings, env, out, 0)


def _write_config(settings: RunSettings, env: BatchedVecEnv, out: Path, done: int) -> None:
    told = {"settings": asdict(settings), "measure": asdict(env.batched.measure)}
    _write_json(out / CONFIG, told | _origin(out, done))


def conclude(
    settings: RunSettings,
    out: Path,
    env: BatchedVecEnv,
    agent: Learner,
    checkpoints: Checkpoints,
    policies: PolicyRecorder,
    extras: Extras,
) -> RunResult:
    """Save, evaluate and draw a trained run, and write its result."""
    result, test = _conclude(settings, out, env, agent, checkpoints)
    if extras.pictures:
        _draw(result, test, out, env, agent)
    history = policies.history()
    if history is not None:
        history.write(out / POLICIES)
        if extras.pictures:
            draw_policies(out, result)
    _write_json(out / RESULT, asdict(result))
    return result


def evaluation_spacing(env: MultiTaskVectorEnv, steps: int, extras: Extras) -> int:
    """Return the number of decisions between two evaluations on the validation split."""
    usual, most = env.evaluation_spacing(steps), extras.evaluations
    if most is None:
        return usual
    return max(usual, steps // most) if most else NEVER


def _origin(out: Path, done: int) -> State:
    """Return the provenance of a run: that of its start, with later ones under `resumed` where they differ."""
    now = {"versions": versions(), "git": git_state()}
    if not (done and there(out / CONFIG)):
        return now
    origin = read_origin(out)
    resumed = origin.pop("resumed")
    last = [origin, *resumed][-1]
    if any(last.get(name) != value for name, value in now.items()):
        resumed = [*resumed, {"decisions": done, **now}]
    return origin | ({"resumed": resumed} if resumed else {})


def _conclude(
    settings: RunSettings, out: Path, env: BatchedVecEnv, agent: Learner, checkpoints: Checkpoints
) -> tuple[RunResult, Evaluation]:
    """Save and evaluate the trained run."""
    seconds = checkpoints.seconds
    checkpoint.save(env.batched.state_dict(), out / ENVIRONMENT)
    save_agent(agent, out / AGENT)
    test = evaluate(agent, env.batched)
    learns = role_of(settings.agent) == "learner"
    sampled = evaluate(agent, env.batched, deterministic=False).figure if learns else None
    result = _result(settings, test, env.batched, seconds, sampled)
    return replace(result, cpu_seconds=checkpoints.cpu_seconds), test


def _draw(result: RunResult, test: Evaluation, out: Path, env: BatchedVecEnv, agent: Learner) -> None:
    shown = env.batched.PICTURES_OF
    pictured = test if shown == test.split else evaluate(agent, env.batched, shown)
    for name, figure in env.batched.pictures(pictured.figures, title_of(result.settings)).items():
        write_picture(figure, out / name)


def _result(
    settings: RunSettings, test: Evaluation, env: MultiTaskVectorEnv, seconds: float, sampled: float | None
) -> RunResult:
    answered = zip(test.task_names, test.accuracy, test.episodes, strict=True)
    per_task = {name: float(accuracy) for name, accuracy, episodes in answered if episodes}
    loss = test.mean_loss if np.isfinite(test.mean_loss) else None
    speed = env.samples / seconds
    epochs = float(test.figures.get("epochs", env.epoch))
    blocks, f1 = test.figures.get("blocks_used"), test.figures.get("f1", {})
    return RunResult(
        settings,
        test.mean_accuracy,
        per_task,
        loss,
        blocks,
        epochs,
        speed,
        f1,
        test.figure,
        test.measure,
        sampled,
        seconds,
        figure_tasks=list(env.figure_tasks),
    )


def restore(
    out: Path, env_id: str | None = None, module: str | None = None
) -> tuple[RunSettings, BatchedVecEnv, Learner]:
    """Restore the settings, the environment and the agent of a finished run.

    Args:
        out: Folder of the run.
        env_id: Environment id as `module:id`, to import the module that registers it; files never import modules.
        module: Module of the run's own data set or network; its functions are called, and those of its submodules.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        CheckpointError: If a file is damaged, or its environment differs from `env_id` or is not registered.
    """
    settings = read_settings(out)
    bare = settings.env_id.rpartition(":")[2]
    if env_id is not None and env_id.rpartition(":")[2] != bare:
        raise CheckpointError(f"The run in {out} has the environment {settings.env_id!r}, not {env_id!r}.")
    settings = replace(settings, env_id=env_id or registered(settings.env_id, out / CONFIG))
    refuse_imports(settings.env_kwargs, out / CONFIG, module)
    with fitting(out / CONFIG):
        settings.check()
        env = settings.make_env()
        env.reset()
    state = checkpoint.load(out / ENVIRONMENT)
    with fitting(out / ENVIRONMENT):
        env.batched.load_state_dict(state)
    with fitting(out / AGENT):
        return settings, env, load_agent(settings, out / AGENT, env)


def save_agent(agent: object, path: Path) -> None:
    """Save an SB3 algorithm as its parameters, without pickled code, and any other agent by its own `save`."""
    if isinstance(agent, BaseAlgorithm) and type(agent).__module__.split(".")[0] in (
        "stable_baselines3",
        "sb3_contrib",
    ):
        checkpoint.save({"parameters": agent.get_parameters()}, path)
    elif isinstance(agent, Saved):
        agent.save(path)
    else:
        logger.warning("%s has no save(path): this run cannot be evaluated again.", type(agent).__name__)


def load_agent(settings: RunSettings, path: Path, env: BatchedVecEnv) -> Learner:
    """Load the agent that `save_agent` wrote.

    Raises:
        CheckpointError: If the agent cannot load files, or the file has no parameters.
    """
    if settings.agent not in SB3:
        kind = find_agent(settings.agent)
        if not isinstance(kind, Loadable):
            raise CheckpointError(f"The agent {settings.agent!r} has no load(path, env); {path} cannot be read.")
        return kind.load(path, env)
    agent = settings.make_agent(env)
    assert isinstance(agent, BaseAlgorithm)
    saved = checkpoint.load(path)
    if "parameters" not in saved:
        raise CheckpointError(f"{path} does not contain the parameters of {settings.agent}.")
    agent.set_parameters(saved["parameters"], device="cpu")
    return agent


def finished_run(settings: RunSettings, out: Path) -> RunResult | None:
    """Return the result in `out`, or None if there is none.

    Raises:
        FileExistsError: If `out` contains a run with other settings.
        CheckpointError: If a file of the run is damaged.
    """
    result = read_result(out) if there(out / RESULT) else None
    if result is None and not there(out / CONFIG):
        return None
    known = read_settings(out) if result is None else result.settings
    if known != settings:
        here, wanted = difference(known, settings)
        raise FileExistsError(
            f"{out} contains another run ({here}, not {wanted}); choose another folder or remove this one."
        )
    return result


def clear(out: Path) -> None:
    """Remove incomplete files of an interrupted run, and the error of a failed one."""
    remove_unfinished(out)
    (out / ERROR).unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    text = json.dumps(value, indent=2) + "\n"
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))
