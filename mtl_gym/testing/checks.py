"""Individual checks of a family."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from mtl_gym.core.env import MultiTaskVectorEnv
from mtl_gym.core.evaluation import evaluate
from mtl_gym.core.rows import Array, Info, Observation
from mtl_gym.core.single import BatchOfOne
from mtl_gym.core.state import checkpoint
from mtl_gym.core.validation import did_you_mean, short
from mtl_gym.registration import card, load_location, registered_ids
from mtl_gym.testing.comparing import equal_states, same
from mtl_gym.testing.walking import Options, batch, require, single, valid_actions, walk

Check: TypeAlias = Callable[[str, Options], None]

STEPS = 24
# Maximum number of steps of a check; options of `check_family` can shorten episodes.
LONGEST = 10_000


def check_card(env_id: str, options: Options) -> None:
    """Check that the card is complete and names existing agents."""
    from mtl_gym.lab.agents import agent_names, find_agent

    module, _, bare = env_id.rpartition(":")
    if module:
        _import(module)
    require(bare in registered_ids(), f"there is no card of {env_id!r}; register it with register_family")
    found, names = card(env_id), agent_names()
    for what in ("decision", "difficulty"):
        require(bool(getattr(found, what)), f"the card must have a {what}, not {getattr(found, what)!r}; write one")
    oracle = () if found.oracle is None else (found.oracle,)
    for name in (*found.controls, *found.learners, *oracle):
        near = f"{did_you_mean(name, names)} `mtl-gym list` shows the names; register_family(agents=...) adds some"
        require(name in names, f"the card names the agent {name!r}, which does not exist.{near}")
        _try(partial(find_agent, name))


def check_classes(env_id: str, options: Options) -> None:
    """Check that the two classes exist, fit together and have every hook, and that the dials are options."""
    spec = gym.spec(env_id.rpartition(":")[2])
    what = {"env": "batch of one", "vector_env": "batched environment"}
    places = {"env": spec.entry_point, "vector_env": spec.vector_entry_point}
    bases = {"env": BatchOfOne, "vector_env": MultiTaskVectorEnv}
    kinds = {name: _class(name, place, bases[name], what[name]) for name, place in places.items()}
    one, many = kinds["env"], kinds["vector_env"]
    wrapped = getattr(one, "vector_class", None)
    require(wrapped is many, f"{one.__name__}.vector_class must be {many.__name__}, not {wrapped}; set it")
    missing = sorted(getattr(many, "__abstractmethods__", ()))
    lacks = f"{many.__name__} lacks the hooks {', '.join(missing)}; the docstrings of its bases' modules explain them"
    require(not missing, lacks)
    known = [field.name for field in dataclasses.fields(batch(env_id, 1, options).Options)]
    for dial in card(env_id).dials:
        options_are = f"name one of {', '.join(known)}"
        require(dial in known, f"the card has the dial {dial!r}, which is not an option of {env_id}; {options_are}")


def _import(module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        remedy = "correct the id, install the package, or set PYTHONPATH"
        raise AssertionError(f"{module!r} cannot be imported: there is no module {error.name!r}; {remedy}.") from error


def _try(load: Callable[[], object]) -> object:
    """Return what a function loads; an ImportError becomes an AssertionError."""
    try:
        return load()
    except ImportError as error:
        raise AssertionError(str(error)) from error


def _class(argument: str, place: object, base: type, what: str) -> type:
    found = _try(lambda: load_location(place, f"{argument}= of register_family")) if isinstance(place, str) else place
    inherits = isinstance(found, type) and issubclass(found, base)
    require(
        inherits,
        f"the class {argument}={place!r} must be a {base.__name__}, the base of every {what}; name another class",
    )
    assert isinstance(found, type)
    return found


def check_gymnasium(env_id: str, options: Options) -> None:
    """Check Gymnasium's contract of a batch of one, and that its specification survives JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*A Box observation space m.* value is -?infinity")
        warnings.filterwarnings("ignore", message=".*The environment .* is out of date")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib")  # old beside new pyparsing
        try:
            check_env(single(env_id, options))
        except (Warning, AssertionError) as found:
            text = re.sub(r"\x1b\[\d*m", "", str(found))
            raise AssertionError(f"Gymnasium's check_env complains of {env_id!r}: {text}") from found
    spec = gym.spec(env_id.rpartition(":")[2])
    again = type(spec).from_json(spec.to_json())
    require(again.kwargs == spec.kwargs, "the preset must survive EnvSpec.to_json: use plain values only")


def check_vector(env_id: str, options: Options) -> None:
    """Check spaces, dtypes, masks, autoreset and final infos of the batched environment."""
    env = batch(env_id, 3, options)
    require(env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP, "autoreset must be SAME_STEP")
    obs, info = env.reset(seed=0)
    require(obs in env.observation_space, "the observation of reset() must lie in observation_space")
    require(info["seed"].tolist() == [0, 0, 0], "info['seed'] of reset() must be the seed in every row")
    rng, ended = np.random.default_rng(0), 0
    for _ in range(LONGEST):
        obs, reward, terminated, truncated, info = env.step(valid_actions(env, rng))
        _check_step(env, obs, reward, terminated, truncated, info)
        ended += int((terminated | truncated).sum())
        if ended >= 6:
            return
    raise AssertionError(f"{env_id}: fewer than 6 episodes end in {LONGEST} steps; give options that shorten them")


def _check_step(
    env: MultiTaskVectorEnv, obs: Observation, reward: Array, terminated: Array, truncated: Array, info: Info
) -> None:
    done = terminated | truncated
    require(obs in env.observation_space, "the observation of step() must lie in observation_space")
    fits = reward.shape == done.shape and bool(np.isfinite(reward).all())
    require(fits, f"rewards must be finite, one per row, not {short(reward)}")
    for name, ends in {"terminated": terminated, "truncated": truncated}.items():
        require(ends.dtype == bool, f"{name} must be bool, not {ends.dtype}")
    require(bool(info["action_mask"].any(1).all()), "every row must have a valid choice")
    _check_entries("info", info, len(done))
    if not done.any():
        return
    require(bool((info["_final_obs"] == done).all()), "info['_final_obs'] must mark the rows that ended")
    require(bool((info["_final_info"] == done).all()), "info['_final_info'] must mark the rows that ended")
    inside = [info["final_obs"][row] in env.single_observation_space for row in np.flatnonzero(done)]
    require(all(inside), "info['final_obs'] must lie in single_observation_space")
    final = info["final_info"]
    require({"is_success", "_is_success"} <= set(final), "final_info must have is_success")
    _check_entries("final_info", final, len(done))
    invalid = final.get("invalid_action", np.zeros(len(done), bool))
    require(not invalid[done].any(), "a choice that action_masks() allows must not end an episode as invalid")


def _check_entries(what: str, info: Info, rows: int) -> None:
    entries = {name: entry for name, entry in info.items() if name[0] != "_" and name != "final_info"}
    wrong = [name for name, entry in entries.items() if f"_{name}" not in info or len(entry) != rows]
    require(not wrong, f"{what} must have one entry per row, and the mask _NAME, of {', '.join(wrong)}")


def check_seeding(env_id: str, options: Options) -> None:
    """Check that a seed determines the trajectory, in two environments and in the batched environment."""
    env, again, wide = single(env_id, options), single(env_id, options), batch(env_id, 1, options)
    obs = env.reset(seed=4)[0]
    require(same(obs, again.reset(seed=4)[0]), "reset(seed=4) must return equal observations in two environments")
    wide.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        action = valid_actions(env.batched, rng)[0]
        obs, reward, terminated, truncated, _ = env.step(action)
        other, other_reward, *_ = again.step(action)
        require(same(obs, other) and reward == other_reward, "equal seeds must give equal trajectories")
        _, wide_reward, *_, info = wide.step(np.array([action]))
        require(reward == wide_reward[0], "gym.make and gym.make_vec must return equal rewards")
        if terminated or truncated:
            require(same(obs, info["final_obs"][0]), "gym.make and gym.make_vec must return equal final observations")
            env.reset(), again.reset()


def check_rows(env_id: str, options: Options) -> None:
    """Check that the first row of a batch equals a batch of one, if each row has its own network."""
    one, three = batch(env_id, 1, options), batch(env_id, 3, options)
    if one.SHARED:
        return
    one.reset(seed=0), three.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        actions = valid_actions(three, rng)
        _, reward, terminated, truncated, _ = one.step(actions[:1])
        rewards = three.step(actions)[1]
        close = np.allclose(reward, rewards[:1], rtol=1e-3, atol=1e-4)
        require(close, "the first row of a batch must get the rewards of a batch of one")
        if (terminated | truncated).any():
            return


def check_state(env_id: str, options: Options) -> None:
    """Check that a fork, and an environment that loads the state from a file, continue as the original."""
    env, loaded = batch(env_id, 2, options), batch(env_id, 2, options)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    walk(env, STEPS // 2, rng)
    fork = env.fork()
    require(isinstance(fork, MultiTaskVectorEnv), "fork() must return an environment of the same class")
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(env.state_dict(), Path(folder) / "state.pt")
        loaded.load_state_dict(checkpoint.load(path))
    for _ in range(STEPS):
        actions = valid_actions(env, rng)
        mine = env.step(actions)[:4]
        for name, twin in (("a fork", fork), ("an environment with its state", loaded)):
            require(all(map(same, mine, twin.step(actions)[:4])), f"{name} must continue as the original")


def check_evaluation(env_id: str, options: Options) -> None:
    """Check that a view passes over the split once and does not change its environment."""
    env = batch(env_id, 2, options)
    env.reset(seed=0)
    before, rng = env.state_dict(), np.random.default_rng(0)
    view = env.evaluation_view("validation", env.EVALUATION_WIDTH)
    view.reset()
    seen: list[int] = []
    for _ in range(LONGEST):
        if view.pass_over:
            break
        *_, info = view.step(valid_actions(view, rng))
        final = info.get("final_info", {})
        seen += final["sample"][final["_sample"]].tolist() if "sample" in final else []
    require(view.pass_over, f"the pass of an evaluation view must end within {LONGEST} steps")
    require(sorted(seen) == list(range(len(seen))), "a view must show every sample of the split once")
    require(equal_states(before, env.state_dict()), "an evaluation must not change the environment")
    try:
        view.step(valid_actions(view, rng))
    except gym.error.ResetNeeded:
        view.reset()
        require(not view.pass_over, "reset() must restart the pass of a view")
    else:
        raise AssertionError("step() after the pass of a view must raise ResetNeeded")


def check_figures(env_id: str, options: Options) -> None:
    """Check episodes, accuracies, curves and pictures of an evaluation."""
    env = batch(env_id, 1, options)

    def first_choice(obs: Mapping[str, Array] | Array) -> Array:
        rows = len(next(iter(obs.values())) if isinstance(obs, Mapping) else obs)
        return np.zeros((rows, *(env.single_action_space.shape or ())), env.single_action_space.dtype)

    result = evaluate(first_choice, env, split="validation")
    require(bool((result.episodes > 0).all()), "an evaluation must have episodes of every task")
    inside = ((result.accuracy >= 0) & (result.accuracy <= 1)).all()
    require(bool(inside), f"accuracies must lie from 0 to 1, not {result.accuracy.tolist()}; return shares")
    finite = env.SHARED or bool(np.isfinite(result.loss).all())  # a classifier may give no answer, and so no loss
    remedy = "raise TrainingDiverged before they are not"
    require(finite, f"losses must be finite, not {result.loss.tolist()}; {remedy}")
    drawn = env.pictures(result.figures, "title")
    require(not env.PICTURE or env.PICTURE in drawn, f"pictures() must draw PICTURE, {env.PICTURE!r}")
    missing = [name for name in env.CURVES if name not in result.figures]
    require(not missing, f"evaluation_figures() must return the names in CURVES; missing: {', '.join(missing)}")


def check_frozen(env_id: str, options: Options) -> None:
    """Check that train=False does not change the weights of a shared network."""
    env = batch(env_id, 2, {**options, "train": False})
    if not env.SHARED:
        return
    env.reset(seed=0)
    before = {name: value.clone() for name, value in env.network.state_dict().items()}
    walk(env, STEPS, np.random.default_rng(0))
    require(equal_states(before, dict(env.network.state_dict())), "train=False must not change the weights")


def check_rendering(env_id: str, options: Options) -> None:
    """Check the render modes: "rgb_array", and "ansi" with the name of every task."""
    for mode in ("rgb_array", "ansi"):
        env = single(env_id, {**options, "render_mode": mode})
        env.reset(seed=0)
        shown = env.render()
        if mode == "ansi":
            named = isinstance(shown, str) and all(name in shown for name in env.batched.task_names)
            require(named, "render_mode='ansi' must return a text that names every task")
        else:
            picture = isinstance(shown, np.ndarray) and shown.dtype == np.uint8 and shown.ndim == 3
            require(picture, "render_mode='rgb_array' must return uint8 [height, width, 3]")


def check_actions(env_id: str, options: Options) -> None:
    """Check that actions outside the action space raise ValueError and change nothing."""
    env = batch(env_id, 2, options)
    env.reset(seed=0)
    before, good = env.state_dict(), valid_actions(env, np.random.default_rng(0))
    bad = {"one row too many": np.concatenate([good, good[:1]]), "a number out of range": np.full_like(good, 10**6)}
    bad["NaN"] = np.full(good.shape, np.nan)
    for name, actions in bad.items():
        try:
            env.step(actions)
        except ValueError:
            pass
        else:
            raise AssertionError(f"{env_id}: step() must refuse {name} with a ValueError")
        require(equal_states(before, env.state_dict()), f"a refused action ({name}) must change nothing")


CHECKS: tuple[Check, ...] = (
    check_card,
    check_classes,
    check_gymnasium,
    check_vector,
    check_seeding,
    check_rows,
    check_state,
    check_evaluation,
    check_figures,
    check_frozen,
    check_rendering,
    check_actions,
)
