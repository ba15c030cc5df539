"""`dlr quickstart`: which assets a run is made with, where it lies, and what it says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from common.workers import Backend, Outcome
from generator.run_folder import RunFolder
from generator.work.plan import Plan
from reports.run_progress import RunProgress
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.resolve import ASSETS_VARIABLE, AssetPack, embedded_pack


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Path, AssetPack]]:
    """Folder and assets of each run, whose stages are left out; another pack is the default."""
    runs: list[tuple[Path, AssetPack]] = []
    monkeypatch.chdir(tmp_path)
    write_embedded_pack(tmp_path / "other")
    (tmp_path / "other/README.md").write_text("another pack")
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path / "other"))

    def work(run: RunFolder, plan: Plan, backend: Backend) -> RunProgress:
        result = {"policy_hash": "0a" * 32, "folder": "dataset"}
        ended = [Outcome(index, result, None, 1.0) for index in range(len(plan.items))]
        return RunProgress(run, plan.items, 2, ended)

    monkeypatch.setattr("reports.run_progress.work", work)

    def report(run: RunFolder, pack: AssetPack, seed: int) -> tuple[Path, Path]:
        runs.append((run.root, pack))
        return Path("report.html"), Path("report.json")

    monkeypatch.setattr("reports.run_gather.report_run", report)
    return runs


def test_the_embedded_pack_is_used_whatever_is_installed(
    made: list[tuple[Path, AssetPack]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["quickstart"])
    assert made == [(Path("runs/quickstart"), embedded_pack())]
    *said, last = capsys.readouterr().out.splitlines()
    assert sum("0a0a0a" in line for line in said) == len(("dlr", "o2o_rl"))
    assert "`dlr assets install`, then `dlr quickstart --assets libero`" in last


def test_another_pack_has_a_folder_of_its_own(
    made: list[tuple[Path, AssetPack]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["quickstart", "--full", "--assets", str(tmp_path / "other")])
    ((folder, pack),) = made
    assert (folder, pack.path) == (Path("runs/full-local"), tmp_path / "other")
    assert "--assets libero" not in capsys.readouterr().out


def test_liberos_own_are_used_when_asked_for(
    made: list[tuple[Path, AssetPack]], real_assets: Path
) -> None:
    main(["quickstart", "--assets", "libero"])
    ((folder, pack),) = made
    assert (folder, pack.name, pack.path) == (Path("runs/quickstart-libero"), "libero", real_assets)
