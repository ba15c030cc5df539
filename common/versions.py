"""The versions of packages, and of the code itself, that a result depends on."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterable
from pathlib import Path

NOT_INSTALLED = "not installed"


def package_version(package: str) -> str:
    """Return an installed package's version, or `NOT_INSTALLED`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package, by name."""
    return {package: package_version(package) for package in packages}


def head() -> str:
    """Return the commit of the checkout, and whether files differ from it; empty outside one."""
    root = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip()
