"""Single environments: batched environments of one row."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.lengths import TellsLength
from mtl_gym.core.options import refuse_reset_options
from mtl_gym.core.rows import Array, Flags, Info, Observation, Picture, State, array_of, row_of

# By these attributes libraries take an environment for a batched one.
HIDDEN = frozenset({"batched", "num_envs", "single_observation_space", "single_action_space"})


class BatchOfOne(TellsLength, gym.Env[Observation, Array]):
    """A batched environment of one row without its leading axis, as `gym.make` returns it.

    Args:
        **options: As for the batched class, except `tensors`.
    """

    vector_class: ClassVar[type[MultiTaskVectorEnv]]
    metadata = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, **options: object) -> None:
        for name in ("num_envs", "runs"):
            if name in options:
                raise ValueError(
                    f"gym.make has one row, so that {name}={options[name]!r} is not possible: "
                    f"use gym.make_vec(id, {name}=...)."
                )
        if options.get("tensors"):
            raise ValueError("tensors=True is for batched environments: use gym.make_vec(..., tensors=True).")
        self._wrap(self.vector_class(1, **options))

    def _wrap(self, batched: MultiTaskVectorEnv) -> None:
        self.batched = batched
        self.render_mode = batched.render_mode
        self.observation_space = batched.single_observation_space
        self.action_space = batched.single_action_space
        self._begun = False  # whether the next episode has begun that `reset` will show

    @property
    def max_episode_steps(self) -> int | None:
        """Decisions of the longest episode; None if nothing bounds it."""
        return self.batched.max_episode_steps

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, object] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode; with a seed, start the whole environment anew."""
        refuse_reset_options(options)
        begun, self._begun = self._begun and seed is None, False
        batch, infos = self.batched.carry_on() if begun else self.batched.reset(seed=seed)
        self._np_random, self._np_random_seed = self.batched.np_random, self.batched.seed
        return row_of(batch, 0), self._info(infos)

    def step(self, action: object) -> tuple[Observation, float, bool, bool, Info]:
        """Carry out one decision."""
        batch, transition, final = self.batched.advance(array_of(action)[None])
        info = self._info(self.batched.mask_info())
        obs = row_of(batch, 0)
        if final is not None:
            self._begun = True
            obs, info = row_of(final, 0), self._info(transition.final_info)
        reward, terminated, truncated = transition.reward[0], transition.terminated[0], transition.truncated[0]
        return obs, float(reward), bool(terminated), bool(truncated), info

    @staticmethod
    def _info(infos: Info) -> Info:
        row = {key: value[0] for key, value in infos.items() if f"_{key}" in infos and infos[f"_{key}"][0]}
        return {key: value.item() if isinstance(value, np.generic) else value for key, value in row.items()}

    def action_masks(self) -> Flags:
        """Return the valid choices; bool [actions]."""
        return self.batched.action_masks()[0]

    def render(self) -> Picture | str | None:
        """Return a picture or text, or show a window, as the batched environment does."""
        return self.batched.render()

    def close(self) -> None:
        """Close the window of `render_mode="human"`."""
        self.batched.close()

    def __getattr__(self, name: str) -> Any:
        """Forward to the batched environment: `network`, `updates`, `evaluation_view`, ..."""
        if name.startswith("_") or name in HIDDEN:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return attrgetter(name)(self.batched)

    def state_dict(self) -> State:
        """Return the complete state, as `Stateful.state_dict`, and whether the next episode has begun."""
        return self.batched.state_dict() | {"begun": self._begun}

    def load_state_dict(self, state: State) -> None:
        """Load a result of `state_dict()`, as `Stateful.load_state_dict`."""
        self.batched.load_state_dict(state)
        self._begun = bool(state.get("begun", False))

    def fork(self) -> BatchOfOne:
        """Return an independent copy, as `Stateful.fork`."""
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__() | {"batched": self.batched.fork()})
        return twin

    def __copy__(self) -> BatchOfOne:
        """Return a fork, because environments must not share a network that they train."""
        return self.fork()

    def __deepcopy__(self, memo: dict[int, object]) -> BatchOfOne:
        """Return a fork, because environments must not share a network that they train."""
        return self.fork()

    def __getstate__(self) -> State:
        """Return the batched environment, which pickles its state."""
        return {"batched": self.batched, "begun": self._begun, "spec": self.spec}

    def __setstate__(self, state: State) -> None:
        """Undo `__getstate__`."""
        self._wrap(state["batched"])
        self._begun, self.spec = state["begun"], state["spec"]
