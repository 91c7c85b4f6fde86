"""The programs of examples/clients run, and environments train under them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"


def run(client, *arguments):
    command = [sys.executable, str(CLIENTS / client), *arguments]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_cleanrls_ppo_trains_on_the_batched_environment():
    printed = run("cleanrl_ppo.py", "--id", "MTLRouting-Context-v0", "--steps", "512")
    found = re.search(r"^MTLRouting-Context-v0: (\d+) updates of the environment, 512 episodes$", printed, re.MULTILINE)
    assert found and int(found[1]) > 0, printed


@pytest.mark.slow
def test_torchrls_collector_lets_the_environment_train():
    pytest.importorskip("torchrl")
    printed = run("torchrl_dqn.py", "--id", "MTLRouting-Context-v0", "--steps", "200")
    found = re.search(r"(\d+) updates of the environment, (\d+) of (\d+) weights changed", printed)
    assert found and int(found[1]) > 0 and found[2] == found[3] != "0", printed


@pytest.mark.slow
def test_the_matrix_has_a_line_for_each_id():
    printed = run("matrix.py", "--ids", "MTLRouting-Paths-v0", "--steps", "64")
    assert printed.startswith("| environment | cleanrl_ppo | torchrl_dqn |\n")
    line = r"^\| `MTLRouting-Paths-v0` \| passes \| (passes|needs torchrl) \|$"
    assert re.search(line, printed, re.MULTILINE), printed


@pytest.mark.slow
def test_a_client_says_in_one_line_which_actions_it_has_no_policy_for():
    pytest.importorskip("torchrl")
    printed = run("matrix.py", "--ids", "MTLAlignment-Linear-v1", "--clients", "torchrl_dqn", "--steps", "64")
    assert printed.splitlines()[-1] == "| `MTLAlignment-Linear-v1` | does not fit |"
