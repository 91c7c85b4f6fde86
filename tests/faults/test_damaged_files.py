"""Every file of a good run, damaged in every way: whoever reads it gets one sentence, or what was in it."""

import json

import pytest
import yaml

from mtl_gym.core.state import checkpoint
from mtl_gym.lab import pictures
from mtl_gym.lab import run as runs
from mtl_gym.lab.files import read_error, read_origin, read_policies, read_progress, read_result, read_settings
from mtl_gym.lab.pictures import redraw
from mtl_gym.lab.report.collection import read_comparisons
from mtl_gym.lab.run import restore, train
from mtl_gym.lab.settings import read_comparison
from tests.lab.report.conftest import write_run

from .conftest import DIGITS, SETTINGS
from .damage import OTHERS, TENSORS, damaged_bytes, of_another_type, only_ours, without_a_key

YAML = {
    "env": DIGITS,
    "steps": 8,
    "num_envs": 2,
    "seeds": 2,
    "env_kwargs": {"hidden": 2},
    "agents": {"wpl": None, "slow": {"agent": "wpl", "steps": 4, "agent_kwargs": {"policy_learning_rate": 0.1}}},
}
BINARY = ("environment.pt", "agent.pt", "policies.npz", "progress.csv", "config.json", "result.json")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    """Drawing takes a second a picture; what is drawn from damaged files is made all the same."""
    for module in (pictures, runs):
        monkeypatch.setattr(module, "write_picture", lambda figure, path: None)


def read_all(folder):
    """Read a run in every way that takes milliseconds."""
    return {
        "settings": lambda: read_settings(folder),
        "origin": lambda: read_origin(folder),
        "result": lambda: read_result(folder),
        "reason": lambda: read_error(folder),
        "progress": lambda: read_progress(folder / "progress.csv"),
        "policies": lambda: read_policies(folder, 10),
        "report": lambda: read_comparisons(folder.parent.parent),
        "compare": lambda: train(SETTINGS, folder),
    }


def each_reading(path, copies):
    """Write damaged copies in the place of a file, and read the run in every way after each."""
    for label, content in copies:
        for door, read in read_all(path.parent).items():

            def act(content=content, read=read):
                path.write_bytes(content)
                read()

            yield f"{path.name}, {label}, read as {door}", act


def texts(copies):
    """Nested values as JSON."""
    return [(label, json.dumps(copy).encode()) for label, copy in copies]


@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_json_file_without_a_key_or_with_a_value_of_another_type_is_told(run, name):
    whole = json.loads((run / name).read_text())
    copies = texts([*without_a_key(whole), *of_another_type(whole, 60)])
    only_ours(each_reading(run / name, copies))


def test_a_reason_that_is_damaged_is_told(run):
    path = run / "error.json"
    whole = {"error": "Training diverged.", "traceback": ["one", "two"]}
    copies = texts([*without_a_key(whole), *of_another_type(whole, None)])
    cut = damaged_bytes(json.dumps(whole).encode())
    only_ours((label, act) for label, act in each_reading(path, [*copies, *cut]) if "reason" in label)


def test_a_settings_file_without_a_key_or_with_a_value_of_another_type_is_told(tmp_path):
    path = tmp_path / "sweep.yaml"
    text = yaml.safe_dump(YAML)
    path.write_text(text)
    assert len(read_comparison(path)) == 4
    changes = [*without_a_key(YAML), *of_another_type(YAML, 60)]
    copies = [(label, yaml.safe_dump(copy).encode()) for label, copy in changes]

    def read(content):
        path.write_bytes(content)
        for settings in read_comparison(path):
            settings.check()

    acts = [
        (label, lambda content=content: read(content)) for label, content in [*copies, *damaged_bytes(text.encode())]
    ]
    only_ours(acts)


@pytest.mark.parametrize("name", BINARY)
def test_a_file_that_is_cut_or_has_a_flipped_bit_is_told(run, name):
    path = run / name
    copies = list(damaged_bytes(path.read_bytes(), 4, 12))
    if name.endswith(".pt"):
        only_ours((label, lambda copy=copy: (path.write_bytes(copy), checkpoint.load(path))) for label, copy in copies)
    else:
        only_ours(each_reading(path, copies))


@pytest.mark.parametrize("name", ["config.json", "environment.pt", "agent.pt"])
def test_evaluate_tells_what_is_wrong_with_a_file(run, name):
    path = run / name
    acts = []
    if name.endswith(".pt"):
        whole = checkpoint.load(path)
        copies = [*without_a_key(whole, 20), *of_another_type(whole, 25, others=(*OTHERS, *TENSORS))]
        acts = [(label, lambda copy=copy: (checkpoint.save(copy, path), restore(run))) for label, copy in copies]
        content = path.read_bytes() and checkpoint.save(whole, path).read_bytes()
    else:
        whole, content = json.loads(path.read_text()), path.read_bytes()
        changes = [*without_a_key(whole["settings"], 12), *of_another_type(whole["settings"], 30)]
        copies = texts((label, whole | {"settings": copy}) for label, copy in changes)
        acts = [(label, lambda copy=copy: (path.write_bytes(copy), restore(run))) for label, copy in copies]
    cut = damaged_bytes(content, 2, 6)
    acts += [(label, lambda copy=copy: (path.write_bytes(copy), restore(run))) for label, copy in cut]
    only_ours(acts)


def test_resuming_tells_what_is_wrong_with_a_checkpoint(half):
    path = half / "checkpoint.pt"
    content, whole = path.read_bytes(), checkpoint.load(path)
    copies = [*without_a_key(whole, 25), *of_another_type(whole, 30, others=(*OTHERS, *TENSORS))]

    def resume(write):
        (half / "result.json").unlink(missing_ok=True)
        write()
        train(SETTINGS, half)

    acts = [(label, lambda c=c: resume(lambda: checkpoint.save(c, path))) for label, c in copies]
    acts += [(label, lambda c=c: resume(lambda: path.write_bytes(c))) for label, c in damaged_bytes(content, 1, 4)]
    only_ours(acts)


@pytest.mark.parametrize("name", ["result.json", "progress.csv", "policies.npz"])
def test_a_damaged_run_leaves_the_others_of_its_comparison_alone(run, name):
    out = run.parent.parent
    write_run(out, "random-fixed", 0, 0.5, [0.25, 0.5])
    copies = list(damaged_bytes((run / name).read_bytes(), 3, 6))

    def draw(content):
        (run / name).write_bytes(content)
        assert out / "learning_curves.png" in redraw(out, tell=lambda why: None)

    only_ours((label, lambda content=content: draw(content)) for label, content in copies)
