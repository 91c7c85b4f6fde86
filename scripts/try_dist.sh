#!/bin/sh
# Install a wheel or an sdist in a fresh environment, outside the repository, and work with it: PYTHON FILE.
set -eu
python=$1
file=$(realpath "$2")
root=$(realpath "$(dirname "$0")/..")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$python" -m venv venv
venv/bin/python -m pip install --quiet --constraint "$root/constraints.txt" torch
venv/bin/python -m pip install --quiet --constraint "$root/constraints.txt" "$file[report]"

export OMP_NUM_THREADS=1
venv/bin/mtl-gym --version
venv/bin/mtl-gym compare MTLRouting-Groups-v0 --agents assignment,oracle --seeds 2 --steps 4000 --out runs --quiet
venv/bin/mtl-gym report runs
awk '/^```python$/ {inside = 1; next} /^```$/ && inside {exit} inside' "$root/README.md" > first_block.py
venv/bin/python -W error first_block.py
