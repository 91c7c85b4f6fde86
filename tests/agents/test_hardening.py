"""Soft mixtures that harden into routes."""

import numpy as np
import pytest
import torch
from mtl_agents import HardeningMixture

from mtl_gym.integrations.sb3 import make_vec_env

DIGITS = "MTLRouting-Digits-v0"


def test_the_temperature_decreases_geometrically_during_warm_up_and_then_is_constant():
    env = make_vec_env(DIGITS, 10, seed=0, mixture=True)
    agent = HardeningMixture(env, warm_up=0.5, final_temperature=0.01, seed=0)
    seen = []
    record = agent._record
    agent._record = lambda *step: (record(*step), seen.append(float(agent.layers[0].temperature)))
    agent.learn(240)  # 24 steps of the batch, 8 batches of routes, of which 4 are the warm-up
    expected = np.repeat(0.01 ** np.minimum(np.arange(9) / 4, 1), 3)[1:25]
    np.testing.assert_allclose(seen, np.concatenate([[1.0], expected])[1:25], rtol=1e-5)


def test_after_warm_up_every_task_uses_one_block():
    agent = HardeningMixture(make_vec_env(DIGITS, 32, seed=0, mixture=True), warm_up=0.3, seed=0).learn(20_000)
    shares = torch.stack([layer.shares for layer in agent.layers])
    assert (shares.amax(-1) > 0.999).all()
    assert agent.diagnostics["policy_max"] > 0.999 and agent.diagnostics["policy_entropy"] < 0.01
    assert len(shares.argmax(-1).unique(dim=1)) > 0


def test_the_noise_depends_on_the_agents_seed():
    logits = []
    for seed in (0, 0, 1):
        agent = HardeningMixture(make_vec_env(DIGITS, 8, seed=0, mixture=True), seed=seed)
        agent.env.seed(0)
        agent.learn(24)
        logits.append(agent.layers[0].logits.detach().clone())
    assert torch.equal(logits[0], logits[1]) and not torch.equal(logits[0], logits[2])


@pytest.mark.parametrize("argument", [{"warm_up": 0}, {"warm_up": 1.5}, {"final_temperature": 0}, {"noise": -1}])
def test_invalid_arguments_are_rejected(argument):
    with pytest.raises(ValueError, match=next(iter(argument))):
        HardeningMixture(make_vec_env(DIGITS, 2, mixture=True), **argument)
