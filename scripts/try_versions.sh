#!/bin/sh
# Test environments with the lowest or the newest versions of all dependencies: PYTHON lowest-direct|highest [TESTS...].
set -eu
python=$1
versions=$2
shift 2
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv
uv() { "$folder/venv/bin/uv" pip "$@" --quiet --python "$folder/venv"; }
uv install --resolution "$versions" --requirement pyproject.toml \
    --extra lab --extra report --extra pettingzoo --extra tracking
uv install hypothesis psutil pytest pytest-xdist
uv install --no-deps --editable .
"$folder/venv/bin/uv" pip list --python "$folder/venv"

[ $# -gt 0 ] || set -- tests/test_registry.py tests/core tests/families
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -m pytest -n auto -m "not slow" "$@"
