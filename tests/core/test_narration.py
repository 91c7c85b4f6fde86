"""Headings and marks of rendered pictures: what is seen, the last decision, and what has been reached."""

import gymnasium as gym
import numpy as np
import pytest

import mtl_gym  # noqa: F401
from mtl_gym.core import figures
from mtl_gym.core.narration import Narration

FAMILIES = {
    "MTLRouting-Digits-v0": {"hidden": 4},
    "MTLLimitless-Paths-v0": {},
    "MTLRecurrent-Switching-v0": {},
    "MTLScheduling-Skills-v0": {"budget": 4},
    "MTLScheduling-Digits-v0": {"updates": 3, "minibatch": 8, "reference": None},
    "MTLAlignment-LinearDiscrete-v1": {"generations": 3},
}


def play(env, decisions, invalid=None):
    """Play random valid decisions; yield after each whether the episode is over."""
    random = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    for _ in range(decisions):
        mask = info["action_mask"]
        discrete = isinstance(env.action_space, gym.spaces.Discrete)
        action = random.choice(np.flatnonzero(mask)) if discrete else random.integers(2, size=env.action_space.shape)
        *_, terminated, truncated, info = env.step(action)
        yield terminated or truncated
        if terminated or truncated:
            _, info = env.reset()


@pytest.mark.parametrize("family", FAMILIES)
def test_headings_follow_an_episode_from_its_beginning_to_its_end(family):
    env = gym.make(family, render_mode="rgb_array", **FAMILIES[family])
    sizes = set()
    env.reset(seed=0)
    assert env.unwrapped.heading()[1] == "The episode begins: no decision yet."
    for number, over in enumerate(play(env, 14)):
        if over or not number:
            sizes.add(env.render().shape)
        seen, decision, standing = env.unwrapped.heading()
        assert decision.startswith(f"Decision {number + 1} ") and "Reward" in decision and seen and standing
        assert ("right" in decision or "wrong" in decision or "over" in decision) == over
        if over:
            break
    assert over and len(sizes) == 1
    height, width, _ = sizes.pop()
    assert height % 2 == width % 2 == 0  # as video encoders want it
    env.reset()
    assert env.unwrapped.heading()[1] == "The episode begins: no decision yet."


@pytest.mark.parametrize("family", FAMILIES)
def test_rendering_changes_nothing_of_the_training(family):
    plain, shown = (gym.make(family, render_mode=mode, **FAMILIES[family]) for mode in (None, "rgb_array"))
    for number, _ in enumerate(zip(play(plain, 12), play(shown, 12), strict=True)):
        if number % 5 == 0:
            shown.render()
    mine, theirs = (env.unwrapped.batched.network.state_dict() for env in (shown, plain))
    assert all(np.array_equal(mine[name].numpy(), theirs[name].numpy()) for name in theirs)


@pytest.mark.parametrize("family", ["MTLScheduling-Skills-v0", "MTLAlignment-LinearDiscrete-v1"])
def test_the_last_picture_of_a_training_run_shows_the_whole_run(family):
    env = gym.make(family, render_mode="rgb_array", **FAMILIES[family])
    frames = []
    for number, over in enumerate(play(env, 8)):
        if over or not number:
            frames.append(env.render())
        if over:
            break
    blank = [int((frame == 255).all(2).sum()) for frame in frames]
    assert blank[-1] < blank[0]


def test_a_window_is_shown_at_every_reset_and_step(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "_show_window", lambda *given: shown.append(given))
    env = gym.make("MTLScheduling-Skills-v0", render_mode="human", budget=4)
    env.reset(seed=0)
    for _ in range(4):
        env.step(0)
    env.reset()
    assert len(shown) == 6


def test_a_window_is_shown_as_often_for_several_runs(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "_show_window", lambda *given: shown.append(given))
    env = gym.make_vec("MTLScheduling-Skills-v0", 1, render_mode="human", budget=4, runs=2).unwrapped
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    assert len(shown) == 2


def test_replaced_choices_are_told_as_they_were_carried_out():
    env = gym.make_vec("MTLRouting-Paths-v0", 2, render_mode="rgb_array", invalid="nearest").unwrapped
    env.reset(seed=0)
    masks = env.action_masks()
    depth = 0
    while masks[0].all():
        env.step(np.zeros(2, int))
        masks, depth = env.action_masks(), depth + 1
    env.step(np.full(2, masks.argmin(1)))
    assert masks[0][env.narration.actions[depth]]
    assert "(row 0 of 2)" in env.heading()[0]


def test_states_and_forks_hold_no_narration():
    env = gym.make("MTLScheduling-Skills-v0", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    env.step(0)
    assert env.fork().narration.actions == [] and "narration" not in env.state_dict()


def test_rewards_of_episodes_are_added_up_row_by_row():
    from mtl_gym.core.episode import TrainingResult, Transition

    narration = Narration(2)
    nobody = np.zeros(2, bool)

    def end(done):
        figures = np.zeros((2, 1), np.float32)
        return TrainingResult(
            ended=done, success=done, accuracy=figures, loss=figures, labels=np.ones(1), samples=np.ones(1)
        )

    narration.add(np.array(1), "a", Transition(np.array([1, 2], np.float32), nobody, nobody))
    done = np.array([True, False])
    narration.add(np.array(0), "a", Transition(np.array([3, 4], np.float32), done, nobody, end(done)))
    assert (list(narration.returns), narration.total, narration.over, len(narration.actions)) == ([4.0], 4.0, True, 2)
    narration.add(np.array(1), "b", Transition(np.array([5, 6], np.float32), nobody, nobody))
    assert (narration.total, narration.over, narration.task, len(narration.actions)) == (5.0, False, "b", 1)
    narration.add(np.array(1), "b", Transition(np.array([0, 1], np.float32), ~done, nobody, end(~done)))
    assert list(narration.returns) == [4.0, 13.0] and not narration.over


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_state_is_told_anew(family):
    env = gym.make_vec(family, 2, render_mode="rgb_array", **FAMILIES[family]).unwrapped
    env.reset(seed=0)
    state = env.state_dict()
    for _ in range(2):
        decide(env)
    env.load_state_dict(state)
    env.render()
    assert env.heading()[1] == "The episode begins: no decision yet."
    assert not env.narration.returns


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_from_the_middle_of_an_episode_is_told_with_its_decisions(family):
    one, other = (gym.make_vec(family, 1, render_mode="rgb_array", **FAMILIES[family]).unwrapped for _ in range(2))
    one.reset(seed=0)
    decide(one)
    other.load_state_dict(one.state_dict())
    other.render()
    assert other.heading()[1] == "Decisions before this state was loaded: 1."
    decide(one)
    decide(other)
    other.render()
    assert other.heading()[1] == one.heading()[1]
    tasks = [env.narration.task for env in (one, other)]
    assert tasks[0] == tasks[1] and (tasks[0] == "all" or len(other.narration.actions) == 2)


def decide(env):
    masks = env.action_masks()
    discrete = isinstance(env.single_action_space, gym.spaces.Discrete)
    env.step(masks.argmax(1) if discrete else np.ones_like(env.action_space.sample()))


def test_a_run_counts_decisions_from_its_beginning_after_its_state_is_loaded():
    one, other = (gym.make_vec("MTLScheduling-Skills-v0", 1, render_mode="rgb_array", budget=4) for _ in range(2))
    one.reset(seed=0)
    for _ in range(2):
        one.step(np.zeros(1, int))
    other.unwrapped.load_state_dict(one.unwrapped.state_dict())
    for number in (3, 4):
        other.step(np.zeros(1, int))
        assert other.unwrapped.heading()[1].startswith(f"Decision {number} of 4: ")
