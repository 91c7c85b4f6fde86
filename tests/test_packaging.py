"""What a package index shows, and what hooks and workflows run."""

import re
import shutil
import subprocess
from importlib import util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REPOSITORY = "https://example.org/owner/mtl_gym"


@pytest.fixture
def hatch_build():
    pytest.importorskip("hatchling")
    spec = util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[suite](docs/suite.md#score)", f"[suite]({REPOSITORY}/blob/v1.2.3/docs/suite.md#score)"),
        ("![map](docs/images/map.png)", f"![map]({REPOSITORY}/raw/v1.2.3/docs/images/map.png)"),
        ("[SB3](https://example.org)", "[SB3](https://example.org)"),
        ("[below](#source)", "[below](#source)"),
    ],
)
def test_links_of_the_readme_become_absolute(hatch_build, link, expected):
    assert hatch_build.absolute(f"See {link}.", REPOSITORY, "v1.2.3") == f"See {expected}."


@pytest.mark.parametrize("repository", ["", REPOSITORY])
def test_urls_are_there_if_the_repository_is_known(hatch_build, monkeypatch, repository):
    monkeypatch.setenv("MTL_GYM_REPOSITORY", repository)
    metadata = {"version": "1.2.3"}
    hatch_build.RepositoryMetadata(str(ROOT), {}).update(metadata)
    assert bool(metadata["urls"]) == bool(repository)
    assert ("](docs/" in metadata["readme"]["text"]) == (not repository)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_hooks_run_what_make_lint_runs():
    command = ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/.setup", "-C", str(ROOT), "lint"]
    steps = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {hook["entry"] for hook in repository["hooks"]} == {step for step in steps if step.startswith(".venv/bin/")}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_targets_and_scripts_that_are_there(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job.get("steps", []) if "run" in step]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands:
        program, argument, *_ = command.split()
        assert argument in targets if program == "make" else (ROOT / argument).is_file(), command
    assert commands


@pytest.mark.parametrize(("workflow", "job"), [("tests", "fast"), ("tests", "package"), ("versions", "environments")])
def test_workflows_run_on_every_promised_python(workflow, job):
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text())["jobs"]
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert jobs[job]["strategy"]["matrix"]["python"] == promised
