"""Train PPO of Tianshou 2 on one environment, whose network trains while Tianshou's collector steps it.

    pip install "tianshou>=2"
    python examples/clients/tianshou_ppo.py
    python examples/clients/tianshou_ppo.py --env MTLRecurrent-Switching-v0 --steps 10000

Source: Weng et al. 2022, Tianshou; Schulman et al. 2017.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.wrappers import DtypeObservation, FlattenObservation
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, ReplayBuffer
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteCritic
from torch.distributions import Bernoulli, Categorical, Independent

import mtl_gym  # noqa: F401

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="environment with discrete or binary actions")
parser.add_argument("--steps", type=int, default=4_000, help="decisions")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
env = DtypeObservation(FlattenObservation(gym.make(args.env)), np.float32)
space = env.action_space
if isinstance(space, Box):
    raise SystemExit(f"does not fit: {type(space).__name__}")
if isinstance(space, Discrete):
    outputs, distribution = int(space.n), lambda logits: Categorical(logits=logits)
elif isinstance(space, MultiDiscrete):  # all parts of one of this package have one size
    size = int(space.nvec[0])
    outputs = size * len(space.nvec)
    distribution = lambda logits: Independent(Categorical(logits=logits.unflatten(-1, (-1, size))), 1)  # noqa: E731
else:
    outputs, distribution = int(space.n), lambda logits: Independent(Bernoulli(logits=logits), 1)
inputs = env.observation_space.shape
actor = Net(state_shape=inputs, action_shape=outputs, hidden_sizes=(64,))
critic = DiscreteCritic(preprocess_net=Net(state_shape=inputs, hidden_sizes=(64,)))
policy = ProbabilisticActorPolicy(
    actor=actor, dist_fn=distribution, action_space=space, action_scaling=False, action_bound_method=None
)
algorithm = PPO(policy=policy, critic=critic, optim=AdamOptimizerFactory(lr=1e-3), gamma=1.0)
rollout = min(256, args.steps)
collector = Collector[CollectStats](algorithm, env, ReplayBuffer(rollout))
collector.reset(gym_reset_kwargs={"seed": args.seed})
trained = algorithm.run_training(
    OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=args.steps,
        collection_step_num_env_steps=rollout,
        update_step_num_repetitions=4,
        show_progress=False,
        verbose=False,
    )
)
print(f"{args.env}: {env.unwrapped.updates} updates of the environment, {collector.collect_episode} episodes")
