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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtl_gym import checkpoint
from mtl_gym.errors import CheckpointError
from mtl_gym.evaluation import Evaluation, evaluate
from mtl_gym.experiments.agents import SB3, check_arguments, find_agent
from mtl_gym.experiments.callbacks import HeldOutCurve, PolicyHistory, Progress
from mtl_gym.experiments.logs import logging_to
from mtl_gym.experiments.provenance import git_state, versions
from mtl_gym.experiments.resume import Checkpoints
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from mtl_gym.vector import MultiTaskVectorEnv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

POLICIES, PROGRESS, CHECKPOINT, ERROR = "policies.npz", "progress.csv", "checkpoint.pt", "error.json"


@dataclass(frozen=True)
class RunSettings:
    """What decides a run, up to versions and hardware.

    Attributes:
        env_id: A registered id.
        agent: A name that `find_agent` knows.
        steps: Decisions over all rows.
        seed: Of environment and agent.
        num_envs: Episodes side by side.
        env_kwargs: Keyword arguments of the environment, JSON-able.
        agent_kwargs: Keyword arguments of the agent, JSON-able.
        name: What the run is called in tables; by default the agent's name.
    """

    env_id: str
    agent: str
    steps: int
    seed: int = 0
    num_envs: int = 64
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    agent_kwargs: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """Call it after its agent, if it has no name."""
        object.__setattr__(self, "name", self.name or self.agent)

    def make_env(self, **more: Any) -> BatchedVecEnv:
        """The environment, with the options that the agent cannot do without, and objects that settings cannot hold."""
        needed = getattr(find_agent(self.agent), "ENV_KWARGS", {})
        return make_vec_env(self.env_id, self.num_envs, self.seed, **needed | self.env_kwargs | more)

    def make_agent(self, env: BatchedVecEnv) -> Any:
        """The agent, in that environment."""
        check_arguments(self.agent, self.agent_kwargs)
        length = {"training": self.steps} if self.agent in SB3 else {}
        return find_agent(self.agent)(env, seed=self.seed, **length, **self.agent_kwargs)


@dataclass(frozen=True)
class RunResult:
    """What a run reached; accuracies are on the test split.

    Attributes:
        settings: The run.
        accuracy: Mean over tasks.
        per_task: By task name, for tasks with episodes.
        loss: Mean cross-entropy over tasks; None where no episode ended with an answer.
        blocks_used: Blocks that the policy takes on the test split, all depths together.
        epochs: Passes over the training data, of the network that was tested.
        samples_per_second: Training episodes per second, evaluations left out.
        f1: By the name of the task: F1 over spans, or over labels where an environment gives that.
    """

    settings: RunSettings
    accuracy: float
    per_task: dict[str, float]
    loss: float | None
    blocks_used: int | None
    epochs: float
    samples_per_second: float
    f1: dict[str, float] = field(default_factory=dict)


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
        CheckpointError: If a file of the run is damaged.
    """
    finished = _finished(settings, out)
    if finished is None:
        finished = _train(settings, out, tell, wandb)
    (out / CHECKPOINT).unlink(missing_ok=True)
    return finished


def _train(settings: RunSettings, out: Path, tell: Callable[[int, float], None], wandb: str | None) -> RunResult:
    env = settings.make_env()
    agent = settings.make_agent(env)
    clear(out)
    _write_json(out / "config.json", {"settings": asdict(settings), "versions": versions(), "git": git_state()})
    curve = HeldOutCurve(env.batched, env.batched.evaluation_spacing(settings.steps), out / PROGRESS)
    policies = PolicyHistory(env.batched, settings.steps)
    checkpoints = Checkpoints(out / CHECKPOINT, env, curve, policies)
    done = checkpoints.restore(agent)
    with logging_to(agent, settings, out, done, wandb):
        going_on = {"reset_num_timesteps": False} if done else {}
        callbacks = [Progress(tell, curve), policies, curve, checkpoints]
        agent.learn(settings.steps - done, callback=callbacks, **going_on)
    seconds = checkpoints.seconds
    return _conclude(settings, out, env, agent, policies, seconds)


def _conclude(
    settings: RunSettings, out: Path, env: BatchedVecEnv, agent: Any, policies: PolicyHistory, seconds: float
) -> RunResult:
    """Save, test and draw what was trained; `result.json` comes last."""
    checkpoint.save(env.batched.state_dict(), out / "environment.pt")
    save_agent(agent, out / "agent.pt")
    test = evaluate(agent, env.batched)
    result = _result(settings, test, env.batched, seconds)
    shown = env.batched.PICTURES_OF
    draw(test if shown == test.split else evaluate(agent, env.batched, shown), out, settings, env.batched)
    history = policies.history()
    if history is not None:
        history.write(out / POLICIES)
        draw_policies(out, result)
    _write_json(out / "result.json", asdict(result))
    return result


def _result(settings: RunSettings, test: Evaluation, env: Any, seconds: float) -> RunResult:
    answered = zip(test.task_names, test.accuracy, test.episodes, strict=True)
    per_task = {name: float(accuracy) for name, accuracy, episodes in answered if episodes}
    loss = test.mean_loss if np.isfinite(test.mean_loss) else None
    speed = env.episodes / seconds
    epochs = float(test.figures.get("epochs", getattr(env, "epoch", float("nan"))))
    blocks, f1 = test.figures.get("blocks_used"), test.figures.get("f1", {})
    return RunResult(settings, test.mean_accuracy, per_task, loss, blocks, epochs, speed, f1)


def draw(evaluation: Evaluation, out: Path, settings: RunSettings, env: MultiTaskVectorEnv) -> None:
    """Write the pictures that the environment draws of an evaluation."""
    for name, figure in env.pictures(evaluation.figures, _title(settings)).items():
        write_picture(figure, out / name)


def draw_policies(out: Path, result: RunResult, block: int | None = None, depth: int = 0) -> list[Path]:
    """Draw the policies over time of a run, and of a block if one is given, into its folder.

    Args:
        out: The folder.
        result: The run.
        block: A choice at that depth, for a picture of its own.
        depth: Which decision of the route.

    Returns:
        The pictures.

    Raises:
        FileNotFoundError: If the run has no `policies.npz`.
        CheckpointError: If that is damaged.
        ValueError: If there is no such block or depth.
    """
    from mtl_gym.routing.figures import History, block_over_time, policies_over_time

    if not (out / POLICIES).is_file():
        raise FileNotFoundError(
            f"{out} has no {POLICIES}: {result.settings.agent!r} keeps no table of probabilities, or the run is older "
            "than this file; in that case train into another folder to have it."
        )
    history, names, title = History.read(out / POLICIES), list(result.per_task), _title(result.settings)
    place = f"-depth-{depth}" if depth else ""
    figures = {out / f"policies{place}.png": policies_over_time(history, names, depth, title)}
    if block is not None:
        figures[out / f"block-{block}{place}.png"] = block_over_time(history, block, names, depth, title)
    for path, figure in figures.items():
        write_picture(figure, path)
    return list(figures)


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    checkpoint.write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100))


def _title(settings: RunSettings) -> str:
    trained = f", {settings.steps:,} decisions" if settings.steps > 1 else ""  # rules have nothing to learn
    return f"{settings.name} on {settings.env_id}, seed {settings.seed}{trained}"


def restore(out: Path) -> tuple[RunSettings, BatchedVecEnv, Any]:
    """The settings, the environment and the agent of a finished run.

    Raises:
        FileNotFoundError: If a file of the run is missing.
        CheckpointError: If one is damaged.
    """
    settings = read_settings(out)
    env = settings.make_env()
    env.reset()
    env.batched.load_state_dict(checkpoint.load(out / "environment.pt"))
    return settings, env, load_agent(settings, out / "agent.pt", env)


def save_agent(agent: Any, path: Path) -> None:
    """Save a bundled agent its own way, and an SB3 algorithm as its parameters, without pickled code."""
    if type(agent).__module__.split(".")[0] in ("stable_baselines3", "sb3_contrib"):
        checkpoint.save({"parameters": agent.get_parameters()}, path)
    elif hasattr(agent, "save"):
        agent.save(path)
    else:
        logger.warning("%s has no save(path): this run cannot be evaluated again later.", type(agent).__name__)


def load_agent(settings: RunSettings, path: Path, env: BatchedVecEnv) -> Any:
    """Undo `save_agent`."""
    if settings.agent not in SB3:
        return find_agent(settings.agent).load(path, env)  # type: ignore[attr-defined]
    agent = settings.make_agent(env)
    saved = checkpoint.load(path)
    if "parameters" not in saved:
        raise CheckpointError(f"{path} does not hold the parameters of {settings.agent}.")
    agent.set_parameters(saved["parameters"], device="cpu")
    return agent


def read_settings(out: Path) -> RunSettings:
    """The settings of the run in `out`.

    Raises:
        FileNotFoundError: If there is no run.
        CheckpointError: If its settings cannot be read.
    """
    path = out / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no run in {out}: it has no config.json.")
    try:
        return RunSettings(**json.loads(path.read_text())["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The settings in {path} cannot be read ({error}).") from error


def _finished(settings: RunSettings, out: Path) -> RunResult | None:
    if not (out / "config.json").exists():
        return None
    there = read_settings(out)
    if there != settings:
        raise FileExistsError(f"{out} holds another run ({there}); choose another folder or remove that one.")
    return read_result(out) if (out / "result.json").exists() else None


def read_result(out: Path) -> RunResult:
    """The result of the finished run in `out`.

    Raises:
        FileNotFoundError: If the run is not finished.
        CheckpointError: If the file cannot be read.
    """
    path = out / "result.json"
    if not path.is_file():
        raise FileNotFoundError(f"The run in {out} is not finished: it has no result.json. Train it again.")
    try:
        fields = json.loads(path.read_text())
        return RunResult(**fields | {"settings": RunSettings(**fields["settings"])})
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"The result in {path} cannot be read ({error}); remove it to run again.") from error


def clear(out: Path) -> None:
    """Remove what an interrupted run may have left half written, and the error of one that failed."""
    for path in (*out.glob(f"*{checkpoint.UNFINISHED}"), out / ERROR):
        path.unlink(missing_ok=True)


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2) + "\n"
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))
