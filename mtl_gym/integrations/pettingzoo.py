"""Routing environment as a PettingZoo `ParallelEnv` with one agent per task, for multi-agent RL libraries.

Source: Rosenbaum et al. 2018, section 3.1, figure 3(b): "one per task".
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from mtl_gym.core.episode import Transition
from mtl_gym.core.extras import needed_by
from mtl_gym.core.options import make_options, shallow_dict
from mtl_gym.core.rows import AnySpace, Arguments, Info, Observation, Picture, Rows, State, rows_of
from mtl_gym.core.sampling import SampleStream
from mtl_gym.families.routing.env import RoutingVectorEnv

with needed_by("One agent per task"):
    from pettingzoo import ParallelEnv

Value = TypeVar("Value")


class TaskStream(SampleStream):
    """Stream of samples of tasks 0, 1, ..., K - 1, 0, 1, ...; every task has its own epochs.

    Args:
        task: Task of every sample of the split; int64 [size].
        random: Generator that shuffles every epoch of every task.
    """

    def __init__(self, task: Rows, random: np.random.Generator) -> None:
        super().__init__(len(task), random)
        self.samples = [np.flatnonzero(task == number) for number in range(task.max() + 1)]
        self.streams = [SampleStream(len(samples), random) for samples in self.samples]

    def take(self, count: int) -> Rows:
        """Return the next `count` indices, a multiple of the number of tasks; int64 [count]."""
        rounds = count // len(self.streams)
        parts = zip(self.samples, self.streams, strict=True)
        return np.stack([samples[stream.take(rounds)] for samples, stream in parts], axis=1).ravel()

    def state(self) -> State:
        """Return the order and position of every task."""
        return {"streams": [stream.state() for stream in self.streams]}

    def model(self) -> State:
        """Return the model of `state`."""
        return {"streams": [stream.model() for stream in self.streams]}

    def load(self, state: State) -> None:
        """Restore `state`."""
        for stream, part in zip(self.streams, state["streams"], strict=True):
            stream.load(part)


class TaskAgents(ParallelEnv):  # type: ignore[misc]  # PettingZoo is untyped
    """Parallel environment with one agent per task, all of which route through, and train, one network.

    In a round, every agent routes one input of its task; a step is one batched step. An agent with an invalid action
    leaves `agents` while the others continue; the round ends when `agents` is empty. `reset()` begins the next round
    with the same network, `reset(seed=...)` restarts with fresh weights.

    * Observation of an agent: `value` float32 [F]; `task` and `depth`, int64.
    * Action: an integer in [0, M]; M is PASS. `infos[agent]["action_mask"]` is int8 [M + 1], as `sample` expects.
    * Reward: a float; the collaboration reward of each action, plus the final reward on the last one.
    * Info at the end of an agent's episode: the row of the agent in `final_info`, instead of the mask.

    Args:
        num_envs: None, or the number of tasks.
        kind: Class of the routing environment.
        **options: The fields of its `Options`, except `tensors`.

    Attributes:
        batched: Underlying environment, with row i for agent `possible_agents[i]`. It runs in rounds: a row waits for
            the next `reset` after the end of its episode.

    Raises:
        ValueError: If an option is invalid.

    Example:
        >>> env = TaskAgents(data="digits", hidden=64)
        >>> observations, infos = env.reset(seed=0)
        >>> env.agents[:2], observations["digit_1"]["value"].shape, infos["digit_1"]["action_mask"].shape
        (['digit_0', 'digit_1'], (64,), (11,))
        >>> observations, rewards, *_ = env.step({agent: 0 for agent in env.agents})
    """

    metadata: ClassVar[Info] = {"name": "mtl_routing_v0", "is_parallelizable": True} | {
        key: RoutingVectorEnv.metadata[key] for key in ("render_modes", "render_fps")
    }

    def __init__(
        self, num_envs: int | None = None, *, kind: type[RoutingVectorEnv] = RoutingVectorEnv, **options: object
    ) -> None:
        if make_options(kind.Options, type(self).__name__, options).tensors:
            raise ValueError(
                "tensors=True does not work with PettingZoo, which needs NumPy arrays: make the environment without it."
            )
        tasks = kind(1, **options).data.num_tasks
        if num_envs not in (None, tasks):
            raise ValueError(
                f"num_envs={num_envs} is invalid: {tasks} tasks have one row each. Omit num_envs, or pass {tasks}."
            )
        self.batched = kind(tasks, **options)
        self.batched.play_in_rounds(TaskStream)
        self.render_mode = self.batched.render_mode
        self.possible_agents = agent_names(self.batched.task_names)
        # Copies give each agent's space its own generator.
        observation, action = self.batched.single_observation_space, self.batched.single_action_space
        self.observation_spaces = {agent: copy.deepcopy(observation) for agent in self.possible_agents}
        self.action_spaces = {agent: copy.deepcopy(action) for agent in self.possible_agents}

    @property
    def agents(self) -> list[str]:
        """Agents with an unfinished episode; empty before the first reset."""
        return [agent for agent, gone in zip(self.possible_agents, self.batched.waiting, strict=True) if not gone]

    def observation_space(self, agent: str) -> AnySpace:
        """Return the agent's own space, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> AnySpace:
        """Return the agent's own space, the same object each time."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[dict[str, Observation], dict[str, Info]]:
        """Begin the next round with every agent.

        Args:
            seed: Seed for a restart with fresh weights; None continues training the current network.
            options: Unused.
        """
        obs, info = self.batched.reset(seed=seed)
        observations = rows_of(obs, np.arange(self.batched.num_envs))
        masks = [{"action_mask": mask} for mask in info["action_mask"].astype(np.int8)]
        return _named(self.agents, observations), _named(self.agents, masks)

    def step(
        self, actions: Mapping[str, object]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]]:
        """Apply one decision of every agent in `agents`.

        Args:
            actions: One action per agent; actions of agents with an ended episode are ignored.

        Returns:
            Observations, rewards, terminations, truncations and infos of the agents that acted.

        Raises:
            ValueError: If an action is missing or outside its space, or an agent is unknown.
            gymnasium.error.ResetNeeded: If `agents` is empty.
        """
        agents, rows = self.agents, np.flatnonzero(~self.batched.waiting)
        self._check(actions, agents)
        # Waiting rows ignore their action.
        batch = [actions[agent] if agent in agents else 0 for agent in self.possible_agents]
        obs, transition, _ = self.batched.advance(np.array(batch, np.int64))
        figures = (transition.reward, transition.terminated, transition.truncated)
        rewards, terminations, truncations = (_named(agents, figure[rows].tolist()) for figure in figures)
        infos = _named(agents, self._infos(rows, transition))
        return _named(agents, rows_of(obs, rows)), rewards, terminations, truncations, infos

    def _check(self, actions: Mapping[str, object], agents: list[str]) -> None:
        missing = [agent for agent in agents if agent not in actions]
        unknown = [agent for agent in actions if agent not in self.action_spaces]
        if missing or unknown:
            raise ValueError(f"Pass one action per agent of {agents}; missing: {missing}, unknown: {unknown}.")
        for agent in agents:
            if not self.action_spaces[agent].contains(actions[agent]):
                raise ValueError(f"action {actions[agent]!r} of {agent} lies outside {self.action_spaces[agent]}.")

    def _infos(self, rows: Rows, transition: Transition) -> list[Info]:
        masks, done = self.batched.action_masks().astype(np.int8), transition.done
        return [_figures(transition.final_info, row) if done[row] else {"action_mask": masks[row]} for row in rows]

    def state_dict(self) -> State:
        """Return the complete state of the environment, including the current round."""
        return self.batched.state_dict()

    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict()`; errors as for `Stateful.load_state_dict`."""
        self.batched.load_state_dict(state)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle by options and state, as the underlying environment."""
        state = None if self.batched.seed is None else self.state_dict()
        return _revived, ({"kind": type(self.batched), **shallow_dict(self.batched.options)}, state)

    def render(self) -> Picture | str | None:
        """Show the routing map of about the last 200 episodes of each task."""
        return self.batched.render()

    def close(self) -> None:
        """Close the window of `render_mode="human"`."""
        self.batched.close()


def _revived(options: Arguments, state: State | None) -> TaskAgents:
    made = TaskAgents(**options)
    if state is not None:
        made.load_state_dict(state)
    return made


def _named(agents: list[str], values: Sequence[Value]) -> dict[str, Value]:
    return dict(zip(agents, values, strict=True))


def _figures(final_info: Info, row: int) -> Info:
    """Return the valid figures of `row` as plain scalars and arrays."""
    known = {key: value[row] for key, value in final_info.items() if key[0] != "_" and final_info[f"_{key}"][row]}
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in known.items()}


def agent_names(task_names: tuple[str, ...]) -> list[str]:
    """Return one agent name per task, of letters, digits and underscores.

    Example:
        >>> agent_names(("digit 0", "non-insect invertebrates")), agent_names(("a b", "a-b"))
        (['digit_0', 'non_insect_invertebrates'], ['a_b_0', 'a_b_1'])
    """
    names = [re.sub(r"\W+", "_", name) for name in task_names]
    return names if len(set(names)) == len(names) else [f"{name}_{task}" for task, name in enumerate(names)]


def parallel_env(env_id: str, **kwargs: object) -> TaskAgents:
    """Return the routing environment of a registered id with one agent per task.

    Args:
        env_id: Registered id.
        **kwargs: Keyword arguments of the environment, which override those of the id.

    Raises:
        ValueError: If `env_id` is not a routing environment, or an option is invalid.

    Example:
        >>> env = parallel_env("MTLRouting-Digits-v0", depth=2)
        >>> env.max_num_agents, env.action_space("digit_3")
        (10, Discrete(11))
    """
    import mtl_gym  # noqa: F401 (registers the ids)

    spec = gym.spec(env_id)
    made_by = spec.vector_entry_point
    kind = load_env_creator(made_by) if isinstance(made_by, str) else made_by
    if not isinstance(kind, type) or not issubclass(kind, RoutingVectorEnv):
        raise ValueError(f"{env_id} is not a routing environment; use one such as MTLRouting-Digits-v0.")
    return TaskAgents(**{"kind": kind, **spec.kwargs, **kwargs})
