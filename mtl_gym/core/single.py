"""The batch-of-one view of a batched environment: what `gym.make` returns."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.rows import Flags, Info, Observation, array_of, row_of


class BatchOfOne(gym.Env[Any, Any]):
    """The one-wide batched environment with the leading axis taken off: what `gym.make` returns.

    Args:
        **options: As for the batched class, except `tensors`.
    """

    vector_class: ClassVar[type[MultiTaskVectorEnv]]
    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        if "num_envs" in options:
            raise ValueError(
                f"gym.make has one row, so that num_envs={options['num_envs']!r} is not possible: "
                "use gym.make_vec(id, num_envs=...)."
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

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode; with a seed, start the whole environment anew."""
        begun, self._begun = self._begun and seed is None, False
        batch, infos = self.batched.current() if begun else self.batched.reset(seed=seed)
        self._np_random, self._np_random_seed = self.batched.np_random, self.batched.seed
        return row_of(batch, 0), self._info(infos)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
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
        """The choices that are valid now; bool [actions]."""
        return self.batched.action_masks()[0]

    def render(self) -> Any:
        """As the batched environment renders."""
        return self.batched.render()

    def close(self) -> None:
        """Let go of windows that `render_mode="human"` opened."""
        self.batched.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the batched environment's: `network`, `updates`, `evaluation_view`, `state_dict`, ..."""
        if name.startswith("_") or name == "batched":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.batched, name)

    def state_dict(self) -> dict[str, Any]:
        """As `Stateful.state_dict`, with whether the next `reset` shows an episode that has begun already."""
        return self.batched.state_dict() | {"begun": self._begun}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As `Stateful.load_state_dict`."""
        self.batched.load_state_dict(state)
        self._begun = bool(state.get("begun", False))

    def fork(self) -> BatchOfOne:
        """As `Stateful.fork`."""
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__() | {"batched": self.batched.fork()})
        return twin

    def __copy__(self) -> BatchOfOne:
        """As `Stateful.__copy__`: a fork."""
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchOfOne:
        """As `Stateful.__copy__`: a fork."""
        return self.fork()

    def __getstate__(self) -> dict[str, Any]:
        """What pickle writes: the batched environment through its state."""
        return {"batched": self.batched, "begun": self._begun, "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Undo `__getstate__`."""
        self._wrap(state["batched"])
        self._begun, self.spec = state["begun"], state["spec"]
