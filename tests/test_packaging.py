"""What a wheel holds, and that all that the product imports is asked for."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.test_floors import HEIGHT, ROOT, imported, modules

ROOMS = sorted(room for room in HEIGHT if room != "benchmarks")
"""Folders that are installed; the benchmarks are the checkout's."""
BUILT = ("__pycache__", "*.so", "*.egg-info")


def name_of(package: str) -> str:
    return re.split(r"[\[=<>~!; ]", package)[0].lower().replace("_", "-")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of these files, built by setuptools as `python -m build --no-isolation` has it."""
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns(*BUILT))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, out], cwd=source, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_of_the_product(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ignored = shutil.ignore_patterns(*BUILT)
    wanted = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and not ignored("", list(path.relative_to(ROOT).parts))
    }
    assert held == wanted
    assert {f"{room}/py.typed" for room in ROOMS} <= held
    assert any(name.endswith("CITATIONS.bib") for name in held)


def test_the_wheel_installs_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        assert "dlr = cli.main:main" in archive.read(entry_points).decode()


def test_all_that_is_imported_is_asked_for_and_locked(project: dict) -> None:
    asked = {name_of(line) for line in project["dependencies"]}
    locked = {name_of(line) for line in (ROOT / "requirements.lock").read_text().splitlines()}
    homes = importlib.metadata.packages_distributions()
    names = {
        name.split(".")[0]
        for room in ROOMS
        for path in modules(room)
        for name in imported(path.read_text())
    }
    foreign = names - set(HEIGHT) - set(sys.stdlib_module_names)
    missing = {name for name in foreign if not asked & set(map(name_of, homes.get(name, [])))}
    assert len(foreign) > 20 and not missing
    assert asked <= locked
