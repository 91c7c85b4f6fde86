"""The straight-through router in its environment, and controls with fixed connections."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import (
    WPL,
    AllConnected,
    Random,
    RandomFixed,
    Shared,
    StraightThroughRouter,
)
from torch import nn

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.families.recurrent.connections import sparsity
from mtl_gym.families.recurrent.policies import Decided, decide
from mtl_gym.integrations.sb3 import BatchedVecEnv
from tests.families.recurrent import literal
from tests.families.recurrent.series import STEPS, TINY, make

BRAIN, SWITCHING = "MTLRecurrent-BrainSeries-v0", "MTLRecurrent-Switching-v0"
both_forms = pytest.mark.parametrize("per_connection", [True, False], ids=["per connection", "paper"])


def router(num_envs=6, agent=None, **options):
    return StraightThroughRouter(BatchedVecEnv(make(num_envs, **options)), seed=0, hidden=5, **agent or {})


def test_actions_follow_the_noisy_policies_layer_by_layer():
    agent = router(2, StraightThroughRouter.PAPER, train=False)
    obs = agent.env.reset()
    network, policies, layout = agent.batched.network, agent.policies, agent.batched.layout
    actions = agent._act(obs)
    for row in range(2):
        noise, task, done = agent._noise[row, 0], obs["task"][row], actions[row]
        cells = torch.from_numpy(obs["units"][row][:8]).split(4)
        own = torch.from_numpy(obs["units"][row][-4:])

        def encoder(block, i, j, unit, noise=noise, done=done):
            place = int(layout.encoder_part(block, torch.arange(layout.size)[None].float())[0, i, j])
            score = literal.mlp(unit, policies.encoder[block], j) + noise[place]
            assert done[place] == (score[1] > score[0])
            return done[place]

        def decoder(block, j, unit, own, task, noise=noise, done=done):
            place = int(layout.decoder_part(block, torch.arange(layout.size)[None].float())[0, j])
            seen = torch.cat([unit, own @ policies.transformation.weight[task]])
            score = literal.mlp(seen, policies.decoder[0], task) + noise[place]
            assert done[place] == (score[1] > score[0])
            return done[place]

        literal.time_step(network, list(cells), own, task, encoder, decoder)
    assert 0 < actions.mean() < 1


def test_one_update_lowers_loss_and_penalties_by_the_softmaxs_gradient():
    """Compare policies and network with the literal loss of every sequence under the same noise."""
    options = {"penalties": (0.5, 0.25), "free": (0.3, 0.2), "learning_rate": 0.01}
    agent = router(6, {"temperature": 2.0, "learning_rate": 0.01, "per_connection": False}, **options)
    env = agent.batched
    seen = {}

    def gates(actions, kept, real=agent.gates):
        noise = kept[0][1].flatten(0, 1)
        seen["noise"], seen["actions"], seen["samples"] = noise, actions.flatten(0, 1), env._training.ended[0][0]
        seen["policies"] = {key: value.clone() for key, value in agent.policies.state_dict().items()}
        seen["network"] = {key: value.clone() for key, value in env.network.state_dict().items()}
        return real(actions, kept)

    def descend(real=agent.descend):
        seen["gradient"] = {name: p.grad.clone() for name, p in agent.policies.named_parameters()}
        real()

    agent.gates, agent.descend = gates, descend
    agent.learn(6 * STEPS)
    assert env.updates == 1
    twin, policies = copy.deepcopy(env.network), env.policy_networks(5)
    twin.load_state_dict(seen["network"]), policies.load_state_dict(seen["policies"])
    losses, penalties = [], []
    for row, sample in enumerate(seen["samples"]):
        task, label = TINY.split("train").task[sample].item(), TINY.split("train").y[sample]
        total = spent = 0
        x = TINY.inputs("train", torch.tensor(sample))
        states, own = [(torch.zeros(4),) * 2] * 2, (torch.zeros(4),) * 2
        for step in range(STEPS):
            states = [literal.lstm_step(x[step], states[i], twin.sharing.cells, i) for i in range(2)]
            own = literal.lstm_step(x[step], own, twin.base.private, task)
            knowledge, on = soft_step(twin, policies, [s[0] for s in states], own[0], task, seen, row * STEPS + step)
            total = total + knowledge
            spent = spent + on / STEPS
        penalties.append(sparsity(spent, env.layout, options["penalties"], options["free"]))
        logits = torch.cat([total / STEPS, own[0]]) @ twin.head.weight[task] + twin.head.bias[task, 0]
        losses.append(nn.functional.cross_entropy(logits[:2] if task == 0 else logits, label))
    (torch.stack(losses).mean() + torch.stack(penalties).mean()).backward()
    for name, parameter in policies.named_parameters():
        torch.testing.assert_close(seen["gradient"][name], parameter.grad, atol=1e-6, rtol=1e-3)
    assert any(gradient.abs().max() > 1e-5 for gradient in seen["gradient"].values())


def soft_step(network, policies, units, own, task, seen, place, temperature=2.0):
    """Compute equations 2 to 9 for one sample and time step, with the given decisions."""
    layout, sharing, number, gates = network.layout, network.sharing, 0, []

    def gate(scores):
        nonlocal number
        noisy = (scores + seen["noise"][place, number]) / temperature
        soft = torch.exp(noisy[1]) / torch.exp(noisy).sum()
        gates.append(seen["actions"][place, number] + (soft - soft.detach()))
        number += 1
        return gates[-1]

    def mean(units, on):
        return sum(z * u for z, u in zip(on, units, strict=True)) / torch.stack(on).sum().clamp(min=1)

    layers = []
    for block in range(len(layout.encoder)):
        receivers = range(layout.encoder[block][1])
        on = [[gate(literal.mlp(unit, policies.encoder[block], j)) for j in receivers] for unit in units]
        inputs = [mean(units, [row[j] for row in on]) for j in receivers]
        units = [literal.mlp(inputs[j], sharing.sub_encoder(block), j) for j in receivers]
        layers.append(units)
    knowledge = []
    for block, units in enumerate(layers):
        told = own @ policies.transformation.weight[task]
        on = [gate(literal.mlp(torch.cat([unit, told]), policies.decoder[0], task)) for unit in units]
        knowledge.append(literal.mlp(mean(units, on), sharing.sub_decoders[block], task))
    return torch.cat(knowledge), torch.stack(gates)


@both_forms
def test_recomputed_decisions_equal_the_original_ones(per_connection):
    """Recompute decisions from the saved noise before any weight changes."""
    agent, compared = router(6, {"per_connection": per_connection}), []
    real = agent.gates

    def gates(actions, kept):
        source = real(actions, kept)
        samples, split = agent.batched._training.ended[0][0], agent.batched._split
        anew = agent.batched.network.run(
            split.inputs(samples), split.sequences(samples), lambda at: Decided(agent.policies, source(at).noise)
        )
        compared.append((anew.gates, actions.flatten(0, 1)))
        return source

    agent.gates = gates
    agent.learn(6 * STEPS * 3)
    assert len(compared) == 3
    for anew, taken in compared:
        assert torch.equal(anew, taken)
        assert set(taken.unique().tolist()) == {0.0, 1.0}


def test_the_temperature_starts_at_100_and_is_halved_every_epoch():
    agent = router(20)
    assert agent.tau == 100
    agent.learn(60 * STEPS)
    assert agent.batched.epoch == 1 and agent.tau == 50
    agent.learn(120 * STEPS, reset_num_timesteps=False)
    assert agent.tau == 12.5
    assert router(20, {"temperature": 1.0, "final_temperature": 0.75}).learn(60 * STEPS).tau == 0.75


def test_penalties_close_connections_and_log_odds_open_them():
    strict = router(12, {"learning_rate": 0.02}, penalties=(5, 5), free=(0.1, 0.1))
    before = mtl_gym.evaluate(strict, strict.batched, "validation", deterministic=False).figures["usage"].mean()
    strict.learn(12 * STEPS * 40)
    after = mtl_gym.evaluate(strict, strict.batched, "validation", deterministic=False).figures["usage"].mean()
    assert 0.35 < before < 0.65 and after < 0.2
    open_ones = router(12, {"log_odds": 4.0})
    open_ones.batched.reset(seed=0)
    figures = mtl_gym.evaluate(open_ones, open_ones.batched, "validation", deterministic=False).figures
    assert figures["usage"].mean() > 0.9


@both_forms
def test_a_saved_router_decides_and_continues_like_the_original(per_connection, tmp_path):
    agent = router(3, {"per_connection": per_connection}, train_batch=6)
    agent.learn(3 * STEPS * 3)
    assert len(agent.batched._training) == 3  # episodes wait for their update
    agent.save(tmp_path / "agent.pt")
    twin_env = BatchedVecEnv(agent.batched.fork())
    twin = StraightThroughRouter.load(tmp_path / "agent.pt", twin_env)
    assert twin.per_connection == per_connection
    for one in (agent, twin):
        one.learn(3 * STEPS * 3, reset_num_timesteps=False)
    for mine, theirs in zip(agent.policies.parameters(), twin.policies.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(agent.batched.network.parameters(), twin.batched.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_seed_determines_a_router():
    first, second = (router(4).learn(4 * STEPS * 3) for _ in range(2))
    for mine, theirs in zip(first.policies.parameters(), second.policies.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_one_observation_has_one_action():
    agent = StraightThroughRouter(gym.make(BRAIN), seed=0)
    obs, _ = gym.make(BRAIN).reset(seed=0)
    agent.env.reset()
    action, _ = agent.predict(obs, deterministic=True)
    assert action.shape == (24,) and agent.action_space.contains(action)
    assert (agent.predict(obs, deterministic=True)[0] == action).all()
    agent.learn(28 * 2)


@both_forms
def test_encoder_policies_are_frozen_when_an_unseen_task_arrives(per_connection):
    agent = router(6, {"per_connection": per_connection}, unseen_task="third", seen_updates=2)
    agent.learn(6 * STEPS * 2)
    assert agent.batched.transferring
    before = copy.deepcopy(agent.policies)
    agent.learn(6 * STEPS * 2, reset_num_timesteps=False)
    encoders, decoders = (
        list(zip(getattr(before, part).parameters(), getattr(agent.policies, part).parameters(), strict=True))
        for part in ("encoder", "decoder")
    )
    assert all(torch.equal(old, new) for old, new in encoders)
    by_task = [[part.unflatten(0, (3, -1)) for part in pair] for pair in decoders]
    assert all(torch.equal(old[:2], new[:2]) for old, new in by_task)
    assert any(not torch.equal(old[2], new[2]) for old, new in by_task)


def test_it_finds_the_module_of_every_regime_and_task():
    env = gym.make_vec(SWITCHING, num_envs=64, instance=100)
    agent = StraightThroughRouter(env, seed=100).learn(60_000)
    result = mtl_gym.evaluate(agent, env)
    assert result.figure > 80 and result.figures["usage"].mean() == pytest.approx(1 / 4, abs=0.05)


def test_a_trained_router_does_not_affect_another_agent():
    agent = router(4).learn(4 * STEPS)
    assert agent.batched.router is None
    RandomFixed(agent.env, seed=0).learn(4 * STEPS * 2)
    agent.learn(4 * STEPS, reset_num_timesteps=False)


def test_it_continues_after_pending_episodes_were_discarded(tmp_path):
    agent = router(3, train_batch=6).learn(3 * STEPS)
    agent.save(tmp_path / "agent.pt")
    before = agent.batched.state_dict()
    fresh = router(3, train_batch=6)
    elsewhere = StraightThroughRouter.load(tmp_path / "agent.pt", fresh.env)
    elsewhere.learn(3 * STEPS * 3)
    agent.batched.reset(seed=1)
    agent.learn(3 * STEPS * 3)
    agent.batched.load_state_dict(before)
    agent.learn(3 * STEPS * 3, reset_num_timesteps=False)
    other = StraightThroughRouter(agent.env, seed=1)
    for one in (agent, other, agent):
        one.learn(3 * STEPS, reset_num_timesteps=False)
    assert agent.batched.updates > before["updates"]


def test_the_noise_of_pending_episodes_is_saved_with_them():
    agent = router(3, train_batch=6).learn(3 * STEPS)
    waiting = agent.batched._training.ended[0][2]
    assert waiting.shape == (3, STEPS, agent.connections, 2) and waiting.std() > 0.5
    assert torch.equal(agent.batched.fork()._training.ended[0][2], waiting)
    assert not agent._noise.any()


def test_a_router_for_networks_of_another_width_is_rejected(tmp_path):
    agent = router(3)
    agent.save(tmp_path / "agent.pt")
    wider = router(3, hidden=6)
    with pytest.raises(CheckpointError, match=r"\[.*units, not \["):
        StraightThroughRouter.load(tmp_path / "agent.pt", wider.env)
    with pytest.raises(ValueError, match=r"agent .* units"):
        agent.set_env(wider.env)


def test_environments_without_matching_connections_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"StraightThroughRouter .*'units'"):
        StraightThroughRouter("MTLRouting-Digits-v0")
    with pytest.raises(ValueError, match="no connections"):
        router(sharing="ic-mtl")
    with pytest.raises(ValueError, match=r"load\(path, env\)"):
        StraightThroughRouter.load(tmp_path / "agent.pt")
    with pytest.raises(ValueError, match=r"temperature=1\.0 must be at least"):
        router(agent={"temperature": 1.0, "final_temperature": 2.0})
    agent = router()
    agent.save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="The saved agent"):
        StraightThroughRouter.load(tmp_path / "agent.pt", BatchedVecEnv(make(layers=(2, 2, 2))))
    with pytest.raises(CheckpointError, match="holds StraightThroughRouter, not AllConnected"):
        AllConnected.load(tmp_path / "agent.pt")


@pytest.mark.parametrize("agent_class", [WPL, Shared])
def test_routers_of_blocks_reject_connections(agent_class):
    with pytest.raises(ValueError, match="needs a Dict observation with 'task' and 'depth'"):
        agent_class(BRAIN)


def test_random_fixed_has_constant_connections_per_task(tmp_path):
    env = BatchedVecEnv(make(12))
    agent = RandomFixed(env, seed=0).learn(12 * STEPS * 2)
    figures = mtl_gym.evaluate(agent, env.batched, "validation").figures
    assert (figures["usage"] == figures["usage"][:, :1]).all()
    np.testing.assert_array_equal(figures["usage"][:, 0], agent.routes)
    assert len({tuple(route) for route in agent.routes}) == 3
    for receiver in np.unique(env.batched.layout.receivers):
        assert agent.routes[:, env.batched.layout.receivers == receiver].any(1).all()
    agent.save(tmp_path / "agent.pt")
    loaded = RandomFixed.load(tmp_path / "agent.pt")
    obs = env.reset()
    np.testing.assert_array_equal(loaded.predict(obs)[0], agent.predict(obs)[0])


def test_random_redraws_connections_and_all_connected_does_not():
    env = BatchedVecEnv(make(12))
    obs = env.reset()
    agent = Random(env, seed=0).learn(12 * STEPS)
    drawn = agent.predict(obs)[0]
    assert env.action_space.contains(drawn[0]) and 0.3 < drawn.mean() < 0.7
    agent = AllConnected(env).learn(12 * STEPS)
    assert (agent.predict(obs)[0] == 1).all() and agent.predict(obs)[0].shape == (12, 17)
    unrouted = BatchedVecEnv(make(sharing=None, base="fs-mtl"))
    AllConnected(unrouted).learn(4 * STEPS)
    assert unrouted.batched.updates == 1


def test_a_decision_without_noise_is_the_more_probable_one():
    assert decide(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [1.0, 0.0]
