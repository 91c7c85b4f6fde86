"""The batch-of-one view of a batched environment: what `gym.make` returns."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from mtl_gym.batches import Flags, Info, Observation, row_of
from mtl_gym.vector import MultiTaskVectorEnv


class BatchOfOne(gym.Env[Any, Any]):
    """The one-wide batched environment with the leading axis taken off: what `gym.make` returns.

    Args:
        **options: As for the batched class, except `tensors`.
    """

    vector_class: ClassVar[type[MultiTaskVectorEnv]]
    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human", "ansi"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        if options.get("tensors"):
            raise ValueError("tensors=True is for batched environments: use gym.make_vec(..., tensors=True).")
        self._wrap(self.vector_class(1, **options))

    def _wrap(self, batched: MultiTaskVectorEnv) -> None:
        self.batched = batched
        self.render_mode = batched.render_mode
        self.observation_space = batched.single_observation_space
        self.action_space = batched.single_action_space
        self._next: tuple[Observation, Info] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Begin an episode; with a seed, start the whole environment anew."""
        if seed is None and self._next is not None:
            obs, info = self._next
        else:
            batch, infos = self.batched.reset(seed=seed)
            obs, info = row_of(batch, 0), self._info(infos)
        self._next = None
        self._np_random, self._np_random_seed = self.batched.np_random, self.batched.seed
        return obs, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Carry out one decision."""
        batch, transition, final = self.batched.advance(np.asarray(action)[None])
        info = self._info(self.batched.mask_info())
        obs = row_of(batch, 0)
        if final is not None:
            self._next = (obs, info | {"seed": self.batched.seed})
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

    def fork(self) -> BatchOfOne:
        """As `MultiTaskVectorEnv.fork`."""
        twin = object.__new__(type(self))
        twin._wrap(self.batched.fork())
        twin.spec = self.spec
        return twin
