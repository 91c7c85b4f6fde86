"""The programs of examples/clients run, and environments train under them."""

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"


def load_matrix():
    spec = spec_from_file_location("matrix", CLIENTS / "matrix.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = load_matrix()


def run(client, *arguments):
    command = [sys.executable, str(CLIENTS / client), *arguments]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(client):
    """Skip a test, by the client's name, if a module of it is not installed."""
    lacking = matrix.missing(client)
    return pytest.mark.skipif(bool(lacking), reason=f"{client} needs {' and '.join(lacking)}")


@pytest.mark.slow
@pytest.mark.parametrize("client", [pytest.param(name, marks=needs(name)) for name in matrix.CLIENTS])
@pytest.mark.parametrize("benchmark", ["MTLRouting-Context-v0"])
def test_every_client_that_is_installed_passes(client, benchmark):
    assert matrix.cell(client, benchmark, 64) == ("passes", "")


@pytest.mark.slow
def test_cleanrls_ppo_trains_on_the_batched_environment():
    printed = run("cleanrl_ppo.py", "--env", "MTLRouting-Context-v0", "--steps", "512")
    found = re.search(r"^MTLRouting-Context-v0: (\d+) updates of the environment, 512 episodes$", printed, re.MULTILINE)
    assert found and int(found[1]) > 0, printed


@pytest.mark.slow
@needs("torchrl_dqn")
def test_torchrls_collector_lets_the_environment_train():
    printed = run("torchrl_dqn.py", "--env", "MTLRouting-Context-v0", "--steps", "200")
    found = re.search(r"(\d+) updates of the environment, (\d+) of (\d+) weights changed", printed)
    assert found and int(found[1]) > 0 and found[2] == found[3] != "0", printed


@pytest.mark.slow
@needs("tianshou_ppo")
def test_tianshous_collector_lets_the_environment_train():
    printed = run("tianshou_ppo.py", "--env", "MTLRouting-Context-v0", "--steps", "512")
    found = re.search(r"(\d+) updates of the environment, 512 episodes", printed)
    assert found and int(found[1]) > 0, printed


@pytest.mark.slow
@needs("rllib_ppo")
def test_rllibs_runner_lets_the_environment_train():
    printed = run("rllib_ppo.py", "--env", "MTLRouting-Context-v0", "--steps", "512")
    found = re.search(r"(\d+) updates of the environment, 512 episodes", printed)
    assert found and int(found[1]) > 0, printed


@pytest.mark.slow
@needs("optuna_settings")
def test_optuna_finds_settings_of_an_agent():
    printed = run("optuna_settings.py", "--steps", "512", "--trials", "3")
    assert re.search(r"^MTLRouting-Context-v0: 3 trials, \d pruned$", printed, re.MULTILINE), printed
    assert "'learning_rate':" in printed and "'n_epochs':" in printed, printed


@pytest.mark.slow
@needs("torchrl_mappo")
def test_mappo_says_in_one_line_what_is_no_game_of_several_agents():
    printed = run("matrix.py", "--ids", "MTLScheduling-Skills-v0", "--clients", "torchrl_mappo")
    assert printed.splitlines()[-1] == "| `MTLScheduling-Skills-v0` | does not apply |"


@pytest.mark.slow
def test_the_matrix_has_a_line_for_each_id():
    clients = ("sb3_contrib_maskable_ppo", "cleanrl_ppo")
    printed = run("matrix.py", "--ids", "MTLRouting-Paths-v0", "--clients", *clients)
    assert printed.startswith("| environment | sb3_contrib_maskable_ppo | cleanrl_ppo |\n")
    assert printed.endswith("| `MTLRouting-Paths-v0` | passes | passes |\n")


@pytest.mark.slow
def test_a_client_says_in_one_line_which_actions_it_has_no_policy_for():
    printed = run("matrix.py", "--ids", "MTLRecurrent-Switching-v0", "--clients", "sb3_dqn")
    assert printed.splitlines()[-1] == "| `MTLRecurrent-Switching-v0` | does not fit |"
