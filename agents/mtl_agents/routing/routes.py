"""Base class of learning routers, which collects the decisions of each row and learns from ended routes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Unpack

from mtl_agents.base import Agent, AgentArguments, Parts
from mtl_agents.environments import options_of
from mtl_agents.files import Tables
from mtl_agents.routing.decisions import Decisions, Floats, Situations
from mtl_agents.routing.router import SIZES, Index, Masks, draws_on_pool, routing_sizes, value_width
from mtl_agents.runs import part_of_tasks, with_tasks_of_runs
from mtl_gym.core.ranges import SHARES, Range
from mtl_gym.core.rows import Array, State
from mtl_gym.integrations.sb3 import EnvLike, masks_of

if TYPE_CHECKING:
    from mtl_agents.routing.networks import Trained


class RouterArguments(AgentArguments, total=False):
    """Keyword arguments of every learning router; see `LearningRouter`."""

    gamma: float
    collaboration: float


class LearningRouter(Agent[Parts, Index]):
    """Router that learns from finished routes.

    A subclass implements `_probabilities` and `_update`.

    Args:
        env: As for `Agent`.
        gamma: Discount factor of returns, in [0, 1].
        collaboration: Weight (rho) of the policy-based collaboration reward, in [0, 10]: a choice also earns rho times
            the mean of its last recorded probabilities over the agents that ever took it. Requires an environment
            with the count-based reward turned off (`rho=0`).
        **arguments: Keyword arguments of `Agent`.

    Attributes:
        num_tasks: Number of tasks of all runs.
        depth: Maximum number of decisions in a route.
        num_actions: Number of choices of a decision, blocks and PASS.
        valid: Choices that no mask has excluded so far, all where masks depend on the route; bool [depth, actions].
        taken: Choices that each agent has ever taken; bool [agents, depth, actions].
        probability: Last recorded probabilities of each agent; float64 [agents, depth, actions].

    Raises:
        ValueError: If an argument is out of range, or the environment pays a collaboration reward as well.
    """

    # True if decisions depend on the current value.
    LOOKS: ClassVar[bool] = False
    # True if valid choices may also depend on the choices before.
    TAKES_POOLS: ClassVar[bool] = False
    SIZES: ClassVar[str] = SIZES
    RANGES: ClassVar[Mapping[str, Range]] = {"gamma": SHARES, "collaboration": Range(0, 10)}

    trained: Trained | None = None

    def __init__(
        self, env: EnvLike, *, gamma: float = 1.0, collaboration: float = 0.0, **arguments: Unpack[AgentArguments]
    ) -> None:
        super().__init__(env, **arguments)
        if collaboration and options_of(self.env).get("rho"):
            raise ValueError(
                f"collaboration={collaboration}, but the environment pays a collaboration reward: make it with rho=0."
            )
        self.gamma, self.collaboration = gamma, collaboration
        self.valid = np.ones((self.depth, self.num_actions), bool)
        self.taken = np.zeros((self.num_agents, self.depth, self.num_actions), bool)
        self.probability = np.zeros(self.taken.shape)

    @classmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        return routing_sizes(env.observation_space, env.action_space)

    @property
    def num_agents(self) -> int:
        """Number of deciding agents, one per task."""
        return self.num_tasks

    def _in_charge(self, at: Situations) -> Index:
        """Return the agent in charge of each entry; int64 [n]."""
        return at.task

    def _hyperparameters(self) -> dict[str, object]:
        return {"gamma": self.gamma, "collaboration": self.collaboration}

    def _tables(self) -> Tables:
        return {"valid": self.valid, "taken": self.taken, "probability": self.probability}

    def _rows(self) -> Tables:
        routes = {"choices": self._choices, "rewards": self._rewards}
        return routes | {"length": self._length, "values": self._values}

    def state_dict(self) -> State:
        """Return the complete state of the agent as tensors and plain values."""
        return super().state_dict() | ({} if self.trained is None else self.trained.state_dict())

    def _model(self) -> State:
        return super()._model() | ({} if self.trained is None else self.trained.model())

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        if self.trained is not None:
            self.trained.load_state_dict(state)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Use another environment of the same sizes for the next `learn` and discard unfinished routes."""
        super().set_env(env, force_reset)
        tasks, self.depth, self.num_actions = self._sizes_of(self.env)
        self.num_tasks = tasks * self.runs
        self._forget_routes()

    def _seen(self, obs: Parts) -> Parts:
        return with_tasks_of_runs(obs, self.runs, self.num_tasks)

    def _of_run(self, table: Any, run: int) -> Any:
        return part_of_tasks(table, run, self.runs, self.num_tasks)

    def _check_env(self, env: VecEnv) -> None:
        super()._check_env(env)
        if not self.TAKES_POOLS and draws_on_pool(env.observation_space):
            raise ValueError(
                f"{type(self).__name__} assumes equal valid choices for all routes at a depth; in this environment "
                "they depend on the modules chosen so far. Use assignment, lrn, maskable-ppo, random or random-fixed."
            )

    def _forget_routes(self) -> None:
        self._choices = np.zeros((self.n_envs, self.depth), np.int64)
        self._rewards = np.zeros((self.n_envs, self.depth))
        self._length = np.zeros(self.n_envs, np.int64)
        self._values = np.zeros((self.n_envs, self.depth, self.width), np.float32)

    @property
    def width(self) -> int:
        """Width of the current value; 0 for routers that do not observe it."""
        return value_width(self.observation_space) if self.LOOKS else 0

    @abstractmethod
    def _probabilities(self, at: Situations, explore: bool) -> Floats:
        """Return weights of all choices, proportional to probabilities over the valid ones; float64 [n, actions].

        Without `explore`, only the largest weight of an entry matters.
        """

    @abstractmethod
    def _update(self, decisions: Decisions) -> None:
        """Learn from the decisions of ended routes."""

    def predict(
        self,
        observation: Parts,
        state: Index | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Index, Index]:
        """Sample the choice of each row from the policy of its task, or take the most probable one.

        The state contains the earlier choices of each row; pass it to the next call, as for a recurrent policy.
        """
        at = self._situations(self._of_runs(observation), state, episode_start)
        weights = self._weights(at, not deterministic, None if action_masks is None else np.atleast_2d(action_masks))
        choice = weights.argmax(-1) if deterministic else self._sample(weights)
        at.earlier[np.arange(len(choice)), at.depth] = choice
        return choice.reshape(np.shape(observation["task"])), at.earlier

    def _masks(self) -> Masks:
        return masks_of(self.env)

    def _rule_out(self, depth: Index, masks: Masks) -> None:
        if (self.valid[depth] & ~masks).any():
            np.logical_and.at(self.valid, depth, masks)

    def _weights(self, at: Situations, explore: bool, masks: Masks | None = None) -> Floats:
        """Return weights of all choices, 0 where `masks` or what is known of the depth exclude one."""
        if masks is not None and not draws_on_pool(self.observation_space):
            self._rule_out(at.depth, masks)
        weights = self._probabilities(at, explore) * self.valid[at.depth]
        return weights if masks is None else weights * masks

    def _situations(self, obs: Parts, state: Index | None, episode_start: NDArray[np.bool_] | None) -> Situations:
        task, depth = np.atleast_1d(obs["task"]), np.atleast_1d(obs["depth"])
        earlier = np.full((len(task), self.depth), -1) if state is None else np.array(state)
        if episode_start is not None:
            earlier[np.atleast_1d(episode_start)] = -1
        value = np.atleast_2d(obs["value"]) if self.LOOKS else np.empty((len(task), 0), np.float32)
        return Situations(task, depth, earlier, value)

    def _sample(self, weights: Floats) -> Index:
        """Sample by inverting the cumulative distribution of each row; float64 [rows, actions] -> int64 [rows]."""
        cumulative = weights.cumsum(-1)
        drawn = [random.random(len(weights) // self.runs) for random in self.randoms]
        threshold = np.concatenate(drawn) * cumulative[:, -1]
        return (cumulative <= threshold[:, None]).sum(-1)

    @property
    def _looks_back(self) -> bool:
        """True if decisions depend on earlier choices, which excludes partly observed routes from learning."""
        return False

    def _join(self, depth: Index) -> None:
        """Adopt routes at their current depth after a reset or in a new environment, with unknown earlier choices."""
        rows = np.flatnonzero(depth != self._length)
        self._choices[rows], self._rewards[rows] = -1, 0
        self._length[rows] = depth[rows]

    def _act(self, obs: Parts) -> Index:
        self._join(obs["depth"])
        made = np.arange(self.depth) < self._length[:, None]
        at = self._situations(obs, np.where(made, self._choices, -1), None)
        weights = self._weights(at, True, self._masks())
        choice = self._sample(weights)
        if self.collaboration:
            self._collaborate(at, choice, weights)
        return choice

    def _collaborate(self, at: Situations, choice: Index, weights: Floats) -> None:
        """Compute the collaboration reward of `choice` and record probabilities.

        Source: Rosenbaum et al. 2018, section 3.1, the policy-based version.
        """
        agent, run = self._in_charge(at), np.repeat(np.arange(self.runs), self.n_envs // self.runs)
        taken = self.taken.reshape(self.runs, -1, *self.taken.shape[1:])
        probability = self.probability.reshape(taken.shape)
        agreement = (probability * taken).sum(1) / np.maximum(taken.sum(1), 1)
        self._bonus = self.collaboration * agreement[run, at.depth, choice]
        self.probability[agent, at.depth] = weights / weights.sum(-1, keepdims=True)
        self.taken[agent, at.depth, choice] = True

    def _record(self, obs: Parts, actions: Array, rewards: Array, dones: NDArray[np.bool_]) -> None:
        rows = np.arange(self.n_envs)
        self._join(obs["depth"])
        self._choices[rows, self._length] = actions
        self._rewards[rows, self._length] = rewards + self._bonus if self.collaboration else rewards
        if self.LOOKS:
            self._values[rows, self._length] = obs["value"]
        self._length += 1
        if dones.any():
            ended = np.flatnonzero(dones)
            decisions = self._decisions(obs["task"][ended], ended)
            if len(decisions.task):
                self._update(decisions)
            self._length[ended] = 0

    def _decisions(self, task: Index, rows: Index) -> Decisions:
        steps = np.arange(self.depth)
        choices = self._choices[rows]
        known = (choices >= 0) & (choices[:, :1] >= 0 if self._looks_back else True)
        row, depth = np.nonzero((steps < self._length[rows, None]) & known)
        return Decisions(
            task=task[row],
            depth=depth,
            earlier=np.where(steps < depth[:, None], choices[row], -1),
            value=self._values[rows][row, depth],
            choice=choices[row, depth],
            reward=self._rewards[rows][row, depth],
            returns=self._returns(rows)[row, depth],
            last=depth == self._length[rows][row] - 1,
        )

    def _returns(self, rows: Index) -> Floats:
        """Return discounted sums of rewards; float64 [rows, depth]. Source: algorithm 2, line 6."""
        rewards = np.where(np.arange(self.depth) < self._length[rows, None], self._rewards[rows], 0)
        returns = np.zeros_like(rewards)
        running = np.zeros(len(rows))
        for depth in reversed(range(self.depth)):
            running = rewards[:, depth] + self.gamma * running
            returns[:, depth] = running
        return returns
