"""Environments with spaces only, with random observations, and side by side."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from mtl_agents.environments import StandIn
from stable_baselines3.common.vec_env import VecEnv


def routing(num_envs, tasks, depth, actions, width=0, agents=None):
    value = spaces.Box(-np.inf, np.inf, (width,), np.float32)
    space = spaces.Dict(value=value, task=spaces.Discrete(tasks), depth=spaces.Discrete(depth))
    if agents is not None:
        space["agent"] = spaces.Discrete(agents + 1)
    return StandIn(num_envs, space, spaces.Discrete(actions))


def scheduling(tasks, runs=1, chooses=False):
    action = spaces.Discrete(tasks) if chooses else spaces.Box(0, 1, (tasks,), np.float32)
    return StandIn(runs, spaces.Box(0, 1, (tasks,), np.float32), action)


class Guess(gym.Env):
    """Random observations of a space; the reward is that of the action, and episodes end after some steps."""

    def __init__(self, observation, action, length=5, truncates=False, masks=None, reward=None):
        self.observation_space, self.action_space = observation, action
        self.length, self.truncates, self.reward = length, truncates, reward
        if masks is not None:
            self.action_masks = lambda: np.array(masks)

    def _observe(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.seen = self.observation_space.sample()
        return self.seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.length
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        paid = float(self.np_random.normal()) if self.reward is None else self.reward(self.seen, action)
        self.left -= 1
        over = self.left == 0
        return self._observe(), paid, over and not self.truncates, over and self.truncates, {}


class Runs(VecEnv):
    """Environments side by side as the runs of one: run r is the r-th, with the seed plus r."""

    def __init__(self, envs):
        self.envs, self.runs = envs, len(envs)
        super().__init__(sum(env.num_envs for env in envs), envs[0].observation_space, envs[0].action_space)

    def seed(self, seed=None):
        for run, env in enumerate(self.envs):
            env.seed(None if seed is None else seed + run)

    def reset(self):
        return joined([env.reset() for env in self.envs])

    def step_async(self, actions):
        for env, part in zip(self.envs, np.split(actions, self.runs), strict=True):
            env.step_async(part)

    def step_wait(self):
        obs, rewards, dones, infos = zip(*[env.step_wait() for env in self.envs], strict=True)
        return joined(obs), np.concatenate(rewards), np.concatenate(dones), [i for part in infos for i in part]

    def get_attr(self, attr_name, indices=None):
        if attr_name == "runs":
            return [self.runs] * self.num_envs
        return [value for env in self.envs for value in env.get_attr(attr_name)]

    def env_method(self, method_name, *args, indices=None, **kwargs):
        return [value for env in self.envs for value in env.env_method(method_name, *args, **kwargs)]

    def close(self):
        pass

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs


def joined(observations):
    first = observations[0]
    if isinstance(first, dict):
        return {key: np.concatenate([one[key] for one in observations]) for key in first}
    return np.concatenate(observations)
