import os
import pickle

import pytest
import torch

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint

STATE = {"weights": torch.arange(1000.0), "nested": {"list": [1, 2.5, None, "text"], 3: (True, 2**100)}}


def test_a_state_survives_saving_and_loading(tmp_path):
    path = checkpoint.save(STATE, tmp_path / "new" / "state.pt")
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["weights"], STATE["weights"])
    assert loaded["nested"] == STATE["nested"]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_an_error_names_a_truncated_file(tmp_path, keep):
    path = checkpoint.save(STATE, tmp_path / "state.pt")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged"):
        checkpoint.load(path)


def test_a_flipped_bit_is_detected(tmp_path):
    path = checkpoint.save(STATE, tmp_path / "state.pt")
    content = bytearray(path.read_bytes())
    content[content.find(torch.tensor([500.0]).numpy().tobytes())] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"state\.pt is damaged"):
        checkpoint.load(path)


def test_an_error_names_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nothing\.pt"):
        checkpoint.load(tmp_path / "nothing.pt")


class Intruder:
    def __reduce__(self):
        return os.mkdir, ("intruded",)


@pytest.mark.parametrize(
    "write", [lambda state, path: torch.save(state, path), lambda s, p: p.write_bytes(pickle.dumps(s))]
)
def test_loading_executes_no_code_from_the_file(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"state": Intruder()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "intruded").exists()


def test_a_file_without_a_mapping_is_not_a_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        checkpoint.load(tmp_path / "list.pt")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path):
    path = checkpoint.save(STATE, tmp_path / "state.pt")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint.write_atomically(path, fail)
    assert torch.equal(checkpoint.load(path)["weights"], STATE["weights"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]
