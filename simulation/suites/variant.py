"""What a task of a published suite is made of, as its files tell: names, numbers and paths."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common.errors import UnknownTaskError
from simulation.suites.classes import ROBOT_CLASSES, problem_class, robot_posture

OBJECT_FOLDERS = (
    "stable_scanned_objects",
    "stable_hope_objects",
    "turbosquid_objects",
    "custom_objects",
)
"""Folders of an asset pack in which objects lie, each in a folder of its kind's name."""
_LANGUAGE = re.compile(r"\(\s*:language\s+([^()]*)\)")
_PROBLEM = re.compile(r"\(\s*problem\s+([^()\s]+)\s*\)")
_GROUP = r"\(\s*:{}\b([^()]*)\)"
_PROMPT = re.compile(r"^here are \d+ variations", re.IGNORECASE)
"""Beginning of what a language model was asked, which some definitions hold as instruction."""


class View(NamedTuple):
    """Where LIBERO-Plus puts the agent's camera, whole numbers as its names have them."""

    horizontal: int
    """Turn about the vertical through the origin, degrees."""
    vertical: int
    """Turn about the axis along y at a height of 0.8 m, degrees."""
    scale: int
    """Distance from the point 0.8 m above the origin, percent."""
    pan: int
    """Turn of the camera itself about the vertical, degrees."""
    tilt: int
    """Turn of the camera itself about the axis along y, degrees."""

    @property
    def moved(self) -> bool:
        """Whether it is another place than LIBERO's."""
        return self != View(0, 0, 100, 0, 0)


@dataclass(frozen=True)
class Variant:
    """A task's files, and what its scene differs in from LIBERO's own."""

    base_suite: str
    """LIBERO's suite whose scenes, horizon and statistics it shares."""
    language: str
    """The instruction."""
    definition: Path
    """The definition, BDDL."""
    init_file: Path
    """The initial states."""
    root: Path
    """Folder of the package `libero.libero` that it comes from."""
    remedy: str
    """What to do where one of its files is damaged."""
    assets: Path
    """Folder in which the suite's own assets lie, if they are there."""
    assets_remedy: str
    """What to do where they are not."""
    view: View | None = None
    """Another place of the agent's camera."""
    robot: int = 0
    """Number of another posture of the robot; 0 is LIBERO's."""
    noise: int = 0
    """Number of LIBERO-Plus's picture noise; 0 is none."""
    category: str = ""
    """Kind of change, in the suite's words."""
    level: int | None = None
    """Level of difficulty."""

    def digest(self) -> str:
        """Return the first half of a sha256 of files and numbers, the robot's posture included."""
        kinds = ROBOT_CLASSES if self.robot else ()
        numbers = (
            self.language,
            self.view,
            self.noise,
            [robot_posture(self.root, f"{kind}{self.robot}", self.remedy) for kind in kinds],
            problem_class(
                self.root, problem_of(read_definition(self.definition, self.remedy)), self.remedy
            ),
        )
        files = _content(self.definition) + _content(self.init_file)
        return hashlib.sha256(repr(numbers).encode() + files).hexdigest()[:32]


@functools.lru_cache(maxsize=4096)
def _content(file: Path) -> bytes:
    """Return a file's sha256, empty where it is missing: whoever reads it will say so."""
    return hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b""


Found = list[tuple[str, int, str, Variant]]
"""Suite, number, name and variant of tasks."""


def read_definition(file: Path, remedy: str) -> str:
    """Return a definition's text.

    Raises:
        UnknownTaskError: it cannot be read.
    """
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownTaskError(f"cannot read the definition {file}: {remedy}") from error


def language_of(text: str, file: Path, remedy: str) -> str:
    """Return the instruction of a definition.

    Raises:
        UnknownTaskError: there is none, or what was asked of a language model stands there
            (LIBERO-Plus issue 59).
    """
    found = _LANGUAGE.search(text)
    words = " ".join(found[1].split()) if found else ""
    if not words:
        raise UnknownTaskError(f"{file} has no (:language ...): {remedy}")
    if _PROMPT.match(words):
        raise UnknownTaskError(
            f"{file} has {words[:40]!r}... for an instruction, what a language model was asked "
            "for one (LIBERO-Plus issue 59): leave this task out"
        )
    return words


def problem_of(text: str) -> str:
    """Return the name of a definition's problem, in lower case; empty if it has none."""
    found = _PROBLEM.search(text)
    return found[1].lower() if found else ""


def categories_of(text: str) -> set[str]:
    """Return the kinds of a definition's fixtures and objects."""
    found: set[str] = set()
    for group in ("fixtures", "objects"):
        for body in re.findall(_GROUP.format(group), text):
            found |= {words[1].lower() for words in re.findall(r"(\s-\s+)(\S+)", body)}
    return found
