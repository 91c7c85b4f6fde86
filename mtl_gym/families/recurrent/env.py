"""Environment of recurrent routing: each action connects the sub-networks at a time step.

Source: Xu et al. 2021, "Multi-Task Recurrent Modular Networks" (MT-RMN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.classification_env import ClassificationVectorEnv
from mtl_gym.core.episode import AnswerResult, Floats, Transition
from mtl_gym.core.interfaces import ROUTES, Interface
from mtl_gym.core.nn.adam import MaskedAdam
from mtl_gym.core.nn.weights import renewed, seeded
from mtl_gym.core.options import EnvOptions, data_of
from mtl_gym.core.rows import Array, Flags, Info, Rows, State
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.arrays import arrays_of, tensors_of
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.recurrent import render
from mtl_gym.families.recurrent.acting import Acting
from mtl_gym.families.recurrent.connections import SparsityPenalty
from mtl_gym.families.recurrent.held_back import HeldBack
from mtl_gym.families.recurrent.making import network_of, paper_network, template_of
from mtl_gym.families.recurrent.metrics import AnswersSoFar, Confusion
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.observation import spaces_of
from mtl_gym.families.recurrent.open_loop import OpenLoopVectorEnv
from mtl_gym.families.recurrent.options import RecurrentOptions
from mtl_gym.families.recurrent.policies import PolicyNetworks, policies_for
from mtl_gym.families.recurrent.sequences import SequenceSplit
from mtl_gym.families.recurrent.training import GradientRouter, Training
from mtl_gym.families.recurrent.usage import ConnectionUsage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RecurrentVectorEnv(OpenLoopVectorEnv):
    """Batch of `num_envs` sequences in a modular recurrent network, which trains during the steps.

    An episode is one sequence. At each time step, the action turns connections on or off: between the layers of the
    encoder, and from its sub-encoders to the sub-decoders of the task. Once `train_batch` episodes have ended, the
    network takes one gradient step on them.

    * Observation: `units` float32 [num_envs, U]: the outputs of the cells at this step, of the sub-encoders at the
      previous step (at this step they depend on the action), and the task-specific representation at this step; `task`
      int64 [num_envs]; `step` int64 [num_envs].
    * Action: int8 [num_envs, C], 0 or 1 for each connection, in the order of `network.layout.names`. All are valid;
      `info["action_mask"]` is bool [num_envs, 2 C], off and on for each connection, as sb3-contrib requires.
    * Reward: float32 [num_envs]: minus the increase of the two sparsity penalties by the connections of this step, plus
      the reward of an answer: at the last step, or at every step for data with a label per step. There the penalties
      are multiplied by the number of steps.
    * `final_info`: `loss`, `correct`, `is_success`, `right`, `answers`, `prediction`, `label`, `task`, `route`,
      `connected`, `sample`, `invalid_action`.

    Networks without a routed part have one connection without effect.

    Source: MT-RMN, eqs. 1 to 7, 10 and 11.

    Deviation: by default, an answer uses the mean of the knowledge taken at all steps (`readout`); with the paper's
    last step alone, earlier decisions would have no effect.

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
    INTERFACES: ClassVar[frozenset[Interface[object]]] = OpenLoopVectorEnv.INTERFACES | {ROUTES}
    WINDOW: ClassVar[str] = render.WINDOW
    SEEN: ClassVar[str] = "Routing patterns: the sub-encoders that each task takes at each time step"
    FAMILY: ClassVar[str] = "MTLRecurrent"
    PICTURE: ClassVar[str] = "routing_patterns.png"
    options: RecurrentOptions
    network: MultiTaskNetwork
    router: GradientRouter | None = None

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        super().__init__(num_envs, **options)
        self._split = SequenceSplit(self.data, self.options.split)
        self._held_back = HeldBack(self.options.unseen_task, self.options.seen_updates, self._split)
        with seeded():
            self._template: MultiTaskNetwork = template_of(self.data, self._context, self._make_network)
        self._describe(self._template)
        self._penalties = SparsityPenalty(self.layout, self.options.penalties, self.options.free)
        self._candidates, self.usage = self._held_back.samples, self._new_usage()

    def _load_data(self) -> MultiTaskDataset:
        options = self.options
        data = data_of(options, MultiTaskDataset)
        return data if options.tasks is None else data.part(options.tasks)

    def _make_network(self) -> MultiTaskNetwork:
        """Return a network for `network=None`."""
        return paper_network(self.options, self.data)

    def _describe(self, network: MultiTaskNetwork) -> None:
        self.layout, self.parts, self.scored = network.layout, network.parts, network.scored
        self.connections = max(self.layout.size, 1)
        self._set_spaces(*spaces_of(network, self._split.steps, self.connections))

    def _new_usage(self) -> ConnectionUsage:
        fades = self.options.train or self._source is None
        return ConnectionUsage(self.data.num_tasks, self._split.steps, self.connections, fades)

    def _build(self) -> None:
        is_template = isinstance(self.options.network, MultiTaskNetwork)
        network = renewed(self._template) if is_template else network_of(self.data, self._context, self._make_network)
        self.network = network.to(self.device).eval()
        self.optimizer = MaskedAdam(self.network.parameters(), self.options.learning_rate)
        self._held_back = self._held_back.anew()
        self._set_up()
        self._let_arrive(after=0)

    def _set_up(self) -> None:
        super()._set_up()
        self._acting = Acting(self.network, self._split, self.num_envs, self.connections)
        self._paid = np.zeros(self.num_envs, np.float32)
        self._answers = AnswersSoFar.none(self.num_envs, self._split.steps, self._split.every_step)
        self._confusion = Confusion(self.data.num_tasks, self.data.max_classes)
        self._training = Training(self.network, self._split, self._classes, self._penalties)
        self.usage = self._new_usage()

    def _open_stream(self) -> None:
        self._candidates = self._held_back.samples
        super()._open_stream()

    @property
    def max_episode_steps(self) -> int:
        """Decisions of the longest episode, one per time step."""
        return self._split.steps

    @property
    def _sample(self) -> Rows:
        return self._acting.episodes.sample

    def _begin(self, rows: Rows) -> None:
        super()._begin(rows)
        if self._acting.waiting.lacks(len(rows)):
            self._acting.supply(self._draw(rows, self.batch_size), rows)
        self._acting.begin(rows)
        self._answers.begin(rows)
        self._paid[rows] = 0  # nothing is on at the beginning

    def _observe(self) -> dict[str, Array | Tensor]:
        step = np.minimum(self._acting.episodes.step, self._acting.length - 1)
        units = self._acting.units if self._sees else np.zeros((self.num_envs, sum(self.parts.values())), np.float32)
        return {"units": units, "task": self._tasks(), "step": step}

    def _masks(self) -> Flags:
        """Return a mask of ones; bool [num_envs, 2 C], off and on for each connection."""
        return np.ones((self.num_envs, 2 * self.connections), bool)

    def _advance(self, actions: NDArray[np.int8], valid: Flags) -> Transition:
        acting, step = self._acting, self._acting.episodes.step.copy()
        acting.advance(actions)
        reward, done = self._sparing(), acting.episodes.step == acting.length
        if self._split.every_step or done.any():
            rows = np.arange(self.num_envs) if self._split.every_step else np.flatnonzero(done)
            self._answer(rows, step[rows], self._logits(rows), reward)
        return self._outcome(reward, done)

    def _outcome(self, reward: Floats, done: Flags) -> Transition:
        result = self._result(done) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _logits(self, rows: Rows) -> Tensor:
        """Return the answers of `rows` after the last decision; float32 [n, classes]."""
        return self._whole_logits(rows) if self._acting.answers_later else self._acting.answer(rows)

    def _whole_logits(self, rows: Rows) -> Tensor:
        """Return the answers of `rows` to whole sequences, from the forward pass of the next update if it has no other.

        Returns:
            As in `Outcome`.
        """
        if self.options.train and len(rows) == self.batch_size and self._training.answers(self.router):
            return self._training.answer(self._sample[rows], self._acting.episodes.actions[rows])
        return self._acting.answer_sequences(rows)

    def _sparing(self) -> Floats:
        """Return minus the increase of each row's cost by the last decision; float32 [num_envs]."""
        before, self._paid = self._paid, self._cost(self._acting.episodes.spent)
        return before - self._paid

    def _cost(self, spent: Floats) -> Floats:
        """Return the cost of each row's connections so far, times its number of answers.

        Args:
            spent: As in `Episodes`; float32 [..., num_envs, C].

        Returns:
            float32 [..., num_envs].
        """
        cost = self._penalties(spent)
        return (cost * self._acting.length).astype(np.float32) if self._split.every_step else cost

    @torch.no_grad()
    def _answer(self, rows: Rows, step: Rows, logits: Tensor, reward: Floats) -> None:
        """Answer in `rows`, and add the final reward to `reward`; logits float32 [n, classes]."""
        samples = self._sample[rows]
        label = self._label[samples, step] if self._split.every_step else self._label[samples]
        loss, named = self._settle(rows, label, logits, reward)
        self._answers.add(rows, step, label, named.astype(np.int64), loss)

    def _result(self, done: Flags) -> AnswerResult:
        acting, actions = self._acting, self._acting.episodes.actions
        rows = np.flatnonzero(done)
        real, tasks = rows[self._sample[rows] >= 0], self._tasks()
        self.usage.add(tasks[real], acting.length[real], actions[real])
        if self._split.every_step:
            task = np.repeat(tasks[real, None], self._split.steps, 1)
            self._confusion.add(task, self._answers.label[real], self._answers.prediction[real])
        return self._answers.result(
            done,
            tasks,
            invalid_action=np.zeros(self.num_envs, bool),
            sample=self._sample.copy(),
            route=actions.copy(),
            connected=actions.sum((1, 2)) / (acting.length * self.connections),
        )

    def _learn(self, done: Flags) -> None:
        if self.options.train:
            rows = np.flatnonzero(done)
            kept = None if self.router is None else self.router.ended(rows)
            self._training.add(self._sample[rows], self._acting.episodes.actions[rows], kept)
        super()._learn(done)

    def _update(self) -> None:
        self._training.update(self.optimizer, self.router, self.updates)
        self.updates += 1
        self._let_arrive(after=self.updates)

    def _resume(self, under_way: Flags) -> None:
        self._acting.refresh(episodes=bool(under_way.any()))

    def _let_arrive(self, after: int) -> None:
        """Switch to the held-back task if it is due after this number of updates."""
        if self._held_back.is_due(after):
            self._held_back.arrive(self.network, self.episodes)
            self._acting.drop_waiting()
            self._open_stream()

    @property
    def transferring(self) -> bool:
        """True once the held-back task is trained."""
        return self._held_back.arrived

    @property
    def epoch(self) -> float:
        """Number of passes over the training data; over that of the unseen task once it is trained."""
        return (self.episodes - self._held_back.episodes) / len(self._candidates)

    def policy_networks(self, hidden: int = 16, log_odds: float = 0.0, per_connection: bool = False) -> PolicyNetworks:
        """Return fresh policy networks for the connections, with the arguments and errors of `policies_for`."""
        return policies_for(self._template, hidden, log_odds, per_connection).to(self.device)

    def random_routes(self, count: int, random: np.random.Generator) -> NDArray[np.int8]:
        """Draw connections, at least one into every sub-network; int8 [count, C]."""
        drawn = self.layout.random(count, random)
        return drawn if drawn.size else np.zeros((count, self.connections), np.int8)

    @property
    def signature(self) -> State:
        """Properties that must be equal in a checkpoint and in this environment."""
        shapes = {"tasks": list(self.data.task_names), "connections": self.connections, "units": self.parts}
        return super().signature | {"layers": list(self.options.layers), **shapes}

    def _state(self) -> State:
        rows = {"acting": self._acting.state(), "answers": tensors_of(self._answers), "trained": self._training.state()}
        return super()._state() | {**rows, "held_back": self._held_back.state(), "usage": self.usage.state()}

    def _model(self) -> State:
        trained = self._training.model(torch.from_numpy(self._acting.episodes.actions))
        return super()._model() | {"acting": self._acting.model(), "trained": trained}

    def _load_state(self, state: State) -> None:
        self._held_back.load(state["held_back"], self.network)
        self._open_stream()
        super()._load_state(state)
        self._training.load(state["trained"])
        self._answers = arrays_of(AnswersSoFar, state["answers"])
        self.usage.load(state["usage"])
        self._acting.load(state["acting"])
        self._paid = self._cost(self._acting.episodes.spent)

    def _adopt(self, source: ClassificationVectorEnv) -> None:
        assert isinstance(source, RecurrentVectorEnv)
        self._held_back.arrived = source.transferring
        super()._adopt(source)

    def evaluation_figures(self) -> Info:
        """Return the figures of `ConnectionUsage.figures`: shares of connections and their overlap between tasks.

        For data with a label per step, `f1` is the macro F1 over labels, keyed by task name.
        """
        figures = self.usage.figures(self.layout)
        if self._split.every_step:
            figures["f1"] = dict(zip(self.task_names, self._confusion.f1().tolist(), strict=True))
        return figures

    def pictures(self, figures: Info, title: str) -> dict[str, Figure]:
        """Return the routing patterns; empty without connections."""
        if self.layout.size == 0:
            return {}
        return {self.PICTURE: render.routing_patterns(figures["usage"], self.layout, self.task_names, title)}

    def _render(self) -> Array | str | None:
        """Show the routing patterns of about the last 200 episodes of each task."""
        told = self.narration
        mark = None if told is None else render.Mark(told.task, [np.asarray(action) for action in told.actions])
        return render.show(
            self.render_mode, self.usage.shares, self.layout, self.task_names, mark=mark, heading=self.heading
        )

    def _actions_so_far(self) -> Array:
        return self._acting.episodes.actions[0, : self._acting.episodes.step[0]]

    def _named(self, action: Array) -> str:
        on = np.flatnonzero(np.asarray(action))
        on = on[on < self.layout.size]  # without connections an action is a placeholder
        names = ", ".join(self.layout.names[connection] for connection in on[:4])
        more = ", ..." * (len(on) > 4)
        return f"{len(on)} of {self.layout.size} connections on{names and f' ({names}{more})'}"


class RecurrentEnv(BatchOfOne):
    """Single recurrent environment, as returned by `gym.make("MTLRecurrent-...")`.

    Args:
        **options: The fields of `RecurrentOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLRecurrent-BrainSeries-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    """

    vector_class = RecurrentVectorEnv
