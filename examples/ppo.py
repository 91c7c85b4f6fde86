"""Train PPO as a router, in one file: the batched environment and the agent on one device.

With `tensors=True` observations and rewards stay tensors on the environment's device. Observations are flattened, with
discrete values as one-hot vectors; masked choices have probability 0.

    python examples/ppo.py
    python examples/ppo.py --env-id MTLRouting-MNIST-v0 --num-envs 1024 --steps 1000000 --device cuda

Source: Schulman et al. 2017, with the implementation details of Huang et al. 2022.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Annotated, get_args, get_type_hints

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import mtl_gym

# Values stored for each step of a rollout.
KEPT = ("rows", "mask", "action", "log", "value", "reward", "end")


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    env_id: Annotated[str, "Environment id with discrete actions; see `mtl-gym list`."] = "MTLRouting-Digits-v0"
    steps: Annotated[int, "Total decisions over all rows."] = 150_000
    num_envs: Annotated[int, "Parallel episodes."] = 64
    rollout: Annotated[int, "Decisions per row between two updates of the policy."] = 30
    epochs: Annotated[int, "Passes over a rollout."] = 4
    minibatches: Annotated[int, "Minibatches per pass."] = 4
    learning_rate: Annotated[float, "Learning rate of the policy's Adam optimizer."] = 1e-3
    gamma: Annotated[float, "Discount factor."] = 1.0
    gae_lambda: Annotated[float, "Lambda of generalised advantage estimation."] = 0.95
    clip: Annotated[float, "Clipping range of the probability ratio."] = 0.2
    entropy: Annotated[float, "Coefficient of the entropy bonus."] = 0.003
    width: Annotated[int, "Width of the two hidden layers."] = 64
    seed: Annotated[int, "Seed of the network, the data order and the agent."] = 0
    device: Annotated[str, 'Device of environment and agent: "cpu" or "cuda".'] = "cpu"


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} Default: {default}."
        )
    return Arguments(**vars(parser.parse_args()))


class Policy(nn.Module):
    """An actor that returns the logits of the choices, and a critic that returns the value."""

    def __init__(self, space: gym.Space, actions: int, width: int) -> None:
        super().__init__()
        self.space = space
        inputs = gym.spaces.utils.flatdim(space)
        self.actor, self.critic = network(inputs, width, actions, 0.01), network(inputs, width, 1, 1.0)

    def flat(self, obs: dict[str, Tensor] | Tensor) -> Tensor:
        """Flatten observations to float32 [rows, inputs]."""
        if not isinstance(self.space, gym.spaces.Dict):
            return obs.flatten(1)
        parts = [(obs[key], part) for key, part in self.space.items()]
        return torch.cat([one_hot(values, part) for values, part in parts], 1)

    def forward(self, rows: Tensor, mask: Tensor) -> tuple[Categorical, Tensor]:
        """Return the distribution of the choices and the value of each row."""
        logits = self.actor(rows).masked_fill(~mask, -1e9)
        return Categorical(logits=logits, validate_args=False), self.critic(rows).squeeze(1)


def network(inputs: int, width: int, outputs: int, scale: float) -> nn.Sequential:
    """Return an MLP with orthogonal weights; `scale` is the gain of the last layer."""
    layers = [nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)]
    for layer, gain in zip(layers[::2], (2**0.5, 2**0.5, scale), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def one_hot(values: Tensor, space: gym.Space) -> Tensor:
    """Return discrete values one-hot, and other values flattened."""
    if isinstance(space, gym.spaces.Discrete):
        return nn.functional.one_hot(values, int(space.n)).float()
    return values.flatten(1)


def advantages(rewards: Tensor, values: Tensor, ended: Tensor, last: Tensor, args: Arguments) -> Tensor:
    """Return generalised advantage estimates, [rollout, rows]; `last` [rows] is the value after the rollout."""
    estimates, ahead, following = torch.zeros_like(rewards), torch.zeros_like(last), last
    for step in reversed(range(len(rewards))):
        going_on = 1 - ended[step]
        error = rewards[step] + args.gamma * following * going_on - values[step]
        ahead = error + args.gamma * args.gae_lambda * going_on * ahead
        estimates[step], following = ahead, values[step]
    return estimates


def main(args: Arguments) -> None:
    """Train, print the progress, and evaluate on the test split."""
    torch.manual_seed(args.seed)
    kwargs = {"tensors": True, "device": args.device}
    env = gym.make_vec(args.env_id, args.num_envs, vectorization_mode="vector_entry_point", **kwargs)
    policy = Policy(env.single_observation_space, int(env.single_action_space.n), args.width).to(args.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=args.learning_rate, eps=1e-5)

    obs, info = env.reset(seed=args.seed)
    rows, mask = policy.flat(obs), torch.as_tensor(info["action_mask"], device=args.device)
    updates = max(1, args.steps // (args.rollout * args.num_envs))
    for update in range(updates):
        # Collect a rollout.
        kept: dict[str, list[Tensor]] = {
            name: [] for name in ("rows", "mask", "action", "log", "value", "reward", "end")
        }
        for _ in range(args.rollout):
            with torch.no_grad():
                choices, value = policy(rows, mask)
                action = choices.sample()
            obs, reward, terminated, truncated, info = env.step(action)
            step = (
                rows,
                mask,
                action,
                choices.log_prob(action),
                value,
                reward.float(),
                (terminated | truncated).float(),
            )
            for name, part in zip(kept, step, strict=True):
                kept[name].append(part)
            rows, mask = policy.flat(obs), torch.as_tensor(info["action_mask"], device=args.device)
        batch = {name: torch.stack(parts) for name, parts in kept.items()}

        # Estimate advantages.
        with torch.no_grad():
            last = policy(rows, mask)[1]
        gains = advantages(batch["reward"], batch["value"], batch["end"], last, args)
        batch |= {"gain": gains, "return": gains + batch["value"]}
        flat = {name: part.flatten(0, 1) for name, part in batch.items()}

        # Update the policy.
        for _ in range(args.epochs):
            for part in torch.randperm(len(flat["gain"]), device=args.device).chunk(args.minibatches):
                few = {name: values[part] for name, values in flat.items()}
                choices, value = policy(few["rows"], few["mask"])
                gain = (few["gain"] - few["gain"].mean()) / (few["gain"].std() + 1e-8)
                ratio = (choices.log_prob(few["action"]) - few["log"]).exp()
                surrogate = torch.min(ratio * gain, ratio.clamp(1 - args.clip, 1 + args.clip) * gain).mean()
                loss = (
                    0.5 * (value - few["return"]).square().mean() - surrogate - args.entropy * choices.entropy().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
                optimizer.step()

        if (update + 1) % max(1, updates // 10) == 0:
            decisions = (update + 1) * args.rollout * args.num_envs
            print(f"{decisions:>9,} decisions  reward per decision {batch['reward'].mean():.3f}")

    @torch.no_grad()
    def best(obs: dict[str, np.ndarray] | np.ndarray) -> np.ndarray:
        parts = obs.items() if isinstance(obs, dict) else {"": obs}.items()
        given = {key: torch.as_tensor(value, device=args.device) for key, value in parts}
        rows = policy.flat(given if isinstance(obs, dict) else given[""])
        return policy.actor(rows).argmax(1).cpu().numpy()

    result = mtl_gym.evaluate(best, env)
    print(f"test accuracy {100 * result.mean_accuracy:.2f}%, worst {result.worst[0]} {100 * result.worst[1]:.1f}%")


if __name__ == "__main__":
    main(from_command_line())
