"""Environment of limitless routing: each action picks the next module of the network for an input.

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.classification import Answers
from mtl_gym.core.classification_env import ClassificationVectorEnv
from mtl_gym.core.episode import AnswerResult, Floats, Transition
from mtl_gym.core.held_out import HeldOutVectorEnv
from mtl_gym.core.interfaces import POOL, ROUTES, Interface
from mtl_gym.core.nn.fused_adam import FusedAdam
from mtl_gym.core.nn.weights import seeded
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.reporting import Curves
from mtl_gym.core.rows import Array, Flags, Info, Rows, State
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state.structure import Maybe, Numbers, Whole
from mtl_gym.families.limitless import execution, render
from mtl_gym.families.limitless.batch import Batch
from mtl_gym.families.limitless.construction import Construction, random_routes
from mtl_gym.families.limitless.figures import Course, accuracy_and_unused
from mtl_gym.families.limitless.inputs import Inputs, RowInputs
from mtl_gym.families.limitless.making import make_pool, make_template
from mtl_gym.families.limitless.observation import spaces_of
from mtl_gym.families.limitless.options import LimitlessOptions
from mtl_gym.families.limitless.pool import ModulePool
from mtl_gym.families.limitless.rewards import RunningBonus
from mtl_gym.families.limitless.usage import ModuleUsage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LimitlessVectorEnv(HeldOutVectorEnv):
    """Batch of `num_envs` networks under construction, each for one labelled input; the pool trains during the steps.

    An episode builds one network: each action picks the next module, or PASS, until a head ends the network. The
    networks that end in the same step are run together. Once `train_batch` episodes have ended, one gradient step
    updates the used modules only.

    * Observation: `image` float32 [num_envs, *shape] in [0, 1]; `task` int64 [num_envs]; `chosen` int64
      [num_envs, max_depth], the chosen modules counted from 1, padded with 0; `depth` int64 [num_envs], the number of
      decisions made.
    * Action: int64 [num_envs] in [0, P]; P is PASS. `info["action_mask"]` is bool [num_envs, P + 1].
    * Reward: float32 [num_envs]: the weighted bonus of the chosen module, plus the final reward with the head.
    * `final_info`: `loss`, `correct`, `is_success`, `prediction`, `label`, `task`, `route`, `sample`,
      `modules_unused`, `invalid_action`.

    Source: LRN, sections 4 and 5.

    Deviation: eq. 7 rewards every time step with the final reward plus a bonus from the counts of the whole batch. A
    step must return its reward before either is known: here the final reward is paid once, with the head, and the bonus
    is computed from recent choices (`RunningBonus`). A long network thus earns several bonuses for one loss, and a
    weight near 1 outweighs the loss. The agent `LRN` turns the running bonus off and computes eq. 7 in its rollout.

    Example:
        >>> env = LimitlessVectorEnv(num_envs=4, data="digits", image_shape=(1, 8, 8))
        >>> obs, info = env.reset(seed=0)
        >>> obs["image"].shape, int(info["action_mask"][0].sum())
        ((4, 1, 8, 8), 5)
        >>> obs, reward, terminated, truncated, info = env.step(np.array([0, 6, 12, 18]))
        >>> obs["chosen"][:, 0], int(info["action_mask"][0].sum())
        (array([ 1,  7, 13, 19]), 16)
    """

    Options: ClassVar[type[EnvOptions]] = LimitlessOptions
    INTERFACES: ClassVar[frozenset[Interface[object]]] = frozenset({POOL, ROUTES})
    WINDOW: ClassVar[str] = render.WINDOW
    SEEN: ClassVar[str] = "Networks: the modules of each task, and their order"
    FAMILY: ClassVar[str] = "MTLLimitless"
    PICTURE: ClassVar[str] = "networks.png"
    CURVES: ClassVar[tuple[str, ...]] = ("modules_unused",)
    options: LimitlessOptions
    network: ModulePool
    _template: ModulePool

    def __init__(self, num_envs: int = 1, **options: object) -> None:
        if "pool" in options:
            raise ValueError(f"{type(self).__name__} has no option 'pool'; use network=.")
        super().__init__(num_envs, **options)
        self.batch_size = self.options.train_batch  # not rounded to num_envs: inputs are not drawn ahead
        self._inputs = Inputs(self.data, self.options.split, self.options.image_shape)
        self._held_out_inputs = Inputs(self.data, self.options.reward_split, self.options.image_shape)
        self._rows = RowInputs(self._inputs, self.num_envs)
        with seeded():
            self._template = self._make_template()
        self._describe(self._template)
        self.pays_bonus = True
        self._count_anew()

    def _describe(self, pool: ModulePool) -> None:
        self.pool_size, self.max_depth, self.kinds = len(pool), self.options.max_depth, pool.layout.kind.copy()
        self._building = Construction(pool.layout, self.num_envs, self.max_depth)
        sizes = self.data.num_tasks, self.pool_size, self.max_depth
        self._set_spaces(*spaces_of(self._inputs.shape, *sizes))

    def _make_template(self) -> ModulePool:
        return make_template(self.options, self.data, self._inputs.shape, self._context)

    def _make_pool(self) -> ModulePool:
        return make_pool(self.options, self.data, self._inputs.shape, self._context)

    def _build(self) -> None:
        pool = self._template.renewed() if isinstance(self.options.network, ModulePool) else self._make_pool()
        self.network = pool.to(self.device).train()
        self.optimizer = FusedAdam(list(self.network.parameters()), self.options.learning_rate)
        self._set_up()

    def _set_up(self) -> None:
        super()._set_up()
        self._rows = RowInputs(self._inputs, self.num_envs)
        self._building = Construction(self._building.layout, self.num_envs, self.max_depth)
        self._batch = Batch(self.network, self._inputs, self._judge, self.options.train)
        self._count_anew()

    def _count_anew(self) -> None:
        memory = self.options.train_batch * self.max_depth
        self._bonus = RunningBonus(float(self.options.bonus), self.pool_size, memory)
        self.usage = ModuleUsage(self.data.num_tasks, self.pool_size)

    @property
    def max_episode_steps(self) -> int:
        """Decisions of the longest episode, PASS included."""
        return self.max_depth

    @property
    def _sample(self) -> Rows:
        return self._rows.sample

    def _begin(self, rows: Rows) -> None:
        super()._begin(rows)
        self._rows.begin(rows, self._draw(rows, len(rows)))
        self._building.begin(rows)

    def _observe(self) -> dict[str, Array | Tensor]:
        networks = self._building.networks
        depth = np.minimum(networks.depth, self.max_depth - 1)
        chosen = networks.modules + 1  # not "modules": nn.ModuleDict, and with it SB3, rejects that key
        return {"image": self._rows.images.clone(), "task": self._tasks(), "chosen": chosen, "depth": depth}

    def _masks(self) -> Flags:
        """Return the valid choices; bool [num_envs, P + 1]."""
        return self._building.masks()

    def _valid(self, actions: Rows) -> Flags:
        return self._building.masks()[np.arange(self.num_envs), actions]

    def _advance(self, actions: Rows, valid: Flags) -> Transition:
        reward = np.full(self.num_envs, self.options.invalid_reward, np.float32)
        rows = np.flatnonzero(valid)
        reward[rows] = self._diversity(actions[rows])
        finished = np.zeros(self.num_envs, bool)
        finished[rows] = self._building.choose(rows, actions[rows])
        done = ~valid | finished
        answers = Answers.none(self.num_envs)
        if finished.any():
            ended = self._ended + (done & self.playing).sum()
            self._finish(np.flatnonzero(finished), reward, answers, last=bool(ended >= self.batch_size))
        result = self._result(done, valid, answers) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _diversity(self, actions: Rows) -> Floats:
        reward = np.zeros(len(actions), np.float32)
        placed = actions < self.pool_size
        if self.pays_bonus:
            reward[placed] = self._bonus(actions[placed])
        if self.options.train:
            self._bonus.add(actions[placed])
        return reward

    def pay_bonus(self, pays: bool) -> None:
        """Turn the running bonus on or off; agents that compute the exact bonus turn it off."""
        self.pays_bonus = pays

    def _result(self, done: Flags, valid: Flags, answers: Answers) -> AnswerResult:
        return self._judged(
            answers,
            done,
            invalid_action=~valid,
            label=self._label[self._sample],
            route=self._building.networks.modules.copy(),
            sample=self._sample.copy(),
            modules_unused=np.full(self.num_envs, self.usage.unused),
        )

    def _finish(self, rows: Rows, reward: Floats, answers: Answers, last: bool) -> None:
        samples, networks = self._sample[rows], self._building.networks.modules[rows]
        logits, losses = self._batch.answer(samples, networks, last)
        label = self._label[samples]
        answer = partial(self._answer_held_out, networks)
        answers.enter(rows, label, *self._settle_held_out(rows, label, logits, reward, losses, answer))
        real = samples >= 0
        self.usage.add(self._task[samples[real]], networks[real])

    def _answer_held_out(self, networks: Rows, samples: Rows) -> Tensor:
        """Return the answers to held-out samples; int64 [n, max_depth] and [n] -> float32 [n, classes]."""
        return execution.run(self.network, self._held_out_inputs.values(samples), networks)

    def _judge(self, logits: Tensor, samples: Rows) -> tuple[Tensor, Tensor]:
        """Restrict logits to the classes of the tasks, and return them with their losses."""
        label, task = torch.from_numpy(np.stack([self._label[samples], self._task[samples]])).to(
            self.device, non_blocking=True
        )
        logits = self._classes.restrict(logits, task)
        return logits, torch.nn.functional.cross_entropy(logits, label, reduction="none")

    def _update(self) -> None:
        losses = self._batch.losses()
        if losses is not None:
            self._descend([losses])
        self._batch.clear()
        self.usage.end_batch()

    def random_routes(self, count: int, random: np.random.Generator) -> Rows:
        """Draw decisions of `count` networks, each uniformly from the valid choices; int64 [count, max_depth]."""
        return random_routes(self._template.layout, self.max_depth, count, random)

    @property
    def signature(self) -> State:
        """Properties that must be equal in a checkpoint and in this environment."""
        return super().signature | {"input": list(self._inputs.shape), "kinds": self.kinds.tolist()}

    def _state(self) -> State:
        rows = {"sample": torch.from_numpy(self._sample.copy()), "building": self._building.state()}
        figures = {"bonus": torch.from_numpy(self.bonus_counts), "usage": self.usage.state()}
        return super()._state() | {**rows, **figures, "log": self._batch.state(), "pays": self.pays_bonus}

    def _model(self) -> State:
        size = len(self._task)
        sample = Numbers(torch.from_numpy(self._sample), 0, size - 1)
        log = self._batch.model(size, self.pool_size, self.max_depth)
        usage = self.usage.state() | {"last": Maybe(Whole(self.pool_size))}
        return super()._model() | {"sample": sample, "building": self._building.model(), "log": log, "usage": usage}

    def _load_state(self, state: State) -> None:
        super()._load_state(state)
        self._rows.load(state["sample"].numpy().copy())
        self._building.load(state["building"])
        self._bonus.counts, self.pays_bonus = state["bonus"].numpy().copy(), state["pays"]
        self.usage.load(state["usage"])
        self._batch.load(state["log"])

    @property
    def bonus_counts(self) -> NDArray[np.float64]:
        """Decayed counts of choices per module, from which the running bonus is computed; float64 [P]."""
        return self._bonus.counts.copy()

    def _adopt(self, source: ClassificationVectorEnv) -> None:
        super()._adopt(source)
        assert isinstance(source, LimitlessVectorEnv)
        self._bonus.counts, self.pays_bonus = source.bonus_counts, source.pays_bonus

    def evaluation_figures(self) -> Info:
        """Return counts of modules by task, successions, used and unused modules, and names.

        Keys: `usage` [tasks, P], `edges` [P + 1, P] (input last), `blocks_used`, `modules_unused`, `names`.
        """
        unused = int((self.usage.taken.sum(0) == 0).sum())
        counts = {"blocks_used": self.pool_size - unused, "modules_unused": unused}
        return {"usage": self.usage.taken.copy(), "edges": self.usage.edges.copy(), **counts, "names": self.names}

    @property
    def names(self) -> list[str]:
        """Labels of the modules in pictures."""
        return self._template.names

    @property
    def keeps_policies(self) -> bool:
        """Support for the history of policy tables; always True."""
        return True

    @classmethod
    def curve_pictures(cls, runs: Mapping[str, Sequence[Curves]], title: str) -> dict[str, Figure]:
        """Draw accuracy beside the number of unused modules."""
        courses = {agent: [Course.of(curves) for curves in found] for agent, found in runs.items()}
        return {"accuracy_and_unused.png": accuracy_and_unused(courses, title)}

    def pictures(self, figures: Info, title: str) -> dict[str, Figure]:
        """Return the graph of the networks."""
        draw = partial(render.networks, task_names=self.task_names, names=self.names, title=title)
        return {"networks.png": draw(figures["edges"], figures["usage"])}

    def _render(self) -> Array | str | None:
        """Show the networks of about the last 200 episodes of each task."""
        counts, told = (self.usage.edges, self.usage.taken), self.narration
        mark = None
        if told is not None:
            mark = render.Mark(told.task, [int(action) for action in told.actions if action < self.pool_size])
        return render.show(self.render_mode, *counts, self.task_names, self.names, mark=mark, heading=self.heading)

    def _actions_so_far(self) -> Array:
        modules = self._building.networks.modules[0, : self._building.networks.depth[0]]
        return np.where(modules < 0, self.pool_size, modules)

    def _named(self, action: Array) -> str:
        return "PASS" if action == self.pool_size else f"module {self.names[int(action)]!r}"


class LimitlessEnv(BatchOfOne):
    """Single limitless environment, as returned by `gym.make("MTLLimitless-...")`.

    Args:
        **options: The fields of `LimitlessOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLLimitless-Digits-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(0)
    """

    vector_class = LimitlessVectorEnv
