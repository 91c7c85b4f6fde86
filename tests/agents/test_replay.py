"""Minibatches that are read together, against those read one by one."""

import copy

import numpy as np
import torch
from mtl_agents import PaperQLS

from tests.agents.schedules import rows


def test_minibatches_read_together_are_those_read_one_by_one():
    agent = PaperQLS(rows(4), seed=0, learning_starts=16, batch_size=8).learn(80)
    buffer, twin = agent.replay_buffer, copy.copy(agent.replay_buffer)
    twin.random = np.random.Generator(type(buffer.random.bit_generator)())
    twin.random.bit_generator.state = buffer.random.bit_generator.state
    for samples in buffer.samples(40, 8):
        for sample in samples:
            assert all(map(torch.equal, sample, twin.sample(8)))
