import gymnasium as gym
import pytest
import torch
from torch import nn

from mtl_gym.families.alignment.env import AlignmentVectorEnv

from .test_env import LINEAR, SHORT, linear, mixed, nobody


def test_the_network_of_a_completed_run_can_be_exported_after_the_next_began():
    env = linear(2, generations=2)
    env.step(nobody(env))
    *_, info = env.step(nobody(env))
    fresh = env.network.export(3, 1)
    for run in range(2):
        for number, task in enumerate(env.data.tasks):
            x, y = task.splits["validation"]
            loss = (env.export(task.name, run)(x) - y).detach().square().mean()
            assert float(loss) == pytest.approx(info["final_info"]["loss"][run, number], rel=1e-4)
    assert torch.equal(env.export(3, 1).weight, env.export("task 3", run=1).weight)
    assert not torch.equal(env.export(3, 1).weight, fresh.weight)
    env.step(nobody(env))  # the next run is under way
    x, y = env.data.tasks[0].splits["validation"]
    loss = (env.export(0)(x) - y).detach().square().mean()
    assert float(loss) == pytest.approx(info["final_info"]["loss"][0, 0], rel=1e-4)


def test_accuracy_of_an_exported_classifier_equals_the_final_info():
    env = gym.make("MTLAlignment-Linear-v0", **mixed(), **SHORT, device="cpu").unwrapped
    env.reset(seed=0)
    for _ in range(3):
        *_, info = env.step(nobody(env))
    x, y = env.data.tasks[1].splits["validation"]
    network = env.export("picture")
    assert not network.training
    assert float((network(x).argmax(1) == y).float().mean()) == pytest.approx(info["accuracy"][1])


def test_before_a_run_has_ended_its_best_weights_are_exported():
    env = linear(1, generations=10)
    env.step(nobody(env))
    best = {name: value[0] for name, value in env.course.best.state.items()}
    weight = best["hypermodules"][best["assignment"][5], 0] * best["contexts"][5]
    assert torch.allclose(env.export(5).weight, weight.T)
    assert torch.equal(env.fork().export(5).weight, env.export(5).weight)


def test_an_export_of_an_unknown_task_or_run_is_rejected():
    with pytest.raises(gym.error.ResetNeeded, match=r"Call reset\(\) before export\(\)"):
        AlignmentVectorEnv(1, **LINEAR).export(0)
    env = linear()
    for wrong, message in [(("task 99",), "no task 'task 99'"), ((30,), "no task 30"), ((0, 2), "no run 2")]:
        with pytest.raises(ValueError, match=message):
            env.export(*wrong)
    with pytest.raises(ValueError, match="no run -1"):
        env.network.export(0, -1)


def test_environments_and_views_do_not_advance_torchs_generator():
    options = mixed()
    before = torch.get_rng_state()
    env = AlignmentVectorEnv(2, **options, **SHORT, device="cpu")
    env.reset(seed=0)
    env.step(nobody(env))
    env.evaluation_view("test").reset()
    env.fork()
    env.export(1)
    gym.make("MTLAlignment-Linear-v0", data="generated-linear", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_class_instead_of_an_architecture_is_rejected():
    with pytest.raises(ValueError, match=r"Linear is a class.*Linear\(...\)"):
        AlignmentVectorEnv(**LINEAR, network=[nn.Linear] * 30)
