"""Measure whether a schedule of helper tasks pays for a target with few labelled samples.

`python benchmarks/auxiliary.py reviews --out runs/auxiliary` trains every schedule on every target and seed of
`auxiliary.yaml`, and prints the target's test accuracy. The same command resumes: each target and seed has a file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auxiliary_data import Scarcity, features_of, scarce
from measuring import table
from mtl_agents import ODM, QLS, FastPPO, HandCrafted, Proportional, TargetGain, TargetOnly, Uniform
from mtl_agents.scheduling.rule import Scheduler
from numpy.typing import NDArray
from torch import nn

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.evaluation import Chooser
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.scheduling import Progress, SharedNetwork
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from mtl_gym.lab.parsing import parse_yaml, read_text
from mtl_gym.lab.statistics import Estimate

SETTINGS = Path(__file__).with_name("auxiliary.yaml")
ENV = "MTLScheduling-Digits-v0"
HOW: Mapping[str, object] = {
    **{"target_tasks": [0], "early_stopping": True, "reward": "gain"},
    **{"observation": "progress", "reference": None},
}
# Shares of the target that the search tries, and the number of its best candidates that it tries again.
SHARES, AGAIN = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0), 8
Cell = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A target with its environment.

    Attributes:
        env: Environment to learn in, with the target as task 0.
        seed: Seed of the environment and of every schedule.
        budget: Training runs of schedules that learn over runs.
    """

    env: BatchedVecEnv
    seed: int
    budget: int

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return int(self.env.batched.data.num_tasks)

    @property
    def decisions(self) -> int:
        """Decisions of a run."""
        return int(self.env.batched.run_length)


def halved(case: Case) -> HandCrafted:
    """Return the schedule with half of the minibatches from the target."""
    return HandCrafted(case.env, weights=[case.tasks - 1.0, *[1.0] * (case.tasks - 1)], seed=case.seed)


def helpers_first(case: Case) -> Chooser:
    """Return the schedule with the helpers in the first half of a run, and the target in the second."""
    random = np.random.default_rng(case.seed)
    return lambda obs: np.where(obs[:, -1] > 0.5, random.integers(1, case.tasks, size=len(obs)), 0)


def searched(case: Case) -> HandCrafted:
    """Return the constant shares of highest validation accuracy among random ones: the target's, and a few helpers'.

    Half of the runs are for candidates, the others for the best of these.
    """
    random, again = np.random.default_rng(case.seed), case.budget // 2 // AGAIN
    shares = random_shares(random, case.budget - again * AGAIN, case.tasks)
    first = played(case.env, shares, random)
    best = np.argsort(-first)[:AGAIN]
    more = played(case.env, np.repeat(shares[best], again, 0), random).reshape(AGAIN, again)
    mean = (first[best] + more.sum(1)) / (1 + again)
    return HandCrafted(case.env, weights=shares[best[mean.argmax()]].tolist(), seed=case.seed)


def random_shares(random: np.random.Generator, count: int, tasks: int) -> NDArray[np.float64]:
    """Return shares of tasks: a share of the target, and equal ones of random helpers; [count, tasks]."""
    own, helpers = random.choice(SHARES, count), random.integers(1, tasks, size=count)
    chosen = random.random((count, tasks - 1)).argsort(1) < helpers[:, None]
    return np.concatenate([own[:, None], (1 - own[:, None]) * chosen / helpers[:, None]], 1)


def played(env: BatchedVecEnv, shares: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return the early-stopped validation accuracy of the target in a run of each schedule; [runs, tasks] -> [runs]."""
    found, rows = list[float](), env.num_envs
    for start in range(0, len(shares), rows):
        own = np.resize(shares[start : start + rows], (rows, shares.shape[1])).cumsum(1)
        env.reset()
        for _ in range(env.batched.run_length):
            drawn = (own <= random.random((rows, 1)) * own[:, -1:]).sum(1)
            *_, infos = env.step(drawn)
        found += [float(info["accuracy"][0]) for info in infos]
    return np.array(found[: len(shares)])


def learned(kind: Callable[..., Any], **arguments: object) -> Callable[[Case], Chooser]:
    """Return a function that trains an agent in the runs of a case."""
    return lambda case: kind(case.env, seed=case.seed, **arguments).learn(case.budget * case.decisions)


@dataclass(frozen=True)
class Schedule:
    """A line of the table.

    Attributes:
        kind: Whether it is fixed, or where it learns.
        make: Makes the policy of a case.
        deterministic: Whether the policy takes its best choice.
    """

    kind: str
    make: Callable[[Case], Chooser]
    deterministic: bool = True


FIXED, IN_RUN, OVER_RUNS = "fixed", "learns in the run", "learns over runs"
SCHEDULES = {
    "target-only": Schedule(FIXED, lambda case: TargetOnly(case.env, seed=case.seed)),
    "uniform": Schedule(FIXED, lambda case: Uniform(case.env, seed=case.seed)),
    "proportional": Schedule(FIXED, lambda case: Proportional(case.env, seed=case.seed)),
    "half target": Schedule(FIXED, halved),
    "helpers first": Schedule(FIXED, helpers_first),
    "odm": Schedule(IN_RUN, lambda case: ODM(case.env, seed=case.seed)),
    "target-gain": Schedule(IN_RUN, lambda case: TargetGain(case.env, seed=case.seed)),
    "searched shares": Schedule(OVER_RUNS, searched),
    "qls": Schedule(OVER_RUNS, learned(QLS, learning_starts=320, gradient_steps=4)),
    "fast-ppo": Schedule(OVER_RUNS, learned(FastPPO, n_steps=10, learning_rate=3e-3), deterministic=False),
}


def network(features: int, hidden: int, classes: int) -> SharedNetwork:
    """Return a shared hidden layer, and a linear head for each task."""
    return SharedNetwork(nn.Sequential(nn.Linear(features, hidden), nn.ReLU()), nn.Linear(hidden, classes))


def cell(data: MultiTaskDataset, seed: int, settings: Mapping[str, Any], names: Sequence[str]) -> Cell:
    """Train and measure all schedules on a target; return their figures by name."""
    policies, seconds = [], []
    made = network(settings["features"], settings["hidden"], data.max_classes)
    for name in names:
        start = time.process_time()
        env = make_vec_env(ENV, settings["rows"], seed, data=data, network=made, **HOW, **settings["env_kwargs"])
        policies.append(SCHEDULES[name].make(Case(env, seed, settings["search"])))
        seconds.append(time.process_time() - start)
    found = measured(env.batched, policies, names, settings["runs"])
    return {name: {**own, "seconds": took} for name, own, took in zip(names, found, seconds, strict=True)}


def measured(
    env: MultiTaskVectorEnv, policies: Sequence[Chooser], names: Sequence[str], runs: int
) -> list[dict[str, float]]:
    """Train some runs by each policy, all side by side, in an evaluation view.

    Returns:
        The target's test accuracy in per cent, and its share of the training, of each policy.
    """
    view = env.evaluation_view("test", runs * len(policies))
    obs, _ = view.reset()
    states: list[Any] = [None] * len(policies)
    trained = np.zeros(view.num_envs)
    while not view.pass_over:
        actions = []
        for place, (name, policy) in enumerate(zip(names, policies, strict=True)):
            rows = slice(place * runs, (place + 1) * runs)
            action, states[place] = chosen(name, policy, obs[rows], states[place], of_rows(view.progress, rows))
            actions.append(action)
        trained += np.concatenate(actions) == 0
        obs, *_, info = view.step(np.concatenate(actions))
    accuracy = info["final_info"]["accuracy"][:, 0].reshape(-1, runs).mean(1)
    share = trained.reshape(-1, runs).mean(1) / view.run_length
    return [{"test": 100 * float(one), "share": float(own)} for one, own in zip(accuracy, share, strict=True)]


def chosen(name: str, policy: Any, obs: Any, state: Any, progress: Progress) -> tuple[Any, Any]:
    """Return the actions and the next state of a policy; rules see the progress."""
    if not hasattr(policy, "predict"):
        return policy(obs), None
    more = {"progress": progress} if isinstance(policy, Scheduler) else {}
    return policy.predict(obs, state, deterministic=SCHEDULES[name].deterministic, **more)


def of_rows(progress: Progress, rows: slice) -> Progress:
    """Return the progress of some rows."""
    parts = {name: value[rows] for name, value in vars(progress).items() if name != "reference"}
    return replace(progress, **parts)


def cells(
    study: str, settings: Mapping[str, Any], part: str, out: Path, data_root: str | None, names: Sequence[str]
) -> list[list[Cell]]:
    """Return the figures of every seed and target, from files or measured now; [seeds][targets]."""
    size = Scarcity(settings["few"], settings["train"], settings["validation"])
    source, features = features_of(settings["data"], settings["features"], data_root)
    found = []
    for seed in settings[part]["seeds"]:
        found.append([])
        for target in settings[part]["targets"]:
            path = out / study / f"{target}-{seed}.json"
            known: Cell = json.loads(path.read_text()) if path.exists() else {}
            missing = [name for name in names if name not in known]
            if missing:
                known |= cell(scarce(source, features, target, seed, size), seed, settings, missing)
                path.parent.mkdir(parents=True, exist_ok=True)
                text = json.dumps(known, indent=1).encode()
                write_atomically(path, lambda file, text=text: file.write(text))
                print(f"{target}, seed {seed}: {sum(one['seconds'] for one in known.values()):.0f} s", flush=True)
            found[-1].append(known)
    return found


def lines(found: Sequence[Sequence[Cell]], names: Sequence[str]) -> list[list[object]]:
    """Return the lines of the table: means over targets, with intervals over seeds, paired."""
    values = {key: _values(found, names, key) for key in ("test", "share", "seconds")}
    test = values["test"].mean(1)  # [seeds, schedules]
    fixed = [place for place, name in enumerate(names) if SCHEDULES[name].kind == FIXED]
    best = max(fixed, key=lambda place: test[:, place].mean())
    rows: list[list[object]] = []
    for place, name in enumerate(names):
        gains = [_gain(test, place, other) for other in (names.index("target-only"), best)]
        share, seconds = (values[key][:, :, place].mean() for key in ("share", "seconds"))
        rows.append(
            [name, SCHEDULES[name].kind, f"{test[:, place].mean():.2f}", *gains, f"{share:.0%}", f"{seconds:.1f}"]
        )
    return rows


def _values(found: Sequence[Sequence[Cell]], names: Sequence[str], key: str) -> NDArray[np.float64]:
    """Return a figure; float64 [seeds, targets, schedules]."""
    return np.array([[[own[name][key] for name in names] for own in row] for row in found])


def _gain(test: NDArray[np.float64], place: int, other: int) -> str:
    return "" if place == other else str(Estimate.of_mean((test[:, place] - test[:, other]).tolist()))


def by_target(found: Sequence[Sequence[Cell]], targets: Sequence[str], names: Sequence[str]) -> list[list[object]]:
    """Return the mean test accuracy of each schedule, a line per target."""
    mean = _values(found, names, "test").mean(0)
    return [[target, *(f"{value:.1f}" for value in own)] for target, own in zip(targets, mean, strict=True)]


def main() -> None:
    """Measure what is missing, and print the tables."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("study", help="name in the settings file")
    made.add_argument("--out", type=Path, required=True, help="folder of the results")
    made.add_argument("--part", choices=("tested", "tuning"), default="tested", help="targets and seeds")
    made.add_argument("--settings", type=Path, default=SETTINGS, help="settings file")
    made.add_argument("--data-root", default=None, help="folder of the data")
    arguments = made.parse_args()
    torch.set_num_threads(1)
    studies: Any = parse_yaml(read_text(arguments.settings), str(arguments.settings))
    if arguments.study not in studies:
        made.error(f"{arguments.settings} has no study {arguments.study!r}; choose one of {', '.join(studies)}.")
    settings, part = studies[arguments.study], arguments.part
    names = settings.get("schedules", list(SCHEDULES))
    found = cells(arguments.study, settings, part, arguments.out, arguments.data_root, names)
    print(f"\n## {arguments.study}: {settings['few']} samples of the target, {len(settings[part]['seeds'])} seeds\n")
    header = ["schedule", "kind", "accuracy", "minus target-only", "minus best fixed", "share of target", "CPU s"]
    print(table(header, lines(found, names)))
    print("\n" + table(["target", *names], by_target(found, settings[part]["targets"], names)))


if __name__ == "__main__":
    main()
