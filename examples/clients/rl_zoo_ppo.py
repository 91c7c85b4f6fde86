"""Train PPO with RL Baselines3 Zoo by the hyperparameters in `examples/zoo/ppo.yml`, and load what it saved.

    pip install "mtl-gym[zoo]"
    python examples/clients/rl_zoo_ppo.py --env MTLAlignment-LinearDiscrete-v1

It does what the two commands that it prints would do. The Zoo evaluates in an environment of its own, which would train
another network: `--eval-freq -1` leaves that out.

Source: Raffin 2020, RL Baselines3 Zoo.
"""

import argparse
import runpy
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="id with an entry in examples/zoo/ppo.yml")
parser.add_argument("--steps", type=int, default=2_048, help="decisions")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

settings = Path(__file__).resolve().parents[1] / "zoo" / "ppo.yml"
with tempfile.TemporaryDirectory() as logs:
    common = f"--algo ppo --env {args.env} --gym-packages mtl_gym --seed {args.seed} --device cpu -f {logs}"
    train = f"{common} -n {args.steps} -conf {settings} -params n_steps:64 batch_size:64 --eval-freq -1"
    for module, arguments in (("rl_zoo3.train", train), ("rl_zoo3.enjoy", f"{common} -n 64 --no-render")):
        print("python -m", module, arguments, flush=True)
        sys.argv = [module, *arguments.split()]
        runpy.run_module(module, run_name="__main__")
print(f"{args.env}: trained, saved and loaded")
