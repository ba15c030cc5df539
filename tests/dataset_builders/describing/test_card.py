"""A built dataset's card says what it holds, in HTML and Markdown, and shows each pattern."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from dataset_builders.describing.card import HTML, MARKDOWN, SHEET, _marked, kind_name
from dataset_builders.describing.sections import _short, _tasks
from dataset_builders.sources import EpisodeRef
from simulation.recordings.trajectories import EpisodeInfo
from tests.browser import title_after
from tests.dataset_builders.conftest import TASK


def test_a_dataset_has_a_card(dataset: Path) -> None:
    metadata = json.loads((dataset / "metadata.json").read_text())
    page, text = (dataset / HTML).read_text(), (dataset / MARKDOWN).read_text()
    for content in (page, text):
        assert metadata["digest"] in content and TASK in content
        assert "episodes simulated again from their stored actions" in content
        assert "libero_90.hdf5" in content and "libero_dataset_transform" in content
    assert page.count("data:video/mp4;base64,") == 2  # one a pattern
    assert "http" not in page.replace("https://libero-project.github.io", "")
    assert (dataset / SHEET).read_bytes().startswith(b"\xff\xd8")
    sealed = json.loads((dataset / "digests.json").read_text())["files"]
    assert {HTML, MARKDOWN, SHEET, "episodes.jsonl", "SHA256SUMS", "LICENSE"} <= sealed.keys()
    assert not any("tfrecord" in name for name in sealed)


def test_marked_words_become_code_and_nothing_else_markup() -> None:
    assert _marked("a `b<c` & `d`") == "a <code>b&lt;c</code> &amp; <code>d</code>"
    assert _marked(3) == "3"


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_is_no_wider_than_its_window(width: int, dataset: Path, tmp_path: Path) -> None:
    text = (dataset / HTML).read_text()
    assert "`" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    frame = f'<iframe width="{width}" height="900" srcdoc="{html.escape(text)}"></iframe>'
    told = "[e.scrollWidth, e.clientWidth]"
    look = f"const e = frames[0].document.documentElement; document.title = JSON.stringify({told})"
    page = f"<title></title><body>{frame}</body>"
    title = title_after(page, f"onload = () => {{ {look} }}", tmp_path)
    needed, wide = json.loads(title)
    assert needed <= wide and width - 20 <= wide <= width


def test_kinds_are_named_by_pattern_or_way() -> None:
    policy = EpisodeRef("", "x", 0, TASK, EpisodeInfo(0, pattern=2, method="dlr"))
    skill = EpisodeRef("", "x", 0, TASK, EpisodeInfo(0, way="low", method="scripted"))
    assert kind_name(policy) == f"{TASK}, dlr, pattern 2"
    assert kind_name(skill) == f"{TASK}, scripted, low"


def test_attempts_are_told_for_demonstrators_alone() -> None:
    infos = [
        EpisodeInfo(0, way="low", method="scripted", attempts=3),
        EpisodeInfo(1, way="low", method="scripted", attempts=2),
        EpisodeInfo(0, pattern=0, method="dlr"),
    ]
    refs = [EpisodeRef("", "x", i, TASK, info, 10) for i, info in enumerate(infos)]
    table = _tasks(refs)
    column = list(table.columns).index("attempts")
    assert {row[1]: row[column] for row in table.rows} == {"scripted": 5, "dlr": "-"}


def test_no_error_is_told_where_nothing_was_simulated_again() -> None:
    found = {"replayed": 0, "largest_position_error_m": 0.0, "largest_joint_error_rad": 0.0}
    assert _short(found, "position") == "-"
    assert _short({**found, "replayed": 2}, "joint") == "0.0e+00"
