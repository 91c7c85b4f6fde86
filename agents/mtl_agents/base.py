"""Base of the bundled agents: Stable-Baselines3's interface, the interaction loop, and files without code."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeAlias, TypedDict, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
from typing_extensions import Self

from mtl_agents.environments import StandIn, options_of, runs_of, solo_env
from mtl_agents.files import Tables, load_tables, read_agent, write_agent
from mtl_agents.runs import block_of, rows_in
from mtl_agents.sb3 import ENTRANCES, checked_folder, collect_callbacks, log_episodes, refuse_wrong_training
from mtl_agents.states import agent_model
from mtl_gym.core.arguments import Checked
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.modes import enter_in_own_mode, in_own_mode
from mtl_gym.core.rows import Array, Info, State
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.checkpoint import fitting, to_arrays, to_tensors
from mtl_gym.integrations.sb3 import EnvLike, Infos, as_vec_env

# Number of episodes that logs are the means of.
LOGGED = 100
Parts: TypeAlias = Mapping[str, Array]
ObsT = TypeVar("ObsT")
StateT = TypeVar("StateT")


class AgentArguments(TypedDict, total=False):
    """Keyword arguments of every agent; see `Agent`."""

    seed: int | None
    verbose: int
    tensorboard_log: str | None


class Agent(Generic[ObsT, StateT], metaclass=Checked):
    """An algorithm with Stable-Baselines3's interface.

    The base class of a family implements `_sizes_of`, an agent `predict` and, if it learns, `_record`. Files hold the
    arrays of `_tables` and `_rows` and the arguments of `_hyperparameters`. `ENV_KWARGS` has the environment options
    that the agent requires, `RANGES` the allowed values of numeric arguments.

    In an environment with several runs, an agent with `STACKS` learns in all at once: run r as an agent with the seed +
    r would alone, to the bit. `solo(r)` returns that agent.

    Args:
        env: An id, a Gymnasium environment, a batched environment or an SB3 `VecEnv`.
        seed: Seed of the agent and of the environment's next reset; with several runs, that of the first.
        verbose: 1 prints SB3's log tables.
        tensorboard_log: Folder for TensorBoard events, or None.

    Attributes:
        ROLE: "learner", "rule" (follows a formula and does not learn) or "control" (a baseline for comparison).
        SIZES: Names of the numbers in `sizes`, for error messages.
        sizes: Sizes of the agent's tables and networks, which an environment must match.
        STACKS: Whether the agent learns in several runs at once.
        runs: Number of runs of the environment.
        num_timesteps: Decisions of each run.

    Raises:
        ValueError: If the environment is of another family, has several runs that the agent cannot learn in at once, or
            an argument is invalid.
    """

    ROLE: ClassVar[str] = "learner"
    ENV_KWARGS: ClassVar[Mapping[str, object]] = {}
    SIZES: ClassVar[str]
    STACKS: ClassVar[bool] = False
    env: VecEnv
    sizes: tuple[int, ...] | None = None
    runs: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a class train in its own mode of torch, whatever that of its caller; see `mtl_gym.core.modes`."""
        super().__init_subclass__(**kwargs)
        enter_in_own_mode(cls, ENTRANCES)

    def __init__(
        self, env: EnvLike, *, seed: int | None = None, verbose: int = 0, tensorboard_log: str | None = None
    ) -> None:
        self.seed, self.verbose, self.tensorboard_log = seed, verbose, checked_folder(tensorboard_log)
        self.num_timesteps = self.total_timesteps = self._num_timesteps_at_start = self._steps = 0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=LOGGED)
        self._last_obs: ObsT | None = None
        self._logger: Logger | None = None
        self.set_env(env)
        self.randoms = [np.random.default_rng(None if seed is None else seed + run) for run in range(self.runs)]
        if seed is not None:
            self.env.seed(seed)

    def set_env(self, env: EnvLike, force_reset: bool = True) -> None:
        """Act in another environment of the same sizes from the next `learn` on."""
        vec_env = as_vec_env(env, **self.options_for(env))
        sizes = self._sizes_of(vec_env)
        if self.sizes is not None and sizes != self.sizes:
            raise ValueError(f"The agent needs {self.sizes} {self.SIZES}; this environment has {sizes}.")
        self._check_env(vec_env)
        self._check_runs(runs_of(vec_env))
        if runs_of(vec_env) > 1 and unwrap_vec_normalize(vec_env) is not None:
            raise ValueError(
                "VecNormalize has one mean for all runs, so that runs would depend on each other: leave it out."
            )
        self.env, self.n_envs, self.sizes = vec_env, vec_env.num_envs, sizes
        self.observation_space, self.action_space = vec_env.observation_space, vec_env.action_space
        if force_reset:
            self._last_obs = None

    def _check_runs(self, runs: int) -> None:
        """Accept an environment of so many runs."""
        kind = type(self).__name__
        if runs > 1 and not self.STACKS:
            raise ValueError(f"{kind} learns in one run at a time; this environment has {runs}: make it with runs=1.")
        if self.sizes is not None and runs != self.runs:
            raise ValueError(f"{kind} has learned in {self.runs} runs; this environment has {runs}.")
        self.runs = runs

    @property
    def np_random(self) -> np.random.Generator:
        """Generator of the first run."""
        return self.randoms[0]

    @classmethod
    def options_for(cls, env: EnvLike) -> Mapping[str, Any]:
        """Return the options for making an environment from its id."""
        return cls.ENV_KWARGS

    @classmethod
    @abstractmethod
    def _sizes_of(cls, env: VecEnv) -> tuple[int, ...]:
        """Return the numbers named in `SIZES`, from an environment's spaces.

        Raises:
            ValueError: If the environment is of another family.
        """

    def _check_env(self, env: VecEnv) -> None:
        """Reject an environment without the options in `ENV_KWARGS`."""
        options = options_of(env)
        for name, value in self.ENV_KWARGS.items():
            if options.get(name, True) in (None, False):
                raise ValueError(
                    f"{type(self).__name__} needs an environment with the option {name}: make it with "
                    f"gym.make(id, {name}={value!r})."
                )

    def get_env(self) -> VecEnv:
        """Return the environment, for SB3's callbacks."""
        return self.env

    def get_vec_normalize_env(self) -> VecNormalize | None:
        """Return the `VecNormalize` around the environment or None, for SB3's callbacks."""
        return unwrap_vec_normalize(self.env)

    @property
    def logger(self) -> Logger:
        """SB3's logger."""
        if self._logger is None:
            self._logger = configure_logger(self.verbose, self.tensorboard_log, type(self).__name__)
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Replace the logger."""
        self._logger = logger

    @abstractmethod
    def predict(
        self,
        observation: ObsT,
        state: StateT | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, StateT | None]:
        """Choose actions.

        Args:
            observation: One observation or a batch of them; with several runs all rows of their environment.
            state: State returned by the last call, for recurrent agents.
            episode_start: Rows in which an episode begins; bool [rows].
            deterministic: Choose the likeliest action instead of sampling.

        Returns:
            One action per row, or a single action for a single observation; and the state.
        """

    def _seen(self, obs: ObsT) -> ObsT:
        """Return an observation during learning as the agent looks at it."""
        return obs

    def _of_runs(self, observation: ObsT) -> ObsT:
        """Return an observation to predict from as the agent looks at it.

        Raises:
            ValueError: If there are several runs and it does not have all rows, so that nothing tells the run of a row.
        """
        if self.runs > 1:
            rows = rows_in(cast(Array | Parts, observation), self.observation_space)
            if rows != self.n_envs:
                raise ValueError(
                    f"{type(self).__name__} has learned in {self.runs} runs and answers all {self.n_envs} rows of "
                    f"their environment, not {'a single one' if rows is None else rows}: use agent.solo(run)."
                )
        return self._seen(observation)

    def _act(self, obs: ObsT) -> Array:
        """Return the actions of all rows during learning."""
        return self.predict(obs)[0]

    def _record(self, obs: ObsT, actions: Array, rewards: Array, dones: NDArray[np.bool_]) -> None:
        """Learn from one step of all rows; by default do nothing."""

    def _hyperparameters(self) -> dict[str, object]:
        """Return the constructor arguments that `Agent` does not have, JSON-able."""
        return {}

    @in_own_mode
    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Act and learn for `total_timesteps` decisions, counted over all rows of a run.

        Args:
            total_timesteps: Number of decisions of each run, rounded up to whole steps of the batch.
            callback: SB3 callbacks.
            log_interval: Steps of the batch between two log tables.
            tb_log_name: Unused; part of SB3's signature.
            reset_num_timesteps: False continues the count of decisions and the episodes under way.
            progress_bar: Show SB3's progress bar.
        """
        refuse_wrong_training(total_timesteps, log_interval)
        calls = self._begin(total_timesteps, callback, reset_num_timesteps, progress_bar)
        while self.num_timesteps < self.total_timesteps:
            calls.on_rollout_start()
            obs = self._seen(cast(ObsT, self._last_obs))
            actions = self._act(obs)
            new_obs, rewards, dones, infos = self.env.step(actions)
            self.num_timesteps += self.n_envs // self.runs
            self._last_obs = cast(ObsT, new_obs)
            self._record(obs, actions, rewards, dones)
            self.ep_info_buffer.extend(info["episode"] for info in ended(infos, dones) if "episode" in info)
            calls.update_locals(locals())
            if not calls.on_step():
                break
            self._steps += 1
            if self._steps % log_interval == 0:
                log_episodes(self.logger, self.ep_info_buffer, self.num_timesteps)
        calls.on_training_end()
        return self

    def _begin(self, total_timesteps: int, callback: MaybeCallback, anew: bool, progress_bar: bool) -> BaseCallback:
        if anew:
            self.num_timesteps = self._steps = 0
        self._num_timesteps_at_start = self.num_timesteps
        self.total_timesteps = total_timesteps = total_timesteps + self.num_timesteps
        if anew or self._last_obs is None:
            self._last_obs = cast(ObsT, self.env.reset())
        calls = collect_callbacks(callback, progress_bar)
        calls.init_callback(self)  # type: ignore[arg-type]
        calls.on_training_start({**locals(), "total_timesteps": total_timesteps}, globals())
        return calls

    def _tables(self) -> Tables:
        """Return the learned arrays; loading writes into them."""
        return {}

    def _rows(self) -> Tables:
        """Return the arrays about episodes under way, [rows, ...] each; loading writes into them."""
        return {}

    @in_own_mode
    def state_dict(self) -> State:
        """Return everything that determines the agent's future, as tensors and plain values."""
        states = [random.bit_generator.state for random in self.randoms]
        last = {"last_obs": to_tensors(self._last_obs), "np_random": states[0] if self.runs == 1 else states}
        episodes = [{"r": episode["r"], "l": episode["l"]} for episode in self.ep_info_buffer]  # without times
        counts = {"num_timesteps": self.num_timesteps, "steps": self._steps, "episodes": episodes}
        return {"tables": to_tensors(self._tables()), "rows": to_tensors(self._rows()), **last, **counts}

    @in_own_mode
    def load_state_dict(self, state: State) -> None:
        """Restore the result of `state_dict`.

        Raises:
            CheckpointError: If the state is damaged or from an agent of other sizes; the agent is then unchanged.
        """
        before = self.state_dict()
        checkpoint.load_or_undo(state, self._load_state, lambda: self._load_state(before), self._model)

    def _model(self) -> State:
        """Return the model of `state_dict`, as `core.state.structure` has it; agents with more state extend it."""
        own = {"tables": to_tensors(self._tables()), "rows": to_tensors(self._rows())}
        return own | agent_model(self.observation_space, self.n_envs, self.randoms)

    def _load_state(self, state: State) -> None:
        """Restore a state; agents with more state extend it."""
        load_tables(self._tables(), state["tables"])
        load_tables(self._rows(), state["rows"])
        self._last_obs = cast("ObsT | None", to_arrays(state["last_obs"]))
        states = [state["np_random"]] if self.runs == 1 else state["np_random"]
        for random, one in zip(self.randoms, states, strict=True):
            random.bit_generator.state = one
        self.num_timesteps, self._steps = int(state["num_timesteps"]), int(state["steps"])
        episodes = [{"r": float(episode["r"]), "l": int(episode["l"])} for episode in state["episodes"]]
        self.ep_info_buffer = deque(episodes, maxlen=self.ep_info_buffer.maxlen)

    def solo(self, run: int, env: EnvLike | None = None) -> Self:
        """Return the agent of one run, with a copy of what it has learned.

        Args:
            run: Number of the run, from 0.
            env: Environment of the agent; None for a copy of that of the run, in which it learns on exactly.

        Raises:
            ValueError: If there is no such run, or no copy of a wrapper around the environment.
        """
        if not 0 <= run < self.runs:
            raise ValueError(f"run={run} is not possible; the agent has runs 0 to {self.runs - 1}.")
        agent = type(self)(
            solo_env(self.env, run, self.runs) if env is None else env, verbose=self.verbose, **self._arguments_of_run()
        )
        agent.seed = None if self.seed is None else self.seed + run
        agent.load_state_dict(self._state_of_run(run))
        return agent

    def take_draws(self, solo: Self, run: int) -> None:
        """Let a run draw on from where its agent of `solo` is, as after an evaluation of the agent itself."""
        self.randoms[run].bit_generator.state = solo.np_random.bit_generator.state

    def _arguments_of_run(self) -> dict[str, Any]:
        """Return the constructor arguments of the agent of one run."""
        return self._hyperparameters()

    def _state_of_run(self, run: int) -> State:
        """Return the state of the agent of one run: its part of tables and rows."""
        state = self.state_dict()
        tasks = {name: self._of_run(table, run) for name, table in state["tables"].items()}
        rows = {name: table.unflatten(0, (self.runs, -1))[run] for name, table in state["rows"].items()}
        last = block_of(state["last_obs"], run, self.runs)
        random = state["np_random"] if self.runs == 1 else state["np_random"][run]
        own = {"tables": tasks, "rows": rows, "last_obs": last, "np_random": random}
        return state | own | {"episodes": []}

    def _of_run(self, table: Any, run: int) -> Any:
        """Return the part of a table that belongs to one run; by default all of it."""
        return table

    def save(self, path: str | Path) -> Path:
        """Write the agent to `path`, as plain values and tensors without code."""
        common = {"seed": self.seed, "verbose": self.verbose, "tensorboard_log": self.tensorboard_log}
        return write_agent(
            path, type(self).__name__, common | self._hyperparameters(), self.env, self.state_dict(), self.runs
        )

    @classmethod
    def load(cls, path: str | Path, env: EnvLike | None = None) -> Self:
        """Read an agent from a file of `save`.

        Args:
            path: Path of the file.
            env: Environment to act in; if its number of rows differs from the saved one, episodes under way are
                discarded. None returns an agent that can only `predict`.

        Raises:
            CheckpointError: If the file is damaged, holds another agent, or the sizes differ.
        """
        saved = read_agent(path, cls.__name__)
        given = None if env is None else as_vec_env(env, **cls.options_for(env))
        with fitting(path):
            there = StandIn.of(saved["env"])
            here = there if given is None else given
            known, sizes = cls._sizes_of(there), cls._sizes_of(here)
            if known != sizes:
                raise CheckpointError(f"The saved agent needs {list(known)} {cls.SIZES}, not {list(sizes)}.")
            if runs_of(here) != runs_of(there):
                raise CheckpointError(
                    f"The saved agent has {runs_of(there)} runs, not {runs_of(here)}; solo(run) has one."
                )
            agent = cls(here, **saved["arguments"] | {"seed": None})
            agent.seed = saved["arguments"]["seed"]
            state, same = saved["state"], here.num_envs == there.num_envs
            agent.load_state_dict(state if same else agent.without_rows(state))
        return agent

    def without_rows(self, state: State) -> State:
        """Return a saved state without episodes under way, for another number of rows."""
        return state | {"rows": self.state_dict()["rows"], "last_obs": None}

    def __repr__(self) -> str:
        """Return the agent's class and hyperparameters."""
        arguments = ", ".join(f"{key}={value!r}" for key, value in self._hyperparameters().items())
        return f"{type(self).__name__}({arguments})"


def ended(infos: Sequence[Info], dones: NDArray[np.bool_]) -> list[Info]:
    """Return the infos of the last episodes that ended, as many as logs are the means of."""
    rows = np.flatnonzero(dones)[-LOGGED:]
    return infos.of(rows) if isinstance(infos, Infos) else [infos[row] for row in rows]
