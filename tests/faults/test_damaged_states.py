"""States of environments and agents, damaged: they load whole or not at all, and what was loaded goes on."""

import pytest
import torch
from mtl_agents import WPL, DecomposedEA, StraightThroughRouter, Uniform

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.integrations.sb3 import BatchedVecEnv

from .damage import OTHERS, TENSORS, changed, of_another_type, only_ours, outcome, without_a_key
from .families import SMALLEST, equal, smallest

AGENTS = {
    "MTLRouting-Digits-v0": WPL,
    "MTLRecurrent-BrainSeries-v0": StraightThroughRouter,
    "MTLScheduling-Digits-v0": Uniform,
    "MTLAlignment-Linear-v0": DecomposedEA,
}


def play(env, steps=3):
    """Some decisions; masked choices stand for none."""
    env.action_space.seed(0)
    for _ in range(steps):
        env.step(env.action_space.sample())


def damages(state):
    """Copies of a state, each of them damaged in one place."""
    return [*without_a_key(state, 30), *of_another_type(state, 40, others=(*OTHERS, *TENSORS))]


def harmed(thing, load, good, copies, then):
    """Load damaged states one after the other; what may not be is told."""
    for label, copy in copies:

        def act(copy=copy):
            error = outcome(load, copy)
            if error is not None:
                assert equal(thing.state_dict(), good), f"it is changed by what it refused ({error!r})"
                raise error
            try:
                then()
            finally:
                load(good)

        yield label, act


@pytest.mark.parametrize("family", SMALLEST)
def test_an_environment_refuses_a_damaged_state_and_stays_as_it_is(family):
    env = smallest(family)
    env.reset(seed=0)
    play(env)
    good = env.unwrapped.state_dict()
    only_ours(harmed(env.unwrapped, env.unwrapped.load_state_dict, good, damages(good), lambda: play(env, 1)))
    env.unwrapped.load_state_dict(good)
    play(env)


@pytest.mark.parametrize("family", AGENTS)
def test_an_agent_refuses_a_damaged_state_and_stays_as_it_is(family):
    env = BatchedVecEnv(smallest(family))
    agent = AGENTS[family](env, seed=0)
    agent.learn(4)
    good = agent.state_dict()
    go_on = lambda: agent.learn(2, reset_num_timesteps=False)  # noqa: E731
    only_ours(harmed(agent, agent.load_state_dict, good, damages(good), go_on))


@pytest.mark.parametrize("family", AGENTS)
def test_a_damaged_file_of_an_agent_is_told(family, tmp_path):
    env = BatchedVecEnv(smallest(family))
    kind, path = AGENTS[family], tmp_path / "agent.pt"
    kind(env, seed=0).learn(4).save(path)
    copies = damages(checkpoint.load(path))
    acts = [
        (
            f"{label}, {'with' if given else 'without'} an environment",
            lambda copy=copy, given=given: (checkpoint.save(copy, path), kind.load(path, given)),
        )
        for label, copy in copies
        for given in (env, None)
    ]
    only_ours(acts)


PLACES = [
    (("optimizer", "state", 0, "exp_avg"), torch.zeros(3), r"optimizer\.state\.0\.exp_avg has shape \[3\], needs \["),
    (("optimizer", "state", 0, "step"), torch.tensor(float("nan")), r"optimizer\.state\.0\.step holds .* not finite"),
    (("optimizer", "param_groups", 0, "lr"), -1.0, r"optimizer\.param_groups\.0\.lr is -1\.0, needs"),
    (("optimizer", "param_groups", 0, "betas"), (0.9, 1.0), r"optimizer\.param_groups\.0\.betas holds .* outside"),
    (("np_random", "state", "state"), -1, "np_random is .* needs the state of a generator of NumPy's"),
    (("generator",), torch.zeros(5, dtype=torch.uint8), "generator is .* needs the state of a generator of torch's"),
    (("family", "episodes"), 2.5, r"family\.episodes is 2\.5, needs a whole number"),
    (("family", "routes", "depth"), torch.tensor([99, 0]), r"family\.routes\.depth holds numbers above"),
]


@pytest.mark.parametrize(("path", "value", "told"), PLACES, ids=[".".join(map(str, path)) for path, *_ in PLACES])
def test_the_damaged_place_is_named(path, value, told):
    env = smallest("MTLRouting-Digits-v0").unwrapped
    env.reset(seed=0)
    play(env, 9)
    with pytest.raises(CheckpointError, match=told):
        env.load_state_dict(changed(env.state_dict(), path, value))


@pytest.mark.parametrize("family", SMALLEST)
def test_a_refused_state_leaves_the_gradients_under_way_in_force(family):
    env = smallest(family).unwrapped
    env.reset(seed=0)
    play(env)
    twin = env.fork()
    with pytest.raises(CheckpointError):
        env.load_state_dict(changed(env.state_dict(), ("generator",), None))
    play(env, 20)
    play(twin, 20)
    assert equal(env.state_dict(), twin.state_dict())
