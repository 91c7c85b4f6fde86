"""PPO of many runs at once."""

from mtl_agents.ppo.fast_ppo import FastPPO

__all__ = ["FastPPO"]
