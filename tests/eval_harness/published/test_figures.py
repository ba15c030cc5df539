"""Published figures: each has a source, and a run is judged by both intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import SettingError
from eval_harness.plan import OUT_OF_DISTRIBUTION
from eval_harness.protocols import PROTOCOLS
from eval_harness.published.figures import all_figures, compare_published, find_figures
from eval_harness.results import load_results, summarise
from reports.evaluation_tables import published_texts
from simulation.tasks import SUITES, list_tasks
from tests.eval_harness.folders import DRAWER, write_folder

REAL = {"name": "libero", "digest": "f" * 64}


def test_every_figure_has_its_source() -> None:
    for figure in all_figures():
        assert figure.source and figure.by and (figure.suites or figure.average is not None)
        assert set(figure.suites) <= set(SUITES)
        assert figure.protocol is None or figure.protocol in PROTOCOLS
        assert all(0 < percent <= 100 for percent in figure.suites.values())
        if set(figure.suites) == set(OUT_OF_DISTRIBUTION) and figure.average is not None:
            mean = sum(figure.suites.values()) / 4
            assert mean == pytest.approx(figure.average, abs=0.11)


def test_names() -> None:
    kinds = [figure.kind for figure in find_figures("OpenVLA-OFT")]
    assert kinds[0] == "published" and "rerun" in kinds
    with pytest.raises(SettingError, match=r"pi9.*openvla, openvla-oft"):
        find_figures("pi9")


def judge(folder: Path, model: str, successes: int, tasks: int = 10, **settings):
    chosen = list_tasks("libero_object")[:tasks]
    outcomes = {task.key: [i < successes for i in range(50)] for task in chosen}
    results = load_results(write_folder(folder, outcomes, **{"assets": REAL, **settings}))
    return compare_published(model, summarise(results), results.config)


@pytest.mark.parametrize(("successes", "says"), [(49, "agrees"), (48, "lower"), (50, "higher")])
def test_a_run_is_judged_by_both_intervals(tmp_path: Path, successes: int, says: str) -> None:
    found = judge(tmp_path / "a", "openvla-oft", successes, protocol="openvla_oft")
    (row,) = found.rows
    assert (row.suite, row.agreement) == ("libero_object", says)
    assert row.published == pytest.approx(0.984)
    assert row.low is not None and row.high is not None and row.rate is not None
    assert row.low < row.rate - row.published < row.high
    assert not found.warnings


def test_sizes_of_a_model_are_told_apart(tmp_path: Path) -> None:
    names = [figure.model for figure in find_figures("smolvla")]
    assert names == ["smolvla-0.24b", "smolvla-0.45b", "smolvla-2.25b"]
    with pytest.raises(SettingError, match=r"several sizes: name one of smolvla-0\.24b, s"):
        judge(tmp_path / "a", "smolvla", 49)
    found = judge(tmp_path / "b", "smolvla-2.25b", 47)
    assert found.rows[0].published == pytest.approx(0.94)
    assert published_texts(found)["notes"][-1].endswith("(2.25 billion parameters).")


def test_every_published_name_stands_for_one_figure() -> None:
    found = [f.model for f in all_figures() if (f.kind, f.benchmark) == ("published", "LIBERO")]
    assert len(set(found)) == len(found)


def test_what_is_not_the_same_is_said(tmp_path: Path) -> None:
    fewer = judge(tmp_path / "a", "pi0.5", 49, tasks=9)
    assert fewer.rows[0].agreement == "other tasks"
    assert "500 of each suite are assumed" in fewer.warnings[0]
    other = judge(tmp_path / "b", "pi0.5", 49, protocol="openvla")
    assert "Published under openpi, run under openvla." in other.warnings
    pack = load_results(write_folder(tmp_path / "c", {DRAWER: [True]})).config["assets"]
    toy = judge(tmp_path / "d", "pi0.5", 49, assets=pack)
    assert toy.rows[0].agreement == "not comparable" and "stand-in" in toy.warnings[0]
    none = judge(tmp_path / "e", "x-vla", 49)
    assert not none.rows and "only the average" in none.warnings[0]
    with pytest.raises(SettingError, match="only reruns, or other benchmarks"):
        judge(tmp_path / "f", "srpo", 49)
    assert fewer.as_dict()["figure"]["model"] == "pi0.5"
