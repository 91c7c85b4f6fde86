"""Train RLlib's PPO on one environment, in this process.

    pip install "mtl-gym[rllib]"
    python examples/clients/rllib_ppo.py
    python examples/clients/rllib_ppo.py --env MTLRecurrent-Switching-v0 --steps 20000

RLlib takes a vector environment to reset in the step after an episode; rows of this package reset in the same step, and
their first decision would be lost. So RLlib gets one single environment, which Gymnasium resets as RLlib expects.

Source: Liang et al. 2018, RLlib; Schulman et al. 2017.
"""

import argparse

import gymnasium as gym
import numpy as np
import ray
from gymnasium.spaces import MultiBinary, MultiDiscrete
from gymnasium.wrappers import DtypeObservation, FlattenObservation, TransformAction
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

import mtl_gym  # noqa: F401

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="any environment")
parser.add_argument("--steps", type=int, default=4_000, help="decisions")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()


def make(_: object) -> gym.Env:
    """Return the environment with flat observations; bits become choices of two, as RLlib has no policy for bits."""
    env = DtypeObservation(FlattenObservation(gym.make(args.env)), np.float32)
    if isinstance(env.action_space, MultiBinary):
        env = TransformAction(env, lambda bits: bits.astype(np.int8), MultiDiscrete([2] * env.action_space.n))
    return env


ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
register_env("mtl", make)
rollout = min(512, args.steps)
config = (
    PPOConfig()
    .environment("mtl")
    .env_runners(num_env_runners=0, rollout_fragment_length=rollout)
    .training(train_batch_size_per_learner=rollout, minibatch_size=min(64, rollout), num_epochs=4, lr=1e-3, gamma=1.0)
    .debugging(seed=args.seed, log_level="ERROR")
)
algorithm = config.build_algo()
for _ in range(max(1, args.steps // rollout)):
    result = algorithm.train()["env_runners"]
env = algorithm.env_runner.env.unwrapped.envs[0].unwrapped
print(f"{args.env}: {env.updates} updates of the environment, {env.episodes} episodes")
print(f"mean return of recent episodes: {result.get('episode_return_mean', np.nan):.2f}")
algorithm.stop()
