"""Search settings of an agent with Optuna; every trial trains `fast-ppo` and a network of its own from one seed.

    pip install optuna
    python examples/clients/optuna_settings.py
    python examples/clients/optuna_settings.py --env MTLScheduling-Skills-v0 --trials 20

Trials are compared by the reward per decision in the last quarter of their training, and poor ones are pruned. No test
sample takes part, so that the settings found can be compared with others on these.

Source: Akiba et al. 2019, Optuna.
"""

import argparse

import numpy as np
import optuna
from mtl_agents.ppo import FastPPO

import mtl_gym

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--env", default="MTLRouting-Context-v0", help="any environment")
parser.add_argument("--steps", type=int, default=8_192, help="decisions of a trial over all rows")
parser.add_argument("--trials", type=int, default=6)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()


def objective(trial: optuna.Trial) -> float:
    """Return the reward per decision in the last quarter."""
    rewards: list[float] = []
    env = mtl_gym.make_vec_env(args.env, num_envs=16, seed=args.seed)
    agent = FastPPO(
        env,
        seed=args.seed,
        n_steps=max(1, min(64, args.steps // 64)),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        ent_coef=trial.suggest_float("ent_coef", 1e-4, 1e-1, log=True),
        n_epochs=trial.suggest_int("n_epochs", 2, 10),
    )
    for quarter in range(4):
        rewards.clear()
        agent.learn(args.steps // 4, callback=lambda names, _: rewards.append(names["rewards"].mean()) or True)
        trial.report(np.mean(rewards), quarter)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(rewards))


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=args.seed),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
)
study.optimize(objective, n_trials=args.trials)
pruned = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials)
print(f"{args.env}: {len(study.trials)} trials, {pruned} pruned")
print(f"best reward per decision: {study.best_value:.3f}, by {study.best_params}")
