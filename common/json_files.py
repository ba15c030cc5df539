"""JSON that anyone may have written or damaged: bounded when it is read, sealed when it is ours.

A sealed file or line ends with the sha256 of all that stands before it, so that one other bit is
seen. All that is wrong with a file becomes one error of one line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from common.errors import DlrError, one_line
from common.files import output_errors, write_bytes

MOST_BYTES = 2**24
"""Size of a file that is read without being asked for more."""
MOST_DEPTH = 64
"""Lists and objects within each other."""
MOST_DIGITS = 20
"""Digits of an integer: those of the largest that 64 bits hold."""
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""Texts, of which the last may not end, so that none is looked through twice; and brackets."""
_SEAL = re.compile(rb',\s*"sha256": "([0-9a-f]{64})"\s*\}\s*\Z')
_SEAL_BYTES = 128
"""More than a seal takes up at the end."""


def parse_json(content: bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is no JSON, or has too many digits or levels; a few words.
    """
    if _depth(content) > MOST_DEPTH:
        raise ValueError(f"more than {MOST_DEPTH} lists within each other")
    try:
        return json.loads(content, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise ValueError("it is no UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error


def read_json(
    path: Path,
    what: str,
    error: type[DlrError],
    remedy: str,
    most: int = MOST_BYTES,
) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Args:
        path: the file.
        what: what it should be, with its article, for the message.
        error: what is raised.
        remedy: what to do if it is not that.
        most: bytes that it may have.

    Raises:
        DlrError: `error`, in one line: it is missing, too large, no JSON, or holds no object.
    """
    return _parse(_read(path, what, error, remedy, most), str(path), what, error, remedy)


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, not an empty one, as JSON that ends with its sha256, whole or not at all."""
    text = json.dumps(content, indent=2, sort_keys=True).removesuffix("\n}")
    write_bytes(path, _sealed(text.encode(), b',\n  "sha256": "%s"\n}\n'))


def read_sealed(
    path: Path,
    what: str,
    error: type[DlrError],
    remedy: str,
    most: int = MOST_BYTES,
) -> dict[str, Any]:
    """Return what `write_sealed` wrote; see `read_json`.

    Raises:
        DlrError: `error`, as `read_json`, or the file does not match its sha256.
    """
    return parse_sealed(_read(path, what, error, remedy, most), str(path), what, error, remedy)


def sealed_line(content: Mapping[str, Any]) -> bytes:
    """Return an object, not an empty one, as a line of JSON that ends with its sha256."""
    return _sealed(json.dumps(content).removesuffix("}").encode(), b', "sha256": "%s"}\n')


def parse_sealed(
    content: bytes, where: str, what: str, error: type[DlrError], remedy: str
) -> dict[str, Any]:
    """Return the object in a sealed text; `where` names it in messages.

    Raises:
        DlrError: `error`: it is no such text, or does not match its sha256.
    """
    start = max(0, len(content) - _SEAL_BYTES)
    seal = _SEAL.search(content, start)
    found = _parse(content, where, what, error, remedy)
    if seal is None:
        raise error(f"{where} is not {what} of this version (it has no sha256): {remedy}")
    if hashlib.sha256(content[: seal.start()]).hexdigest().encode() != seal[1]:
        raise error(f"{where} is damaged (it does not match its sha256): {remedy}")
    del found["sha256"]
    return found


def whole_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (where, line) of a file of lines, if there is one; a torn last line is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    yield from ((f"{path}:{number}", line) for number, line in enumerate(lines, 1))


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last line's end: the writer was killed in the middle of it."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with output_errors(path):
            os.truncate(path, whole)


def build[Built](kind: type[Built], content: Mapping[str, Any]) -> Built:
    """Return a dataclass made of an object of JSON that has just its fields, of their types.

    Raises:
        ValueError: a field is missing, unknown or of another type; a few words.
    """
    kinds = get_type_hints(kind)
    if differing := sorted(kinds.keys() ^ content.keys()):
        raise ValueError(f"missing or unknown: {', '.join(differing)}")
    if wrong := [name for name, value in content.items() if not _fits(value, kinds[name])]:
        raise ValueError(f"of another type: {', '.join(wrong)}")
    return kind(**content)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) in (Mapping, dict, list):  # what they hold is not looked at
        kind = get_origin(kind)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) or (whole and isinstance(0.0, kind))


def _sealed(head: bytes, tail: bytes) -> bytes:
    return head + tail % hashlib.sha256(head).hexdigest().encode()


def _read(path: Path, what: str, error: type[DlrError], remedy: str, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as fault:
        raise error(f"cannot read {path} ({fault.strerror or fault}): {remedy}") from fault
    if len(content) > most:
        raise error(f"{path} is not {what} (it is larger than {most >> 20} MiB): {remedy}")
    return content


def _parse(
    content: bytes, where: str, what: str, error: type[DlrError], remedy: str
) -> dict[str, Any]:
    try:
        found = parse_json(content)
    except ValueError as fault:
        raise error(f"{where} is not {what} ({one_line(fault)}): {remedy}") from fault
    if not isinstance(found, dict):
        raise error(f"{where} is not {what} (it holds no JSON object): {remedy}")
    return found


def _depth(content: bytes) -> int:
    """Return a bound on the nesting: the number of openings, or if they are many the depth."""
    openings = content.count(b"[") + content.count(b"{")
    if openings <= MOST_DEPTH:
        return openings
    depth = deepest = 0
    for match in _NESTING.finditer(content):
        sign = match[0][:1]
        depth += 1 if sign in b"[{" else -1 if sign in b"]}" else 0
        deepest = max(deepest, depth)
        if deepest > MOST_DEPTH:
            break
    return deepest


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
