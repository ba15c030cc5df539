"""Digests of what episodes and datasets hold, whatever file, shard or order they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dataset_builders.features import METADATA, STEPS
from dataset_builders.records.examples import flatten

CONTENT = "content_digest"
"""Name, in an episode's metadata, of the digest of all the rest."""


def content_digest(example: Mapping[str, Any]) -> str:
    """Return the sha256 of an episode's content, whatever file format or shard it came from.

    Covers every feature but the digest itself; pictures by their JPEG bytes. `example` has
    `steps` (an iterable of nested dicts) and `episode_metadata`.
    """
    digest = hashlib.sha256()
    metadata = dict(example[METADATA])
    metadata.pop(CONTENT, None)
    for item in (metadata, *example[STEPS]):
        for name, value in flatten(item):
            content = _canonical(value)
            digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def dataset_digest(episode_digests: Iterable[str]) -> str:
    """Return the digest of a set of episodes, whatever their order."""
    return hashlib.sha256("".join(sorted(episode_digests)).encode()).hexdigest()


def _canonical(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    array = np.asarray(value)
    return array.astype(array.dtype.newbyteorder("<")).tobytes()
