"""Behaviour of the recurrent environments on small hand-computable series."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from torch import nn

import mtl_gym
from mtl_gym import TrainingDiverged
from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.nn.adam import MaskedAdam
from mtl_gym.core.options import NetworkContext
from mtl_gym.core.state import checkpoint
from mtl_gym.data import MultiTaskDataset
from mtl_gym.families.recurrent.bases import BASES, SeparateLSTMs, SharedLSTM
from mtl_gym.families.recurrent.construction import SHARINGS
from mtl_gym.families.recurrent.env import RecurrentEnv
from mtl_gym.families.recurrent.network import MultiTaskNetwork
from mtl_gym.families.recurrent.options import RecurrentOptions
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from tests.families.recurrent import literal
from tests.families.recurrent.series import STEPS, TINY, draw, make, roll, tiny_series

BRAIN = "MTLRecurrent-BrainSeries-v0"


def assert_same(first, second):
    for left, right in zip(first, second, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def weights(env):
    return {key: value.clone() for key, value in env.network.state_dict().items()}


def all_on(env):
    return lambda obs: np.ones((len(obs["task"]), env.connections), int)


def given(env, actions, row):
    """Return decision functions of `literal` that read actions [steps, rows, C]."""
    layout = env.layout

    def decisions(step):
        action = torch.from_numpy(actions[step][row : row + 1]).float()
        encoder = lambda block, i, j, unit: layout.encoder_part(block, action)[0, i, j].item()  # noqa: E731
        decoder = lambda block, j, unit, own, task: layout.decoder_part(block, action)[0, j].item()  # noqa: E731
        return encoder, decoder

    return decisions


def test_observation_contains_cells_previous_sub_encoders_and_own_state():
    env, rng = make(train=False), np.random.default_rng(0)
    obs, _ = env.reset(seed=0)
    x, network = env._split.inputs(env._acting.episodes.sample), env.network
    cells = [[(torch.zeros(4), torch.zeros(4))] * 2 for _ in range(4)]
    own, before = [(torch.zeros(4), torch.zeros(4))] * 4, [torch.zeros(5 * 4)] * 4
    for step in range(STEPS):
        assert obs["step"].tolist() == [step] * 4
        actions = draw(env, rng)
        for row, task in enumerate(obs["task"]):
            cells[row] = [literal.lstm_step(x[row, step], cells[row][i], network.sharing.cells, i) for i in range(2)]
            own[row] = literal.lstm_step(x[row, step], own[row], network.base.private, task)
            hidden = [state[0] for state in cells[row]]
            expected = torch.cat([*hidden, before[row], own[row][0]]).detach()
            np.testing.assert_allclose(obs["units"][row], expected, atol=1e-6)
            now = given(env, [actions] * STEPS, row)(step)
            before[row] = literal.time_step(network, hidden, own[row][0], task, *now)[1]
        if step < STEPS - 1:
            obs, *_ = env.step(actions)


@pytest.mark.parametrize("readout", ["mean", "last"])
def test_answer_and_reward_match_literal_network(readout):
    env, rng = make(num_envs=6, train=False, readout=readout, penalties=(0, 0)), np.random.default_rng(1)
    env.reset(seed=2)
    samples, actions = env._acting.episodes.sample.copy(), [draw(env, rng) for _ in range(STEPS)]
    for step in range(STEPS):
        _, reward, terminated, _, info = env.step(actions[step])
        assert terminated.tolist() == [step == STEPS - 1] * 6
        if step < STEPS - 1:
            assert (reward == 0).all()
    final = info["final_info"]
    assert final["sample"].tolist() == samples.tolist()
    for row, sample in enumerate(samples):
        task, label = TINY.split("train").task[sample].item(), TINY.split("train").y[sample].item()
        x = TINY.inputs("train", torch.tensor(sample))
        logits, _ = literal.answer(env.network, x, task, STEPS, given(env, actions, row))
        if task == 0:
            logits[2] = -torch.inf  # the first task has two classes only
        loss = nn.functional.cross_entropy(logits, torch.tensor(label)).item()
        assert reward[row] == pytest.approx(-loss, abs=1e-5)
        assert final["loss"][row] == pytest.approx(loss, abs=1e-5)
        assert final["prediction"][row] == logits.argmax().item() and final["label"][row] == label
        assert final["correct"][row] == final["is_success"][row] == (logits.argmax().item() == label)
        assert (final["route"][row] == np.stack(actions)[:, row]).all()
        assert final["connected"][row] == pytest.approx(np.stack(actions)[:, row].mean())


def test_connections_above_free_share_cost_at_their_step():
    free = {"penalties": (2, 3), "free": (0.75, 0.5), "reward": lambda logits, label, task: label * 0.0}
    env = make(num_envs=2, train=False, layers=(2, 2, 2), **free)  # C_1 = 8, C_2 = 4: 30 and 10 of 5 steps are free
    env.reset(seed=0)
    many, few = [1] * 7 + [0] + [1] * 4, [1, 0] * 6
    rewards = [env.step(np.array([many, few]))[1] for _ in range(STEPS)]
    # The first row has had 7, 14, 21, 28 and 35 in the encoder, and 4, 8, 12, 16 and 20 to the decoders.
    spent = [3 * max(0, 4 * step - 10) + 2 * max(0, 7 * step - 30) for step in range(STEPS + 1)]
    np.testing.assert_allclose(np.array(rewards)[:, 0], -np.diff(spent) / STEPS, atol=1e-5)
    assert (np.array(rewards)[:, 1] == 0).all()


def test_callable_and_named_rewards_are_paid_for_answers():
    for reward, expected in (("correct", {-1.0, 1.0}), (lambda logits, label, task: task + 10.0, {10.0, 11.0, 12.0})):
        env = make(num_envs=6, train=False, reward=reward, penalties=(0, 0))
        env.reset(seed=0)
        paid = roll(env, STEPS)[-1][-3]
        assert set(paid.tolist()) <= expected


def test_update_is_one_step_on_mean_batch_loss():
    env, rng = make(num_envs=6, learning_rate=0.01), np.random.default_rng(0)
    env.reset(seed=3)
    twin, samples = copy.deepcopy(env.network), env._acting.episodes.sample.copy()
    twin.load_state_dict(env.network.state_dict())
    optimizer = MaskedAdam(twin.parameters(), 0.01)
    actions = [draw(env, rng) for _ in range(STEPS)]
    for step in range(STEPS):
        assert env.updates == 0
        env.step(actions[step])
    assert env.updates == 1 and env.episodes == 6
    losses = []
    for row, sample in enumerate(samples):
        task, label = TINY.split("train").task[sample].item(), TINY.split("train").y[sample]
        x = TINY.inputs("train", torch.tensor(sample))
        logits, _ = literal.answer(twin, x, task, STEPS, given(env, actions, row))
        logits = logits[:2] if task == 0 else logits
        losses.append(nn.functional.cross_entropy(logits, label))
    torch.stack(losses).mean().backward()
    optimizer.step()
    for mine, theirs in zip(env.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_unused_sub_networks_stay_bit_identical():
    env = make(num_envs=6)
    env.reset(seed=0)
    roll(env, 4 * STEPS)
    before = weights(env)
    moments = {p: {k: v.clone() for k, v in state.items()} for p, state in env.optimizer.state.items()}
    names = np.array(env.layout.names)
    # Sub-encoder C has no incoming and no outgoing connections.
    cut = np.char.endswith(names, "> C") | np.char.startswith(names, "C >")
    assert cut.sum() == 2 + 2 + 1
    for _ in range(STEPS):
        env.step(np.tile(~cut, (6, 1)).astype(int))
    assert env.updates == 5
    for name, parameter in env.network.sharing.sub_encoders[0].named_parameters():
        old, now = before[f"sharing.sub_encoders.0.{name}"], env.optimizer.state[parameter]
        assert torch.equal(parameter[2], old[2]) and not torch.equal(parameter[0], old[0])
        assert all(torch.equal(moments[parameter][key][2], value[2]) for key, value in now.items())


def test_parts_of_tasks_outside_the_batch_stay_bit_identical():
    env = make(num_envs=6)
    env.reset(seed=0)
    roll(env, 3 * STEPS)
    env._candidates = env._candidates[env._split.task[env._candidates] != 1]  # excludes the second task
    env._stream.size = len(env._candidates)
    env._stream.position = env._stream.size
    roll(env, STEPS)  # uses up the waiting sequences
    before = weights(env)
    roll(env, 2 * STEPS)
    for key, value in weights(env).items():
        if key.startswith(("head", "base.private", "sharing.sub_decoders")):
            assert torch.equal(value[1], before[key][1]) and not torch.equal(value, before[key])


@pytest.mark.parametrize("sharing", ["mt-rmn", "rrn", "ic-mtl"])
def test_refresh_changes_nothing_with_equal_weights(sharing):
    env = make(num_envs=3, sharing=sharing)
    env.reset(seed=0)
    roll(env, STEPS + 2)
    units, total, actions = env._acting.units, env._acting.values.total.clone(), env._acting.episodes.actions.copy()
    env._acting.refresh()
    torch.testing.assert_close(units, env._acting.units)
    torch.testing.assert_close(total, env._acting.values.total)
    assert (actions == env._acting.episodes.actions).all() and env._acting.episodes.step.tolist() == [2, 2, 2]


def test_learning_rate_falls_by_3_percent_per_epoch():
    env = make(num_envs=20, learning_rate=0.1)
    env.reset(seed=0)
    while env.epoch < 2.2:
        roll(env, 1)
    # The update that ends an epoch is the first at the next rate.
    assert env.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.97**2)


def test_training_lowers_loss_and_evaluation_keeps_network():
    env = make(num_envs=12, learning_rate=0.02)
    env.reset(seed=0)
    before = mtl_gym.evaluate(all_on(env), env, "validation")
    for _ in range(40 * STEPS):
        env.step(np.ones((12, env.connections), int))
    held = weights(env)
    after = mtl_gym.evaluate(all_on(env), env, "validation")
    assert after.mean_loss < 0.6 * before.mean_loss and after.mean_accuracy > before.mean_accuracy
    assert all(torch.equal(value, held[key]) for key, value in weights(env).items())


def test_evaluation_passes_once_over_split_in_order():
    view = make().evaluation_view("test", 7)
    view.reset()
    seen = []
    while not view.pass_over:
        *_, info = view.step(np.zeros((7, view.connections), int))
        if "final_info" in info:
            seen += info["final_info"]["sample"].tolist()
    assert [sample for sample in seen if sample >= 0] == list(range(60))


@pytest.mark.parametrize("base", [*BASES, None])
@pytest.mark.parametrize("sharing", [*SHARINGS, None])
def test_every_base_model_supports_every_shared_part(base, sharing):
    if base is None and sharing is None:
        return
    env = make(base=base, sharing=sharing, layers=(2, 3, 3))
    env.reset(seed=0)
    first = weights(env)
    roll(env, 2 * STEPS)
    assert env.updates == 2
    assert any(not torch.equal(value, first[key]) for key, value in weights(env).items())
    assert np.isfinite(mtl_gym.evaluate(all_on(env), env, "validation").loss).all()


def test_connections_of_all_steps_affect_mean_readout_only():
    losses = {}
    for readout in ("mean", "last"):
        for first in (0, 1):
            env = make(num_envs=6, train=False, readout=readout, penalties=(0, 0))
            env.reset(seed=0)
            env.step(np.full((6, env.connections), first))
            for _ in range(STEPS - 1):
                *_, info = env.step(np.ones((6, env.connections), int))
            losses[readout, first] = info["final_info"]["loss"]
    assert not np.allclose(losses["mean", 0], losses["mean", 1])
    np.testing.assert_array_equal(losses["last", 0], losses["last", 1])


def test_unseen_task_trains_own_parts_with_frozen_encoder():
    env = make(num_envs=6, unseen_task=2, seen_updates=4, learning_rate=0.05)
    env.reset(seed=0)
    start = weights(env)
    assert mtl_gym.evaluate(all_on(env), env, "test").episodes.tolist() == [20, 20, 0]
    while not env.transferring:
        assert 2 not in env._acting.task
        roll(env, 1)
    held = weights(env)
    assert env.updates == 4 and env.epoch == 0
    private = ("base.private", "head", "sharing.sub_decoders")
    assert all(torch.equal(held[key][2], start[key][2]) for key in held if key.startswith(private))
    roll(env, 3 * STEPS)
    assert set(env._acting.task.tolist()) == {2}
    after = weights(env)
    for key in after:
        fixed = key.startswith(("sharing.cells", "sharing.sub_encoders"))
        assert torch.equal(after[key], held[key]) == fixed, key
        if key.startswith(private):
            assert torch.equal(after[key][:2], held[key][:2])
    assert mtl_gym.evaluate(all_on(env), env, "test").episodes.tolist() == [0, 0, 20]


def test_checkpoint_after_transfer_resumes_exactly(tmp_path):
    env = make(num_envs=3, unseen_task="third", seen_updates=2)
    env.reset(seed=0)
    roll(env, 4 * STEPS + 2)
    assert env.transferring
    checkpoint.save(env.state_dict(), tmp_path / "env.pt")
    twin = make(num_envs=3, unseen_task="third", seen_updates=2)
    twin.load_state_dict(checkpoint.load(tmp_path / "env.pt"))
    assert_same(roll(env, 3 * STEPS, seed=5), roll(twin, 3 * STEPS, seed=5))
    assert all(torch.equal(value, weights(twin)[key]) for key, value in weights(env).items())


def test_checkpoint_with_pending_episodes_resumes_exactly():
    env = make(num_envs=2, train_batch=6)
    env.reset(seed=0)
    roll(env, 2 * STEPS + 3)
    assert len(env._training.ended) == 2
    twin = env.fork()
    assert_same(roll(env, 3 * STEPS, seed=1), roll(twin, 3 * STEPS, seed=1))
    with pytest.raises(CheckpointError, match="from another environment"):
        make(num_envs=2, train_batch=6, layers=(2, 2, 2)).load_state_dict(env.state_dict())


def test_custom_network_is_template_or_function_of_context():
    def network(context):
        base = SharedLSTM(3, 4, context.data.num_tasks)
        return MultiTaskNetwork(nn.Identity(), base, None, context.data.num_tasks, context.data.max_classes)

    template = network(NetworkContext(TINY, RecurrentOptions(), torch.device("cpu")))
    for given in (network, template):
        env, heads = make(network=given), []
        for seed in (0, 1, 0):
            env.reset(seed=seed)
            heads.append(env.network.head.weight.detach().clone())
        assert torch.equal(heads[0], heads[2]) and not torch.equal(heads[0], heads[1])
    frozen = make(network=template, train=False)
    frozen.reset(seed=0)
    assert torch.equal(frozen.network.head.weight, template.head.weight)


@pytest.mark.parametrize(
    ("tasks", "classes", "readout"),
    [(2, 3, "mean"), (3, 2, "mean"), (3, 3, "every")],
    ids=["tasks", "classes", "readout"],
)
def test_network_that_does_not_fit_data_is_refused(tasks, classes, readout):
    network = MultiTaskNetwork(nn.Identity(), SharedLSTM(3, 4, tasks), None, tasks, classes, readout)
    with pytest.raises(ValueError, match=r"2 tasks|2 classes|readout='every'"):
        make(network=network)


def test_tasks_can_be_selected_by_name():
    env = make(tasks=("third", "first"))
    assert env.task_names == ("third", "first") and env.data.num_classes == (3, 2)
    split = env.data.split("test")
    there = TINY.split("test")
    assert torch.equal(split.x[split.task == 0], there.x[there.task == 2])
    assert torch.equal(split.y[split.task == 1], there.y[there.task == 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ("fourth",)}, "task 'fourth'.* first, second, third"),
        ({"tasks": ("first", 0)}, "tasks=.*each once"),
        ({"base": "lstm"}, "base='lstm' is unknown; use one of ns-mtl"),
        ({"sharing": "rmn"}, "sharing='rmn' is unknown; use one of mt-rmn"),
        ({"base": None, "sharing": None}, "leave no network"),
        ({"readout": "sum"}, "readout='sum' is unknown; use mean or last"),
        ({"hidden": 0}, "hidden=0 is not possible"),
        ({"free": (0.5, 2)}, r"free=\(0.5, 2\) is not possible; it takes two numbers from 0 to 1"),
        ({"penalties": (1,)}, r"penalties=\(1,\) is not possible"),
        ({"seen_updates": -1}, "seen_updates=-1 is not possible"),
        ({"lr_decay": 0}, "lr_decay=0 is not possible"),
        ({"learning_rate": 0}, "learning_rate=0 is not possible"),
        ({"unseen_task": "fifth"}, "no task 'fifth'"),
        ({"unseen_task": "first", "tasks": ("first",)}, "leaves no other task"),
        ({"data_kwargs": {"noise": 1}}, "for data sets that are loaded by name"),
        ({"network": lambda: None}, "takes no context"),
        ({"network": nn.Linear(1, 1)}, "give a MultiTaskNetwork"),
        ({"data": "digits"}, "'digits'.* sequences"),
        ({"layers": (2,)}, r"layers=\(2,\) .*two or more layers"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_actions_outside_space_are_refused():
    env = make(num_envs=2)
    env.reset(seed=0)
    for wrong in (2, -1, 0.5, 256):
        actions = np.ones((2, env.connections), type(wrong))
        actions[1, 3] = wrong
        with pytest.raises(ValueError, match=r"in row 1 lies outside MultiBinary\(17\)"):
            env.step(actions)
    with pytest.raises(ValueError, match="do not fit"):
        env.step(np.ones(2, int))
    env.step(np.ones((2, env.connections), np.float32))  # dtype of SB3's policies


def test_nonfinite_loss_stops_environment():
    env = make(num_envs=2)
    env.reset(seed=0)
    with torch.no_grad():
        env.network.head.bias.fill_(torch.inf)
    with pytest.raises(TrainingDiverged, match="not finite"):
        roll(env, STEPS)


def test_data_kwargs_of_id_reach_the_data_set():
    far = gym.make(BRAIN, data_kwargs={"relatedness": 0.0}).unwrapped
    assert not torch.equal(far.data.split("test").x, gym.make(BRAIN).unwrapped.data.split("test").x)


@pytest.mark.parametrize(("algorithm", "arguments"), [(PPO, {"n_steps": 10, "batch_size": 10}), (A2C, {})])
def test_sb3_algorithms_with_binary_actions_can_train(algorithm, arguments):
    vec_env = BatchedVecEnv(make(num_envs=8))
    model = algorithm("MultiInputPolicy", vec_env, seed=0, device="cpu", **arguments).learn(200)
    assert vec_env.batched.updates == model.num_timesteps // (8 * STEPS)
    result = mtl_gym.evaluate(model, vec_env.batched, "validation")
    assert result.episodes.tolist() == [20, 20, 20]
    single = RecurrentEnv(data=TINY, hidden=4, device="cpu")
    algorithm("MultiInputPolicy", single, device="cpu", **arguments).learn(40)


def test_ppo_learns_rewarded_connections():
    """Check that PPO, with penalties as the only reward, drops connections above the free share."""
    vec_env = BatchedVecEnv(
        make(num_envs=16, train=False, penalties=(5, 5), free=(0.2, 0.2), reward=lambda a, b, c: b * 0.0)
    )
    model = PPO("MultiInputPolicy", vec_env, seed=0, device="cpu", n_steps=20, batch_size=80, learning_rate=3e-3)
    before = mtl_gym.evaluate(model, vec_env.batched, "validation", deterministic=False).figures["usage"].mean()
    model.learn(6_000)
    after = mtl_gym.evaluate(model, vec_env.batched, "validation", deterministic=False).figures["usage"].mean()
    assert before > 0.45 and after < 0.3


def test_figures_contain_usage_and_overlap_of_connections():
    env = make(num_envs=6)
    env.reset(seed=0)
    names = np.array(env.layout.names)

    def by_task(obs):
        actions = np.zeros((len(obs["task"]), env.connections), int)
        actions[obs["task"] == 0, names == "A > decoder 1"] = 1
        actions[np.ix_(obs["task"] == 1, np.isin(names, ["A > decoder 1", "B > decoder 1"]))] = 1
        return actions

    figures = mtl_gym.evaluate(by_task, env, "validation").figures
    assert figures["names"] == env.layout.names and figures["blocks_used"] == 2
    assert figures["usage"].shape == (3, STEPS, 17)
    assert (figures["usage"][0].mean(0) == (names == "A > decoder 1")).all()
    expected = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(figures["overlap"], np.broadcast_to(expected, (STEPS, 3, 3)))


def test_environments_on_one_data_set_are_independent():
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=1)
    expected = make()
    expected.reset(seed=0)
    roll(second, 7)
    assert_same(roll(first, 12, seed=3), roll(expected, 12, seed=3))


def test_custom_series_make_an_environment():
    data = tiny_series(tasks=("only",), seed=4)
    assert isinstance(data, MultiTaskDataset)
    env = make(data=data)
    env.reset(seed=0)
    roll(env, STEPS)
    assert env.updates == 1


def test_adapter_makes_environment_by_id():
    vec_env = make_vec_env(BRAIN, 3, seed=0)
    obs = vec_env.reset()
    assert obs["units"].shape == (3, 160)


class Noisy(SeparateLSTMs):
    """Base model with running statistics and dropout, which apply to updates only."""

    def __init__(self, inputs, hidden, tasks):
        super().__init__(inputs, hidden, tasks)
        self.norm, self.drop = nn.BatchNorm1d(hidden), nn.Dropout(0.5)

    def forward(self, x, groups):
        return self.drop(self.norm(super().forward(x, groups).transpose(1, 2)).transpose(1, 2))


def test_running_statistics_and_dropout_apply_to_updates_only():
    env = make(4, base=Noisy)
    env.reset(seed=0)
    roll(env, STEPS - 1)
    statistics = env.network.base.norm.running_mean
    assert not statistics.any()
    env.step(draw(env, np.random.default_rng(0)))
    after = statistics.clone()
    assert after.any()

    def everything(obs):
        return np.ones((len(obs["task"]), env.connections), int)

    first, again = (mtl_gym.evaluate(everything, env) for _ in range(2))
    assert np.array_equal(first.loss, again.loss) and torch.equal(statistics, after)


def test_dropout_repeats_with_seed():
    weights = []
    for noise in range(2):
        env = make(4, base=Noisy)
        env.reset(seed=0)
        torch.manual_seed(noise)
        roll(env, 2 * STEPS)
        weights.append(torch.cat([p.detach().flatten() for p in env.network.parameters()]))
    assert torch.equal(*weights)
