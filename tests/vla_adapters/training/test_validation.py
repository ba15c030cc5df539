from __future__ import annotations

import json

from common.intervals import wilson_interval
from vla_adapters.training.validation import (
    Evaluation,
    find_best,
    read_evaluations,
    should_stop,
    write_evaluations,
)


def evaluations(*successes: int) -> list[Evaluation]:
    return [
        Evaluation(epoch, count, 10, *wilson_interval(count, 10))
        for epoch, count in enumerate(successes, start=1)
    ]


def test_of_equals_the_earlier_is_best():
    best = find_best(evaluations(3, 7, 7))
    assert best is not None and best.epoch == 2
    assert find_best([]) is None


def test_it_stops_once_patience_is_over():
    assert not should_stop([], 1)
    assert not should_stop(evaluations(3), 1)
    assert should_stop(evaluations(3, 2), 1)
    assert should_stop(evaluations(3, 3), 1)
    assert not should_stop(evaluations(3, 2), 2)
    assert not should_stop(evaluations(3, 2, 4), 1)


def test_results_mark_the_best_and_come_back(tmp_path):
    assert read_evaluations(tmp_path) == []
    found = evaluations(3, 7, 5)
    write_evaluations(tmp_path, found)
    assert read_evaluations(tmp_path) == found
    content = json.loads((tmp_path / "validation.json").read_text())
    assert content["best"] == "epoch_002"
    assert content["evaluations"][1]["low"] == wilson_interval(7, 10)[0]
