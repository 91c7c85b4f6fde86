"""Train an algorithm of Stable-Baselines3 or sb3-contrib on rows of one batched environment, which share its network.

    python examples/clients/sb3_algorithms.py
    python examples/clients/sb3_algorithms.py --algorithm DQN --env MTLScheduling-Skills-v0

MaskablePPO asks the environment which choices are valid and makes no other.

Source: Raffin et al. 2021, Stable-Baselines3; Huang and Ontañón 2022, invalid action masking.
"""

import argparse

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO

import mtl_gym

ROWS = 8
ALGORITHMS = {kind.__name__: kind for kind in (PPO, DQN, MaskablePPO)}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="environment with actions that the algorithm has")
parser.add_argument("--algorithm", choices=ALGORITHMS, default="MaskablePPO")
parser.add_argument("--steps", type=int, default=8_192, help="decisions over all rows")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

env = mtl_gym.make_vec_env(args.env, num_envs=ROWS, seed=args.seed)
space = env.action_space
if isinstance(space, Box) or (args.algorithm == "DQN" and not isinstance(space, Discrete)):
    raise SystemExit(f"does not fit: {type(space).__name__}")
policy = "MultiInputPolicy" if isinstance(env.observation_space, Dict) else "MlpPolicy"
steps = max(1, min(256, args.steps // ROWS))
ways = {"n_steps": steps, "batch_size": ROWS * steps} if args.algorithm != "DQN" else {"learning_starts": steps}
model = ALGORITHMS[args.algorithm](policy, env, seed=args.seed, device="cpu", **ways).learn(args.steps)
returns = [episode["r"] for episode in model.ep_info_buffer]
print(f"{args.env}: {env.batched.updates} updates of the environment, {model.num_timesteps} decisions")
print(f"mean return of the last {len(returns)}: {np.mean(returns or [np.nan]):.2f}")
