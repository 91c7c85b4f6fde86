"""Environment of routing networks: each action picks the block that processes an input next.

Source: Rosenbaum et al. 2018, "Routing Networks: Adaptive Selection of Non-linear Functions for Multi-Task Learning".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from mtl_gym.core.classification import Answers
from mtl_gym.core.classification_env import ClassificationVectorEnv
from mtl_gym.core.episode import AnswerResult, Floats, Transition
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.held_out import HeldOutVectorEnv
from mtl_gym.core.interfaces import LAYERS, ROUTES, Interface
from mtl_gym.core.nn.fused_adam import FusedAdam
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.rows import Array, Flags, Info, Rows, State
from mtl_gym.core.sampling import Waiting
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.core.state.checkpoint import to_tensors
from mtl_gym.families.routing import render
from mtl_gym.families.routing.graph import RouteGraph
from mtl_gym.families.routing.making import make_network, number_of_agents, takes_one_input
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.families.routing.observation import spaces_of
from mtl_gym.families.routing.options import RoutingOptions
from mtl_gym.families.routing.rewards import CollaborationReward
from mtl_gym.families.routing.routes import Routes, RouteUsage, random_routes
from mtl_gym.families.routing.side_by_side import NetworkOfRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RoutingVectorEnv(HeldOutVectorEnv):
    """Batch of `num_envs` routes, each of one labelled input through a routed network that trains during the steps.

    An episode routes one input: at each depth, the action picks the next block or PASS. The loss is computed after the
    last depth. Once `train_batch` episodes have ended, one gradient step updates the used blocks only.

    * Observation: `value` float32 [num_envs, F], the zero-padded output of the last chosen block (at depth 0, the
      trunk's features); `task` int64 [num_envs]; `depth` int64 [num_envs]. With a dispatcher also `agent` int64
      [num_envs], the agent in charge, or the number of agents before one is picked.
    * Action: int64 [num_envs] in [0, M]; M is PASS. `info["action_mask"]` is bool [num_envs, M + 1].
    * Reward: float32 [num_envs]: the collaboration reward of each action, plus the final reward on the last one.
    * `final_info`: `loss`, `correct`, `is_success`, `prediction`, `label`, `task`, `route`, `sample`,
      `invalid_action`.

    Source: Rosenbaum et al. 2018, algorithms 1 and 2.

    Deviation: with a larger `num_envs`, an update may contain more than the paper's 10 episodes.

    Example:
        >>> env = RoutingVectorEnv(num_envs=4, data="digits", hidden=64)
        >>> obs, info = env.reset(seed=0)
        >>> obs["value"].shape, int(info["action_mask"][0].sum())
        ((4, 64), 11)
        >>> obs, reward, terminated, truncated, info = env.step(np.array([0, 1, 2, 10]))
        >>> obs["depth"]
        array([1, 1, 1, 1])
    """

    Options: ClassVar[type[EnvOptions]] = RoutingOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({LAYERS, ROUTES})
    STACKS: ClassVar[bool] = True
    WINDOW: ClassVar[str] = render.WINDOW
    SEEN: ClassVar[str] = "Routing map: the blocks that each task takes"
    FAMILY: ClassVar[str] = "MTLRouting"
    PICTURE: ClassVar[str] = "routing_map.png"
    options: RoutingOptions
    network: RoutedNetwork
    optimizer: FusedAdam
    groups: Rows | None = None  # true group of each task, int64 [tasks], where there are groups
    _template: RoutedNetwork

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        with seeded(0):  # fixes the weights of a dispatcher or mixture in untrained networks
            self._template = self._make_network()
        self._takes_one = takes_one_input(self._template, needs_to=self.options.train and self.batch_size == 1)
        self._describe(self._template)
        self._count_anew()

    @property
    def max_episode_steps(self) -> int:
        """Decisions of the longest episode, one per routed layer, PASS included."""
        return self.routed_depth

    @property
    def agents(self) -> int:
        """Number of agents of the dispatcher; 0 without a dispatcher."""
        return number_of_agents(self.options, self.data)

    def random_routes(self, count: int, random: np.random.Generator) -> Rows:
        """Return a random block for each layer of each route, never PASS; int64 [count, depth]."""
        return random_routes(self.masks, count, random)

    def _describe(self, network: RoutedNetwork) -> None:
        self.masks = network.masks()
        self.routed_depth, self.num_blocks, self.width = network.depth, network.num_blocks, network.width
        self._routes = Routes.none(self.num_envs, self.routed_depth)
        self._set_spaces(*spaces_of(network, self.data.num_tasks, self.agents))

    def _make_network(self) -> RoutedNetwork:
        return make_network(self.options, self.data, self._context)

    def _given_weights(self) -> State | None:
        given = super()._given_weights()
        return given if given is None or self.runs == 1 else NetworkOfRuns([self._template] * self.runs).state_dict()

    def _build(self) -> None:
        # Modules may have been made in different modes; `train()` makes all flags agree with that of the network.
        self._train_networks([self._fresh_network().to(self.device).train() for _ in self._seeded_runs()])
        self._set_up()

    def _fresh_network(self) -> RoutedNetwork:
        fresh = self.options.network is None or isinstance(self.options.network, RoutedNetwork)
        return self._template.renewed() if fresh else self._make_network()

    def _train_networks(self, networks: Sequence[RoutedNetwork]) -> None:
        """Train a network in each run."""
        self.network = networks[0] if self.runs == 1 else NetworkOfRuns(networks)
        parameters = [p for network in networks for p in network.parameters()]
        self._stacks = self.network.fused_stacks() if self.options.train else []
        self.optimizer = FusedAdam(parameters, self.options.learning_rate, self._stacks)

    def _set_up(self) -> None:
        super()._set_up()
        self._graph = RouteGraph(self.network, self._inputs, self.num_envs, self.options.train, self.device)
        self._waiting = Waiting(runs=self.runs)
        self._routes = Routes.none(self.num_envs, self.routed_depth)
        self._count_anew()

    def _count_anew(self) -> None:
        choices = self.routed_depth, self.num_blocks + 1
        agents = self.agents or self.data.num_tasks
        self._collaboration = CollaborationReward(self.options.rho, agents, *choices, runs=self.runs)
        self.usage = RouteUsage(self.runs * self.data.num_tasks, *choices, fades=self.options.train)

    @property
    def collaboration_counts(self) -> Rows:
        """Number of decisions by depth, agent and choice, of one run; int64 [depth, agents or tasks, M + 1]."""
        return self._collaboration.counts[0].copy()

    def _adopt(self, source: ClassificationVectorEnv) -> None:
        super()._adopt(source)
        assert isinstance(source, RoutingVectorEnv)
        self._collaboration.counts = source._collaboration.counts.copy()

    def _inputs(self, samples: Rows) -> Tensor:
        return self.data.inputs(
            self.options.split, torch.from_numpy(samples).clamp(min=0).to(self.device, non_blocking=True)
        )

    @property
    def _sample(self) -> Rows:
        return self._routes.sample

    def _begin(self, rows: Rows) -> None:
        super()._begin(rows)
        if self._waiting.lacks(len(rows)):
            self._waiting.add(self._draw(rows, self.batch_size))
            self._graph.embed(self._waiting.samples)
        places = self._waiting.take(len(rows))
        self._graph.begin(rows, places)
        self._routes.begin(rows, self._waiting.samples[places])

    def _observe(self) -> dict[str, Array | Tensor]:
        agent = {"agent": self._in_charge()} if self.agents else {}
        return {"value": self._graph.values.detach().clone(), "task": self._tasks(), "depth": self._routes.now, **agent}

    def _in_charge(self) -> Rows:
        """Return the agent in charge of each row, or the number of agents before one is picked; int64 [num_envs]."""
        if not self.agents:
            return self._tasks()
        first = self._routes.choice[:, 0]
        return np.where(first < 0, self.agents, first)

    def _masks(self) -> Flags:
        """Return the valid choices; bool [num_envs, M + 1]."""
        return self.masks[self._routes.now]

    def _valid(self, actions: Rows) -> Flags:
        return self.masks[self._routes.now, actions]

    def _advance(self, actions: Rows, valid: Flags) -> Transition:
        routes = self._routes
        reward = np.full(self.num_envs, self.options.invalid_reward, np.float32)
        for depth in np.unique(routes.depth[valid]):
            rows = np.flatnonzero(valid & (routes.depth == depth))
            self._graph.apply(rows, int(depth), actions[rows])
            reward[rows] = self._collaborate(rows, int(depth), actions[rows])
        routed = np.flatnonzero(valid)
        routes.extend(routed, actions[routed])
        finished = valid & routes.finished
        done = ~valid | finished
        answers = Answers.none(self.num_envs)
        if finished.any():
            self._finish(np.flatnonzero(finished), reward, answers)
        result = self._result(done, answers) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _collaborate(self, rows: Rows, depth: int, choices: Rows) -> Floats:
        if self.agents and depth == 0:  # picking an agent shares no block
            return np.zeros(len(rows), np.float32)
        reward = self._collaboration(depth, choices, self.run[rows])
        if self.options.train:
            self._collaboration.add(self._in_charge()[rows], depth, choices, self.run[rows])
        return reward

    def _result(self, done: Flags, answers: Answers) -> AnswerResult:
        return self._judged(
            answers,
            done,
            invalid_action=done & ~self._routes.finished,
            label=self._label[self._sample],
            route=self._routes.choice.copy(),
            sample=self._sample.copy(),
        )

    def _finish(self, rows: Rows, reward: Floats, answers: Answers) -> None:
        label, task = self._label[self._sample[rows]], self._tasks()[rows]
        logits, losses = self._graph.finish(rows, np.stack([label, task], 1), self._loss)
        answer = partial(self._answer_held_out, self._routes.choice[rows])
        answers.enter(rows, label, *self._settle_held_out(rows, label, logits, reward, losses, answer))
        real = self._sample[rows] >= 0
        tasks = task + self.run[rows] * self.data.num_tasks  # those of another run are other tasks
        self.usage.add(tasks[real], self._routes.choice[rows[real]])

    def _answer_held_out(self, routes: Rows, samples: Rows) -> Tensor:
        """Return the answers to held-out samples; int64 [n, depth] and [n] -> float32 [n, classes]."""
        index = torch.from_numpy(samples).to(self.device, non_blocking=True)
        answers: Tensor = self.network(self.data.inputs(self.options.reward_split, index), routes)
        return answers

    def _loss(self, logits: Tensor, label_and_task: Tensor) -> Tensor:
        label, task = label_and_task.unbind(1)
        return torch.nn.functional.cross_entropy(self._classes.restrict(logits, task), label, reduction="none")

    def _cut_short(self, rows: Rows) -> None:
        """Count truncated episodes towards `train_batch`; otherwise truncation alone would never free the graph."""
        if self.options.train:
            self._ended += len(rows) // self.runs
            self._update_if_due(np.ones(self.num_envs, bool))

    def _update(self) -> None:
        if self._graph.losses:
            self._descend(self._graph.losses)
        self._graph.clear()

    def _deliver(self) -> None:
        if not isinstance(self.optimizer, FusedAdam):  # a caller may have set another
            for stack in self._stacks:
                stack.deliver()

    def _resume(self, under_way: Flags) -> None:
        """Recompute the values of unfinished routes and waiting inputs with the weights after an update."""
        rows, routes = np.flatnonzero(under_way), self._routes
        left, self._waiting = self._waiting.left, Waiting(routes.sample[rows], runs=self.runs)
        self._waiting.add(left)
        if len(self._waiting.samples) == 1 and not self._takes_one:
            self._waiting.add(self._draw(rows, self.batch_size))
        if len(self._waiting.samples) == 0:
            return
        self._graph.embed(self._waiting.samples)
        self._graph.begin(rows, self._waiting.take(len(rows)))
        self._graph.repeat(rows, routes.depth[rows], routes.choice[rows])

    @property
    def signature(self) -> State:
        """Properties that must be equal in a checkpoint and in this environment."""
        return super().signature | {"masks": self.masks.astype(int).tolist(), "width": self.width}

    def _show(self, shown: Self, run: int) -> None:
        super()._show(shown, run)
        assert isinstance(self.network, NetworkOfRuns)
        shown.network = self.network.networks[run]
        shown.optimizer = self.optimizer.of(shown.network)
        shown._collaboration.counts = self._collaboration.counts[run : run + 1]
        shown.usage.counts = np.split(self.usage.counts, self.runs)[run]
        shown._routes, shown._waiting = self._routes.of_rows(self.run == run), self._waiting.of_run(run)
        shown._graph = self._graph.of_run(run, self.runs, shown.network)

    def _join(self, solos: Sequence[Self]) -> None:
        super()._join(solos)
        self._train_networks([solo.network for solo in solos])
        self.optimizer.take([solo.optimizer for solo in solos])
        self._graph.network = self.network
        self._collaboration.counts = np.concatenate([solo._collaboration.counts for solo in solos])
        self.usage.counts = np.concatenate([solo.usage.counts for solo in solos])
        self._routes = Routes.joined([solo._routes for solo in solos])
        self._waiting = Waiting.joined([solo._waiting for solo in solos])
        self._graph.join([solo._graph for solo in solos], self._loss)
        self._resume_untrained()

    def _state(self) -> State:
        counts = to_tensors({"usage": self.usage.counts, "collaboration": self._collaboration.counts[0]})
        rows = {"routes": tensors_of(self._routes), "inputs": tensors_of(self._waiting)}
        return super()._state() | {**rows, **counts, "graph": self._graph.state()}

    def _model(self) -> State:
        size = len(self._task)
        rows = {"routes": self._routes.model(size, self.num_blocks), "inputs": self._waiting.model(size)}
        return super()._model() | {**rows, "graph": self._graph.model(size, self.routed_depth)}

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self._routes, self._waiting = arrays_of(Routes, state["routes"]), arrays_of(Waiting, state["inputs"])
        if (self._routes.finished & ~self.waiting).any():
            raise CheckpointError("a route is finished, and yet its row does not wait")
        self.usage.counts = state["usage"].numpy().copy()
        self._collaboration.counts = state["collaboration"].numpy().copy()[None]
        self._graph.load(state["graph"], self._loss)
        self._resume_untrained()
        self._graph.check_embedded(len(self._waiting.samples))

    def _resume_untrained(self) -> None:
        """Compute the values of routes that were loaded; where nothing trains, no log can restore them."""
        if not self.options.train:
            self._resume(np.ones(self.num_envs, bool))

    def evaluation_figures(self) -> Info:
        """Return the counts of choices and the number of blocks in use.

        `usage` float64 [tasks, depth, blocks + 1] counts choices, `blocks_used` distinct blocks; `dispatched` is True
        if the first choice is an agent.
        """
        blocks = self.network.blocks_used(self.usage.taken)
        return {"usage": self.usage.counts.copy(), "blocks_used": blocks, "dispatched": bool(self.agents)}

    @property
    def keeps_policies(self) -> bool:
        """Support for the history of policy tables; False with a dispatcher, whose tables do not belong to tasks."""
        return not self.agents

    def pictures(self, figures: Info, title: str) -> dict[str, Figure]:
        """Return the routing map."""
        drawn = {"dispatched": figures.get("dispatched", False), "groups": self.groups}
        return {self.PICTURE: render.routing_map(figures["usage"], self.task_names, title, **drawn)}

    def _render(self) -> Array | str | None:
        """Show the routing map of about the last 200 episodes of each task."""
        names, told = self.data.task_names, self.narration
        mark = None if told is None else render.Mark(told.task, [int(action) for action in told.actions])
        dispatched = bool(self.agents)
        return render.show(
            self.render_mode, self.usage.counts, names, dispatched, self.groups, mark=mark, heading=self.heading
        )

    def _actions_so_far(self) -> Array:
        return self._routes.choice[0, : self._routes.depth[0]]

    def _named(self, action: Array) -> str:
        place = self._decisions - 1
        if self.agents and not place:
            return f"agent {action}"
        choice = "PASS" if action == self.num_blocks else f"block {action}"
        return f"{choice} at depth {place - bool(self.agents)}"


class RoutingEnv(BatchOfOne):
    """Single routing environment, as returned by `gym.make("MTLRouting-...")`.

    Args:
        **options: The fields of `RoutingOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Digits-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(3)
    """

    vector_class = RoutingVectorEnv
