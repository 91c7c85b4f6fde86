"""The base of every family: environments, options, states, evaluation and networks."""
