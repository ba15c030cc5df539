"""What pages have in common: their style, how they are made, and how they sort and filter."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from typing import Any

import jinja2


def render(package: str, name: str, **content: Any) -> str:
    """Return a page made of a template in a package, with `base_style` for its style sheet.

    Args:
        package: the package's dotted name.
        name: the template's file name.
        content: what the template names.

    Raises:
        jinja2.UndefinedError: the template names something else.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return environment.from_string(template).render(base_style=_read("base.css"), **content)


def sorting_script() -> tuple[str, str]:
    """Return the script that sorts tables and filters what they hold, and its hash for the CSP.

    Tables of the class `sortable` are sorted by the buttons that it makes of their last row of
    heads: by `data-value` of the cells, or by their text. What has `data-words` is filtered: by
    the words typed into `#text`, and by each `select` of `#controls`, whose `data-field` names
    the data attribute that must hold its value. Without the script all is shown.
    """
    text = _read("sort_and_filter.js")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def sorting_style() -> str:
    """Return the style of the buttons, words and choices that `sorting_script` serves."""
    return _read("sort_and_filter.css")


def _read(name: str) -> str:
    return importlib.resources.files("reports.pages").joinpath(name).read_text(encoding="utf-8")


def data_uri(kind: str, content: bytes) -> str:
    """Return content as an address that holds it.

    Args:
        kind: its media type, such as `video/mp4`.
        content: the bytes.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
