"""Log a training with Weights and Biases, offline: nothing leaves the machine until `wandb sync` is called.

    pip install wandb
    python examples/clients/wandb_offline.py --folder runs
    wandb sync runs/wandb/offline-run-*

`mtl-gym compare --wandb PROJECT` logs all runs of a comparison, with what they reach on validation samples.

Source: Biewald 2020, Weights and Biases.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import wandb
from mtl_agents.ppo import FastPPO

import mtl_gym

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="any environment")
parser.add_argument("--steps", type=int, default=8_192, help="decisions over all rows")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--folder", default=None, help="where the run is written; default: a folder that is deleted")
args = parser.parse_args()

env = mtl_gym.make_vec_env(args.env, num_envs=16, seed=args.seed)
agent = FastPPO(env, seed=args.seed, n_steps=max(1, args.steps // 128))
rewards: list[float] = []
with tempfile.TemporaryDirectory() as deleted:
    folder = Path(args.folder or deleted)
    run = wandb.init(project="mtl-gym", config=vars(args), dir=folder, mode="offline")
    for _ in range(8):
        rewards.clear()
        agent.learn(args.steps // 8, callback=lambda names, _: rewards.append(names["rewards"].mean()) or True)
        run.log({"reward per decision": np.mean(rewards), "updates": env.batched.updates}, step=agent.num_timesteps)
    run.finish()
    written = [path for path in folder.rglob("*.wandb") if path.stat().st_size]
    print(f"{args.env}: {env.batched.updates} updates of the environment, {len(written)} offline run written")
