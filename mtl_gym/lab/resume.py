"""Checkpoints during training, from which an interrupted run resumes exactly.

A checkpoint contains the environment, the agent, the curves so far and the states of the global generators, as tensors
and plain values. Checkpoints take at most a twentieth of the time. They are written before a rollout, when no step is
under way and every figure is logged; a rollout of a bundled agent is one step.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback

from mtl_gym.core.rows import Observation, State
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting, to_arrays, to_tensors
from mtl_gym.core.validation import bare
from mtl_gym.integrations.sb3 import BatchedVecEnv
from mtl_gym.lab.callbacks import HeldOutCurve, PolicyRecorder
from mtl_gym.lab.logs import RunLogger
from mtl_gym.lab.protocols import Resumable

# Time between two checkpoints: a multiple of the time that the last one took, and a minimum in seconds.
COSTS_APART, LEAST_APART = 20, 1.0

ANEW = "; remove it to restart the run"

# Attributes of SB3's algorithms beside networks and optimizers; not every algorithm has all.
COUNTS = ("num_timesteps", "_episode_num", "_n_updates", "_n_calls", "exploration_rate", "_current_progress_remaining")
ARRAYS = ("_last_obs", "_last_original_obs", "_last_episode_starts")
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class Checkpoints(BaseCallback):
    """Checkpoints of a run; this is the last of its callbacks, so that the others have seen the step.

    Args:
        path: The file.
        env: The environment.
        curve: Validation curve of the run.
        policies: Policies of the run over time.

    Attributes:
        seconds: Seconds of training in all processes of the run, without evaluations, pictures and checkpoints.
        cpu_seconds: Processor seconds of all processes of the run, with everything.
    """

    def __init__(self, path: Path, env: BatchedVecEnv, curve: HeldOutCurve, policies: PolicyRecorder) -> None:
        super().__init__()
        self.path, self.env, self.curve, self.policies = path, env, curve, policies
        self._before, self._away = 0.0, 0.0
        self._cpu_before, self._cpu_start = 0.0, time.process_time()
        self._cost, self._saved_at = 0.0, 0
        self._log: State | None = None
        self.start_clock()

    def start_clock(self) -> None:
        """Start to count the seconds of training, after imports and the first reset."""
        self._start = self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training, without evaluations, pictures and checkpoints."""
        return self._before + time.perf_counter() - self._start - self._away - self.curve.seconds

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of the run so far, with evaluations and checkpoints."""
        return self._cpu_before + time.process_time() - self._cpu_start

    def set_aside(self, seconds: float) -> None:
        """Leave seconds of something else out of those of training."""
        self._away += seconds

    def set_seconds(self, seconds: float, cpu_seconds: float) -> None:
        """Set the seconds of training, without evaluations, and the processor seconds so far."""
        self._before, self._start, self._away = seconds + self.curve.seconds, time.perf_counter(), 0.0
        self._cpu_before, self._cpu_start = cpu_seconds, time.process_time()

    def restore(self, agent: object) -> int:
        """Restore environment, agent and callbacks from the checkpoint.

        Returns:
            Decisions at the checkpoint; 0 without one, or if the agent cannot be restored.

        Raises:
            CheckpointError: If the file is damaged or from another run.
        """
        if not (self.path.is_file() and can_be_kept(agent)):
            return 0
        state = checkpoint.load(self.path)
        with fitting(self.path, ANEW):
            self._restore(agent, state)
        return self._saved_at

    def _restore(self, agent: object, state: State) -> None:
        self.env.reset()
        self.env.load_state_dict(state["environment"])
        load_agent_state(agent, state["agent"])
        self.curve.load_state_dict(state["curve"])
        self.policies.load_state_dict(state["policies"])
        # The curve's seconds cover all processes; `seconds` subtracts them, so add them here.
        self._cpu_before = state["cpu_seconds"]
        self._before, self._saved_at = state["seconds"] + self.curve.seconds, state["decisions"]
        load_generators(state["generators"])
        self._log = state["log"]

    def _on_training_start(self) -> None:
        self._kept = can_be_kept(self.model)
        self.start_clock()
        if self._log is not None and isinstance(self.logger, RunLogger):
            with fitting(self.path, ANEW):
                self.logger.load_state_dict(self._log)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        due = self._saved + max(LEAST_APART, COSTS_APART * self._cost)
        if self._kept and self.num_timesteps_now > self._saved_at and time.perf_counter() > due:
            self.keep()

    @property
    def num_timesteps_now(self) -> int:
        """Number of decisions; the callback's own count lags behind at the start of a rollout."""
        return int(self.model.num_timesteps)

    def keep(self) -> None:
        """Write the checkpoint now."""
        start = time.perf_counter()
        self._saved_at = self.num_timesteps_now
        state = {
            "decisions": self._saved_at,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "environment": self.env.state_dict(),
            "agent": agent_state(self.model),
            "curve": self.curve.state_dict(),
            "policies": self.policies.state_dict(),
            "generators": generators(),
            "log": self.logger.state_dict() if isinstance(self.logger, RunLogger) else None,
        }
        checkpoint.save(plain(state), self.path)
        self._saved = time.perf_counter()
        self._cost = self._saved - start
        self.set_aside(self._cost)


def can_be_kept(agent: object) -> bool:
    """Return whether the state of an agent can be saved between rollouts; ARS of sb3-contrib has none."""
    if isinstance(agent, BaseAlgorithm):
        return type(agent).__name__ != "ARS"
    return isinstance(agent, Resumable)


def agent_state(agent: object) -> State:
    """Return the complete state of an agent: tensors and plain values."""
    own = agent.state_dict() if isinstance(agent, Resumable) else {}
    return {"own": own, "sb3": algorithm_state(agent) if isinstance(agent, BaseAlgorithm) else {}}


def load_agent_state(agent: object, state: State) -> None:
    """Restore the result of `agent_state`."""
    if state["sb3"]:
        assert isinstance(agent, BaseAlgorithm)
        load_algorithm_state(agent, state["sb3"])
    if state["own"]:
        assert isinstance(agent, Resumable)
        agent.load_state_dict(state["own"])


def algorithm_state(agent: BaseAlgorithm) -> State:
    """Return the state of an SB3 algorithm between two rollouts, without pickled code."""
    names = agent._get_torch_save_params()[1]
    own = vars(agent)
    states = own.get("_last_lstm_states")
    return {
        "parameters": agent.get_parameters(),
        "variables": {name: attrgetter(name)(agent).detach().clone() for name in names},
        "counts": {name: own[name] for name in COUNTS if name in own},
        "arrays": {name: to_tensors(own[name]) for name in ARRAYS if name in own},
        "episodes": [dict(episode) for episode in agent.ep_info_buffer or ()],
        "successes": [bool(success) for success in agent.ep_success_buffer or ()],
        "space": agent.action_space.np_random.bit_generator.state,
        "lstm": None if states is None else [list(part) for part in states],
        "replay": _replay(own.get("replay_buffer")),
    }


def load_algorithm_state(agent: BaseAlgorithm, state: State) -> None:
    """Restore the result of `algorithm_state`."""
    own = vars(agent)
    agent.set_parameters(state["parameters"], device=agent.device)
    for name, value in state["variables"].items():
        attrgetter(name)(agent).data.copy_(value)
    for name, value in state["counts"].items():
        setattr(agent, name, value)
    for name, value in state["arrays"].items():
        setattr(agent, name, to_arrays(value))
    agent.ep_info_buffer = deque(state["episodes"], maxlen=agent._stats_window_size)
    agent.ep_success_buffer = deque(state["successes"], maxlen=agent._stats_window_size)
    agent.action_space.np_random.bit_generator.state = state["space"]
    if state["lstm"] is not None:
        own["_last_lstm_states"] = type(own["_last_lstm_states"])(*map(tuple, state["lstm"]))
    if state["replay"]:
        _load_replay(own["replay_buffer"], state["replay"])


def _replay(buffer: ReplayBuffer | None) -> State:
    """Return the filled part of a replay buffer."""
    if buffer is None:
        return {}
    filled = buffer.buffer_size if buffer.full else buffer.pos
    parts = {name: to_tensors(_rows(getattr(buffer, name), filled)) for name in REPLAY}
    return {"pos": buffer.pos, "full": buffer.full, **parts}


def _load_replay(buffer: ReplayBuffer, state: State) -> None:
    buffer.pos, buffer.full = state["pos"], state["full"]
    for name in REPLAY:
        _fill(getattr(buffer, name), to_arrays(state[name]))


def _rows(values: Observation, count: int) -> Observation:
    return {key: value[:count] for key, value in values.items()} if isinstance(values, dict) else values[:count]


def _fill(there: Observation, values: Observation) -> None:
    if isinstance(there, dict):
        for key, part in there.items():
            _fill(part, values[key])
    else:
        there[: len(values)] = values


def plain(state: Mapping[str, object]) -> State:
    """Return a state with Python's numbers in place of NumPy's, as a checkpoint takes it."""
    return {key: _plain(value) for key, value in state.items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return bare(value)


def generators() -> State:
    """Return the states of the global generators, which SB3 draws from."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    numpy_state = [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest]
    return {"torch": torch.get_rng_state(), "numpy": numpy_state, "python": random.getstate()}


def load_generators(state: State) -> None:
    """Restore the result of `generators`."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])
