"""Resumption of a sweep whose process is killed repeatedly, after given numbers of decisions."""

import signal
import subprocess
import sys

import pytest

from mtl_gym.core.state import checkpoint
from tests.lab.folders import curves, nothing_is_half_written, same

SMALL = """
env: MTLRouting-Digits-v0
steps: 320
num_envs: 16
seeds: 1
env_kwargs: {hidden: 2, depth: 2, train_batch: 16}
agents:
  wpl:
  dqn: {agent_kwargs: {buffer_size: 400, learning_starts: 40}}
"""
PARTS, DECISIONS = 7, 2 * 320
PLAIN = "from mtl_gym.lab.cli import app; app()"
# Write a checkpoint whenever possible, and die once the given number of decisions is on file.
DYING = """
import os, signal, sys
from pathlib import Path
from mtl_gym.lab.cli import app
from mtl_gym.lab import resume

most, out = int(sys.argv[1]), Path(sys.argv[2])
keep, resume.LEAST_APART, resume.COSTS_APART = resume.Checkpoints.keep, 0, 0

def keep_and_die(self):
    keep(self)
    if self.num_timesteps_now + 320 * len(list(out.rglob("result.json"))) >= most:
        os.kill(os.getpid(), signal.SIGKILL)

resume.Checkpoints.keep = keep_and_die
app(sys.argv[3:])
"""


def on_file(out):
    """Return the decisions of finished and interrupted runs."""
    kept = [checkpoint.load(path)["decisions"] for path in out.rglob("checkpoint.pt")]
    return sum(kept) + 320 * len(list(out.rglob("result.json")))


@pytest.mark.slow
def test_a_sweep_killed_after_every_seventh_of_its_decisions_ends_as_an_uninterrupted_one(tmp_path):
    settings, whole, broken = tmp_path / "small.yaml", tmp_path / "whole", tmp_path / "broken"
    settings.write_text(SMALL)
    arguments = ["compare", "--settings", str(settings), "--quiet", "--out"]
    for part in range(1, PARTS):
        most = -(-DECISIONS * part // PARTS)
        dying = [sys.executable, "-W", "ignore", "-c", DYING, str(most), str(broken), *arguments, str(broken)]
        assert subprocess.run(dying, capture_output=True).returncode == -signal.SIGKILL
        assert most <= on_file(broken) < DECISIONS * (part + 1) / PARTS
        nothing_is_half_written(broken)
    for out in (whole, broken):
        subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN, *arguments, str(out)], check=True)
    for run in ("wpl/seed-0", "dqn/seed-0"):
        for name in ("progress.csv", "environment.pt", "agent.pt"):
            assert same(whole / run / name, broken / run / name), (run, name)
        assert curves(whole / run) == curves(broken / run)
