"""Routing networks as an environment: which block should process this input next?

Source: Rosenbaum et al. 2018, "Routing Networks: Adaptive Selection of Non-linear Functions for Multi-Task Learning".
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.classification import Answers
from mtl_gym.core.classification_env import SampledVectorEnv
from mtl_gym.core.episode import AnswerResult, Transition
from mtl_gym.core.nn.making import given_network
from mtl_gym.core.nn.shapes import trouble_with_one_row
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import EnvOptions, NetworkContext
from mtl_gym.core.rows import Flags, Rows
from mtl_gym.core.sampling import Pass, SampleStream
from mtl_gym.core.single import BatchOfOne
from mtl_gym.families.routing import render
from mtl_gym.families.routing.blocks import simple_routed_network
from mtl_gym.families.routing.graph import RouteGraph
from mtl_gym.families.routing.layers import with_dispatcher, with_mixtures
from mtl_gym.families.routing.network import RoutedNetwork
from mtl_gym.families.routing.options import RoutingOptions
from mtl_gym.families.routing.rewards import CollaborationReward

MEMORY_OF_THE_MAP = 200


class RoutingVectorEnv(SampledVectorEnv):
    """`num_envs` labelled inputs on their way through a routed network, which acting trains.

    Every episode sends one input through the network: at each depth the action picks the block that processes it next,
    or PASS. After the last depth the loss is taken; when `train_batch` episodes have ended, the blocks that were used
    get their gradient step, and only those.

    * Observation: `value` float32 [num_envs, F], the output of the block chosen last, zero-padded (at depth 0 the
      trunk's features); `task` int64 [num_envs]; `depth` int64 [num_envs]. With a dispatcher also `agent` int64
      [num_envs], the agent in charge, as many as there are agents while none is.
    * Action: int64 [num_envs] in [0, M]; M is PASS. `info["action_mask"]` is bool [num_envs, M + 1].
    * Reward: float32 [num_envs]: the collaboration reward of each action, and the final reward with the last.
    * `final_info`: `loss`, `correct`, `is_success`, `prediction`, `label`, `task`, `route`, `sample`,
      `invalid_action`.

    Source: Rosenbaum et al. 2018, algorithms 1 and 2.

    Deviation: an update may hold more than the paper's 10 episodes, where `num_envs` is larger.

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
    WINDOW: ClassVar[str] = render.WINDOW
    FAMILY: ClassVar[str] = "MTLRouting"
    PICTURE: ClassVar[str] = "routing_map.png"
    options: RoutingOptions
    network: RoutedNetwork

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(num_envs, **options)
        # Training takes whole rounds of episodes, so that rows in step use up a batch of inputs exactly.
        self.batch_size = num_envs * -(-self.options.train_batch // num_envs) if self.options.train else num_envs
        with seeded(0):  # a dispatcher's or mixture's weights, where nothing trains them
            self._template = self._make_template()
        self._check_lone_inputs(self._template)
        self._describe(self._template)
        self._count_anew()

    def _check_lone_inputs(self, network: RoutedNetwork) -> None:
        """Refuse a trunk that cannot be trained on batches of one input, if there are no others."""
        self._lone_row = trouble_with_one_row(network.trunk, network.input_shape)
        if self._lone_row and self.options.train and self.batch_size == 1:
            raise ValueError(
                f"train_batch=1 sends one input at a time through the trunk, which cannot be trained on it "
                f"({self._lone_row}): take train_batch=2 or more, or nn.LayerNorm or nn.GroupNorm in the trunk."
            )

    def _make_template(self) -> RoutedNetwork:
        network = self._make_network()
        if network.input_shape != self.data.input_shape or network.classes < self.data.max_classes:
            raise ValueError(
                f"The network takes inputs of shape {network.input_shape} and gives {network.classes} classes, but "
                f"data set {self.data.name!r} has inputs of shape {self.data.input_shape} and up to "
                f"{self.data.max_classes} classes."
            )
        return self._equip(network)

    def _make_network(self) -> RoutedNetwork:
        context = NetworkContext(self.data, self.options, self.device)
        return given_network(self.options.network, RoutedNetwork, context, lambda context: self._paper_network())

    def _paper_network(self) -> RoutedNetwork:
        options, blocks = self.options, self.options.blocks or self.data.num_tasks
        shape, classes = self.data.input_shape, self.data.max_classes
        return simple_routed_network(shape, blocks, classes, options.depth, options.hidden, options.layering)

    def _equip(self, network: RoutedNetwork) -> RoutedNetwork:
        if self.options.mixture:
            network = with_mixtures(network, self.data.num_tasks)
        return with_dispatcher(network, self.agents) if self.agents else network

    @property
    def agents(self) -> int:
        """How many agents the dispatcher picks from; 0 without a dispatcher."""
        return self.data.num_tasks if isinstance(self.options.dispatch, str) else self.options.dispatch or 0

    def _describe(self, network: RoutedNetwork) -> None:
        self.masks = network.masks()
        self.routed_depth, self.num_blocks, self.width = network.depth, network.num_blocks, network.width
        parts: dict[str, spaces.Space[Any]] = {
            "value": spaces.Box(-np.inf, np.inf, (network.width,), np.float32),
            "task": spaces.Discrete(self.data.num_tasks),
            "depth": spaces.Discrete(network.depth),
        }
        if self.agents:
            parts["agent"] = spaces.Discrete(self.agents + 1)
        self._set_spaces(spaces.Dict(list(parts.items())), spaces.Discrete(network.num_blocks + 1))

    def _build(self) -> None:
        given = self.options.network
        fresh = given is None or isinstance(given, RoutedNetwork)
        make = self._template.renewed if fresh else lambda: self._equip(self._make_network())
        # Whatever mode its modules were made in: only then does the network's own flag tell for all of them.
        self.network = make().to(self.device).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), self.options.learning_rate, fused=True)
        self._set_up(SampleStream(len(self._split), self.np_random))

    def _given_weights(self) -> dict[str, Any] | None:
        return dict(self._template.state_dict()) if isinstance(self.options.network, RoutedNetwork) else None

    def _set_up(self, stream: SampleStream | Pass) -> None:
        super()._set_up(stream)
        self._graph = RouteGraph(self.network, self._inputs, self.num_envs, self.options.train)
        self._batch, self._used = np.empty(0, np.int64), 0
        self._depth = np.zeros(self.num_envs, np.int64)
        self._route = np.full((self.num_envs, self.routed_depth), -1)
        self._count_anew()

    def _count_anew(self) -> None:
        choices = self.routed_depth, self.num_blocks + 1
        self._collaboration = CollaborationReward(self.options.rho, self.agents or self.data.num_tasks, *choices)
        self.usage = np.zeros((self.data.num_tasks, *choices))

    def _adopt(self, source: RoutingVectorEnv) -> None:
        super()._adopt(source)
        self._collaboration.counts = source._collaboration.counts.copy()

    def _inputs(self, samples: Rows) -> Tensor:
        return self.data.inputs(self.options.split, torch.from_numpy(samples).clamp(min=0).to(self.device))

    def _begin(self, rows: Rows) -> None:
        left = self._batch[self._used :]
        if len(left) < len(rows):
            self._batch = np.concatenate([left, self._stream.supply(rows, self.batch_size)])
            self._used = 0
            self._graph.embed(self._batch)
        positions = np.arange(self._used, self._used + len(rows))
        self._graph.begin(rows, positions)
        self._used += len(rows)
        self._sample[rows] = self._batch[positions]
        self._depth[rows], self._route[rows] = 0, -1

    def _observe(self) -> dict[str, Any]:
        depth = np.minimum(self._depth, self.routed_depth - 1)
        obs = {"value": self._graph.values.detach().clone(), "task": self._tasks(), "depth": depth}
        return obs | {"agent": self._in_charge()} if self.agents else obs

    def _in_charge(self) -> Rows:
        return np.where(self._route[:, 0] < 0, self.agents, self._route[:, 0]) if self.agents else self._tasks()

    def _masks(self) -> Flags:
        """The choices that are valid now; bool [num_envs, M + 1]."""
        return self.masks[np.minimum(self._depth, self.routed_depth - 1)]

    def _valid(self, actions: Rows) -> Flags:
        return self.masks[self._depth, actions]

    def _advance(self, actions: Rows, valid: Flags) -> Transition:
        reward = np.full(self.num_envs, self.options.invalid_reward, np.float32)
        for depth in np.unique(self._depth[valid]):
            rows = np.flatnonzero(valid & (self._depth == depth))
            self._graph.apply(rows, int(depth), actions[rows])
            reward[rows] = self._collaborate(rows, int(depth), actions[rows])
        routed = np.flatnonzero(valid)
        self._route[routed, self._depth[routed]] = actions[routed]
        self._depth[routed] += 1
        finished = valid & (self._depth == self.routed_depth)
        done = ~valid | finished
        answers = Answers.none(self.num_envs)
        if finished.any():
            self._finish(np.flatnonzero(finished), reward, answers)
        result = self._result(done, answers) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _collaborate(self, rows: Rows, depth: int, choices: Rows) -> NDArray[np.float32]:
        if self.agents and depth == 0:  # agents share blocks; being picked is no sharing
            return np.zeros(len(rows), np.float32)
        reward = self._collaboration(depth, choices)
        if self.options.train:
            self._collaboration.add(self._in_charge()[rows], depth, choices)
        return reward

    def _result(self, done: Flags, answers: Answers) -> AnswerResult:
        return answers.result(
            done,
            self._tasks(),
            invalid_action=done & (self._depth < self.routed_depth),
            label=self._label[self._sample],
            route=self._route.copy(),
            sample=self._sample.copy(),
        )

    def _finish(self, rows: Rows, reward: NDArray[np.float32], answers: Answers) -> None:
        label, task = self._label[self._sample[rows]], self._tasks()[rows]
        logits, losses = self._graph.finish(rows, np.stack([label, task], 1), self._loss)
        self._settle(rows, logits, losses, reward, answers)
        self._remember(task, rows)

    def _loss(self, logits: Tensor, label_and_task: Tensor) -> Tensor:
        label, task = label_and_task.unbind(1)
        return torch.nn.functional.cross_entropy(self._classes.restrict(logits, task), label, reduction="none")

    def _remember(self, task: Rows, rows: Rows) -> None:
        real = self._sample[rows] >= 0
        task, routes = task[real], self._route[rows[real]]
        if self.options.train:
            seen = np.bincount(task, minlength=self.data.num_tasks)
            self.usage *= (1 - 1 / MEMORY_OF_THE_MAP) ** seen[:, None, None]
        place = (task[:, None] * self.routed_depth + np.arange(self.routed_depth)) * (self.num_blocks + 1) + routes
        self.usage += np.bincount(place.ravel(), minlength=self.usage.size).reshape(self.usage.shape)

    def _learn(self, done: Flags) -> None:
        if not self.options.train:
            return
        self._count(done)
        self._update_if_due(np.flatnonzero(~done))

    def _cut_short(self, rows: Rows) -> None:
        """Count them for the batch, as their inputs do: else a graph of routes that never end would grow and grow."""
        if self.options.train:
            self._ended += len(rows)
            self._update_if_due(rows[:0])

    def _update_if_due(self, under_way: Rows) -> None:
        if self._ended >= self.batch_size:
            self._update()
            self._ended = 0
            self._resume(under_way)

    def _update(self) -> None:
        if self._graph.losses:
            for group in self.optimizer.param_groups:
                group["lr"] = self.options.learning_rate * 0.1 ** int(self.epoch // self.options.decay_epochs)
            torch.cat(self._graph.losses).mean().backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.updates += 1
        self._graph.clear()

    def _resume(self, rows: Rows) -> None:
        """Bring routes under way, and inputs not handed out yet, up to the weights after an update."""
        waiting = self._batch[self._used :]
        self._batch, self._used = np.concatenate([self._sample[rows], waiting]), len(rows)
        if len(self._batch) == 0:
            return
        if len(self._batch) == 1 and self._lone_row:
            self._batch = np.concatenate([self._batch, self._stream.supply(rows, self.batch_size)])
        self._graph.embed(self._batch)
        self._graph.begin(rows, np.arange(len(rows)))
        for depth in range(self.routed_depth):
            deeper = rows[self._depth[rows] > depth]
            if len(deeper):
                self._graph.apply(deeper, depth, self._route[deeper, depth])

    @property
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be loaded here."""
        network = {"tasks": self.data.num_tasks, "masks": self.masks.astype(int).tolist(), "width": self.width}
        return super().signature | {"data": self.data.name, **network}

    def _state(self) -> dict[str, Any]:
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in self._ARRAYS}
        log = [(what, [_plain(a) for a in arguments]) for what, arguments in self._graph.log]
        buffers = {key: value.clone() for key, value in self.network.named_buffers()}
        counts = {"used": self._used, "ended": self._ended, "episodes": self.episodes}
        more = {"collaboration": torch.from_numpy(self._collaboration.counts.copy()), "buffers": buffers}
        return {"arrays": arrays, "log": log, "stream": self._stream.state(), **counts, **more}

    _ARRAYS: ClassVar[tuple[str, ...]] = ("_batch", "_sample", "_depth", "_route", "usage")

    def _load_state(self, state: dict[str, Any]) -> None:
        self._stream.load(state["stream"])
        for name in self._ARRAYS:
            setattr(self, name, state["arrays"][name].numpy().copy())
        self._used, self._ended, self.episodes = (int(state[key]) for key in ("used", "ended", "episodes"))
        self._collaboration.counts = state["collaboration"].numpy().copy()
        log = [(what, tuple(_array(a) for a in arguments)) for what, arguments in state["log"]]
        self._graph.replay(log, self._loss)
        # Replaying sends inputs through batch norm a second time, which moves its running statistics. `data`, because
        # autograd would take the graph for outdated.
        for key, value in self.network.named_buffers():
            value.data.copy_(state["buffers"][key])

    def evaluation_figures(self) -> dict[str, Any]:
        """`usage`, how often a task took a choice at a depth [tasks, depth, blocks + 1], and `blocks_used`.

        `dispatched` tells whether the first of those choices is an agent.
        """
        taken = self.usage[..., :-1].sum(0) > 0
        blocks = self.network.blocks_used(taken)
        return {"usage": self.usage.copy(), "blocks_used": blocks, "dispatched": bool(self.agents)}

    @property
    def keeps_policies(self) -> bool:
        """Whether runs keep the history of a policy table; behind a dispatcher a table is not a task's."""
        return not self.agents

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Any]:
        """The routing map."""
        dispatched = figures.get("dispatched", False)
        picture = render.routing_map(figures["usage"], self.task_names, title, dispatched=dispatched)
        return {"routing_map.png": picture}

    def _render(self) -> Any:
        """The routing map of the last 200 or so episodes of each task."""
        return render.show(self.render_mode, self.usage, self.data.task_names, bool(self.agents))


class RoutingEnv(BatchOfOne):
    """One labelled input at a time on its way through a routed network: what `gym.make("MTLRouting-...")` returns.

    Args:
        **options: The fields of `RoutingOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRouting-Digits-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(3)
    """

    vector_class = RoutingVectorEnv


def _plain(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, Tensor) else value
