"""Mixing sources of text for a scarce target."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from mtl_agents import Greedy, Proportional, Random, TargetOnly, Uniform
from mtl_agents.oracle import Oracle

import mtl_gym
from mtl_gym.data.errors import DamagedDataError
from mtl_gym.data.sources.reviews import DOMAINS
from mtl_gym.families.scheduling.text_mixture_data import BYTES, CONTEXT, SYMBOLS, folded, generated, real

ID = "MTLScheduling-TextMixture-v0"
CONTROLS = (Uniform, TargetOnly, Proportional, Greedy, Random)


def made(num_envs=32, text="generated", **options):
    env = gym.make_vec(ID, num_envs=num_envs, text=text, **options).unwrapped
    env.reset(seed=0)
    return env


def part(data, name, split="train"):
    rows = data.splits[split].task == data.task_names.index(name)
    return data.splits[split].x[rows], data.splits[split].y[rows]


@pytest.fixture
def root(tmp_path):
    """Return a data root whose every review is its own domain's letter and a few spaces, and whose wiki is z's."""
    (tmp_path / "fdu-mtl").mkdir()
    (tmp_path / "wikitext-2").mkdir()
    for letter, domain in enumerate(DOMAINS, start=ord("a")):
        for split in ("train", "test"):
            lines = [b"1\t" + bytes([letter]) * 99] * 300
            (tmp_path / f"fdu-mtl/{domain}.task.{split}").write_bytes(b"\n".join(lines))
    (tmp_path / "wikitext-2/train.txt").write_bytes(b"z" * 50_000)
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"updates": 24}, {"updates": 96}], ids=["as it is", "half", "twice"])
def test_the_known_schedule_needs_fewer_bits_than_every_control(options):
    env = made(**options)
    best = mtl_gym.evaluate(Oracle(env), env).figure
    assert all(mtl_gym.evaluate(rule(env, seed=0), env).figure > best + 0.02 for rule in CONTROLS)


def test_without_junk_there_is_less_to_win():
    def won(junk):
        env = made(junk=junk)
        return mtl_gym.evaluate(Uniform(env, seed=0), env).figure - mtl_gym.evaluate(Oracle(env), env).figure

    assert won(4) > won(2) > won(0)


def test_a_smaller_target_is_memorised_sooner():
    def bits(size):
        env = made(target_bytes=size)
        return mtl_gym.evaluate(TargetOnly(env), env).figure

    assert bits(500) > bits(1000) > bits(4000)


def test_the_figure_is_the_targets_loss_in_bits_and_lower_is_better():
    env = made(1)
    loss = np.full(env.data.num_tasks, 9.0)
    loss[env.targets[0]] = np.log(8)
    assert env.figure(np.zeros(len(loss)), loss) == pytest.approx(3) and not env.measure.higher


def test_rewards_sum_to_the_bits_that_the_target_lost():
    env = made(4)
    start, total = env.progress.validation_loss[:, env.targets[0]], 0
    for task in (0, 1, 2):
        _, reward, *_ = env.step(np.full(4, task))
        total = total + reward
    assert total == pytest.approx((start - env.progress.validation_loss[:, env.targets[0]]) / np.log(2), abs=1e-5)


def test_all_sources_share_one_output():
    env = made(2)
    before = env.progress.validation_loss
    env.step(env.best_actions())
    assert (env.progress.validation_loss != before).all()


def test_sources_have_their_sizes_and_the_target_is_scarce():
    data = generated(target_bytes=500, junk=3, instance=0)
    sizes = dict(zip(data.task_names, data.task_sizes("train"), strict=True))
    assert sizes.pop("target") == 500 - CONTEXT and set(sizes.values()) == {BYTES - CONTEXT} and len(sizes) == 6


def test_related_chains_predict_the_target_and_unrelated_ones_do_not():
    data = generated(target_bytes=BYTES, junk=1, instance=4)

    def odds(name):
        x, y = part(data, name)
        counts = np.zeros((SYMBOLS, SYMBOLS))
        np.add.at(counts, (x[:, -1].numpy(), y.numpy()), 1)
        return np.log(counts + 1).ravel()

    likeness = {name: np.corrcoef(odds("target"), odds(name))[0, 1] for name in data.task_names}
    assert likeness["related 1"] > 0.5 and likeness["related 2"] > 0.5
    assert abs(likeness["unrelated"]) < 0.3 and abs(likeness["junk 1"]) < 0.3


def test_an_instance_is_reproducible_and_others_differ():
    first, again, other = (generated(1000, 1, instance) for instance in (0, 0, 1))
    assert first.task_names == again.task_names and torch.equal(first.splits["train"].x, again.splits["train"].x)
    assert not torch.equal(part(first, "target")[0], part(other, "target")[0])


def test_real_text_comes_from_the_data_root(root):
    data = real(root, 1000, 1, 0)
    letters = {name: part(data, name)[1].mode().values.item() for name in ("target", "related 1", "related 2")}
    assert len(set(letters.values())) == 3 and part(data, "unrelated")[1].unique().tolist() == [26]
    assert part(data, "target", "test")[1].mode().values.item() == letters["target"]


def test_auto_takes_real_text_where_it_is_and_generated_text_elsewhere(root, tmp_path):
    assert made(1, "auto", data_root=str(root)).text == "reviews"
    assert made(1, "auto", data_root=str(tmp_path / "nowhere")).text == "generated"


def test_a_file_that_is_too_short_is_named(root):
    for domain in DOMAINS:
        (root / f"fdu-mtl/{domain}.task.train").write_bytes(b"1\tshort")
    with pytest.raises(DamagedDataError, match=r"task\.train.*5 bytes of text where 20,000 are needed"):
        real(root, 1000, 1, 0)


def test_bytes_are_folded_to_32_symbols():
    text = bytes(range(256))
    assert set(folded(text).tolist()) == set(range(SYMBOLS))
    assert folded(b"It's 9.").tolist() == [9, 20, 29, 19, 0, 30, 27]


@pytest.mark.parametrize("options", [{"data": "digits"}, {"text": "poems"}, {"target_bytes": 5}, {"junk": -1}])
def test_values_that_cannot_work_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        gym.make_vec(ID, num_envs=1, **options)


def test_the_target_control_needs_an_environment_with_a_target():
    with pytest.raises(ValueError, match="target"):
        TargetOnly("MTLScheduling-Digits-v1")
