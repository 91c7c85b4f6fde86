"""Damaged copies of nested values and of bytes, and who raised what came of them."""

import random
import traceback

import gymnasium as gym
import torch

from mtl_gym.core.errors import CheckpointError, TrainingDiverged

GONE = "gone"
# What takes the place of a value in JSON and YAML.
OTHERS = (None, True, -1, 2.5, float("nan"), float("inf"), 10**30, "", "text", "a\0b", [], {}, [[1]], {"a": None})
# What takes its place in checkpoints as well.
TENSORS = (torch.zeros(0), torch.zeros(2, 3, 5, 7, dtype=torch.complex64), torch.tensor(float("nan")))
# Exceptions of our own, and those of Python and Gymnasium that say exactly what is wrong.
OURS = (CheckpointError, TrainingDiverged, gym.error.Error, FileNotFoundError, FileExistsError, IsADirectoryError)
PACKAGES = ("/mtl_gym/", "/mtl_agents/")


def paths_in(value, at=()):
    """The keys that lead to every value in nested dictionaries and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, part in parts:
        yield (*at, key)
        yield from paths_in(part, (*at, key))


def changed(whole, path, value):
    """A copy in which the value at a path is another, or gone."""
    key, *rest = path
    copy = dict(whole) if isinstance(whole, dict) else list(whole)
    if rest:
        copy[key] = changed(copy[key], rest, value)
    elif value is GONE:
        del copy[key]
    else:
        copy[key] = value
    return copy if isinstance(whole, dict) else type(whole)(copy)


def without_a_key(whole, count=None, seed=0):
    """Copies that lack one key each; of many a sample."""
    return [(f"{path} gone", changed(whole, path, GONE)) for path in sampled(list(paths_in(whole)), count, seed)]


def of_another_type(whole, count, seed=0, others=OTHERS):
    """Copies in which one value is of another type; a sample."""
    pairs = [(path, other) for path in paths_in(whole) for other in others]
    return [(f"{path} = {other!r}", changed(whole, path, other)) for path, other in sampled(pairs, count, seed)]


def damaged_bytes(content, cuts=8, flips=24, seed=0):
    """Copies that end too early, and copies in which one bit is another."""
    draw = random.Random(seed)
    ends = {0, 1, len(content) // 2, len(content) - 1, *(draw.randrange(len(content)) for _ in range(cuts))}
    yield from ((f"{end} of {len(content)} bytes", content[:end]) for end in sorted(ends))
    for _ in range(flips):
        place, bit = draw.randrange(len(content)), draw.randrange(8)
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        yield f"bit {bit} of byte {place}", bytes(flipped)


def sampled(items, count, seed):
    """So many of them, the same every time, in their order; all where there are fewer."""
    if count is None or count >= len(items):
        return items
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), count))]


def is_ours(error):
    """Whether it is an exception of ours, or a ValueError or TypeError that our own code raised, in a sentence."""
    text = str(error)
    if not text or "\n" in text:
        return False
    if isinstance(error, OURS):
        return True
    raiser = traceback.extract_tb(error.__traceback__)[-1]
    here = any(package in raiser.filename for package in PACKAGES) and (raiser.line or "").startswith("raise ")
    return isinstance(error, (ValueError, TypeError)) and here


def outcome(act, *arguments, **options):
    """The error that an act ends with, or None."""
    try:
        act(*arguments, **options)
    except Exception as error:
        return error
    return None


def only_ours(acts):
    """Carry out pairs of a label and an act without arguments; all errors that are not ours are shown together."""
    errors = [(label, outcome(act)) for label, act in acts]
    wrong = [f"{label}: {error!r}" for label, error in errors if error is not None and not is_ours(error)]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(errors)}", *wrong])
