"""Addresses that `fsspec` opens: what passes is tried again, what stays is one clear error."""

from __future__ import annotations

import base64
import binascii
import importlib
import itertools
import json
import logging
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fsspec

from common.errors import DatasetError, DlrError, one_line
from common.files import storage_fault

ANONYMOUS = "DLR_ANONYMOUS"
"""Environment variable: if it is 1, public buckets are read without looking for credentials."""
_WITHOUT_CREDENTIALS: dict[str, dict[str, Any]] = {
    "gs": {"token": "anon"},
    "gcs": {"token": "anon"},
    "s3": {"anon": True},
    "s3a": {"anon": True},
    "hf": {"token": False},
}
"""Protocol -> what its file system wants to be told for that."""
_TIMEOUT_S = 120
"""Of one request to Google's storage; the others have their own."""
_TRIES = 4
_LONGEST_PAUSE_S = 20.0
_PASSING_STATUS = (408, 429, *range(500, 600))
_LASTING = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
    ValueError,
)
_LIBRARIES = {
    "aiohttp": ("ClientError",),
    "gcsfs.retry": ("HttpError", "ChecksumError"),
    "google.auth.exceptions": ("GoogleAuthError",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "httpx": ("HTTPError",),
}
"""Module -> its errors of networks and servers that are no OSErrors."""


def is_remote(address: str | os.PathLike[str]) -> bool:
    """Return whether an address is one for `fsspec` and no path on this machine."""
    protocol, _ = fsspec.core.split_protocol(str(address))
    return protocol not in (None, "file", "local")


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of an address and the path in it, without a slash at its end.

    Nothing that it lists is remembered, for others write there too.

    Raises:
        ValueError: there is no such protocol.
        ImportError: its package is not installed.
    """
    protocol, _ = fsspec.core.split_protocol(address)
    options: dict[str, Any] = {"use_listings_cache": False}
    if os.environ.get(ANONYMOUS, "") not in ("", "0"):
        options |= _WITHOUT_CREDENTIALS.get(protocol or "", {})
    if protocol in ("gs", "gcs"):
        options["requests_timeout"] = _TIMEOUT_S
        if os.environ.get("STORAGE_EMULATOR_HOST"):  # which has no zonal buckets
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs what it raises
    filesystem, path = fsspec.core.url_to_fs(address, **options)
    return filesystem, path.rstrip("/")


def network_faults() -> tuple[type[BaseException], ...]:
    """Return what file systems raise where a network, a server or an address is not right."""
    found: list[type[BaseException]] = [OSError, ValueError, ImportError, EOFError]
    for module, names in _LIBRARIES.items():
        if module in sys.modules:
            found += [getattr(importlib.import_module(module), name) for name in names]
    return tuple(found)


def passes(error: BaseException) -> bool:
    """Return whether an error of the network or a server may be gone a moment later."""
    if isinstance(error, (*_LASTING, DlrError)) or storage_fault(error):
        return False
    status = getattr(error, "code", None) or getattr(error, "status", None)
    if str(status).isdigit():
        return int(str(status)) in _PASSING_STATUS
    return not str(error).startswith("Forbidden")  # (gcsfs's word for 403)


def retried[Value](work: Callable[[], Value]) -> Value:
    """Return `work()`; what the network or a server does for a moment is waited for.

    The file systems try each request again by themselves, too.

    Raises:
        Exception: the last one that `work` raised.
    """
    for attempt in itertools.count(1):
        try:
            return work()
        except network_faults() as error:
            if attempt == _TRIES or not passes(error):
                raise
        time.sleep(min(_LONGEST_PAUSE_S, 2.0**attempt) * random.uniform(0.25, 0.5))
    raise AssertionError("unreachable")


@contextmanager
def address_errors(address: str, doing: str = "read") -> Iterator[None]:
    """Give any failure with an address inside one clear error.

    Raises:
        DatasetError: the address, the network, the server or the credentials are not right.
    """
    try:
        yield
    except DlrError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(
            f"cannot {doing} {address}: there is no {one_line(error)}; check the address, and "
            "whether what was published there is whole"
        ) from error
    except network_faults() as error:
        if storage_fault(error):
            raise
        raise DatasetError(
            f"cannot {doing} {address} ({_told(error)}): check the address, the network and the "
            f"credentials ({ANONYMOUS}=1 for a public bucket); the same command goes on"
        ) from error


def _told(error: BaseException) -> str:
    """Return what an error says; some servers say it in HTML."""
    return one_line(RuntimeError(re.sub(r"<[^>]*>", " ", str(error)) or type(error).__name__))


ETAG = "etag"
"""Digest that proves a content if it is the content's md5, and tells nothing if it is not."""


def content_digest(info: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (algorithm, hexadecimal digest) of a file's content that its server tells, if any.

    Known are Google's md5 and crc32c, the hub's sha256, and S3's ETag of a file sent in one part,
    as `ETAG`: the md5 unless the bucket has keys of its own (SSE-KMS, SSE-C), which nothing tells.
    """
    for name, algorithm in (("md5Hash", "md5"), ("crc32c", "crc32c")):
        if isinstance(told := info.get(name), str) and (digest := _from_base64(told)):
            return algorithm, digest
    lfs = info.get("lfs")
    sha256 = lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)
    if isinstance(sha256, str):
        return "sha256", sha256
    tag = str(info.get("ETag") or "").strip('"').lower()
    if len(tag) == 32 and set(tag) <= set("0123456789abcdef"):
        return ETAG, tag
    return None


def content_version(info: Mapping[str, Any]) -> str:
    """Return text that is another one when the file at an address has another content."""
    if digest := content_digest(info):
        return ":".join(digest)
    return json.dumps(dict(info), sort_keys=True, default=str)


def _from_base64(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        return None
