"""The versions of packages that a result depends on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

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
