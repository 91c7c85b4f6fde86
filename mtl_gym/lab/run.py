"""One seeded training run, from its settings to a folder with everything that came of it.

A run's folder holds `config.json` (settings, versions, git state), `progress.csv` (validation figures during
training), `tensorboard/`, `environment.pt` and the agent (tensors and plain values only), `result.json` (test figures)
and the run's pictures; for tabular routers also `policies.npz` (their policies over time).
`result.json` is written last: a run that has one is finished. One that was interrupted has a `checkpoint.pt`.
"""

from __future__ import annotations

import json
import logging
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
from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.agents import SB3, find_agent
from mtl_gym.lab.callbacks import HeldOutCurve, PolicyRecorder, Progress
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
from mtl_gym.lab.locations import refuse_imports
from mtl_gym.lab.locks import LOCK, alone_in
from mtl_gym.lab.logs import logging_to
from mtl_gym.lab.pictures import draw_policies, title_of, write_picture
from mtl_gym.lab.protocols import Learner, Loadable, Saved
from mtl_gym.lab.provenance import git_state, versions
from mtl_gym.lab.records import RunResult, RunSettings
from mtl_gym.lab.resume import Checkpoints

__all__ = ["RunResult", "RunSettings", "restore", "train"]

logger = logging.getLogger(__name__)


def train(
    settings: RunSettings,
    out: Path,
    tell: Callable[[int, float], None] = lambda steps, accuracy: None,
    wandb: str | None = None,
) -> RunResult:
    """Carry out a run, go on with it if it was interrupted, or read its result if it is finished.

    A run that goes on ends as if it had never been interrupted; only an agent whose state cannot be taken begins anew.

    Args:
        settings: The run.
        out: Its folder.
        tell: Called with the decisions made so far and the last validation accuracy.
        wandb: A project of Weights and Biases that the run is logged to as well.

    Raises:
        FileExistsError: If `out` holds a run with other settings.
        RunInUseError: If another process is at work in `out`.
        CheckpointError: If a file of the run is damaged.
    """
    finished = _finished(settings, out)
    if finished is None:
        env = settings.make_env()
        agent = settings.make_agent(env)
        with alone_in(out):
            # Another process may have finished it meanwhile.
            finished = _finished(settings, out) or _train(settings, out, env, agent, tell, wandb)
    _tidy(out)
    return finished


def _tidy(out: Path) -> None:
    """Remove what a finished run needs no more; where nothing can be written, it does no harm."""
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
) -> RunResult:
    clear(out)
    curve = HeldOutCurve(env.batched, env.batched.evaluation_spacing(settings.steps), out / PROGRESS)
    policies = PolicyRecorder(env.batched, settings.steps)
    checkpoints = Checkpoints(out / CHECKPOINT, env, curve, policies)
    done = checkpoints.restore(agent)
    _write_json(out / CONFIG, {"settings": asdict(settings), **_origin(out, done)})
    with logging_to(agent, settings, out, done, wandb) as options:
        going_on = options | ({"reset_num_timesteps": False} if done else {})
        callbacks = [Progress(tell, curve), policies, curve, checkpoints]
        checkpoints.start_clock()
        agent.learn(settings.steps - done, callback=callbacks, **going_on)
    seconds = checkpoints.seconds
    return _conclude(settings, out, env, agent, policies, seconds)


def _origin(out: Path, done: int) -> State:
    """What the run is made with; if it goes on, what it began with, and where that differs, what it goes on with."""
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
    settings: RunSettings, out: Path, env: BatchedVecEnv, agent: Learner, policies: PolicyRecorder, seconds: float
) -> RunResult:
    """Save, test and draw what was trained; `result.json` comes last."""
    checkpoint.save(env.batched.state_dict(), out / ENVIRONMENT)
    save_agent(agent, out / AGENT)
    test = evaluate(agent, env.batched)
    result = _result(settings, test, env.batched, seconds)
    shown = env.batched.PICTURES_OF
    pictured = test if shown == test.split else evaluate(agent, env.batched, shown)
    for name, figure in env.batched.pictures(pictured.figures, title_of(settings)).items():
        write_picture(figure, out / name)
    history = policies.history()
    if history is not None:
        history.write(out / POLICIES)
        draw_policies(out, result)
    _write_json(out / RESULT, asdict(result))
    return result


def _result(settings: RunSettings, test: Evaluation, env: MultiTaskVectorEnv, seconds: float) -> RunResult:
    answered = zip(test.task_names, test.accuracy, test.episodes, strict=True)
    per_task = {name: float(accuracy) for name, accuracy, episodes in answered if episodes}
    loss = test.mean_loss if np.isfinite(test.mean_loss) else None
    speed = env.samples / seconds
    epochs = float(test.figures.get("epochs", env.epoch))
    blocks, f1 = test.figures.get("blocks_used"), test.figures.get("f1", {})
    return RunResult(settings, test.mean_accuracy, per_task, loss, blocks, epochs, speed, f1)


def restore(out: Path, env_id: str | None = None) -> tuple[RunSettings, BatchedVecEnv, Learner]:
    """The settings, the environment and the agent of a finished run.

    Args:
        out: Its folder.
        env_id: The id of its environment with the module that registers it (`module:id`); the file alone imports none.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        CheckpointError: If one is damaged, of another environment than `env_id`, or of one that is not registered.
    """
    settings = read_settings(out)
    bare = settings.env_id.rpartition(":")[2]
    if env_id is not None and env_id.rpartition(":")[2] != bare:
        raise CheckpointError(f"The run in {out} is of the environment {settings.env_id!r}, not of {env_id!r}.")
    settings = replace(settings, env_id=env_id or registered(settings.env_id, out / CONFIG))
    refuse_imports(settings.env_kwargs, out / CONFIG)
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
    """Save a bundled agent its own way, and an SB3 algorithm as its parameters, without pickled code."""
    if isinstance(agent, BaseAlgorithm) and type(agent).__module__.split(".")[0] in (
        "stable_baselines3",
        "sb3_contrib",
    ):
        checkpoint.save({"parameters": agent.get_parameters()}, path)
    elif isinstance(agent, Saved):
        agent.save(path)
    else:
        logger.warning("%s has no save(path): this run cannot be evaluated again later.", type(agent).__name__)


def load_agent(settings: RunSettings, path: Path, env: BatchedVecEnv) -> Learner:
    """Undo `save_agent`."""
    if settings.agent not in SB3:
        kind = find_agent(settings.agent)
        if not isinstance(kind, Loadable):
            raise CheckpointError(f"The agent {settings.agent!r} has no load(path, env); {path} cannot be read.")
        return kind.load(path, env)
    agent = settings.make_agent(env)
    assert isinstance(agent, BaseAlgorithm)
    saved = checkpoint.load(path)
    if "parameters" not in saved:
        raise CheckpointError(f"{path} does not hold the parameters of {settings.agent}.")
    agent.set_parameters(saved["parameters"], device="cpu")
    return agent


def _finished(settings: RunSettings, out: Path) -> RunResult | None:
    """The result in `out`, if it holds this run and that is finished."""
    result = read_result(out) if there(out / RESULT) else None
    if result is None and not there(out / CONFIG):
        return None
    known = read_settings(out) if result is None else result.settings
    if known != settings:
        raise FileExistsError(f"{out} holds another run ({known}); choose another folder or remove that one.")
    return result


def clear(out: Path) -> None:
    """Remove what an interrupted run may have left half written, and the error of one that failed."""
    for path in (*out.glob(f"*{checkpoint.UNFINISHED}"), out / ERROR):
        path.unlink(missing_ok=True)


def _write_json(path: Path, value: object) -> None:
    text = json.dumps(value, indent=2) + "\n"
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))
