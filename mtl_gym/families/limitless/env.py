"""Limitless routing as an environment: which module should come next in the network for this input?

Source: LRN ("Limitless Routing Networks for Effective Multi-task Learning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mtl_gym.core.capabilities import Curves
from mtl_gym.core.classification import Answers
from mtl_gym.core.classification_env import SampledVectorEnv
from mtl_gym.core.episode import AnswerResult, Transition
from mtl_gym.core.options import EnvOptions
from mtl_gym.core.rows import Flags, Rows
from mtl_gym.core.sampling import Pass, SampleStream
from mtl_gym.core.single import BatchOfOne
from mtl_gym.families.limitless import execution, render
from mtl_gym.families.limitless.construction import Construction, random_routes
from mtl_gym.families.limitless.figures import Course, accuracy_and_unused
from mtl_gym.families.limitless.inputs import Inputs
from mtl_gym.families.limitless.modules import paper_pool
from mtl_gym.families.limitless.options import LimitlessOptions
from mtl_gym.families.limitless.pool import ModulePool
from mtl_gym.families.limitless.rewards import RunningBonus
from mtl_gym.families.limitless.usage import Usage

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LimitlessVectorEnv(SampledVectorEnv):
    """`num_envs` networks under construction, each for one labelled input, from a pool of modules that acting trains.

    Every episode builds one network: each action picks the module that comes next, or PASS, until a head is placed.
    Only then is the network run, together with all others that ended in the same step. When `train_batch` episodes have
    ended, the modules that were used get their gradient step, and only those.

    * Observation: `image` float32 [num_envs, *shape] in [0, 1]; `task` int64 [num_envs]; `chosen` int64
      [num_envs, max_depth], the modules chosen so far counted from 1, 0 for none; `depth` int64 [num_envs], the
      decisions made.
    * Action: int64 [num_envs] in [0, P]; P is PASS. `info["action_mask"]` is bool [num_envs, P + 1].
    * Reward: float32 [num_envs]: the weighted bonus of the chosen module, plus the final reward with the head.
    * `final_info`: `loss`, `correct`, `is_success`, `prediction`, `label`, `task`, `route`, `sample`,
      `modules_unused`, `invalid_action`.

    Source: LRN, sections 4 and 5.

    Deviation: eq. 7 pays every time step the final reward plus its bonus, the counts being those of the whole batch. A
    step must pay before either is known: here the final reward comes once, with the head, and the bonus is that of the
    last choices (`RunningBonus`). A long network therefore earns several bonuses for one loss, and a weight near 1
    drowns the loss. The agent `LRN` turns the running bonus off and pays eq. 7 in its rollout.

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
    WINDOW: ClassVar[str] = render.WINDOW
    FAMILY: ClassVar[str] = "MTLLimitless"
    PICTURE: ClassVar[str] = "networks.png"
    CURVES: ClassVar[tuple[str, ...]] = ("modules_unused",)
    options: LimitlessOptions
    network: ModulePool

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(num_envs, **options)
        self._inputs = Inputs(self.data, self.options.split, self.options.image_shape)
        with torch.random.fork_rng(devices=[]):
            self._template = self._make_template()
        self._describe(self._template)
        self._pays = True
        self._count_anew()

    def _make_template(self) -> ModulePool:
        pool = self.options.pool
        if pool is None:
            with torch.device("meta"):  # shapes without weights: a pool may have millions
                return self._paper_pool()
        pool = pool if isinstance(pool, ModulePool) else pool()
        if pool.input_shape != self._inputs.shape or pool.classes < self.data.max_classes:
            raise ValueError(
                f"The pool takes inputs of shape {pool.input_shape} and gives {pool.classes} classes, but data set "
                f"{self.data.name!r} has inputs of shape {self._inputs.shape} and up to {self.data.max_classes} "
                "classes."
            )
        return pool

    def _paper_pool(self) -> ModulePool:
        options, classes = self.options, self.data.max_classes
        return paper_pool(self._inputs.shape, classes, options.duplicates, options.filters, options.hidden)

    def _describe(self, pool: ModulePool) -> None:
        self.pool_size, self.max_depth, self.kinds = len(pool), self.options.max_depth, pool.layout.kind.copy()
        self._building = Construction(pool.layout, self.num_envs, self.max_depth)
        observation = spaces.Dict(
            image=spaces.Box(0, 1, self._inputs.shape, np.float32),
            task=spaces.Discrete(self.data.num_tasks),
            chosen=spaces.MultiDiscrete([self.pool_size + 1] * self.max_depth),
            depth=spaces.Discrete(self.max_depth),
        )
        self._set_spaces(observation, spaces.Discrete(self.pool_size + 1))

    def _build(self) -> None:
        given = self.options.pool
        make = self._paper_pool if given is None else self._template.renewed if isinstance(given, ModulePool) else given
        self.network = make().to(self.device).train()
        weights = [{"params": list(self.network.parameters())}]  # a pool may have modules without weights
        self.optimizer = torch.optim.Adam(weights, self.options.learning_rate, fused=True)
        self._set_up(SampleStream(len(self._split), self.np_random))

    def _given_weights(self) -> dict[str, Any] | None:
        return dict(self._template.state_dict()) if isinstance(self.options.pool, ModulePool) else None

    def _set_up(self, stream: SampleStream | Pass) -> None:
        super()._set_up(stream)
        self._images = torch.zeros(self.num_envs, *self._inputs.shape, device=self.device)
        self._building = Construction(self._building.layout, self.num_envs, self.max_depth)
        self._losses: list[Tensor] = []
        self._log: list[tuple[Rows, Rows]] = []
        self._count_anew()

    def _count_anew(self) -> None:
        memory = self.options.train_batch * self.max_depth
        self._bonus = RunningBonus(float(self.options.bonus), self.pool_size, memory)
        self.usage = Usage(self.data.num_tasks, self.pool_size)

    def _begin(self, rows: Rows) -> None:
        self._sample[rows] = self._stream.supply(rows, len(rows))
        index = torch.from_numpy(rows).to(self.device)
        self._images[index] = self._inputs.pictures(self._sample[rows])
        self._building.begin(rows)

    def _observe(self) -> dict[str, Any]:
        depth = np.minimum(self._building.depth, self.max_depth - 1)
        chosen = self._building.modules + 1  # not "modules": no nn.ModuleDict takes that name, nor does SB3
        return {"image": self._images.clone(), "task": self._tasks(), "chosen": chosen, "depth": depth}

    def _masks(self) -> Flags:
        """The choices that are valid now; bool [num_envs, P + 1]."""
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
            self._finish(np.flatnonzero(finished), reward, answers)
        result = self._result(done, valid, answers) if done.any() else None
        return Transition(reward, done, np.zeros(self.num_envs, bool), result)

    def _diversity(self, actions: Rows) -> NDArray[np.float32]:
        reward = np.zeros(len(actions), np.float32)
        placed = actions < self.pool_size
        if self._pays:
            reward[placed] = self._bonus(actions[placed])
        if self.options.train:
            self._bonus.add(actions[placed])
        return reward

    def pay_bonus(self, pays: bool) -> None:
        """Whether steps pay the running bonus; an agent that works out the exact one itself turns it off."""
        self._pays = pays

    def _result(self, done: Flags, valid: Flags, answers: Answers) -> AnswerResult:
        return answers.result(
            done,
            self._tasks(),
            invalid_action=~valid,
            label=self._label[self._sample],
            route=self._building.modules.copy(),
            sample=self._sample.copy(),
            modules_unused=np.full(self.num_envs, self.usage.unused),
        )

    def _finish(self, rows: Rows, reward: NDArray[np.float32], entered: Answers) -> None:
        samples, networks = self._sample[rows], self._building.modules[rows]
        answers, losses = self._run(samples, networks)
        self._settle(rows, answers, losses, reward, entered)
        real = samples >= 0
        self.usage.add(self._task[samples[real]], networks[real])

    def _run(self, samples: Rows, networks: Rows) -> tuple[Tensor, Tensor]:
        """Run finished networks on their inputs, and keep the losses for the next update.

        Returns:
            Logits [n, classes] and losses [n]; both detached.
        """
        if self.network.training != self.options.train:
            self.network.train(self.options.train)
        targets = torch.from_numpy(np.stack([self._label[samples], self._task[samples]])).to(self.device)
        with torch.set_grad_enabled(self.options.train):
            logits = execution.run(self.network, self._inputs.values(samples), networks)
            logits = self._classes.restrict(logits, targets[1])
            losses = torch.nn.functional.cross_entropy(logits, targets[0], reduction="none")
        if self.options.train:
            self._losses.append(losses)
            self._log.append((samples, networks))
        return logits.detach(), losses.detach()

    def _learn(self, done: Flags) -> None:
        if not self.options.train:
            return
        self._count(done)
        if self._ended >= self.options.train_batch:
            self._update()
            self.usage.end_batch()
            self._ended = 0

    def _update(self) -> None:
        if not self._losses:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.options.lr_decay ** int(self.epoch)
        loss = torch.cat(self._losses).mean()
        if loss.requires_grad:
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        self._losses, self._log = [], []

    def random_routes(self, count: int, random: np.random.Generator) -> Rows:
        """Decisions that build valid networks, each drawn evenly from what is valid; int64 [count, max_depth]."""
        return random_routes(self._template.layout, self.max_depth, count, random)

    @property
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be loaded here."""
        shapes = {"input": list(self._inputs.shape), "kinds": self.kinds.tolist()}
        return super().signature | {"data": self.data.name, "tasks": self.data.num_tasks, **shapes}

    def _state(self) -> dict[str, Any]:
        building = {name: torch.from_numpy(getattr(self._building, name).copy()) for name in self._ARRAYS}
        log = [tuple(torch.from_numpy(part) for part in entry) for entry in self._log]
        counts = {"ended": self._ended, "episodes": self.episodes, "pays": self._pays}
        figures = {"bonus": torch.from_numpy(self._bonus.counts.copy()), "usage": self.usage.state()}
        sample = torch.from_numpy(self._sample.copy())
        return {"building": building, "sample": sample, "log": log, "stream": self._stream.state(), **counts, **figures}

    _ARRAYS: ClassVar[tuple[str, ...]] = ("modules", "length", "depth")

    def _load_state(self, state: dict[str, Any]) -> None:
        self._stream.load(state["stream"])
        self._sample = state["sample"].numpy().copy()
        self._images = self._inputs.pictures(self._sample)
        for name in self._ARRAYS:
            setattr(self._building, name, state["building"][name].numpy().copy())
        self._building.refresh()
        self._ended, self.episodes, self._pays = state["ended"], state["episodes"], state["pays"]
        self._bonus.counts = state["bonus"].numpy().copy()
        self.usage.load(state["usage"])
        for samples, networks in state["log"]:
            self._run(samples.numpy(), networks.numpy())

    def _adopt(self, source: LimitlessVectorEnv) -> None:
        super()._adopt(source)
        self._bonus.counts, self._pays = source._bonus.counts.copy(), source._pays

    def evaluation_figures(self) -> dict[str, Any]:
        """Whose networks had which modules, what followed what, and how many modules nobody took.

        `usage` [tasks, P], `edges` [P + 1, P] (the last row is the input), `blocks_used`, `modules_unused`, `names`.
        """
        unused = int((self.usage.taken.sum(0) == 0).sum())
        counts = {"blocks_used": self.pool_size - unused, "modules_unused": unused}
        return {"usage": self.usage.taken.copy(), "edges": self.usage.edges.copy(), **counts, "names": self.names}

    @property
    def names(self) -> list[str]:
        """What pictures call the modules."""
        return self._template.names

    @property
    def keeps_policies(self) -> bool:
        """Whether runs keep the history of a policy table: always."""
        return True

    @classmethod
    def curve_pictures(cls, runs: Mapping[str, Sequence[Curves]], title: str) -> dict[str, Figure]:
        """Draw accuracy beside the modules that no network has."""
        courses = {agent: [Course.of(curves) for curves in found] for agent, found in runs.items()}
        return {"accuracy_and_unused.png": accuracy_and_unused(courses, title)}

    def pictures(self, figures: dict[str, Any], title: str) -> dict[str, Any]:
        """Figures of matplotlib for an evaluation, by file name."""
        draw = partial(render.networks, task_names=self.task_names, names=self.names, title=title)
        return {"networks.png": draw(figures["edges"], figures["usage"])}

    def _render(self) -> Any:
        """The networks of the last 200 or so episodes of each task."""
        return render.show(self.render_mode, self.usage.edges, self.usage.taken, self.task_names, self.names)


class LimitlessEnv(BatchOfOne):
    """One network at a time, for one labelled input: what `gym.make("MTLLimitless-...")` returns.

    Args:
        **options: The fields of `LimitlessOptions`.

    Example:
        >>> import gymnasium as gym, mtl_gym
        >>> env = gym.make("MTLLimitless-Digits-v0")
        >>> obs, info = env.reset(seed=0)
        >>> obs, reward, terminated, truncated, info = env.step(0)
    """

    vector_class = LimitlessVectorEnv
