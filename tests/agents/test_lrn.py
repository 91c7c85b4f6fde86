"""LRN: the transformer router, the rewards of its rollouts, and its files."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import LRN, RandomFixed, Shared
from mtl_agents.limitless.lrn import BonusRolloutBuffer
from mtl_agents.limitless.router import Router, sinusoids
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnMaxEpisodes

import mtl_gym
from mtl_gym.core.errors import CheckpointError
from mtl_gym.families.limitless.env import LimitlessVectorEnv
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from tests.families.limitless.pools import labyrinth, make

DIGITS = "MTLLimitless-Digits-v0"
SMALL = {"d_model": 16, "heads": 2, "feed_forward": 32, "batch_size": 32, "n_steps": 16}


def agent_on(env, **arguments):
    return LRN(env, **SMALL | {"seed": 0} | arguments)


def parameters(agent):
    return {key: value.clone() for key, value in agent.policy.state_dict().items()}


def observe(rows=6, modules=12, depth=4):
    rng = np.random.default_rng(0)
    chosen = rng.integers(1, modules + 1, (rows, depth)) * (np.arange(depth) < rng.integers(0, depth, (rows, 1)))
    image, task = rng.random((rows, 1, 4, 4), np.float32), rng.integers(2, size=rows)
    arrays = {"image": image, "task": task, "chosen": chosen, "depth": (chosen > 0).sum(1)}
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


def make_router(modules=12):
    torch.manual_seed(0)
    return Router((1, 4, 4), 2, modules, d_model=16, heads=2, feed_forward=32).eval()


def filled(buffer, actions, starts, rewards):
    """Fill a rollout of two rows with actions, where 3 is PASS; all values are 0.5."""
    space = buffer.observation_space
    buffer.reset()
    for action, start, reward in zip(*map(np.array, (actions, starts, rewards)), strict=True):
        obs = {key: np.stack([part.sample()] * 2) for key, part in space.items()}
        value, log_prob = torch.full((2,), 0.5), torch.zeros(2)
        buffer.add(obs, action[:, None], reward, start, value, log_prob, action_masks=np.ones((2, 4)))
    return buffer


def first(buffer):
    """Fill row 0 with an episode of two steps that ends with -2 and a new one, row 1 with one that ends with -1."""
    actions, starts = [[0, 0], [2, 1], [0, 3], [1, 2]], [[1, 1], [0, 0], [1, 0], [0, 0]]
    filled(buffer, actions, starts, [[0, 0], [-2, 0], [0, 0], [0, -1]])
    buffer.compute_returns_and_advantage(torch.tensor([9.0, 9.0]), np.array([False, True]))
    return buffer


def second(buffer, reset):
    """Continue the episode of row 0, unless reset, and end it with -3; fill row 1 with two episodes of two steps."""
    starts = [[reset, 1], [0, 0], [1, 1], [0, 0]]
    filled(buffer, [[2, 0], [1, 1], [0, 0], [1, 1]], starts, [[0, 0], [-3, -4], [0, 0], [-5, -6]])
    buffer.compute_returns_and_advantage(torch.tensor([9.0, 9.0]), np.array([True, True]))
    return buffer


def make_buffer(bonus):
    space = make(network=labyrinth([[0, 0, 0]])[1], data=labyrinth([[0, 0, 0]])[0], image_shape=None)
    shape = (4, space.single_observation_space, gym.spaces.Discrete(4), "cpu", 0.9, 0.8, 2)
    return BonusRolloutBuffer(*shape, random=np.random.default_rng(0), bonus=bonus)


def trained(buffer):
    batches = list(buffer.get(3))
    assert max(len(batch.actions) for batch in batches) <= 3 and min(len(batch.actions) for batch in batches) > 1
    return {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in ("actions", "returns")}


def test_every_time_step_earns_the_final_reward_and_the_bonus_of_its_module():
    """Equation 7 by hand: in completed episodes, modules 0, 1, 2 were chosen 2, 1, 2 times: bonuses 0, 1, 0."""
    rewards = first(make_buffer(bonus=1.0)).rewards[-4:]
    np.testing.assert_allclose(rewards[:, 1], [-1, -1 + 1, -1, -1])  # the third is PASS
    np.testing.assert_allclose(rewards[:2, 0], [-2, -2])


def test_without_the_bonus_every_time_step_earns_the_final_reward():
    assert first(make_buffer(bonus=0.0)).rewards[-4:, 1].tolist() == [-1, -1, -1, -1]


def test_advantages_by_hand():
    """Gamma 0.8, lambda 0.9: 0.72 of the next advantage, 0.8 of the next value."""
    advantages = first(make_buffer(bonus=0.5)).advantages[-4:]
    last = -2 - 0.5
    np.testing.assert_allclose(advantages[:2, 0], [-2 + 0.4 - 0.5 + 0.72 * last, last], rtol=1e-6)
    expected = [-1 - 0.5]
    for reward in (-1, -0.5, -1):
        expected.insert(0, reward + 0.4 - 0.5 + 0.72 * expected[0])
    np.testing.assert_allclose(advantages[:, 1], expected, rtol=1e-6)


def test_a_whole_episode_is_trained_in_the_rollout_of_its_end():
    buffer = first(make_buffer(bonus=0.0))
    figures = trained(buffer)
    assert sorted(figures["actions"].ravel().tolist()) == [0, 0, 1, 2, 2, 3]  # not the two under way
    second(buffer, reset=False)
    # Row 0: modules 0 and 1 of the previous rollout, then 2 and 1, all with -3; then 0 and 1 with -5.
    assert buffer.rewards[-6:, 0].tolist() == [-3, -3, -3, -3, -5, -5]
    assert buffer.rewards[-4:, 1].tolist() == [-4, -4, -6, -6]
    assert len(trained(buffer)["actions"]) == 10


def test_an_episode_interrupted_by_a_reset_is_not_trained():
    buffer = second(first(make_buffer(bonus=0.0)), reset=True)
    assert len(trained(buffer)["actions"]) == 8


def test_an_interrupted_rollout_carries_nothing_over():
    buffer = first(make_buffer(bonus=0.0))
    filled(buffer, [[2, 0]], [[0, 1]], [[0, 0]])
    assert len(trained(second(buffer, reset=False))["actions"]) == 8


def test_the_rewards_of_a_rollout_follow_equation_7():
    """Recompute all episodes of a rollout of `learn` from the environment's rewards."""
    episodes = []

    def watch(values, _):
        infos = [info for info, done in zip(values["infos"], values["dones"], strict=True) if done]
        episodes.extend((-info["loss"], info["route"][info["route"] >= 0]) for info in infos)
        return True

    buffer = agent_on(make(train=False), bonus=0.5).learn(4 * 16, callback=watch).rollout_buffer
    paid, placed = buffer.rewards.T[buffer.trained.T], buffer.actions.ravel() < 12
    counts = np.bincount(np.concatenate([route for _, route in episodes]), minlength=12)
    bonus = 0.5 * (1 - (counts - counts.min()) / (counts.max() - counts.min()))
    expected = [loss + bonus[module] for loss, route in episodes for module in route]
    np.testing.assert_allclose(sorted(paid[placed]), sorted(expected), rtol=1e-5)
    assert (~placed).any() and np.isin(paid[~placed], np.float32([loss for loss, _ in episodes])).all()


def test_the_value_is_attention_without_a_context():
    """Equations 3 to 5, element by element."""
    router, obs = make_router(), observe()
    state, absent = router.encode(obs)
    values = router.values(state, absent)
    for row in range(len(state)):
        there = [state[row, j] for j in range(state.shape[1]) if not absent[row, j]]
        assert len(there) == 2 + int((obs["chosen"][row] > 0).sum())
        e = [router.attention.weight[0] @ s + router.attention.bias[0] for s in there]
        alpha = [torch.exp(score) / sum(torch.exp(other) for other in e) for score in e]
        pooled = sum(weight * s for weight, s in zip(alpha, there, strict=True))
        expected = router.value.weight[0] @ pooled + router.value.bias[0]
        assert values[row, 0].item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_logit_is_the_scaled_product_of_decoded_candidate_and_encoded_task():
    router, obs = make_router(), observe()
    masks = torch.zeros(6, 13, dtype=torch.bool)
    masks[:, [2, 5, 12]] = True
    with torch.no_grad():
        state, absent = router.encode(obs)
        logits = router.logits(state, absent, masks)
        candidates = torch.stack([router.module.weight[2], router.module.weight[5], router.passing])
        decoded = router.decoder(candidates.expand(6, 3, 16), state, memory_key_padding_mask=absent)
    for row in range(6):
        asked = router.score.weight @ state[row, 1] + router.score.bias
        expected = [(candidate @ asked).item() / 4 for candidate in decoded[row]]
        assert logits[row, [2, 5, 12]].tolist() == pytest.approx(expected, abs=1e-5)


def test_state_and_candidates_are_those_of_torchs_layers_and_so_are_gradients():
    """Rows differ in their chosen modules and in their candidates; some have the same ones, one has a single one."""
    router, obs = make_router(), observe(rows=8)
    masks = torch.rand(8, 13, generator=torch.Generator().manual_seed(0)) < 0.5
    masks[4:] = masks[:4]
    masks[2] = torch.arange(13) == 12
    for layer in (router.encoder, router.decoder):  # biases are 0 at first
        for name, parameter in layer.named_parameters():
            torch.nn.init.normal_(parameter, std=0.3) if "bias" in name else None
    modules, places = obs["chosen"], sinusoids(torch.arange(4), 16)
    task = router.task(obs["task"]) + sinusoids(obs["depth"], 16)
    chosen = router.module((modules - 1).clamp(min=0)) + places
    parts = torch.cat([router.image(obs["image"])[:, None], task[:, None], chosen], 1)
    found, gradients = [], []
    state, absent = router.encode(obs)
    found.append(router.logits(state, absent, masks).where(masks, 0))
    encoded = router.encoder(parts, src_key_padding_mask=absent)
    choices = torch.cat([router.module.weight, router.passing[None]]).expand(8, 13, 16)
    paddings = {"tgt_key_padding_mask": ~masks, "memory_key_padding_mask": absent}
    decoded = router.decoder(choices, encoded, **paddings)
    found.append((decoded * router.score(encoded[:, 1])[:, None] / 4).sum(-1).where(masks, 0))
    torch.testing.assert_close(state, encoded.masked_fill(absent[..., None], 0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    for logits in found:
        router.zero_grad()
        logits.square().sum().backward(retain_graph=True)
        gradients.append([p.grad.clone() for p in router.parameters() if p.grad is not None])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_an_untrained_router_prefers_other_modules_for_other_tasks():
    """Shared preferences would give all tasks the same modules, and modules that all tasks share learn no task."""
    torch.manual_seed(0)
    router = Router((1, 4, 4), 10, 5, d_model=64, heads=4, feed_forward=128)
    obs = observe(rows=10, modules=5)
    obs["chosen"][:], obs["depth"][:], obs["task"] = 0, 0, torch.arange(10)
    with torch.no_grad():
        logits = router.logits(*router.encode(obs), torch.ones(10, 6, dtype=torch.bool))
    by_module = logits.mean(0)
    by_both = logits - by_module - logits.mean(1, keepdim=True)
    assert by_both.std() > 0.5 * by_module.std()
    assert len(logits.argmax(1).unique()) >= 3


def test_masked_modules_receive_no_attention():
    router, obs = make_router(), observe()
    obs["chosen"][:] = 0
    masks = torch.zeros(6, 13, dtype=torch.bool)
    masks[:, [1, 4, 12]], masks[3, 7] = True, True
    with torch.no_grad():
        before = router.logits(*router.encode(obs), masks)
        router.module.weight[[0, 2, 3, 5, 6, 8, 9, 10, 11]] += 100
        router.module.weight[7] += 1
        after = router.logits(*router.encode(obs), masks)
    others = torch.arange(6) != 3
    torch.testing.assert_close(before[others], after[others])
    assert not torch.allclose(before[3], after[3])  # there module 7 is a candidate
    assert (before[~masks] == -1e8).all()


def test_logits_follow_modules_not_positions():
    """Two modules that swap embeddings swap logits."""
    router, obs = make_router(), observe()
    obs["chosen"][:] = 0
    masks = torch.ones(6, 13, dtype=torch.bool)
    with torch.no_grad():
        before = router.logits(*router.encode(obs), masks)
        router.module.weight[[2, 9]] = router.module.weight[[9, 2]]
        after = router.logits(*router.encode(obs), masks)
    order = torch.arange(13)
    order[[2, 9]] = order[[9, 2]]
    torch.testing.assert_close(before[:, order], after, atol=1e-5, rtol=1e-5)


def test_logits_depend_on_the_order_of_modules_and_on_depth():
    router, obs = make_router(), observe()
    obs["chosen"][:, :2] = torch.tensor([3, 5])
    values = router.values(*router.encode(obs))
    swapped = obs | {"chosen": obs["chosen"].clone()}
    swapped["chosen"][:, :2] = torch.tensor([5, 3])
    deeper = obs | {"depth": obs["depth"] + 1}
    assert not torch.allclose(values, router.values(*router.encode(swapped)), atol=1e-4)
    assert not torch.allclose(values, router.values(*router.encode(deeper)), atol=1e-4)


def test_it_learns_on_every_kind_of_environment_and_never_chooses_masked_actions():
    for env in (DIGITS, gym.make(DIGITS), gym.make_vec(DIGITS, num_envs=4), make_vec_env(DIGITS, 4)):
        agent = agent_on(env).learn(64)
        assert agent.num_timesteps >= 64
    result = mtl_gym.evaluate(agent, agent.env.batched)
    assert result.episodes.sum() == 3590 and np.isfinite(result.loss).all()  # an invalid choice would leave no loss
    obs, _ = gym.make(DIGITS).reset(seed=0)
    assert np.shape(agent.predict(obs, deterministic=True)[0]) == ()


def test_the_settings_of_the_paper_are_one_argument_away():
    agent = LRN(make(), seed=0, n_steps=16, **LRN.PAPER)
    router = agent.policy.router
    assert router.module.weight.shape[1] == 256 and router.encoder.linear1.out_features == 512
    assert (agent.learning_rate, agent.batch_size, agent.n_epochs, agent.ent_coef) == (1e-4, 64, 1, 0.0)
    assert (agent.gamma, agent.gae_lambda, agent.bonus) == (0.99, 0.95, 1.0)


def test_the_environment_leaves_the_bonus_to_the_agent():
    env = make()
    agent = agent_on(env)
    assert agent.bonus == 1.0 and not env.pays_bonus
    assert agent_on(make(bonus=False)).bonus == 0.0
    assert agent_on(make(bonus=0.25)).bonus == 0.25
    assert agent_on(make(), bonus=False).bonus == 0.0
    single = gym.make(DIGITS)
    agent_on(single)
    assert not single.unwrapped.batched.pays_bonus


def test_the_learning_rate_is_annealed_by_the_environments_epochs():
    env = make(num_envs=16, train_batch=16)
    agent = agent_on(env, learning_rate=0.01)
    agent.learn(16 * 16 * 4)
    epoch = int(env.epoch)
    assert epoch >= 2
    agent._update_learning_rate(agent.policy.optimizer)
    assert agent.policy.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.97**epoch)


@pytest.mark.slow
def test_the_router_finds_the_one_right_path_of_each_task():
    paths = [[0, 1, 2], [2, 2, 0], [1, 0, 1]]
    data, pool = labyrinth(paths)
    env = LimitlessVectorEnv(32, data=data, network=pool, train=False, max_depth=4, bonus=True)
    agent = LRN(env, seed=0, d_model=64, feed_forward=128, learning_rate=3e-4, ent_coef=0.03).learn(35_000)
    result = mtl_gym.evaluate(agent, env, deterministic=False)
    assert (result.accuracy > 0.95).all()
    likeliest = mtl_gym.evaluate(agent, env).figures["usage"]
    for task, (first, second, head) in enumerate(paths):
        assert np.flatnonzero(likeliest[task]).tolist() == [first, 3 + second, 6 + head]


def test_a_restored_agent_continues_identically(tmp_path):
    first = BatchedVecEnv(make(num_envs=8))
    agent = agent_on(first).learn(300)
    agent.save(tmp_path / "agent.pt")
    second = BatchedVecEnv(make(num_envs=8))
    second.reset()
    second.batched.load_state_dict(first.batched.state_dict())
    loaded = LRN.load(tmp_path / "agent.pt", second)
    assert loaded.num_timesteps == agent.num_timesteps
    for one in (agent, loaded):
        one.learn(300, reset_num_timesteps=False)
    for key, value in parameters(agent).items():
        assert torch.equal(value, loaded.policy.state_dict()[key]), key
    for mine, theirs in zip(first.batched.network.parameters(), second.batched.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_steps_under_way_of_another_rollout_are_rejected_and_older_files_have_none():
    agent, other = (agent_on(make(num_envs=envs)).learn(32) for envs in (4, 8))
    before, state = parameters(agent), other.state_dict()
    with pytest.raises(CheckpointError, match=r"last_obs\.image has shape \[8, .*\], needs \[4, "):
        agent.load_state_dict(state)
    with pytest.raises(CheckpointError, match="saved steps"):
        agent.load_state_dict(agent.state_dict() | {"carried": state["carried"]})
    assert all(torch.equal(value, before[key]) for key, value in parameters(agent).items())
    del state["carried"]
    agent_on(make(num_envs=8)).load_state_dict(state)


def test_a_seed_determines_training_and_global_generators_do_not_advance():
    torch.manual_seed(5), np.random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second, other = (agent_on(make(), seed=seed).learn(100) for seed in (0, 0, 1))
    assert torch.equal(states[0], torch.get_rng_state()) and (states[1] == np.random.get_state()[1]).all()
    assert all(torch.equal(value, second.policy.state_dict()[key]) for key, value in parameters(first).items())
    assert not torch.equal(first.policy.router.score.weight, other.policy.router.score.weight)


def test_a_loaded_agent_predicts_without_an_environment(tmp_path):
    agent = agent_on(make()).learn(64)
    agent.save(tmp_path / "agent.pt")
    loaded = LRN.load(tmp_path / "agent.pt")
    obs = {key: value.numpy() for key, value in observe().items()}
    masks = np.ones((6, 13), bool)
    choices = [a.predict(obs, deterministic=True, action_masks=masks)[0].tolist() for a in (agent, loaded)]
    assert choices[0] == choices[1]
    with pytest.raises(ValueError, match="give it one with set_env"):
        loaded.learn(10)


def test_a_saved_agent_accepts_a_longer_pool(tmp_path):
    agent = agent_on(make(duplicates=2)).learn(200)
    agent.save(tmp_path / "agent.pt")
    longer = make(num_envs=6, duplicates=3)
    loaded = LRN.load(tmp_path / "agent.pt", longer)
    old, new = agent.policy.router.module.weight, loaded.policy.router.module.weight
    assert new.shape == (18, 16) and torch.equal(new[:12], old)
    torch.testing.assert_close(new[12], (old[0] + old[6]) / 2)  # an input convolution like modules 0 and 6
    loaded.learn(200)
    assert mtl_gym.evaluate(loaded, longer, "train", deterministic=False).figures["usage"][:, 12:].sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duplicates": 1}, "saved agent .*'modules': 12"),
        ({"max_depth": 5}, "'depth': 4"),
        ({"image_shape": [1, 2, 8]}, r"'image': \[1, 4, 4\]"),
    ],
)
def test_an_environment_of_other_sizes_is_rejected(tmp_path, options, message):
    agent_on(make()).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match=message):
        LRN.load(tmp_path / "agent.pt", make(**options))


def test_invalid_arguments_and_files_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"LRN .*image, task, chosen, depth"):
        LRN("MTLRouting-Digits-v0")
    with pytest.raises(ValueError, match="bonus=-1"):
        agent_on(make(), bonus=-1)
    with pytest.raises(ValueError, match="lr_decay=2"):
        agent_on(make(), lr_decay=2)
    RandomFixed(make(), seed=0).save(tmp_path / "agent.pt")
    with pytest.raises(CheckpointError, match="holds RandomFixed, not LRN"):
        LRN.load(tmp_path / "agent.pt")


def test_sb3s_callbacks_and_progress_bar_work():
    env = make_vec_env(DIGITS, 4)
    evaluation = EvalCallback(make_vec_env(DIGITS, 4), eval_freq=16, n_eval_episodes=4, verbose=0, warn=False)
    agent_on(env).learn(64, callback=[evaluation])
    agent = agent_on(env).learn(4000, callback=StopTrainingOnMaxEpisodes(2))
    assert agent.num_timesteps < 4000


def test_random_fixed_has_one_constant_valid_network_per_task():
    env = make(num_envs=8)
    agent = RandomFixed(env, seed=0)
    before = agent.routes.copy()
    assert before.shape == (2, 4)
    agent.learn(200)
    np.testing.assert_array_equal(agent.routes, before)
    usage = mtl_gym.evaluate(agent, env).figures["usage"]
    for task in range(2):
        assert set(usage[task].tolist()) == {0, usage[task].max()}  # all of a task's networks, or none
    assert not np.array_equal(RandomFixed(env, seed=1).routes, before)
    with pytest.raises(ValueError, match=r"Shared needs .* layers.*LimitlessVectorEnv declares POOL"):
        Shared(env)


def test_an_agent_saved_again_without_an_environment_keeps_the_kinds_of_its_modules(tmp_path):
    small = {"d_model": 16, "feed_forward": 16, "n_steps": 8}
    agent = LRN(gym.make_vec("MTLLimitless-Digits-v0", 2, filters=2, hidden=2), seed=0, **small)
    agent.save(tmp_path / "first")
    LRN.load(tmp_path / "first").save(tmp_path / "second")
    assert LRN.load(tmp_path / "second").state_dict()["kinds"] == agent.state_dict()["kinds"] is not None
