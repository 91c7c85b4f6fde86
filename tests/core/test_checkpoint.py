import os
import pickle
import signal
import subprocess
import sys
import tempfile

import pytest
import torch

from mtl_gym.core.errors import CheckpointError
from mtl_gym.core.state import checkpoint
from mtl_gym.core.state.scratch import remove_unfinished, scratch_folder

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


WRITE = """
import sys, time
from pathlib import Path
from mtl_gym.core.state.checkpoint import write_atomically
from mtl_gym.core.state.scratch import scratch_folder

def wait(file):
    print("writing", flush=True)
    time.sleep(600)

with scratch_folder(Path(sys.argv[1]), "folder") as scratch:
    (scratch / "part").write_text("half")
    write_atomically(Path(sys.argv[1]) / "state.pt", wait)
"""


def test_temporary_files_of_a_killed_writer_are_removed_and_those_of_a_living_one_stay(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "writing\n"
            remove_unfinished(tmp_path)
            assert len(list(tmp_path.iterdir())) == 2
        finally:
            process.send_signal(signal.SIGKILL)
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_whole_file_stays_locked_until_it_has_its_name(tmp_path, monkeypatch):
    rename = os.replace

    def removed_first(*paths):
        remove_unfinished(tmp_path)
        rename(*paths)

    monkeypatch.setattr(os, "replace", removed_first)
    assert checkpoint.save(STATE, tmp_path / "state.pt").is_file()


def test_files_that_are_not_temporary_are_left(tmp_path):
    (tmp_path / "novel.unfinished").write_text("chapter one")
    remove_unfinished(tmp_path)
    assert (tmp_path / "novel.unfinished").is_file()


def test_a_temporary_folder_that_another_process_removes_before_its_lock_is_made_again(tmp_path, monkeypatch):
    made = []
    make = tempfile.mkdtemp

    def raced(**options):
        made.append(make(**options))
        return made[-1]

    def locks(descriptor, path):
        if len(made) == 1:
            os.rmdir(path)
        return os.path.exists(path)

    monkeypatch.setattr("mtl_gym.core.state.scratch.tempfile.mkdtemp", raced)
    monkeypatch.setattr("mtl_gym.core.state.scratch._locks", locks)
    with scratch_folder(tmp_path, "folder") as scratch:
        assert scratch.is_dir()
        assert str(scratch) == made[1]
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_is_removed_at_its_end(tmp_path):
    with pytest.raises(OSError, match="full"), scratch_folder(tmp_path, "folder") as scratch:
        (scratch / "part").write_text("half")
        raise OSError("full")
    assert not list(tmp_path.iterdir())
