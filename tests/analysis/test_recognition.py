"""Known kinds against recognised names, by hand."""

from __future__ import annotations

import pytest

from analysis.recognition import confusion
from analysis.trajectories import DiversityError


def test_counts_and_agreement() -> None:
    found = confusion(list("aaabbc"), list("aababb"))
    assert (found.known, found.named) == (("a", "b", "c"), ("a", "b"))
    assert found.counts.tolist() == [[2, 1], [1, 1], [0, 1]]
    assert (found.named_alike.correct, found.named_alike.total) == (3, 6)
    assert found.named_alike.rate == 0.5


def test_patterns_are_given_the_names_that_fit_best() -> None:
    found = confusion(["z0"] * 3 + ["z1"] * 3, ["right", "right", "left"] + ["left"] * 3)
    assert found.named_alike.correct == 0
    assert found.matched.correct == 5
    # One name for all fits one pattern only.
    assert confusion(["z0", "z0", "z1"], ["left"] * 3).matched.correct == 2


def test_order_does_not_count() -> None:
    known, named = list("abcabc"), list("abbabc")
    first, second = confusion(known, named), confusion(known[::-1], named[::-1])
    assert first.counts.tolist() == second.counts.tolist()


def test_bad_input_is_one_clear_error() -> None:
    for known in ("", "a"):
        with pytest.raises(DiversityError, match="known kinds"):
            confusion(known, "")
