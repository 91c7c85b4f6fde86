"""Check the files and the metadata of the wheel and the sdist in a folder; with a tag, whether they can be released.

python scripts/check_dist.py dist
python scripts/check_dist.py dist --tag v0.2.0
"""

from __future__ import annotations

import argparse
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
IN_SDIST = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "hatch_build.py",
    "mkdocs.yml",
)
IN_WHEEL = (
    "mtl_gym/py.typed",
    "mtl_gym/families/measured.json",
    "mtl_gym/lab/report/page.html.jinja",
    "mtl_agents/sb3.py",
)
FIELDS = ("Author", "Description", "License-Expression", "Requires-Python", "Summary")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
RELATIVE_LINK = re.compile(r"\]\((?!https?://|#)([^)]+)\)")


def main() -> None:
    """Print one line per fault and exit with 1, or print what was checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with one wheel and one sdist")
    parser.add_argument("--tag", help="tag of the release; also asks for absolute links and project URLs")
    arguments = parser.parse_args()
    wheel, sdist = (only(arguments.folder, pattern) for pattern in ("*.whl", "*.tar.gz"))
    about = metadata(wheel)
    found = [*missing(wheel, sdist), *incomplete(about), *(unreleasable(about, arguments.tag) if arguments.tag else ())]
    if found:
        sys.exit("\n".join(found))
    print(f"checked {wheel.name} and {sdist.name}")


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a folder that matches; exit where there are none or several."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        sys.exit(f"{folder} has {len(files)} files {pattern}, not one: run `make dist`")
    return files[0]


def missing(wheel: Path, sdist: Path) -> Iterator[str]:
    """Yield a line for each file that a wheel or an sdist lacks."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    yield from (f"{sdist.name} lacks {name}" for name in IN_SDIST if name not in names)
    with zipfile.ZipFile(wheel) as archive:
        yield from (f"{wheel.name} lacks {name}" for name in IN_WHEEL if name not in archive.namelist())


def metadata(wheel: Path) -> dict[str, list[str]]:
    """Return what a package index shows, a list per field; the README is `Description`."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        found = Parser().parsestr(archive.read(name).decode())
    fields = {field: found.get_all(field, []) for field in found}
    return fields | {"Description": [str(found.get_payload())]}


def incomplete(about: dict[str, list[str]]) -> Iterator[str]:
    """Yield a line for each field and each classifier that is missing, and for a version that differs."""
    yield from (f"pyproject.toml gives no {field}" for field in FIELDS if not any(about.get(field, [])))
    classifiers = [f"Programming Language :: Python :: {python}" for python in PYTHONS]
    yield from (
        f"pyproject.toml lacks the classifier {line!r}" for line in classifiers if line not in about["Classifier"]
    )
    (version,) = about["Version"]
    if f"\nversion: {version}\n" not in (ROOT / "CITATION.cff").read_text():
        yield f"CITATION.cff has another version than {version}"


def unreleasable(about: dict[str, list[str]], tag: str) -> Iterator[str]:
    """Yield a line for everything that a release lacks: its tag, its changelog, project URLs, absolute links."""
    (version,) = about["Version"]
    if tag != f"v{version}":
        yield f"the tag is {tag}, the version in pyproject.toml is {version}"
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M):
        yield f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'"
    if not about.get("Project-URL"):
        yield "there are no project URLs: set MTL_GYM_REPOSITORY and build again"
    yield from (f"README links to {link}, relatively" for link in RELATIVE_LINK.findall(about["Description"][0]))


if __name__ == "__main__":
    main()
