"""Route over features of a frozen encoder, which was trained on other classes.

The encoder learns the 50 classes of one half of CIFAR-100's tasks (minutes on a CPU); its weights go to `encoders/` of
the data root, where other settings have another file. Heads are then routed over its features of the other half, which
are computed once and cached. Beside them: features of image patches, for which nothing is trained.

    python examples/frozen_features.py
    python examples/frozen_features.py --settings examples/encoders/cifar-half.json --epochs 10
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import torch
from mtl_agents import WPL
from torch import nn

import mtl_gym
from mtl_gym.data import MultiTaskDataset, data_root, load
from mtl_gym.data.encoders import ConvEncoder, write_encoder
from mtl_gym.families.routing import RoutingVectorEnv


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    settings: Annotated[Path, "File with the encoder's settings."] = Path(__file__).parent / "encoders/cifar-half.json"
    images: Annotated[int, "Images per epoch of the encoder; 0 for all."] = 0
    epochs: Annotated[int, "Passes over the training samples of the routed tasks."] = 5
    seed: Annotated[int, "Seed of the routed network and the router."] = 0


@dataclass(frozen=True)
class Settings:
    """Settings of an encoder: its name, the numbers of the tasks it learns, its channels, and its training."""

    name: str
    tasks: list[int]
    widths: list[int]
    epochs: int
    batch: int
    learning_rate: float
    seed: int


def from_command_line() -> Arguments:
    """Parse the command line, with one option per field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, hint in get_type_hints(Arguments, include_extras=True).items():
        kind, sentence = get_args(hint)
        default = getattr(Arguments, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{sentence} [{default}]")
    return Arguments(**vars(parser.parse_args()))


def trained(data: MultiTaskDataset, settings: Settings, images: int) -> ConvEncoder:
    """Train an encoder and one linear head to tell all classes of all tasks apart; images are mirrored at random."""
    torch.manual_seed(settings.seed)
    encoder, head = ConvEncoder(settings.widths), nn.Linear(settings.widths[-1], sum(data.num_classes))
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
    split, steps = data.split("train"), -(-(images or len(data.split("train"))) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, epochs=settings.epochs, steps_per_epoch=steps
    )
    for epoch in range(settings.epochs):
        total = torch.zeros(())
        for rows in torch.randperm(len(split))[: images or None].split(settings.batch):
            x = data.inputs("train", rows)
            mirrored = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x, x.flip(3))
            label = split.task[rows] * data.max_classes + split.y[rows]
            loss = nn.functional.cross_entropy(head(encoder(mirrored)), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() / steps
        print(f"encoder, epoch {epoch}: loss {total:.2f}", flush=True)
    return encoder.eval()


def routed(data: MultiTaskDataset) -> tuple[float, float]:
    """Train heads and a router; return samples per second of processor time, and test accuracy in %."""
    env = RoutingVectorEnv(128, data=data, depth=2, blocks=4, hidden=64, decay_epochs=args.epochs)
    router = WPL(env, seed=args.seed)
    samples, start = args.epochs * len(data.split("train")), time.process_time()
    router.learn(samples * env.routed_depth)
    return samples / (time.process_time() - start), 100 * mtl_gym.evaluate(router, env, split="test").mean_accuracy


args = from_command_line()
settings = Settings(**json.loads(args.settings.read_text()))
cifar = load("cifar")
recipe = hashlib.sha256(repr((settings, args.images)).encode()).hexdigest()[:8]
weights = data_root() / "encoders" / f"{settings.name}-{recipe}.npz"
if not weights.is_file():
    write_encoder(weights, trained(cifar.part(settings.tasks), settings, args.images))
    print(f"Wrote {weights}: {weights.stat().st_size / 1024:.0f} KiB")

others = cifar.part([task for task in range(cifar.num_tasks) if task not in settings.tasks])
print(f"\n{'features':<14}{'width':>6}{'seconds':>9}{'samples/s':>11}{'accuracy %':>12}")
for name, encoder in (("patches", "patches"), (settings.name, weights.stem)):
    start = time.process_time()
    data = others.with_features(encoder)
    seconds = time.process_time() - start
    speed, accuracy = routed(data)
    print(f"{name:<14}{data.input_shape[0]:>6}{seconds:>9.1f}{speed:>11,.0f}{accuracy:>12.1f}", flush=True)
