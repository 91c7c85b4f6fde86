"""Train TorchRL's DQN on one environment, whose network trains while TorchRL's collector steps it.

    pip install torchrl
    python examples/clients/torchrl_dqn.py
    python examples/clients/torchrl_dqn.py --env MTLScheduling-Skills-v0 --steps 10000

Source: Bou et al. 2023, TorchRL; Mnih et al. 2015.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import DtypeObservation, FlattenObservation
from tensordict.nn import TensorDictSequential
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import GymWrapper
from torchrl.modules import EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, SoftUpdate

import mtl_gym  # noqa: F401

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="environment with discrete actions")
parser.add_argument("--steps", type=int, default=4_000, help="decisions")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.manual_seed(args.seed)
single = gym.make(args.env)
if not isinstance(single.action_space, gym.spaces.Discrete):
    raise SystemExit(f"does not fit: {type(single.action_space).__name__}")
env = GymWrapper(DtypeObservation(FlattenObservation(single), np.float32), categorical_action_encoding=True)
env.set_seed(args.seed)
inputs, choices = env.observation_spec["observation"].shape[-1], int(single.action_space.n)
network = nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, choices))
actor = QValueActor(network, in_keys=["observation"], spec=env.action_spec)
explore = EGreedyModule(spec=env.action_spec, annealing_num_steps=args.steps // 2)
frames = min(100, args.steps)
collector = Collector(env, TensorDictSequential(actor, explore), frames_per_batch=frames, total_frames=args.steps)
replay = TensorDictReplayBuffer(storage=LazyTensorStorage(args.steps), batch_size=64)
loss = DQNLoss(actor, action_space=env.action_spec, delay_value=True)
target = SoftUpdate(loss, eps=0.95)
optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)

started = [weights.detach().clone() for weights in single.unwrapped.network.parameters()]
for batch in collector:
    replay.extend(batch)
    explore.step(batch.numel())
    for _ in range(frames // 4):
        optimizer.zero_grad()
        loss(replay.sample())["loss"].backward()
        optimizer.step()
        target.step()
weights = list(single.unwrapped.network.parameters())
changed = sum(not torch.equal(new, old) for new, old in zip(weights, started, strict=True))
reward = batch["next", "reward"].mean().item()
collector.shutdown()
print(f"{args.env}: {single.unwrapped.updates} updates of the environment, {changed} of {len(weights)} weights changed")
print(f"reward per decision of the last batch: {reward:.2f}")
