"""What pages have in common: one palette and base style, and templates that name what they show."""

from __future__ import annotations

import importlib.resources
import re

import jinja2
import pytest

from reports.pages import render, sorting_style

TEMPLATES = [
    ("reports", "evaluation_template.html"),
    ("reports", "run_template.html"),
    ("reports.robustness", "template.html"),
    ("experiments.libero_90", "template.html"),
]


def read(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("package", "name"), TEMPLATES)
def test_the_palette_is_in_one_place(package: str, name: str) -> None:
    base, own = read("reports.pages", "base.css"), read(package, name)
    style = own[own.index("<style>") : own.index("</style>")]
    assert style.startswith("<style>\n{{ base_style | safe }}")
    assert ":root" not in style and ":root" in base
    used = set(re.findall(r"var\((--\w+)\)", style + base + sorting_style()))
    assert used <= set(re.findall(r"(--\w+):", base))
    rules = set(re.findall(r"^[^@\s].*\{.*\}$", base, re.MULTILINE))
    assert len(rules) > 30 and not rules & set(style.splitlines())


def test_a_template_that_names_what_it_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="title"):
        render("reports", "run_template.html", tasks=[])
