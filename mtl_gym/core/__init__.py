"""What every family builds on: environments, options, states, evaluation and networks. It knows no family."""
