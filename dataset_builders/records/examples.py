"""Episodes as `tf.train.Example`s, written and read without TensorFlow, always with equal bytes.

TFDS stores an episode as one example: a map from `steps/action` or `episode_metadata/task` to the
values of all steps, one after another. Protobuf leaves the order of a map open; here it is that of
the names, so that equal episodes are equal bytes, and each feature has its place in the record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset_builders.features import METADATA, STEPS, Feature

_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
"""Numbers of the lists in `tf.train.Feature`."""
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class Entry:
    """A feature's place in a record."""

    name: str
    """Name, as `steps/action`."""
    length: int
    """Bytes of its entry in the map; the entries follow each other to the record's end."""
    digest: str
    """First 16 hexadecimal digits of the sha256 of these bytes."""


def encode(example: Mapping[str, Any]) -> tuple[bytes, list[Entry]]:
    """Return an episode as TFDS would serialise it, and where each feature lies.

    Args:
        example: `steps`, nested dicts of arrays, numbers, text and JPEG bytes, and
            `episode_metadata`, a dict of scalars and text.
    """
    values: dict[str, list[Any]] = {}
    for step in example[STEPS]:
        for name, value in flatten(step, f"{STEPS}/"):
            values.setdefault(name, []).append(value)
    for name, value in flatten(example[METADATA], f"{METADATA}/"):
        values[name] = [value]
    entries = [(name, _entry(name, values[name])) for name in sorted(values)]
    body = b"".join(content for _, content in entries)
    places = [Entry(name, len(content), short_digest(content)) for name, content in entries]
    return _field(1, body), places


def decode(features: Any, wanted: Mapping[str, Feature]) -> dict[str, Any]:
    """Return the episode in a record; what `encode` was given, pictures as JPEG bytes.

    Args:
        features: name -> protobuf `Feature`, as `tfrecords.parse_example` returns them.
        wanted: name -> feature that the record must hold, and nothing else.

    Raises:
        ValueError: it holds other features, or another number of values; a few words.
    """
    if differing := sorted(set(features) ^ set(wanted)):
        raise ValueError(f"missing or unknown features: {', '.join(differing[:5])}")
    arrays = {name: _values(features[name], wanted[name], name) for name in wanted}
    counts = {name: len(array) for name, array in arrays.items()}
    steps = {name: count for name, count in counts.items() if name.startswith(STEPS)}
    most = max(steps.values())
    if most == 0:
        raise ValueError("it has no step")
    for name, count in counts.items():
        expected = most if name in steps else 1
        if count != expected:
            raise ValueError(f"{name} has {count} values, not {expected}")
    return {
        STEPS: [
            _nested({name.removeprefix(f"{STEPS}/"): arrays[name][t] for name in steps})
            for t in range(most)
        ],
        METADATA: {
            name.removeprefix(f"{METADATA}/"): array[0]
            for name, array in arrays.items()
            if name not in steps
        },
    }


def damaged_features(content: bytes, entries: Sequence[Entry]) -> list[str]:
    """Return the names of the features whose bytes in a record are not what was written."""
    start = len(content) - sum(entry.length for entry in entries)
    if start < 0 or content[:start] != _head(len(content) - start):
        return ["the record's own header"]
    found = []
    for entry in entries:
        if short_digest(content[start : start + entry.length]) != entry.digest:
            found.append(entry.name)
        start += entry.length
    return found


def short_digest(content: bytes) -> str:
    """Return the beginning of the sha256 of a content, enough to see that it has changed."""
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]


def flatten(item: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of nested dicts, the names sorted and joined by `/`."""
    for name in sorted(item):
        if isinstance(item[name], Mapping):
            yield from flatten(item[name], f"{prefix}{name}/")
        else:
            yield prefix + name, item[name]


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


def _values(feature: Any, wanted: Feature, name: str) -> Sequence[Any]:
    """Return the values of a feature, one a step, or one in all for an episode's metadata."""
    kind = feature.WhichOneof("kind")
    if wanted.dtype in (str, bytes):
        if kind != "bytes_list":
            raise ValueError(f"{name} is no {'text' if wanted.dtype is str else 'picture'}")
        found = feature.bytes_list.value
        return [value.decode() for value in found] if wanted.dtype is str else list(found)
    floating = np.issubdtype(wanted.dtype, np.floating)
    if kind != ("float_list" if floating else "int64_list"):
        raise ValueError(f"{name} is of another type")
    values = np.array(getattr(feature, kind).value, np.float32 if floating else np.int64)
    size = int(np.prod(wanted.shape))
    if values.size % size:
        raise ValueError(f"{name} has {values.size} numbers, no multiple of {size}")
    return list(values.astype(wanted.dtype).reshape(-1, *wanted.shape))


def _entry(name: str, values: Sequence[Any]) -> bytes:
    """Return an entry of the map: the name, and the list of its values."""
    first = values[0]
    if isinstance(first, str | bytes):
        kind = _BYTES
        content = b"".join(_field(1, v.encode() if isinstance(v, str) else v) for v in values)
    else:
        array = np.stack([np.asarray(value) for value in values])
        if np.issubdtype(array.dtype, np.floating):
            kind, content = _FLOATS, _field(1, array.astype("<f4").tobytes())
        else:
            numbers = array.astype(np.int64).ravel().tolist()
            kind, content = _INTEGERS, _field(1, b"".join(map(_varint, numbers)))
    return _field(1, _field(1, name.encode()) + _field(2, _field(kind, content)))


def _field(number: int, content: bytes) -> bytes:
    """Return a field of protobuf's wire format that holds bytes."""
    return _head(len(content), number) + content


def _head(length: int, number: int = 1) -> bytes:
    return bytes([number << 3 | 2]) + _varint(length)


def _varint(value: int) -> bytes:
    """Return an integer in protobuf's variable length; a negative one as its two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
