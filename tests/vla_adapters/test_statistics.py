"""Statistics against NumPy on what TFDS reads, and the form that OpenVLA keeps them in."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.errors import DatasetError
from dataset_builders.describing.statistics import openvla_form
from vla_adapters.records import open_records
from vla_adapters.statistics import (
    as_json,
    compute_statistics,
    from_json,
    read_statistics,
    statistics_of,
    write_statistics,
)


def test_they_are_those_of_all_steps(rlds, tensorflow_side):
    records = open_records([rlds])
    found = statistics_of(records, range(len(records)))
    for part, name in ((found.action, "action"), (found.state, "state")):
        values = tensorflow_side.read[name].astype(np.float64)
        assert np.array_equal(part.q01, np.quantile(values, 0.01, axis=0))
        assert np.array_equal(part.q99, np.quantile(values, 0.99, axis=0))
        assert np.array_equal(part.min, values.min(axis=0))
        assert np.array_equal(part.max, values.max(axis=0))
        np.testing.assert_allclose(part.mean, values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(part.std, values.std(axis=0), rtol=1e-12)
    assert (found.transitions, found.trajectories) == (34, 7)
    assert found.dataset == "libero_rl_dlr"


def test_they_are_computed_once_and_again_for_other_episodes(rlds):
    records = open_records([rlds])
    found = statistics_of(records, range(len(records)))
    (path,) = records.folders[0].beside("").glob("dlr_statistics_*.json")
    written = path.stat().st_mtime_ns
    assert as_json(statistics_of(records, range(len(records)))) == as_json(found)
    assert path.stat().st_mtime_ns == written
    few = statistics_of(records, [1, 4])
    assert few.digest != found.digest
    assert few.transitions == records.steps[[1, 4]].sum()


def test_openvla_s_layout_has_its_gripper_and_mask(rlds, tensorflow_side):
    records = open_records([rlds])
    found = as_json(compute_statistics(records, range(len(records))))
    layout = openvla_form("libero_rl_dlr", found)["libero_rl_dlr"]
    action = tensorflow_side.read["action"].astype(np.float64)
    action[:, -1] = 1 - np.clip(action[:, -1], 0, 1)
    assert layout["action"]["mask"] == [True] * 6 + [False]
    for name, value in {
        "mean": action.mean(axis=0),
        "std": action.std(axis=0),
        "max": action.max(axis=0),
        "min": action.min(axis=0),
        "q01": np.quantile(action, 0.01, axis=0),
        "q99": np.quantile(action, 0.99, axis=0),
    }.items():
        np.testing.assert_allclose(layout["action"][name], value, atol=1e-7)
    assert layout.keys() == {"action", "proprio", "num_transitions", "num_trajectories"}
    assert len(layout["proprio"]["mean"]) == 8
    assert json.loads(json.dumps(layout)) == layout


def test_json_holds_them_exactly(rlds, tmp_path):
    records = open_records([rlds])
    found = compute_statistics(records, [0, 2])
    write_statistics(tmp_path / "statistics.json", found)
    assert as_json(read_statistics(tmp_path / "statistics.json")) == as_json(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("state"), r"lacks \['state'\]"),
        (lambda content: content.update(more=1), r"unknown \['more'\]"),
        (lambda content: content.update(transitions="7"), "transitions is no int"),
        (lambda content: content["action"]["mean"].pop(), "action: mean is not 7 finite numbers"),
        (lambda content: content["state"]["std"].__setitem__(0, None), "state: std"),
        (lambda content: content["action"].update(q01=[float("nan")] * 7), "action: q01"),
        (lambda content: content.update(action=[]), "action is no table"),
    ],
    ids=["missing", "unknown", "type", "size", "null", "nan", "list"],
)
def test_other_json_is_refused(change, message, rlds):
    content = json.loads(json.dumps(as_json(compute_statistics(open_records([rlds]), [0]))))
    change(content)
    with pytest.raises(DatasetError, match=message):
        from_json(content, "statistics.json")


def test_a_damaged_file_is_a_clear_error(tmp_path):
    (tmp_path / "statistics.json").write_text("{")
    with pytest.raises(DatasetError, match="delete the file"):
        read_statistics(tmp_path / "statistics.json")
