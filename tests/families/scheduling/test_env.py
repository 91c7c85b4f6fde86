"""Observations, actions and rewards of the scheduling environments."""

import logging

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import mtl_gym
from mtl_gym.core.errors import TrainingDiverged
from mtl_gym.families.scheduling.network import SharedNetwork, plain_network


def logits_of(env, run, split):
    """Return one run's logits for a whole split from plain modules, without the stack."""
    encoder, heads = env.network.single(run)
    part = env.data.splits[split]
    with torch.no_grad():
        features = encoder(part.x)
        wide = torch.stack([heads[int(task)](feature) for task, feature in zip(part.task, features, strict=True)])
    allowed = torch.arange(4) < torch.tensor(env.data.num_classes)[part.task][:, None]
    return wide.masked_fill(~allowed, -torch.inf), part


def per_task(values, part):
    return [values[part.task == task].float().mean().item() for task in range(3)]


def test_the_observation_is_the_histogram_of_each_tasks_hardest_validation_samples(make):
    env = make(num_envs=2, hard_samples=6, bins=4)
    obs, *_ = env.step(np.array([0, 2]))
    logits, part = logits_of(env, 1, "validation")
    losses, best = cross_entropy(logits, part.y, reduction="none"), logits.softmax(-1).topk(2).values
    margins = 1 - best[:, 0] + best[:, 1]
    for task in range(3):
        own = torch.where(part.task == task)[0]
        hard = own[losses[own].argsort(descending=True, stable=True)[:6]]
        counts = np.histogram(margins[hard].numpy(), 4, (0, 1))[0]
        assert obs[1].reshape(3, 4)[task] == pytest.approx(counts / len(hard))


def test_the_reward_is_the_negative_mean_validation_loss(make):
    env = make(num_envs=2)
    _, reward, *_, info = env.step(np.array([1, 0]))
    logits, part = logits_of(env, 0, "validation")
    losses = per_task(cross_entropy(logits, part.y, reduction="none"), part)
    accuracy = per_task(logits.argmax(-1) == part.y, part)
    assert reward[0] == pytest.approx(-np.mean(losses), abs=1e-5)
    assert info["validation_loss"][0] == pytest.approx(losses, abs=1e-5)
    assert info["validation_accuracy"][0] == pytest.approx(accuracy, abs=1e-5)


def test_a_step_below_95_percent_of_the_reference_earns_the_penalty(make):
    lenient, strict = make(reference=0.01), make(reference=[1.0, 1.0, 0.99])
    _, reward, *_ = lenient.step(np.array([0, 1]))
    _, punished, *_ = strict.step(np.array([0, 1]))
    assert (reward > -10).all() and punished.tolist() == [-10, -10]
    accuracy = lenient.progress.validation_accuracy.mean(1)
    on_the_line = make(reference=float(accuracy[0]), tolerance=1.0, penalty=-3.0)
    _, mixed, *_ = on_the_line.step(np.array([0, 1]))
    assert (mixed == -3).tolist() == (accuracy < accuracy[0]).tolist()


def test_the_reward_can_be_the_papers_sum_over_tasks(make):
    mean, total = make(), make(reward="sum")
    (_, one, *_), (_, other, *_) = (env.step(np.array([1, 0])) for env in (mean, total))
    assert other == pytest.approx(3 * one) and mean.options.reward == "mean"


def shares_of_labels(env, task):
    part, rows = env.data.splits["validation"], env._held_out.rows[task]
    own = part.y[part.task == task]
    return [(np.bincount(y.numpy(), minlength=4) / len(y)) for y in (part.y[rows], own)]


def test_validation_samples_are_stratified_by_label(make, plants):
    env, again = (make(validation_samples=12, hard_samples=3) for _ in range(2))
    seen, all_of_them = shares_of_labels(env, 1)
    assert np.abs(seen - all_of_them).max() <= 1 / 12
    assert np.array_equal(env._held_out.rows, again._held_out.rows)
    first = np.flatnonzero(plants.splits["validation"].task == 1)[:12]
    assert not np.array_equal(np.sort(env._held_out.rows[1]), first)


def test_inputs_that_are_the_same_for_all_tasks_are_encoded_once():
    env = gym.make_vec("MTLScheduling-Digits-v0", num_envs=2, reference=None).unwrapped
    env.reset(seed=0)
    held_out, runs = env._held_out, env.network
    assert held_out.x.shape == (1, 359, 64)
    once = held_out.figures(runs)
    held_out.x = held_out.x.expand(10, -1, -1)
    each = held_out.figures(runs)
    assert torch.equal(once.loss, each.loss) and torch.equal(once.uncertainty, each.uncertainty)


def test_selecting_all_samples_as_hard_logs_one_warning(make, caplog):
    with caplog.at_level(logging.WARNING):
        make(hard_samples=19).reset(seed=1)
        assert not caplog.text
        env = make(hard_samples=8, validation_samples=8)
        env.reset(seed=1)
        mtl_gym.evaluate(lambda obs: np.zeros(len(obs), int), env)
    assert caplog.text.count("hard_samples=8 selects all 8 ") == 1


@pytest.mark.parametrize("name", ["Reviews", "Tagging", "CIFAR"])
def test_presets_have_more_validation_samples_than_hard_samples(name):
    kwargs = gym.spec(f"MTLScheduling-{name}-v0").kwargs
    assert kwargs["validation_samples"] > kwargs["hard_samples"]


def test_loss_weights_scale_each_tasks_gradient(make):
    env = make(num_envs=1, control="weights")
    encoder, heads = env.network.single(0)
    rows = env.training.minibatches.take(np.array([[0, 1, 2]]))[0]
    env.training.begin(env.run_seeds.tolist())
    train, losses = env.data.splits["train"], []
    for task in range(3):
        logits = heads[task](encoder(train.x[rows[task]]))[:, : env.data.num_classes[task]]
        losses.append(cross_entropy(logits, train.y[rows[task]]))
    weights = [0.2, 1.0, 0.0]
    (sum(w * loss for w, loss in zip(weights, losses, strict=True)) / 3).backward()
    adams = [torch.optim.Adam(m.parameters(), 1e-3) for m in (encoder, *heads)]
    for adam in adams[:3]:
        adam.step()
    env.step(np.array([weights], np.float32))
    mine, my_heads = env.network.single(0)
    for theirs, ours in zip([encoder, *heads], [mine, *my_heads], strict=True):
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-5)
    assert env.progress.train_loss[0] == pytest.approx([loss.item() for loss in losses], abs=1e-5)
    assert env.progress.trained.tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("control", ["choice", "weights"])
def test_gradient_norms_are_those_of_each_task_at_the_last_shared_weights(make, control):
    options = {"gradient_norms": True} if control == "weights" else {}
    env = make(num_envs=2, control=control, **options)
    pairs = [env.network.single(run) for run in range(2)]
    seeds, draw = env.run_seeds.tolist(), env.training.minibatches
    task = np.array([[2], [0]]) if control == "choice" else np.tile(np.arange(3), (2, 1))
    rows = draw.take(task)
    draw.begin(seeds)
    env.step(task[:, 0] if control == "choice" else np.full((2, 3), 0.5, np.float32))
    train = env.data.splits["train"]
    for run, (encoder, heads) in enumerate(pairs):
        for own, number in zip(rows[run], task[run], strict=True):
            logits = heads[number](encoder(train.x[own]))[:, : env.data.num_classes[number]]
            (grad,) = torch.autograd.grad(cross_entropy(logits, train.y[own]), [encoder[0].weight])
            assert env.progress.gradient_norm[run, number] == pytest.approx(grad.norm().item(), abs=1e-5)


def test_the_focal_loss_trains_but_reported_losses_are_cross_entropies(make):
    plain, focal = make(control="weights"), make(control="weights", focal_gamma=2.0)
    assert plain.progress.validation_loss == pytest.approx(focal.progress.validation_loss)
    for env in (plain, focal):
        env.step(np.ones((2, 3), np.float32))
    assert (focal.progress.train_loss < plain.progress.train_loss).all()
    rows = plain.training.minibatches
    rows.begin(plain.run_seeds.tolist())
    logits = torch.tensor([[2.0, 0.0]])
    from mtl_gym.families.scheduling.objectives import Focal

    p = 1 / (1 + np.exp(-2.0))
    assert Focal(2.0).losses(logits, torch.tensor([0])).item() == pytest.approx(-((1 - p) ** 2) * np.log(p), rel=1e-4)


def test_one_decision_of_several_updates_equals_as_many_decisions(make):
    once, often = make(num_envs=1, updates_per_step=5), make(num_envs=1)
    obs, *_, info = once.step(np.array([2]))
    for _ in range(5):
        other, *_ = often.step(np.array([2]))
    assert np.array_equal(obs, other) and info["updates"] == [5] and info["trained"].tolist() == [[0, 0, 5]]


def test_a_run_is_truncated_after_its_updates_and_the_next_has_fresh_weights(make):
    env = make(num_envs=2, updates=6)
    seeds = env.run_seeds.copy()
    for step in range(6):
        obs, _, terminated, truncated, info = env.step(np.array([0, 1]))
        assert truncated.all() == (step == 5) and not terminated.any()
    final = info["final_info"]
    assert final["updates"].tolist() == [6, 6] and final["seed"].tolist() == seeds.tolist()
    assert final["accuracy"].shape == final["loss"].shape == (2, 3)
    assert not np.array_equal(obs, np.stack(info["final_obs"]))
    assert (env.run_seeds != seeds).all() and info["updates"].tolist() == [0, 0]
    assert not any(state["step"].any() for state in env.optimizer.state.values())


def test_an_episode_of_digits_v1_is_300_updates_in_100_decisions():
    env = gym.make_vec("MTLScheduling-Digits-v1", num_envs=1, reference=None).unwrapped
    env.reset(seed=0)
    assert env.run_length == 100
    env.step(np.array([4]))
    assert env.progress.updates.tolist() == [3] and env.progress.trained[0, 4] == 3


def test_train_false_leaves_the_network_unchanged(make):
    env = make(train=False)
    before = {name: p.clone() for name, p in env.network.state_dict().items()}
    obs, *_ = env.step(np.array([0, 1]))
    again, *_ = env.step(np.array([2, 2]))
    assert np.array_equal(obs, again) and env.updates == 0
    assert all(torch.equal(p, before[name]) for name, p in env.network.state_dict().items())


def test_an_evaluation_view_trains_new_runs_and_leaves_its_environment_unchanged(make):
    env = make(num_envs=2, updates=20)
    env.step(np.array([0, 1]))
    state = env.state_dict()
    first = mtl_gym.evaluate(lambda obs: np.arange(len(obs)) % 3, env, "test")
    second = mtl_gym.evaluate(lambda obs: np.arange(len(obs)) % 3, env, "test")
    assert np.array_equal(first.accuracy, second.accuracy) and first.episodes.tolist() == [20, 20, 60]
    assert first.figures["timeline"].trained.sum((0, 1)).tolist() == [20, 20, 0]
    after = env.state_dict()
    assert after["np_random"] == state["np_random"] and after["updates"] == 1
    assert all(torch.equal(p, after["network"][name]) for name, p in state["network"].items())


def test_an_evaluation_view_measures_its_split_at_the_end_of_the_run(make):
    env = make(num_envs=2, updates=4)
    view = env.evaluation_view("test")
    view.reset()
    networks = []
    while not view.pass_over:
        view_before = [view.network.single(run) for run in range(2)]
        _, transition, _ = view.advance(np.array([0, 1]))
        networks.append(view_before)
    assert len(networks) == 4 and (view.run_seeds != env.run_seeds).all()
    accuracy = transition.final_info["accuracy"]
    assert accuracy.shape == (2, 3)
    counts = transition.result.counts(3)
    assert counts[0].tolist() == [20, 20, 60]
    assert counts[1] == pytest.approx(np.array([20, 20, 60]) * accuracy.mean(0))


def test_minibatches_hold_only_training_samples_of_their_task(make, plants):
    draw = make(num_envs=2).training.minibatches
    task = np.array([[0], [2]])
    seen = np.concatenate([draw.take(task) for _ in range(200)], -1)[:, 0]
    train = plants.splits["train"].task.numpy()
    for run, number in enumerate([0, 2]):
        assert set(seen[run]) == set(np.flatnonzero(train == number))


def test_users_can_pass_their_own_encoder_head_and_data(make, plants):
    def network(context):
        assert context.data is plants
        return SharedNetwork(nn.Sequential(nn.Linear(5, 3), nn.Sigmoid()), nn.Sequential(nn.Tanh(), nn.Linear(3, 4)))

    env = make(network=network)
    assert env.step(np.array([0, 1]))[0].shape == (2, 60)


def test_running_statistics_are_rejected():
    with pytest.raises(ValueError, match=r"BatchNorm1d.*GroupNorm"):
        SharedNetwork(nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8)), nn.Linear(8, 4))


def test_inputs_without_a_default_network_are_rejected(plants):
    class Odd:
        input_shape, max_classes = (3, 4), 2

    with pytest.raises(ValueError, match=r"shape \(3, 4\).*SharedNetwork"):
        plain_network(Odd())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "both"}, "control='both'"),
        ({"updates": 10, "updates_per_step": 3}, "multiple of 3"),
        ({"uncertainty": "doubt"}, "least_confidence"),
        ({"observation": "losses"}, "observation=.losses..*histogram.*progress"),
        ({"reward": "product"}, "reward=.product..*mean.*sum"),
        ({"reference": "mine"}, "single-task"),
        ({"gradient_norms": True}, "gradient_norms=True"),
        ({"aggregator": "upgrad"}, "aggregator='upgrad'"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"tolerance": 1.5}, "tolerance=1.5"),
        ({"hard_samples": 0}, "hard_samples=0"),
        ({"minibatches": 4}, "Did you mean 'minibatch'"),
    ],
)
def test_invalid_options_are_rejected_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_actions_outside_the_space_are_rejected(make):
    with pytest.raises(ValueError, match="action 3 in row 1"):
        make().step(np.array([0, 3]))
    with pytest.raises(ValueError, match="row 0"):
        make(control="weights").step(np.array([[0.5, np.nan, 0.1], [0, 0, 0]], np.float32))


def test_a_non_finite_loss_stops_the_environment_and_names_the_task(make):
    env = make()
    with torch.no_grad():
        env.network.head_parameters[0][1, 2] = torch.nan
    with pytest.raises(TrainingDiverged, match="seeds"):
        env.step(np.array([1, 1]))
    with pytest.raises(TrainingDiverged):
        env.reset()
    env.reset(seed=1)


def test_tensors_true_returns_tensors(plants, network):
    env = gym.make_vec(
        "MTLScheduling-Digits-v0", 2, data=plants, network=network, updates=4, reference=None, tensors=True
    )
    env.reset(seed=0)
    obs, reward, *_ = env.step(torch.tensor([0, 1]))
    assert isinstance(obs, torch.Tensor) and isinstance(reward, torch.Tensor)


def test_a_seeded_reset_that_discards_runs_logs_a_warning(make, caplog):
    env = make()
    env.step(np.array([0, 0]))
    with caplog.at_level(logging.WARNING):
        env.reset(seed=3)
    assert "discards a network trained for 1 updates" in caplog.text


class Narrow(nn.Module):
    def forward(self, x):
        return x[:1]


@pytest.mark.parametrize(
    ("encoder", "head", "told"),
    [
        (nn.Linear(64, 4), nn.Linear(4, 1), "each class"),
        (nn.Linear(64, 4), nn.Linear(4, 3), "each class"),
        (Narrow(), nn.Linear(64, 2), "each class"),
        (nn.Linear(64, 4), nn.Linear(5, 2), "cannot take inputs"),
        (nn.Linear(64, 4).double(), nn.Linear(4, 2).double(), "cannot take inputs"),
        (nn.Linear(64, 4).requires_grad_(False), nn.Linear(4, 2).requires_grad_(False), "no parameter to train"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(encoder, head, told):
    with pytest.raises(ValueError, match=told):
        gym.make_vec("MTLScheduling-Digits-v0", network=SharedNetwork(encoder, head))


@pytest.mark.parametrize(("encoder", "head", "told"), [(nn.Linear, nn.Linear(4, 2), "class"), (nn.ReLU(), [], "head=")])
def test_a_part_of_a_network_that_is_no_module_is_refused(encoder, head, told):
    with pytest.raises(ValueError, match=told):
        SharedNetwork(encoder, head)
