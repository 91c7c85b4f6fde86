"""Run the clients beside this file over ids, and print which work as a Markdown table.

    python examples/clients/matrix.py
    python examples/clients/matrix.py --ids MTLRouting-Digits-v0 --clients cleanrl_ppo torchrl_dqn --steps 4000

Every cell is a process of its own. Clients that are not installed are left out. Exits with 1 if a cell fails; its error
is printed below the table.
"""

import argparse
import multiprocessing
import os
import runpy
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import mtl_gym
from mtl_gym.registration import registered_ids

HERE = Path(__file__).parent
# Modules that a client needs beside mtl-gym, then its program with arguments of its own.
CLIENTS = {
    "sb3_ppo": ([], "sb3_algorithms.py --algorithm PPO"),
    "sb3_dqn": ([], "sb3_algorithms.py --algorithm DQN"),
    "sb3_contrib_maskable_ppo": ([], "sb3_algorithms.py --algorithm MaskablePPO"),
    "rl_zoo_ppo": (["rl_zoo3"], "rl_zoo_ppo.py"),
    "cleanrl_ppo": ([], "cleanrl_ppo.py"),
    "torchrl_dqn": (["torchrl"], "torchrl_dqn.py"),
    "torchrl_mappo": (["torchrl", "pettingzoo"], "torchrl_mappo.py"),
    "tianshou_ppo": (["tianshou"], "tianshou_ppo.py"),
    "rllib_ppo": (["ray", "tree", "lz4", "ormsgpack", "pyarrow"], "rllib_ppo.py"),
    "optuna_settings": (["optuna"], "optuna_settings.py --trials 2"),
    "wandb_offline": (["wandb"], "wandb_offline.py"),
}
# Reasons of a client to refuse an id: no policy for its actions, or no game of several agents.
REFUSALS = ("does not fit", "does not apply")
# Imported once, before the processes of the cells are made.
SHARED = ("mtl_agents.ppo", "sb3_contrib", "rl_zoo3.train", "torchrl.objectives", "torchrl.collectors", "tianshou.data")


def missing(client: str) -> list[str]:
    """Return the modules that a client needs and that are not installed."""
    return [module for module in CLIENTS[client][0] if find_spec(module) is None]


def play(command: list[str], printed: str) -> None:
    """Run a program in this process; write what it prints into a file."""
    with open(printed, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.argv = command
    runpy.run_path(command[0], run_name="__main__")


def cell(client: str, env_id: str, steps: int) -> tuple[str, str]:
    """Return what a client came to on an id, and its error."""
    program, *arguments = CLIENTS[client][1].split()
    command = [str(HERE / program), *arguments, "--env", env_id, "--steps", str(steps)]
    with tempfile.NamedTemporaryFile("r") as printed:
        process = multiprocessing.Process(target=play, args=(command, printed.name))
        process.start()
        process.join()
        last = (printed.read().strip().splitlines() or ["no message"])[-1]
    if process.exitcode == 0:
        return "passes", ""
    refusal = last.partition(":")[0]
    return (refusal, "") if refusal in REFUSALS else ("fails", f"{client} on {env_id}: {last}")


def main() -> int:
    """Print the table, then the errors; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    suite = [env_id for env_id in registered_ids() if mtl_gym.card(env_id).benchmark]
    parser.add_argument("--ids", nargs="+", default=suite, help="default: the suite")
    installed = [client for client in CLIENTS if not missing(client)]
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=installed, help="default: all installed")
    parser.add_argument("--steps", type=int, default=64, help="decisions per cell; PPO makes one rollout at least")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    multiprocessing.set_start_method("forkserver")
    multiprocessing.set_forkserver_preload(SHARED)
    print(f"| environment | {' | '.join(args.clients)} |\n|---|{'---|' * len(args.clients)}")
    errors = []
    for env_id in args.ids:
        cells = [cell(client, env_id, args.steps) for client in args.clients]
        print(f"| `{env_id}` | {' | '.join(came_to for came_to, _ in cells)} |", flush=True)
        errors += [error for _, error in cells if error]
    print("\n".join(["", *errors]) if errors else "", end="")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
