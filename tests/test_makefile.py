"""What `make` leaves alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None or not (ROOT / "Makefile").is_file(), reason="there is no make here")
def test_clean_keeps_results():
    command = ["make", "--dry-run", "--no-print-directory", "-C", str(ROOT), "clean"]
    steps = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ".venv" in steps and "runs" not in steps.split()
