"""Equal observations of a policy in evaluation and in training, behind any wrappers."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from mtl_agents import WPL
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecExtractDictObs, VecFrameStack, VecMonitor, VecNormalize

import mtl_gym
from mtl_gym.core.wrappers import effect_of, flatten_rows, layers_of
from mtl_gym.integrations.sb3 import BatchedVecEnv, make_vec_env
from mtl_gym.lab.callbacks import HeldOutCurve

DIGITS, SCHEDULING = "MTLRouting-Digits-v0", "MTLScheduling-Digits-v0"
SHORT = {"updates": 4, "reference": None, "validation_samples": 4}
FLAT = gym.wrappers.FlattenObservation


def seen_by(model, evaluate):
    """Return the observations that `model` receives while `evaluate` runs."""
    seen, predict = [], model.predict

    def spy(observation, state=None, episode_start=None, deterministic=False):
        seen.append(observation)
        return predict(observation, state, episode_start, deterministic)

    model.predict = spy
    try:
        evaluate()
    finally:
        model.predict = predict
    return seen


def wide(**arguments):
    env = VecNormalize(VecMonitor(make_vec_env(DIGITS, 32, seed=0)), norm_obs_keys=["value"], **arguments)
    return env, PPO("MultiInputPolicy", env, n_steps=3, batch_size=96, seed=0, device="cpu").learn(400)


def raw(env, split="validation"):
    view = layers_of(env).base.evaluation_view(split, 256)
    return view.reset()[0]


def statistics(env):
    return {key: (rms.mean.copy(), rms.var.copy(), rms.count) for key, rms in env.obs_rms.items()}


def test_the_frozen_statistics_of_vec_normalize_are_applied():
    env, model = wide()
    before = statistics(env)
    assert env.training
    seen = seen_by(model, lambda: mtl_gym.evaluate(model, env, "validation"))[0]
    expected = env.normalize_obs(raw(env))
    assert all(np.array_equal(seen[key], expected[key]) for key in expected)
    assert not np.array_equal(seen["value"], raw(env)["value"])
    for key, parts in statistics(env).items():
        assert all(np.array_equal(*pair) for pair in zip(parts, before[key], strict=True))


def test_an_algorithm_is_evaluated_with_its_own_normalisation():
    env, model = wide()
    whole = mtl_gym.evaluate(model, env, "validation")
    for given in (env.unwrapped, env.unwrapped.batched):
        bare = mtl_gym.evaluate(model, given, "validation")
        assert np.array_equal(bare.loss, whole.loss) and np.array_equal(bare.figures["usage"], whole.figures["usage"])
    by_hand = mtl_gym.evaluate(
        lambda obs: model.predict(env.normalize_obs(obs), deterministic=True)[0], env, "validation"
    )
    assert np.array_equal(by_hand.loss, whole.loss)


def test_a_model_without_an_environment_uses_the_wrappers_of_the_given_one(tmp_path):
    env, model = wide()
    whole = mtl_gym.evaluate(model, env, "validation")
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    for policy in (loaded, model.policy):
        assert np.array_equal(mtl_gym.evaluate(policy, env, "validation").loss, whole.loss)
        assert not np.array_equal(mtl_gym.evaluate(policy, env.unwrapped, "validation").loss, whole.loss)


def test_the_validation_curve_uses_the_observations_of_training():
    env, model = wide()
    curve = HeldOutCurve(env.unwrapped.batched, 96)
    predict, same = model.predict, []

    def spy(observation, *arguments, **more):
        if not observation["depth"].any():  # first or later inputs of the split
            same.append(np.array_equal(observation["value"], env.normalize_obs(raw(env))["value"]))
        return predict(observation, *arguments, **more)

    model.predict = spy
    model.learn(96, callback=curve, reset_num_timesteps=False)
    assert len(curve.rows) == sum(same) == 2


def test_the_validation_curve_accepts_wrapped_environments():
    env, model = wide()
    curves = [HeldOutCurve(one, 96) for one in (env, env.unwrapped, env.unwrapped.batched)]
    model.learn(96, callback=curves, reset_num_timesteps=False)
    assert curves[0].rows and curves[0].rows == curves[1].rows == curves[2].rows
    with pytest.raises(TypeError, match="not an environment of mtl_gym"):
        HeldOutCurve(gym.make("CartPole-v1"), 96)


def test_bundled_agents_are_evaluated_behind_their_wrappers():
    env = VecNormalize(make_vec_env(DIGITS, 8, seed=0), norm_obs_keys=["value"])
    agent = WPL(env, seed=0).learn(96)
    seen = []
    predict = type(agent).predict

    class Spying(WPL):
        def predict(self, observation, *arguments, **more):
            seen.append(observation)
            return predict(self, observation, *arguments, **more)

    agent.__class__ = Spying
    mtl_gym.evaluate(agent, env.unwrapped.batched, "validation")
    assert np.array_equal(seen[0]["value"], env.normalize_obs(raw(env))["value"])


def test_gymnasiums_running_normalisation_is_applied_without_updates():
    env = gym.wrappers.NormalizeObservation(FLAT(gym.make(DIGITS)))
    model = A2C("MlpPolicy", env, device="cpu", seed=0).learn(60)
    mean, var, count = env.obs_rms.mean.copy(), env.obs_rms.var.copy(), env.obs_rms.count
    seen = seen_by(model, lambda: mtl_gym.evaluate(model, env, "validation"))[0]
    assert (env.obs_rms.count, env.update_running_mean) == (count, True)
    env.update_running_mean = False
    obs = raw(env)
    one = [env.observation(gym.spaces.flatten(env.env.env.observation_space, row(obs, i))) for i in range(5)]
    np.testing.assert_allclose(seen[:5], one, rtol=1e-6)
    assert np.array_equal(env.obs_rms.mean, mean) and np.array_equal(env.obs_rms.var, var)
    assert abs(seen).max() > 2


def row(obs, number):
    return {key: part[number] for key, part in obs.items()}


def test_gymnasiums_vector_wrappers_are_applied():
    env = gym.make_vec(SCHEDULING, num_envs=1, vectorization_mode="sync", **SHORT)
    env = gym.wrappers.vector.NormalizeObservation(gym.wrappers.vector.TransformObservation(env, lambda obs: 2 * obs))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.array([1]))
    layers = layers_of(env)
    batch = np.random.default_rng(0).random((3, 200)).astype(np.float32)
    expected = (2 * batch - env.obs_rms.mean) / np.sqrt(env.obs_rms.var + env.epsilon)
    np.testing.assert_allclose(layers.observations(batch), expected, rtol=1e-5)
    assert layers.base is env.unwrapped.envs[0].unwrapped.batched


def wrapped(*kinds):
    env = gym.make(DIGITS, hidden=16)
    for kind in kinds:
        env = kind(env)
    return env


@pytest.mark.parametrize(
    "kinds",
    [
        [FLAT],
        [FLAT, lambda env: gym.wrappers.ReshapeObservation(env, (7, 11))],
        [lambda env: gym.wrappers.FilterObservation(env, ["task", "depth"]), FLAT],
        [FLAT, lambda env: gym.wrappers.TransformObservation(env, lambda obs: obs[::-1] + 1, env.observation_space)],
        [lambda env: gym.wrappers.FilterObservation(env, ["task"])],
        [lambda env: gym.wrappers.TimeLimit(env, 2), lambda env: gym.wrappers.RecordEpisodeStatistics(env)],
    ],
)
def test_wrappers_of_one_observation_are_applied_to_every_row_in_order(kinds):
    env = wrapped(*kinds)
    layers = layers_of(env)
    for seed in range(3):
        obs, _ = env.reset(seed=seed)
        mine = layers.observations(layers.base._export(layers.base._observe()))
        for one, many in [(obs[key], mine[key]) for key in obs] if isinstance(obs, dict) else [(obs, mine)]:
            np.testing.assert_array_equal(one, many[0])
            assert np.asarray(one).dtype == many.dtype


def test_action_wrappers_are_applied_in_reverse():
    env = gym.wrappers.TransformAction(gym.make(DIGITS), lambda action: 10 - action, spaces.Discrete(11))
    assert layers_of(env).actions(np.array([0, 3])).tolist() == [10, 7]
    model = A2C("MultiInputPolicy", env, device="cpu", seed=0)
    model.predict = lambda obs, *_, **__: (10 - obs["task"], None)
    plain = mtl_gym.evaluate(lambda obs: obs["task"], env, "validation")
    assert np.array_equal(mtl_gym.evaluate(model, env, "validation").loss, plain.loss)


class Remembering(gym.ObservationWrapper):
    def observation(self, observation):
        return observation


class Logging(gym.Wrapper):
    def step(self, action):
        return super().step(action)


class Named(gym.Wrapper):
    def name(self):
        return "a"


class Loaded:
    """An algorithm without an environment."""

    def get_env(self):
        return None

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        raise AssertionError("asked")


class Doubled(VecNormalize):
    def normalize_obs(self, obs):
        return obs


@pytest.mark.parametrize(
    "kind",
    [
        Remembering,
        Logging,
        lambda env: gym.wrappers.FrameStackObservation(env, 2),
        lambda env: gym.wrappers.DelayObservation(FLAT(env), 1),
        lambda env: gym.wrappers.TimeAwareObservation(gym.wrappers.TimeLimit(FLAT(env), 5)),
        lambda env: gym.wrappers.StickyAction(env, 0.1),
        lambda env: VecFrameStack(DummyVecEnv([lambda: FLAT(env)]), 2),
        lambda env: Doubled(DummyVecEnv([lambda: env]), norm_obs_keys=["value"]),
    ],
)
def test_an_unsupported_wrapper_is_refused_by_name(kind):
    env = kind(gym.make(DIGITS, hidden=2))
    with pytest.raises(ValueError, match=rf"the wrapper {type(env).__name__} on .* evaluate\(lambda obs"):
        mtl_gym.evaluate(Loaded(), env)
    result = mtl_gym.evaluate(lambda obs: obs["task"], env, "validation")  # a function receives unwrapped observations
    assert result.episodes.sum() == 3590


def test_a_wrapper_without_effect_on_observations_and_actions_is_accepted():
    assert effect_of(Named(gym.make(DIGITS))).observations is None
    env = VecExtractDictObs(make_vec_env(DIGITS, 2), "value")
    assert layers_of(env).observations({"value": 1, "task": 2}) == 1


@pytest.mark.parametrize("space", [
    spaces.MultiDiscrete([2, 3, 4], start=[0, 1, -1]), spaces.MultiDiscrete([[2, 3], [1, 2]]),
    spaces.Discrete(4, start=-2),
    spaces.Box(-1, 1, (2, 3)), spaces.MultiBinary((2, 2)), spaces.Text(3),
    spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 255, (2,), np.uint8)]),
    spaces.Dict(b=spaces.MultiDiscrete([3]), a=spaces.Dict(c=spaces.Discrete(2), d=spaces.MultiBinary(3))),
])  # fmt: skip
def test_rows_are_flattened_as_by_gymnasium(space):
    space.seed(0)
    samples = [space.sample() for _ in range(4)]
    batch = samples if isinstance(space, spaces.Text) else stacked(space, samples)
    flat, expected = flatten_rows(space, batch), np.stack([spaces.flatten(space, one) for one in samples])
    assert np.array_equal(flat, expected) and flat.dtype == expected.dtype


def stacked(space, samples):
    utils = gym.vector.utils
    return utils.concatenate(space, samples, utils.create_empty_array(space, len(samples)))


@pytest.mark.parametrize(
    ("family", "options"),
    [
        (DIGITS, {}),
        ("MTLLimitless-Digits-v0", {"filters": 2, "hidden": 4}),
        ("MTLRecurrent-BrainSeries-v0", {"hidden": 4}),
        ("MTLAlignment-Linear-v0", {"iterations": 1, "generations": 1, "final_generations": 0}),
    ],
)
def test_agents_behind_flatten_observation_are_evaluated_in_every_family(family, options):
    env = FLAT(gym.make(family, **options))
    model = A2C("MlpPolicy", env, device="cpu", seed=0)
    seen = seen_by(model, lambda: mtl_gym.evaluate(model, env, "validation"))[0]
    assert seen.shape[1:] == env.observation_space.shape and seen.dtype == env.observation_space.dtype


def test_a_flat_policy_without_an_environment_receives_flat_observations(tmp_path):
    env = FLAT(gym.make(DIGITS))
    DQN("MlpPolicy", env, buffer_size=10, device="cpu").save(tmp_path / "flat.zip")
    model = DQN.load(tmp_path / "flat.zip", device="cpu")
    assert mtl_gym.evaluate(model, env.unwrapped, "validation").episodes.sum() == 3590


def test_the_error_about_parallel_environments_names_their_separate_networks():
    several = [lambda: gym.make(DIGITS, hidden=2)] * 2
    for env in (DummyVecEnv(several), gym.vector.SyncVectorEnv(several), VecMonitor(DummyVecEnv(several))):
        with pytest.raises(TypeError, match=r"2 environments, each with a network of its own .* make_vec_env"):
            mtl_gym.evaluate(lambda obs: obs["task"], env)
    with pytest.raises(TypeError, match="not an environment of mtl_gym"):
        mtl_gym.evaluate(lambda obs: 0, gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="not an environment of mtl_gym"):
        mtl_gym.evaluate(lambda obs: 0, 3)
    assert BatchedVecEnv(make_vec_env(DIGITS, 2).batched).num_envs == 2
