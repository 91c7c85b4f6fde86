"""Train PPO as CleanRL does: in one file, with flat observations and no mask.

The environments of CleanRL's `SyncVectorEnv` would each train a network of their own; the rows of `gym.make_vec` train
one. Gymnasium's vector wrappers of observations refuse autoreset in the same step; `flatten_rows` flattens a batch.

    python examples/clients/cleanrl_ppo.py --env MTLRouting-Context-v0 --steps 40000
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import nn
from torch.distributions import Categorical

import mtl_gym  # noqa: F401
from mtl_gym.core.wrappers import flatten_rows

ROWS, ROLLOUT = 8, 32
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="environment with discrete or binary actions")
parser.add_argument("--steps", type=int, default=8_192, help="decisions over all rows")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
torch.manual_seed(args.seed)
envs = RecordEpisodeStatistics(gym.make_vec(args.env, ROWS, vectorization_mode="vector_entry_point"))
seen_space, space = envs.single_observation_space, envs.single_action_space
if isinstance(space, Box):
    raise SystemExit(f"does not fit: {type(space).__name__}")
if isinstance(space, MultiBinary):
    parts, size = space.n, 2
else:  # all parts of a MultiDiscrete of this package have one size
    parts, size = (1, int(space.n)) if isinstance(space, Discrete) else (len(space.nvec), int(space.nvec[0]))
inputs = gym.spaces.flatdim(seen_space)
actor = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, parts * size), nn.Unflatten(-1, (parts, size)))
critic = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 1), nn.Flatten(-2))
optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
obs = torch.tensor(flatten_rows(seen_space, envs.reset(seed=args.seed)[0]), dtype=torch.float32)
for _ in range(max(1, args.steps // (ROLLOUT * ROWS))):
    kept = []
    for _ in range(ROLLOUT):
        with torch.no_grad():
            policy, value = Categorical(logits=actor(obs)), critic(obs)
        action = policy.sample()
        seen, reward, terminated, truncated, _ = envs.step(action.numpy().reshape(envs.action_space.shape))
        going_on = torch.as_tensor(~(terminated | truncated)).float()
        kept.append((obs, action, policy.log_prob(action).sum(-1), value, torch.as_tensor(reward).float(), going_on))
        obs = torch.tensor(flatten_rows(seen_space, seen), dtype=torch.float32)
    rows, actions, before, values, rewards, going_on = (torch.stack(part) for part in zip(*kept, strict=True))
    gains, ahead, following = torch.zeros_like(rewards), 0.0, critic(obs).detach()
    for step in reversed(range(ROLLOUT)):
        error = rewards[step] + going_on[step] * following - values[step]
        ahead = gains[step] = error + 0.95 * going_on[step] * ahead
        following = values[step]
    flat = [part.flatten(0, 1) for part in (rows, actions, before, gains, gains + values)]
    for few in [few for _ in range(4) for few in torch.randperm(ROLLOUT * ROWS).chunk(4)]:
        seen, chosen, before, gain, goal = (part[few] for part in flat)
        policy = Categorical(logits=actor(seen))
        ratio, gain = (policy.log_prob(chosen).sum(-1) - before).exp(), (gain - gain.mean()) / (gain.std() + 1e-8)
        surrogate = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        optimizer.zero_grad()
        (0.5 * (critic(seen) - goal).square().mean() - surrogate - 0.01 * policy.entropy().sum(-1).mean()).backward()
        optimizer.step()
print(f"{args.env}: {envs.unwrapped.updates} updates of the environment, {envs.episode_count} episodes")
print(f"mean return of the last {len(envs.return_queue)}: {np.mean(envs.return_queue or [np.nan]):.2f}")
