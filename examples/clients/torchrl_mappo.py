"""Train TorchRL's MAPPO where every task is an agent of PettingZoo's interface; all agents route through one network.

    pip install torchrl "mtl-gym[pettingzoo]"
    python examples/clients/torchrl_mappo.py
    python examples/clients/torchrl_mappo.py --env MTLRouting-Paths-v0 --steps 20000

Agents share a policy, which is told the task; the critic sees what all of them see. They choose valid blocks only.

Source: Yu et al. 2022, The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games; Bou et al. 2023, TorchRL.
"""

import argparse

import gymnasium as gym
import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs import MarlGroupMapType, PettingZooWrapper
from torchrl.modules import MaskedCategorical, MultiAgentMLP, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from mtl_gym.integrations.pettingzoo import parallel_env

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="environment of MTLRouting")
parser.add_argument("--steps", type=int, default=4_000, help="decisions over all agents")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
if not args.env.startswith("MTLRouting-"):
    raise SystemExit("does not apply: no game of one agent per task")

torch.manual_seed(args.seed)
tasks = parallel_env(args.env)
env = PettingZooWrapper(tasks, group_map=MarlGroupMapType.ALL_IN_ONE_GROUP)
env.set_seed(args.seed)
agents = len(tasks.possible_agents)
seen = [("agents", "observation", key) for key in ("value", "task", "depth")]
inputs = gym.spaces.flatdim(tasks.observation_space(tasks.possible_agents[0]))
choices = int(tasks.action_space(tasks.possible_agents[0]).n)
sizes = {"n_agents": agents, "share_params": True, "depth": 2, "num_cells": 64}
actor = ProbabilisticActor(
    TensorDictModule(MultiAgentMLP(inputs, choices, centralized=False, **sizes), seen, [("agents", "logits")]),
    spec=env.full_action_spec_unbatched,
    in_keys={"logits": ("agents", "logits"), "mask": ("agents", "action_mask")},
    out_keys=[("agents", "action")],
    distribution_class=MaskedCategorical,
    return_log_prob=True,
)
critic = ValueOperator(MultiAgentMLP(inputs, 1, centralized=True, **sizes), seen, [("agents", "state_value")])
loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01, normalize_advantage=True)
keys = ("reward", "done", "terminated", "advantage", "value_target", "action")
loss.set_keys(value=("agents", "state_value"), sample_log_prob=("agents", "action_log_prob"))
loss.set_keys(**{key: ("agents", key) for key in keys})
loss.make_value_estimator(gamma=1.0, lmbda=0.95)
optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
rounds = max(1, args.steps // agents)
for batch in Collector(env, actor, frames_per_batch=min(128, rounds), total_frames=rounds):
    with torch.no_grad():
        loss.value_estimator(batch)
    for _ in range(4):
        terms = loss(batch)
        optimizer.zero_grad()
        (terms["loss_objective"] + terms["loss_critic"] + terms["loss_entropy"]).backward()
        optimizer.step()
print(f"{args.env}: {agents} agents, {tasks.batched.updates} updates of the environment")
print(f"reward per decision of the last batch: {batch['next', 'agents', 'reward'].mean():.2f}")
