"""Recurrent routing as an environment: which sub-networks should be connected at this time step?

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from mtl_gym.core.classification import Classes, final_reward, judge
from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.episode import AnswerResult, Transition
from mtl_gym.core.nn.adam import MaskedAdam
from mtl_gym.core.nn.dispatch import Dispatch
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.rows import Flags, Rows
from mtl_gym.core.sampling import Pass, SampleStream
from mtl_gym.core.single import BatchOfOne
from mtl_gym.data import MultiTaskDataset, load
from mtl_gym.families.recurrent import render
from mtl_gym.families.recurrent.acting import Acting
from mtl_gym.families.recurrent.connections import sparsity
from mtl_gym.families.recurrent.construction import make_network
from mtl_gym.families.recurrent.embeddings import front_of
from mtl_gym.families.recurrent.metrics import Confusion, Tallies
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.options import RecurrentOptions
from mtl_gym.families.recurrent.policies import PolicyNetworks
from mtl_gym.families.recurrent.sequences import SequenceSplit, number_of, select_tasks
from mtl_gym.families.recurrent.training import Router, Training
from mtl_gym.families.recurrent.usage import Usage, overlap


class RecurrentVectorEnv(MultiTaskVectorEnv):
    """`num_envs` sequences on their way through a modular recurrent network, which acting trains.

    An episode is one sequence. At each time step the action says which connections are on: between the layers of the
    encoder, and from its sub-encoders to the sub-decoders of the sequence's task. When `train_batch` episodes have
    ended, the network gets a gradient step on them.

    * Observation: `units` float32 [num_envs, U]: the outputs of the cells at this step, those of the sub-encoders at
      the step before (this step's depend on the action), and the task's own representation at this step; `task` int64
      [num_envs]; `step` int64 [num_envs].
    * Action: int8 [num_envs, C], 0 or 1 for each connection, in the order of `network.layout.names`. All are valid;
      `info["action_mask"]` is bool [num_envs, 2 C], off and on for each connection, as sb3-contrib wants it.
    * Reward: float32 [num_envs]: minus what this step's connections add to the two sparsity penalties, and the reward
      of an answer where one is given: at the last step, or at every step of sequences with a label for each. These pay
      the penalties once for every step.
    * `final_info`: `loss`, `correct`, `is_success`, `right`, `answers`, `prediction`, `label`, `task`, `route`,
      `connected`, `sample`, `invalid_action`.

    Networks without a routed part have one connection that does nothing.

    Source: MT-RMN, eqs. 1 to 7, 10 and 11.

    Deviation: by default an answer is made from the mean of what was taken at all steps (`readout`): the paper's last
    step alone would make the decisions of all others pointless.

    Example:
        >>> env = RecurrentVectorEnv(num_envs=4)
        >>> obs, info = env.reset(seed=0)
        >>> obs["units"].shape, env.single_action_space
        ((4, 160), MultiBinary(24))
        >>> obs, reward, terminated, truncated, info = env.step(np.ones((4, 24), np.int8))
        >>> obs["step"], reward
        (array([1, 1, 1, 1]), array([0., 0., 0., 0.], dtype=float32))
    """

    Options: ClassVar[type[EnvOptions]] = RecurrentOptions
    WINDOW: ClassVar[str] = render.WINDOW
    PICTURE: ClassVar[str] = "routing_patterns.png"
    options: RecurrentOptions
    network: MultiTaskNetwork
    router: Router | None = None

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(num_envs, **options)
        self.data = self._load_data()
        self._split = SequenceSplit(self.data, self.options.split)
        self._final_reward = final_reward(self.options.reward)
        self._classes = Classes(self.data, self.device)
        unseen = self.options.unseen_task
        self._unseen = None if unseen is None else number_of(unseen, self.data.task_names)
        if self._unseen is not None and self.data.num_tasks < 2:
            raise ValueError(f"unseen_task={unseen!r} leaves no other task to train on first; take two tasks or more.")
        with torch.random.fork_rng(devices=[]), torch.device("meta"):  # shapes without weights
            template = self._make_network()
        self._describe(template)
        self.batch_size = num_envs * -(-self.options.train_batch // num_envs) if self.options.train else num_envs
        self.usage, self.transferring = self._new_usage(), False
        self.episodes = self._episodes_before = 0
        self._samples = self._active_samples()

    def _load_data(self) -> MultiTaskDataset:
        options = self.options
        data = options.data
        if isinstance(data, str):
            data = load(data, options.data_root, **options.data_kwargs or {})
        elif options.data_kwargs:
            raise ValueError("data_kwargs are for data sets that are loaded by name; this one was given as an object.")
        return (data if options.tasks is None else select_tasks(data, tuple(options.tasks))).to(self.device)

    def _make_network(self) -> MultiTaskNetwork:
        options, data = self.options, self.data
        front, width = front_of(data)
        sizes = options.hidden, data.num_tasks, data.max_classes
        readout = "every" if self._split.every_step else options.readout
        return make_network(front, width, options.base, options.sharing, sizes, options.layers, readout)

    def _describe(self, network: MultiTaskNetwork) -> None:
        self.layout, self.readout = network.layout, network.readout
        self.connections = max(self.layout.size, 1)
        self.parts = {"embedded": network.embedded, "memory": network.memory, "own": network.own}
        # Widths that policy networks see: of a sub-network, and of a task's own LSTM.
        self.scored = network.sharing.unit if network.sharing else 0, network.policies_see
        observation = spaces.Dict(
            units=spaces.Box(-np.inf, np.inf, (sum(self.parts.values()),), np.float32),
            task=spaces.Discrete(self.data.num_tasks),
            step=spaces.Discrete(self._split.steps),
        )
        self._set_spaces(observation, spaces.MultiBinary(self.connections))

    def _new_usage(self) -> Usage:
        fades = self.options.train or self._source is None
        return Usage(self.data.num_tasks, self._split.steps, self.connections, fades)

    def _build(self) -> None:
        self.network = self._make_network().to(self.device).eval()
        self.optimizer = MaskedAdam(self.network.parameters(), self.options.learning_rate)
        self.transferring = False
        self._set_up(self.np_random)
        if self._unseen is not None and self.options.seen_updates == 0:
            self._meet_unseen()

    def _set_up(self, random: np.random.Generator | None) -> None:
        self._random = random
        self._acting = Acting(self.network, self._split, self.num_envs, self.connections)
        self._tallies = Tallies(self.num_envs, self._split.steps, self._split.every_step)
        self._confusion = Confusion(self.data.num_tasks, self.data.max_classes)
        self._training = Training(self.network, self._split, self._classes, self._penalties)
        self.episodes = self._episodes_before = 0
        self.usage = self._new_usage()
        self._open_stream()

    def _open_stream(self) -> None:
        """Begin to draw from the tasks whose turn it is."""
        self._samples = self._active_samples()
        size = len(self._samples)
        self._stream = Pass(size, self.num_envs) if self._random is None else SampleStream(size, self._random)

    def _active_samples(self) -> Rows:
        others = [task for task in range(self.data.num_tasks) if task != self._unseen]
        unseen = [] if self._unseen is None else [self._unseen]
        return self._split.of_tasks(unseen if self.transferring else others)

    def _take(self, rows: Rows) -> Rows:
        places = self._stream.supply(rows, self.batch_size)
        return np.where(places < 0, -1, self._samples[places])

    def _begin(self, rows: Rows) -> None:
        if self._acting.lacks(len(rows)):
            self._acting.supply(self._take(rows))
        self._acting.begin(rows)
        self._tallies.begin(rows)

    def _observe(self) -> dict[str, Any]:
        step = np.minimum(self._acting.step, self._acting.length - 1)
        return {"units": self._acting.units, "task": self._acting.task, "step": step}

    def _masks(self) -> Flags:
        """Every choice is valid; bool [num_envs, 2 C], off and on for each connection."""
        return np.ones((self.num_envs, 2 * self.connections), bool)

    def _advance(self, actions: NDArray[np.int8], valid: Flags) -> Transition:
        acting = self._acting
        step, task, spent = acting.step.copy(), acting.task, acting.spent
        taken, own = acting.advance(actions)
        reward = self._cost(spent) - self._cost(acting.spent)
        done = acting.step == acting.length
        if self._split.every_step:
            self._answer(np.arange(self.num_envs), step, task, taken, own, reward)
        elif done.any():
            rows = np.flatnonzero(done)
            self._answer(rows, step[rows], task[rows], *self._read(rows, taken, own), reward)
        result = self._result(done) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _cost(self, spent: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the connections of each row cost so far; for every answer that its sequence asks for."""
        cost = self._penalties(torch.from_numpy(spent)).numpy()
        return (cost * self._acting.length).astype(np.float32) if self._split.every_step else cost

    def _penalties(self, gates: Tensor) -> Tensor:
        """Equations 10 and 11, from the means over time; float32 [n, C] -> [n]."""
        options = self.options
        (first, second), (some, others) = options.penalties, options.free
        return sparsity(gates[:, : self.layout.size], self.layout, (first, second), (some, others))

    def _read(self, rows: Rows, taken: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """What answers are made from at the end of a sequence; as in `MultiTaskNetwork`."""
        index = torch.from_numpy(rows).to(self.device)
        if self.readout == "last":
            return taken[index], own[index]
        lengths = torch.from_numpy(self._acting.length[rows]).to(self.device)
        return self._acting.total[index] / lengths[:, None], own[index]

    @torch.no_grad()
    def _answer(
        self, rows: Rows, step: Rows, task: Rows, taken: Tensor, own: Tensor, reward: NDArray[np.float32]
    ) -> None:
        """Answer in `rows`, and pay for it."""
        whole = len(rows) == self.num_envs
        groups = self._acting.groups if whole else Dispatch.of(task, self.data.num_tasks, self.device)
        label = self._labels(self._acting.sample[rows], step)
        on_device = torch.from_numpy(np.stack([label, task])).to(self.device, non_blocking=True)
        logits = self._classes.restrict(self.network.answer(taken, own, groups), on_device[1])
        losses = nn.functional.cross_entropy(logits, on_device[0], reduction="none")
        earned, loss, named = figures = judge(self._final_reward, logits, losses, on_device)
        self._check_finite(figures[:2], task)
        reward[rows] += earned
        self._tallies.add(rows, step, label, named.astype(np.int64), loss)

    def _labels(self, samples: Rows, step: Rows) -> Rows:
        return self._split.label[samples, step] if self._split.every_step else self._split.label[samples]

    def _task_name(self, row: int) -> str:
        return self.data.task_names[self._acting.task[row]]

    def _result(self, done: Flags) -> AnswerResult:
        acting, rows = self._acting, np.flatnonzero(done)
        real = rows[acting.sample[rows] >= 0]
        self.usage.add(acting.task[real], acting.length[real], acting.actions[real])
        figures = self._tallies.figures()
        if self._split.every_step:
            task = np.repeat(acting.task[real, None], self._split.steps, 1)
            self._confusion.add(task, figures["label"][real], figures["prediction"][real])
        more = {
            "label": figures.pop("label"),
            "invalid_action": np.zeros(self.num_envs, bool),
            "sample": acting.sample.copy(),
            "route": acting.actions.copy(),
            "connected": acting.actions.sum((1, 2)) / (acting.length * self.connections),
        }
        everyone = np.ones(self.num_envs, bool)
        return AnswerResult(ended=done, task=acting.task, answered=everyone, more=more, **figures)

    def _learn(self, done: Flags) -> None:
        if not self.options.train:
            return
        rows = np.flatnonzero(done)
        kept = None if self.router is None else self.router.ended(rows)
        self._training.add(self._acting.sample[rows], self._acting.actions[rows], kept)
        self.episodes += len(rows)
        if len(self._training) >= self.batch_size:
            self._update()
            self._refresh(~done)

    def _update(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.options.lr_decay ** int(self.epoch)
        self._training.update(self.optimizer, self.router, self.updates)
        self.updates += 1
        if self.updates == self.options.seen_updates and self._unseen is not None:
            self._meet_unseen()

    def _refresh(self, under_way: Flags) -> None:
        """Bring what was worked out ahead up to the weights after an update."""
        if under_way.any():
            self._acting.refresh()
        else:
            self._acting.embed_waiting()

    def _meet_unseen(self) -> None:
        """What tasks share is fixed; the held-back task has its turn, with parts that nothing has trained."""
        self.transferring = True
        self._fix_shared()
        self._episodes_before = self.episodes
        self._acting.waiting = self._acting.waiting[:0]
        self._acting.embed_waiting()
        self._open_stream()

    def _fix_shared(self) -> None:
        for parameter in self.network.shared_parameters():
            parameter.requires_grad_(False)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of their numbers."""
        return self.data.task_names

    @property
    def epoch(self) -> float:
        """Passes over the training data so far; over that of the unseen task, once its turn has come."""
        return (self.episodes - self._episodes_before) / len(self._samples)

    def policy_networks(self, hidden: int = 16, log_odds: float = 0.0) -> PolicyNetworks:
        """Fresh policy networks for the connections of this environment, from torch's CPU generator.

        Arguments as for `PolicyNetworks`.

        Raises:
            ValueError: If there is nothing to route.
        """
        if self.layout.size == 0:
            raise ValueError(f"sharing={self.options.sharing!r} has no connections to decide; use mt-rmn or another.")
        units, own = self.scored
        return PolicyNetworks(self.layout, units, self.data.num_tasks, own, hidden, log_odds).to(self.device)

    def random_routes(self, count: int, random: np.random.Generator) -> NDArray[np.int8]:
        """Random connections, at least one into every sub-network; int8 [count, C]."""
        if self.layout.size == 0:
            return np.zeros((count, self.connections), np.int8)
        return self.layout.random(count, random)

    @property
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be loaded here."""
        shapes = {"tasks": list(self.data.task_names), "connections": self.connections, "units": self.parts}
        return super().signature | {"data": self.data.name, "layers": list(self.options.layers), **shapes}

    def _state(self) -> dict[str, Any]:
        counts = {"episodes": self.episodes, "episodes_before": self._episodes_before}
        states = {"acting": self._acting.state(), "tallies": self._tallies.state(), "usage": self.usage.state()}
        waiting = {"stream": self._stream.state(), "ended": self._training.state()}
        return {"transferring": self.transferring, **counts, **states, **waiting}

    def _load_state(self, state: dict[str, Any]) -> None:
        self.transferring = bool(state["transferring"])
        if self.transferring:
            self._fix_shared()
        self._open_stream()
        self._stream.load(state["stream"])
        self.episodes, self._episodes_before = int(state["episodes"]), int(state["episodes_before"])
        self._training.load(state["ended"])
        self._tallies.load(state["tallies"])
        self.usage.load(state["usage"])
        self._acting.load(state["acting"])

    def _adopt(self, source: RecurrentVectorEnv) -> None:
        self._np_random, self.seed, self.updates = source.np_random, source.seed, source.updates
        self.network, self.optimizer, self.transferring = source.network, source.optimizer, source.transferring
        self._set_up(None)

    @property
    def playing(self) -> Flags:
        """Rows that have a sequence; bool [num_envs]."""
        return self._acting.sample >= 0

    def evaluation_figures(self) -> dict[str, Any]:
        """Who connected what, and how far tasks overlap.

        `usage` [K, T, C]: share of a task's sequences in which a connection was on at a step. `overlap` [T, K, K]: how
        far the connections to the sub-decoders of two tasks are the same. `blocks_used`: sub-encoders that any task
        took. `names`: of the connections. Where every step is answered, `f1`: macro F1 over labels, by task name.
        """
        shares = self.usage.shares
        taken = shares[:, :, self.layout.c1 : self.layout.size]
        used = int((taken.max((0, 1), initial=0) > 0).sum())
        names = self.layout.names if self.layout.size else ["none"]
        figures = {"usage": shares, "overlap": overlap(taken), "blocks_used": used, "names": names}
        if self._split.every_step:
            figures["f1"] = dict(zip(self.task_names, self._confusion.f1().tolist(), strict=True))
        return figures

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Any]:
        """Figures of matplotlib for an evaluation, by file name."""
        if self.layout.size == 0:
            return {}
        draw = partial(render.routing_patterns, layout=self.layout, task_names=self.task_names, title=title)
        return {"routing_patterns.png": draw(figures["usage"])}

    def _render(self) -> Any:
        """The routing patterns of the last 200 or so episodes of each task."""
        return render.show(self.render_mode, self.usage.shares, self.layout, self.task_names)


class RecurrentEnv(BatchOfOne):
    """One sequence at a time on its way through a modular recurrent network: `gym.make("MTLRecurrent-...")`.

    Args:
        **options: The fields of `RecurrentOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRecurrent-BrainSeries-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """

    vector_class = RecurrentVectorEnv
