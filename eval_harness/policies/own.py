"""A policy of the user's own code, named as `module:Class` or `file.py:Class`.

This runs that code, in this process, on the word of whoever names it; nothing else that the
harness loads runs code.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from eval_harness.policy import EpisodeKey, Observation, Policy, PolicyError
from eval_harness.protocols import Protocol

_SPEC = re.compile(
    r"(?P<where>.+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)(?:#(?P<settings>.*))?"
)


def is_own(spec: str) -> bool:
    """Return whether a text has the form `module:Class` or `file.py:Class`, `#name=value` after."""
    return _SPEC.fullmatch(spec) is not None


class OwnPolicy(Policy):
    """A policy of the user's, whose identity also tells the version of its code.

    Args:
        policy: the policy.
        code: name of the file or module, and of the class.
        settings: what it was made with.
        file: the module's file, if it has one.
    """

    def __init__(
        self, policy: Policy, code: str, settings: dict[str, str], file: Path | None
    ) -> None:
        self.requirements = policy.requirements
        self._policy, self._code, self._settings = policy, code, settings
        self._digest = None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()

    def act(self, observations: Sequence[Observation]) -> npt.NDArray[np.floating[Any]]:
        """Return the policy's chunks."""
        return self._policy.act(observations)

    def run_under(self, protocol: Protocol) -> None:
        """Tell the policy."""
        self._policy.run_under(protocol)

    def reset(self, keys: Sequence[EpisodeKey]) -> None:
        """Tell the policy."""
        self._policy.reset(keys)

    def end(self, keys: Sequence[EpisodeKey]) -> None:
        """Tell the policy."""
        self._policy.end(keys)

    def identity(self) -> dict[str, Any]:
        """Return the policy's own identity, its code's name and hash, and its settings."""
        found = {**self._policy.identity(), "code": self._code, "sha256": self._digest}
        return {**found, "settings": self._settings} if self._settings else found

    def close(self) -> None:
        """Close the policy."""
        self._policy.close()


def load(spec: str) -> OwnPolicy:
    """Import the user's module and make its policy.

    Args:
        spec: `package.module:Class` or `folder/file.py:Class`; `#name=value,name=value` after it
            are texts that the class is called with. A module is looked for where Python does, and
            in this folder. A function that returns a policy does as well.

    Raises:
        PolicyError: there is no such module or class, its code fails, or it makes no policy.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise PolicyError(f"{spec!r} is not of the form module:Class or file.py:Class")
    where, name, settings = match["where"], match["name"], _settings(spec, match["settings"])
    module = _import(where)
    if not callable(make := getattr(module, name, None)):
        raise PolicyError(f"{where} has no class {name}")
    try:
        policy = make(**settings)
    except Exception as error:
        raise PolicyError(f"{spec} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(policy, Policy) or getattr(policy, "requirements", None) is None:
        raise PolicyError(
            f"{spec} is a {type(policy).__name__}; it should be an eval_harness.policy.Policy with "
            "requirements (docs/your_model.md)"
        )
    file = None if module.__file__ is None else Path(module.__file__)
    return OwnPolicy(policy, f"{Path(where).name}:{name}", settings, file)


def _settings(spec: str, text: str | None) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if any(not name.isidentifier() or not equals for name, equals, _ in pairs):
        raise PolicyError(f"{spec}: settings are given as #name=value,name=value")
    return {name: value for name, _, value in pairs}


def _import(where: str) -> ModuleType:
    """Return the user's module; beside its file, or in this folder, it may import others."""
    is_file = where.endswith(".py")
    path = Path(where).resolve()
    if is_file and not path.is_file():
        raise PolicyError(f"there is no file {where}")
    folder = str(path.parent if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return _run_file(path) if is_file else importlib.import_module(where)
    except ModuleNotFoundError as error:
        if not f"{where}.".startswith(f"{error.name}."):
            raise PolicyError(
                f"{where} needs the module {error.name}, which is not here"
            ) from error
        raise PolicyError(
            f"there is neither a kind of policy nor a module {where!r}; give a file as "
            "folder/file.py:Class"
        ) from error
    except Exception as error:
        raise PolicyError(f"{where} fails: {type(error).__name__}: {error}") from error


def _run_file(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    found.loader.exec_module(module)
    return module
