import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtl_gym.lab import cli
from mtl_gym.lab.__main__ import main

PROGRAM = """
import resource, torch
from mtl_gym.lab.memory import keep_memory
{call}
torch.set_num_threads(1)
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    activations = [torch.ones(12_000_000) for _ in range(2)]  # more than glibc keeps by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults = [step() for _ in range(16)]
print(sum(faults[10:]))
"""


def page_faults(call):
    return int(subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_reused_without_page_faults():
    assert page_faults("assert keep_memory()") < page_faults("") / 10


def test_only_the_installed_program_keeps_memory(monkeypatch):
    kept = []
    monkeypatch.setattr(cli, "keep_memory", lambda: kept.append(True))
    assert CliRunner().invoke(cli.app, ["data", "list"]).exit_code == 0 and not kept
    monkeypatch.setattr(sys, "argv", ["mtl-gym", "data", "list"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert kept
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    script = re.search(r'^mtl-gym = "mtl_gym\.lab\.__main__:(\w+)"$', text, re.MULTILINE)
    assert script[1] == main.__name__
