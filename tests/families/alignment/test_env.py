import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import mtl_gym
from mtl_gym.core.errors import TrainingDiverged
from mtl_gym.data import SPLITS, TaskCollection, TaskData, load
from mtl_gym.families.alignment.env import AlignmentVectorEnv

LINEAR = {"data": "generated-linear", "block": (20, 1), "context": 1, "device": "cpu"}
SHORT = {"generations": 3, "iterations": 4, "final_generations": 2}
NONE = 30


def linear(runs=2, **options):
    env = AlignmentVectorEnv(runs, **LINEAR | SHORT | options)
    env.reset(seed=0)
    return env


def nobody(env):
    return np.full(env.action_space.shape, env.network.num_modules)


def mixed(seed=0):
    """Make options of a regression, a classification and labelled sequences, with their own architectures."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 5, generator=random)
    pictures = torch.randn(40, 1, 6, 6, generator=random)
    tokens = torch.randint(7, (40, 4), generator=random)
    parts = [
        TaskData("line", "regression", dict.fromkeys(SPLITS, (x, x[:, :2] * 2)), 2),
        TaskData(
            "picture", "classification", dict.fromkeys(SPLITS, (pictures, (pictures.mean((1, 2, 3)) > 0).long())), 2
        ),
        TaskData("words", "classification", dict.fromkeys(SPLITS, (tokens, tokens)), 7),
    ]
    nets = [
        nn.Linear(5, 2),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)),
        nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 7)),
    ]
    return {"data": TaskCollection("mixed", parts), "network": nets, "block": (4, 4), "context": 2}


def test_a_run_begins_with_one_module_per_location():
    env = linear()
    obs, info = env.reset(seed=1)
    assert obs["assignment"].tolist() == [list(range(30))] * 2
    assert (obs["usage"] == 1).all() and not obs["score"].any()
    assert info["modules_used"].tolist() == [30, 30]


def test_the_training_reward_is_the_decrease_of_the_training_loss():
    env = linear(reward="training")
    _, before = env.reset(seed=0)
    _, reward, *_, after = env.step(nobody(env))
    assert reward == pytest.approx((before["train_loss"] - after["train_loss"]).mean(1), rel=1e-4)
    assert (reward > 0).all()


def test_validation_data_do_not_affect_training():
    spoiled = load("generated-linear")
    parts = [
        TaskData(
            task.name,
            task.kind,
            {**task.splits, "validation": (task.splits["validation"][0], -task.splits["validation"][1])},
            1,
        )
        for task in spoiled.tasks
    ]
    other = TaskCollection("spoiled", parts, spoiled.groups)
    env, other = (linear(data=data, reward="training") for data in (spoiled, other))
    for _ in range(2):
        ours, theirs = env.step(nobody(env)), other.step(nobody(other))
    assert np.array_equal(ours[1], theirs[1])
    assert not np.allclose(ours[4]["validation_loss"], theirs[4]["validation_loss"])


def test_without_challengers_the_assignment_does_not_change_and_scores_are_zero():
    env = linear()
    obs, *_ = env.step(nobody(env))
    assert obs["assignment"].tolist() == [list(range(30))] * 2 and not obs["score"].any()


def test_a_challenger_is_scored_at_its_location_and_may_be_selected():
    env = linear(challengers=2)
    actions = nobody(env).reshape(2, 30, 2)
    actions[0, 3] = 8, 9
    obs, *_ = env.step(actions.reshape(2, -1))
    score = obs["score"].reshape(2, 30, 2)
    assert (score[0, 3] > 0).all() and np.count_nonzero(score) == 2
    assert obs["assignment"][0, 3] in (3, 8, 9) and obs["assignment"][1, 3] == 3


def test_the_better_challenger_wins():
    """A location whose module has the wrong sign selects the challenger of the right sign."""
    data = load("generated-linear").part(["task 0", "task 1"])
    weights = [torch.linalg.lstsq(*task.splits["test"]).solution[:, 0] for task in data.tasks]
    env = linear(1, data=data, iterations=60, learning_rate=1e-4)
    with torch.no_grad():
        env.network.contexts.fill_(1)
        env.network.hypermodules[0, 0, 0, :, 0] = weights[1]
        env.network.hypermodules[0, 1, 0, :, 0] = -weights[1]
    obs, *_ = env.step(np.array([[2, 0]]))
    assert obs["assignment"].tolist() == [[0, 0]] and obs["score"][0, 1] > 0.5


def test_a_module_without_location_does_not_change_bit_for_bit():
    env = linear(1, start=[0, 1] + [2] * 28)
    env.step(nobody(env))
    env.training.assign(np.full((1, 30), 2))
    modules, state = env.network.hypermodules, env.optimizer.state[env.network.hypermodules]
    parts = [modules.data, state["exp_avg"], state["exp_avg_sq"]]
    before = [part.clone() for part in parts]
    assert before[1][0, :3].all()  # momentum would move them
    env.step(nobody(env))
    for part, was in zip(parts, before, strict=True):
        others = torch.arange(30) != 2
        assert torch.equal(part[0, others], was[0, others])
        assert not torch.equal(part[0, 2], was[0, 2])


@pytest.mark.parametrize("decomposition", ["location", "task", "model"])
def test_every_decomposition_trains(decomposition):
    env = AlignmentVectorEnv(2, **mixed(), **SHORT, decomposition=decomposition, challengers=2, device="cpu")
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(3):
        _, reward, _, truncated, _ = env.step(env.action_space.sample())
    assert truncated.all() and np.isfinite(reward).all()


def test_with_one_submapping_a_run_selects_all_challengers_or_none():
    env = linear(6, decomposition="model")
    env.action_space.seed(1)
    actions = env.action_space.sample() % NONE
    obs, *_ = env.step(actions)
    for row in range(6):
        assert obs["assignment"][row].tolist() in (list(range(30)), actions[row].tolist())


def test_runs_side_by_side_equal_single_runs():
    wide = AlignmentVectorEnv(3, **mixed(), **SHORT, minibatch=8, device="cpu")
    alone = AlignmentVectorEnv(1, **mixed(), **SHORT, minibatch=8, device="cpu")
    wide.reset(seed=5), alone.reset(seed=5)
    actions = np.tile(np.arange(wide.network.num_locations)[::-1], (3, 1))
    for _ in range(2):
        mine, theirs = wide.step(actions), alone.step(actions[:1])
        assert np.allclose(mine[4]["train_loss"][0], theirs[4]["train_loss"][0], rtol=1e-4)
        assert not np.allclose(mine[4]["train_loss"][0], mine[4]["train_loss"][1])


def test_evaluation_measures_the_run_under_way_and_after_its_end_the_completed_run():
    env = linear(generations=2)
    env.step(nobody(env))
    under_way = mtl_gym.evaluate(lambda obs: nobody(env), env)
    assert under_way.figures["history"].length == 2
    *_, info = env.step(nobody(env))
    ended = mtl_gym.evaluate(lambda obs: nobody(env), env, "validation")
    assert ended.loss == pytest.approx(info["final_info"]["loss"].mean(0), rel=1e-5)
    assert ended.figures["history"].length == 3
    assert np.array_equal(ended.figures["assignment"], env.shown.best.state["assignment"].numpy())
    assert ended.mean_loss < under_way.mean_loss


def test_evaluation_figures_belong_to_the_measured_weights():
    env = linear(1, start="oracle", generations=2)
    agreed = nobody(env)
    agreed[:] = 0
    env.step(agreed)
    result = mtl_gym.evaluate(lambda obs: nobody(env), env)
    best = env.course.best.state["assignment"]
    assert result.figures["modules_used"].tolist() == [len(best.unique())]
    assert np.array_equal(result.figures["assignment"], best.numpy())


def test_rmse_is_the_mean_of_the_tasks_root_mean_square_errors():
    env = linear(1)
    view = env.evaluation_view("test")
    result = mtl_gym.evaluate(lambda obs: nobody(env), env)
    view.reset()
    view.step(nobody(env))
    by_hand = []
    for number, task in enumerate(env.data.tasks):
        x, y = task.splits["test"]
        by_hand.append((view.network.export(number)(x) - y).detach().square().mean().sqrt().item())
    assert result.figures["rmse"][0] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_accuracy_of_a_regression_is_its_explained_variance():
    task = load("generated-linear").tasks[0]
    right = {split: task.splits[split] for split in SPLITS}
    weights = torch.linalg.lstsq(*task.splits["test"]).solution.T
    env = AlignmentVectorEnv(1, **LINEAR | {"data": TaskCollection("one", [TaskData("a", "regression", right, 1)])})
    env.reset(seed=0)
    with torch.no_grad():
        env.network.contexts.fill_(1)
        env.network.hypermodules[0, 0, 0] = weights.T
    assert env.training.figures("test").accuracy[0, 0] == pytest.approx(1)
    with torch.no_grad():
        env.network.contexts.fill_(0.5)
    explained = env.training.figures("test").accuracy[0, 0]
    _, y = task.splits["test"]
    by_hand = 1 - (y / 2).square().mean() / (y - y.mean()).square().mean()
    assert explained == pytest.approx(max(0, float(by_hand)), abs=1e-5)


def test_the_best_weights_on_the_validation_samples_are_restored_at_the_end():
    env = linear(1, generations=4, final_generations=0, learning_rate=3.0)
    variance = np.array([float(task.splits["train"][1].var(correction=0)) for task in env.data.tasks])
    seen = [env.progress.validation_loss[0]]
    for _ in range(3):
        *_, info = env.step(nobody(env))
        seen.append(info["validation_loss"][0])
    *_, info = env.step(nobody(env))
    scores = [(loss / variance).mean() for loss in seen]
    assert (info["final_info"]["loss"][0] / variance).mean() <= min(scores) * (1 + 1e-5)
    assert min(scores) < scores[-1]


def test_losses_are_relative_to_the_variance_of_targets_or_the_first_loss():
    env = AlignmentVectorEnv(1, **mixed(), **SHORT, device="cpu")
    _, info = env.reset(seed=0)
    line = env.data.tasks[0].splits["train"][1]
    assert env.progress.scale[0, 0] == pytest.approx(float((line - line.mean(0)).square().mean()), rel=1e-5)
    assert np.array_equal(env.progress.scale[0, 1:], info["validation_loss"][0, 1:])


def test_an_evaluation_does_not_train():
    env = linear()
    env.step(nobody(env))
    before = {name: value.clone() for name, value in env.network.state_dict().items()}
    mtl_gym.evaluate(lambda obs: nobody(env), env)
    assert all(torch.equal(value, before[name]) for name, value in env.network.state_dict().items())


def test_the_oracle_begins_with_the_true_groups_and_ends_with_success():
    env = linear(2, start="oracle", generations=1)
    *_, info = env.step(nobody(env))
    assert info["final_info"]["is_success"].all()
    assert info["final_info"]["modules_used"].tolist() == [3, 3]


def test_hierarchical_start_shares_the_ith_module_among_ith_locations():
    env = AlignmentVectorEnv(1, **mixed(), start="hierarchical", device="cpu")
    places = env.network.locations
    for member in range(3):
        own = places.architecture == member
        assert env.start[own].tolist() == list(range(own.sum()))


def test_three_kinds_of_tasks_learn():
    env = AlignmentVectorEnv(1, **mixed(), generations=4, iterations=40, final_generations=0, device="cpu")
    _, before = env.reset(seed=0)
    for _ in range(3):
        *_, after = env.step(nobody(env))
    assert (after["train_loss"] < before["train_loss"]).all()
    result = mtl_gym.evaluate(lambda obs: nobody(env), env)
    assert result.task_names == ("line", "picture", "words") and (result.accuracy >= 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"challengers": 0}, "challengers=0"),
        ({"decomposition": "layer"}, "decomposition='layer'.*location"),
        ({"selection": "worst"}, "selection='worst'"),
        ({"start": "near"}, "start='near'"),
        ({"start": [0, 1]}, "30 locations"),
        ({"challenger_share": 1.0}, "challenger_share=1.0"),
        ({"block": (20,)}, "block="),
        ({"modules": 5}, r"start='disjoint' needs 30 modules.* 5"),
        ({"keep": [["a"]]}, "keep="),
        ({"data": "digits"}, "TaskCollection"),
        ({"tasks": ["task 77"]}, "no task 'task 77'"),
        ({"network": [nn.Linear(20, 1)]}, "1 architectures for 30 tasks"),
    ],
)
def test_invalid_options_are_rejected_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        AlignmentVectorEnv(**LINEAR | options)


def test_network_takes_a_list_a_module_list_or_a_function_of_the_context():
    nets = mixed()["network"]
    seen = []

    def function(context):
        seen.append((context.data.name, context.device.type, context.options.block))
        return nets

    shown = []
    for network in (nets, nn.ModuleList(nets), function):
        env = AlignmentVectorEnv(1, **mixed() | {"network": network}, **SHORT, device="cpu")
        shown.append(env.reset(seed=0)[1]["validation_loss"])
    assert np.array_equal(shown[0], shown[1]) and np.array_equal(shown[0], shown[2])
    assert seen == [("mixed", "cpu", (4, 4))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architectures": [nn.Linear(20, 1)] * 30}, "architectures.*network="),
        ({"network": lambda: None}, "takes no context"),
        ({"network": lambda context: nn.Linear(20, 1)}, "made a Linear"),
        ({"network": lambda context: [1] * 30}, "Architecture 0 is 1"),
        ({"network": nn.Linear(20, 1)}, "network=Linear.*ModuleList"),
    ],
)
def test_a_network_of_another_type_is_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        AlignmentVectorEnv(**LINEAR | options)


def test_the_final_generations_do_not_advance_the_generator():
    """With random selection, the generator's state after a run does not depend on the number of final generations."""
    states = []
    for final_generations in (0, 2):
        env = linear(1, generations=1, selection="random", final_generations=final_generations)
        env.step(nobody(env))
        states.append(env.np_random.bit_generator.state)
    assert states[0] == states[1]


def test_the_oracle_needs_groups():
    with pytest.raises(ValueError, match="known groups"):
        AlignmentVectorEnv(1, **mixed(), start="oracle", device="cpu")


def test_an_evaluation_of_another_width_is_rejected():
    with pytest.raises(ValueError, match="num_envs=5"):
        linear().evaluation_view(num_envs=5)


def test_a_non_finite_loss_raises_an_error_with_the_task():
    env = linear(1)
    with torch.no_grad():
        env.network.contexts[0, 4] = torch.inf
    with pytest.raises(TrainingDiverged, match="task 4"):
        env.step(nobody(env))


def test_the_preset_is_the_papers_synthetic_benchmark():
    env = gym.make("MTLAlignment-Linear-v0", device="cpu").unwrapped
    assert env.action_space.nvec.tolist() == [31] * 30
    assert (
        env.options.iterations == 100 and env.options.learning_rate == 1e-3 and env.options.score_learning_rate == 1e-2
    )
    assert env.batched.network.hypermodules.shape == (1, 30, 1, 20, 1)


def test_the_cross_modal_architectures_have_the_papers_blocks():
    tasks = {
        "vision": (
            torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.int64),
            "classification",
            20,
        ),
        "text": (torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, dtype=torch.int64), "classification", 9),
        "dna": (torch.zeros(2, 30, dtype=torch.int64), torch.zeros(2, 1), "regression", 1),
    }
    found = TaskCollection(
        "cross-modal",
        [TaskData(name, kind, dict.fromkeys(SPLITS, (x, y)), n) for name, (x, y, kind, n) in tasks.items()],
    )
    for width, blocks in (("small", [181, 64, 52]), ("paper", [361, 4096, 6400])):
        for name, count in zip(tasks, blocks, strict=True):
            env = AlignmentVectorEnv(1, data=found, tasks=[name], width=width, device="cpu")
            assert env.network.num_locations == count
    env = AlignmentVectorEnv(2, data=found, device="cpu", **SHORT)
    env.reset(seed=0)
    _, reward, *_ = env.step(nobody(env))
    assert (reward > 0).all()


def test_a_state_dict_does_not_change_with_later_steps():
    env = linear(1, generations=10)
    env.step(nobody(env))
    state = env.state_dict()
    weights = state["family"]["runs"]["courses"][0]["weights"]
    before = {name: value.clone() for name, value in weights.items()}
    for _ in range(3):
        env.step(nobody(env))
    assert all(
        torch.equal(value, before[name]) for name, value in state["family"]["runs"]["courses"][0]["weights"].items()
    )
    env.load_state_dict(state)
    assert env.course.history.length == 2


def test_a_checkpoint_restores_both_runs_and_histories():
    env = linear(2, generations=2)
    for _ in range(3):
        env.step(nobody(env))
    twin = env.fork()
    for one in (env, twin):
        one.step(nobody(one))
    first, second = (mtl_gym.evaluate(lambda obs: nobody(env), one) for one in (env, twin))
    assert np.array_equal(first.loss, second.loss)
    assert np.array_equal(first.figures["history"].assignment, second.figures["history"].assignment)


def two_tasks(kind="regression", outputs=1, x=None):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(12, 6, generator=random) if x is None else x
    y = x.float().mean(1, keepdim=True) if kind == "regression" else (x[:, 0] > 0).long()
    return TaskCollection("two", [TaskData(name, kind, dict.fromkeys(SPLITS, (x, y)), outputs) for name in "ab"])


class Clipped(nn.Module):
    """Module with control flow that depends on values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 1)

    def forward(self, x):
        y = self.layer(x)
        return y.clamp(max=1) if y.mean() > 0 else y


@pytest.mark.parametrize(
    ("net", "data", "message"),
    [
        (nn.Linear(6, 2), {}, r"'a': .*float32 \[2, 2\] .*needs float32 \[2, 1\]"),
        (nn.Linear(6, 3), {"kind": "classification", "outputs": 2}, r"needs float32 \[2, 2\]"),
        (nn.Linear(5, 1), {}, r"'a': its architecture cannot take inputs float32 \[2, 6\]: (addmm: )?mat1 and mat2"),
        (nn.LSTM(6, 1), {}, "its architecture returns tuple"),
        (nn.Linear(6, 1), {"x": torch.arange(72).view(12, 6)}, r"cannot take inputs int64 \[2, 6\]"),
        (Clipped(), {}, "cannot be called with generated weights"),
    ],
    ids=["outputs", "classes", "inputs", "tuple", "dtype", "values"],
)
def test_an_architecture_that_does_not_fit_its_task_is_rejected_before_training(net, data, message):
    with pytest.raises(ValueError, match=message):
        AlignmentVectorEnv(2, data=two_tasks(**data), network=[net, net], block=(3, 1), context=1, device="cpu")


class Recurrent(nn.Module):
    """Module with dropout inside an LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm, self.last = nn.LSTM(3, 4, 2, dropout=0.5, batch_first=True), nn.Linear(4, 1)

    def forward(self, x):
        return self.last(self.lstm(x.unflatten(1, (2, 3)))[0][:, -1])


def test_dropout_within_a_layer_repeats_with_the_seed():
    losses = []
    for _ in range(2):
        env = AlignmentVectorEnv(
            1, data=two_tasks(), network=[Recurrent(), Recurrent()], block=(3, 1), context=1, **SHORT
        )
        env.reset(seed=0)
        torch.rand(3)  # whatever else draws
        losses.append(env.step(nobody(env))[-1]["train_loss"])
    assert np.array_equal(*losses)


def test_views_report_the_success_of_the_completed_run_after_the_next_has_begun():
    nets = [nn.Linear(6, 1), nn.Linear(6, 1)]
    options = {"generations": 1, "iterations": 200, "final_generations": 0, "learning_rate": 0.01, "device": "cpu"}
    env = AlignmentVectorEnv(2, data=two_tasks(), network=nets, block=(6, 1), context=1, **options)
    env.reset(seed=0)
    *_, info = env.step(nobody(env))
    assert info["final_info"]["is_success"].all()
    view = env.evaluation_view("validation")
    view.reset()
    *_, seen = view.step(nobody(env))
    assert seen["final_info"]["is_success"].all()
    again = env.fork().evaluation_view("validation")
    again.reset()
    assert again.step(nobody(env))[-1]["final_info"]["is_success"].all()
