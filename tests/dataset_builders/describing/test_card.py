"""A built dataset's card says what it holds, in HTML and Markdown, and shows each pattern."""

from __future__ import annotations

import json
from pathlib import Path

from dataset_builders.describing.card import HTML, MARKDOWN, SHEET, kind_name
from dataset_builders.sources import EpisodeRef
from simulation.recordings.trajectories import EpisodeInfo
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


def test_kinds_are_named_by_pattern_or_way() -> None:
    policy = EpisodeRef("", "x", 0, TASK, EpisodeInfo(0, pattern=2, method="dlr"))
    skill = EpisodeRef("", "x", 0, TASK, EpisodeInfo(0, way="low", method="scripted"))
    assert kind_name(policy) == f"{TASK}, dlr, pattern 2"
    assert kind_name(skill) == f"{TASK}, scripted, low"
