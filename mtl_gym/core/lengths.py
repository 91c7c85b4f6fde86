"""Length of episodes, as Gymnasium's `EnvSpec` tells it."""

from __future__ import annotations

from dataclasses import replace

from gymnasium.envs.registration import EnvSpec


class TellsLength:
    """Environment whose `spec.max_episode_steps` is the longest episode of its own options.

    The registered spec has no length: Gymnasium would cut episodes at it, whatever the keyword arguments of an
    environment say.
    """

    _spec: EnvSpec | None = None

    @property
    def max_episode_steps(self) -> int | None:
        """Decisions of the longest episode; None if nothing bounds it."""
        return None

    @property
    def spec(self) -> EnvSpec | None:
        """Specification by which Gymnasium made this environment; None if it was made otherwise."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else replace(spec, max_episode_steps=self.max_episode_steps)
