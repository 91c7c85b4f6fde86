# Everything runs in a virtual environment of its own: `make demo` and `make test` need only Python 3.10 or later.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RLLIB = build/rllib

.PHONY: setup demo test test-slow test-rllib lint links format hooks site dist try clean

demo: $(VENV)/.demo  ## find hidden groups of real digits: four agents, a table, routing maps beside the true groups
	$(BIN)/mtl-gym compare MTLRouting-GroupedDigits-v0 --agents assignment,ppo,separate,oracle \
		--seeds 2 --steps 40000 --num-envs 64 --out runs/demo

setup: $(VENV)/.setup  ## make the virtual environment

test: $(VENV)/.setup  ## run the fast tests
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(VENV)/.setup  ## run the others: trainings, killed processes, checks of every id
	$(BIN)/python -m pytest -n auto -m slow

test-rllib: $(RLLIB)/.setup  ## run RLlib's PPO on an id of each family, in a virtual environment of its own
	OMP_NUM_THREADS=1 $(RLLIB)/bin/python examples/clients/matrix.py --clients rllib_ppo --ids MTLRouting-Context-v0 \
		MTLLimitless-Paths-v0 MTLScheduling-Skills-v0 MTLRecurrent-Switching-v0 MTLAlignment-LinearDiscrete-v1

lint: $(VENV)/.setup  ## lint, format, type and import checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

links: $(VENV)/.setup  ## check that links between pages lead somewhere
	$(BIN)/python -m pytest -q -k links tests/test_examples.py

site: $(VENV)/.setup  ## build the documentation in build/site; warnings are errors
	$(BIN)/python -m mkdocs build --strict

format: $(VENV)/.setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(VENV)/.setup  ## check every commit as `make lint` does
	$(BIN)/pre-commit install

# MTL_GYM_REPOSITORY=https://github.com/OWNER/mtl_gym makes the README's links absolute, as a release needs them.
dist: $(VENV)/.setup  ## build the sdist, and the wheel from it; check what is in them
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python scripts/check_dist.py dist

try: dist  ## install the wheel in a fresh environment of $(PYTHON), and work with it
	sh scripts/try_dist.sh $(PYTHON) dist/*.whl

# What can be made again; results stay.
clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

# torch comes first: beside the version that the constraints name, nothing else pulls in another build of it.
$(VENV)/.demo: pyproject.toml constraints.txt
	@echo "Installing torch and the package into $(VENV): some minutes, about 1 GB."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[report]'
	touch $@

# What tests, checks and the site need besides: Ray, a browser's driver, a site builder.
$(VENV)/.setup: $(VENV)/.demo
	@echo "Installing what tests and checks need into $(VENV): some minutes."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(RLLIB)/.setup: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RLLIB)
	$(RLLIB)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(RLLIB)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[rllib]'
	touch $@
