"""Run the clients beside this file over ids, and print which work as a Markdown table.

    pip install torchrl
    python examples/clients/matrix.py
    python examples/clients/matrix.py --ids MTLRouting-Paths-v0 --clients cleanrl_ppo --steps 4000

Every cell is a process of its own. Exits with 1 if one fails; its error is printed below the table.
"""

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mtl_gym
from mtl_gym.registration import registered_ids

HERE = Path(__file__).parent
# Package that a client needs beside those of mtl-gym.
CLIENTS = {"cleanrl_ppo": None, "torchrl_dqn": "torchrl"}


def cell(client: str, env_id: str, steps: int) -> tuple[str, str]:
    """Return what a client came to on an id, and its error."""
    package = CLIENTS[client]
    if package and find_spec(package) is None:
        return f"needs {package}", ""
    command = [sys.executable, str(HERE / f"{client}.py"), "--id", env_id, "--steps", str(steps)]
    environ = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode == 0:
        return "passes", ""
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return ("does not fit", "") if last.startswith("does not fit") else ("fails", f"{client} on {env_id}: {last}")


def main() -> int:
    """Print the table, then the errors; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", nargs="+", default=benchmarks(), help="default: every benchmark")
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--steps", type=int, default=64, help="decisions per cell; PPO makes one rollout at least")
    args = parser.parse_args()
    print(f"| environment | {' | '.join(args.clients)} |\n|---|{'---|' * len(args.clients)}")
    errors = []
    for env_id in args.ids:
        cells = [cell(client, env_id, args.steps) for client in args.clients]
        print(f"| `{env_id}` | {' | '.join(came_to for came_to, _ in cells)} |", flush=True)
        errors += [error for _, error in cells if error]
    print("\n".join(["", *errors]) if errors else "", end="")
    return bool(errors)


def benchmarks() -> list[str]:
    """Return the ids whose best decision is known."""
    return [env_id for env_id in registered_ids() if mtl_gym.card(env_id).oracle]


if __name__ == "__main__":
    sys.exit(main())
