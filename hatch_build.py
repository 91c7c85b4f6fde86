"""Metadata that depends on where the repository is hosted: absolute links in the README, and project URLs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?P<picture>!?)(?P<text>\[[^\]]*\])\((?!https?://|#)(?P<target>[^)]+)\)")


class RepositoryMetadata(MetadataHookInterface):
    """README and URLs for a package index, from the variable `MTL_GYM_REPOSITORY`.

    The variable holds the address of a repository on GitHub, such as `https://github.com/OWNER/mtl_gym`. Without it
    the README keeps its relative links and there are no URLs: enough for an installation, not for a release.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Add `readme` and, where the repository is known, `urls`."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = os.environ.get("MTL_GYM_REPOSITORY", "").rstrip("/")
        tag = f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute(text, repository, tag) if repository else text,
        }
        metadata["urls"] = urls(repository, tag) if repository else {}


def absolute(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links and pictures point into the repository at a tag."""

    def full(link: re.Match[str]) -> str:
        kind = "raw" if link["picture"] else "blob"
        return f"{link['picture']}{link['text']}({repository}/{kind}/{tag}/{link['target']})"

    return LINK.sub(full, text)


def urls(repository: str, tag: str) -> dict[str, str]:
    """Return the project URLs that a package index lists."""
    return {
        "Repository": repository,
        "Documentation": f"{repository}/blob/{tag}/docs/index.md",
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
