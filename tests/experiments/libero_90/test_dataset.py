"""Datasets of a campaign: proved, exported, and described among the results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from common.errors import DatasetError
from experiments.libero_90 import tables
from experiments.libero_90.dataset import dataset
from experiments.libero_90.proofs import PROOF, kept_in, read_proofs
from experiments.libero_90.scoreboard import Scoreboard
from experiments.study_results import StudyError
from simulation.tasks import list_tasks
from tests.dataset_builders.conftest import trajectories  # noqa: F401

NAME = "dlr_1_64px"


def make(source: Path, folder: Path, part: str = "") -> None:
    """Build the dataset of one recipe, an episode of each task, as small pictures."""
    dataset(
        source, folder / "data", ("dlr",), episodes=1, resolution=64, assets=Path("embedded"),
        workers=1, part=part, out=folder / "results",
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(trajectories: Path) -> Path:  # noqa: F811
    return trajectories


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make(source, folder)
    return folder


def test_what_was_found_is_kept_and_shown(made: Path) -> None:
    proofs = read_proofs(kept_in(made / "results"))
    assert set(proofs) == {NAME}
    proof, kept = proofs[NAME], kept_in(made / "results") / NAME
    built, exported = made / "data/libero_rl" / NAME / "1.0.0", made / "data/lerobot_v3" / NAME
    assert (proof.tasks, proof.episodes, proof.replayed) == (1, 1, 1)
    assert proof.content == json.loads((built / "metadata.json").read_text())["digest"]
    assert proof.content in (kept / "card.md").read_text()
    assert (kept / "statistics_openvla.json").exists() and (kept / "SHA256SUMS").exists()
    assert not list(kept.glob("*.tfrecord*"))
    info = json.loads((exported / "meta/info.json").read_text())
    assert info["total_episodes"] == 1 and info["total_frames"] == proof.steps
    assert proof.bytes > 1000 and proof.lerobot_bytes > 1000
    board = Scoreboard.read(made / "results", list_tasks("libero_90"), 0)
    assert [row[:2] for row in tables.datasets(board).rows] == [[NAME, "1"]]


def test_what_is_done_is_not_done_again(made: Path, source: Path, capsys) -> None:
    paths = sorted(kept_in(made / "results").glob(f"*/{PROOF}"))
    before = [path.stat().st_mtime_ns for path in paths]
    capsys.readouterr()
    make(source, made)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert "simulated again" not in capsys.readouterr().out


def test_a_further_part_stands_beside_what_was_kept(
    made: Path, source: Path, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    make(source, tmp_path, "_2")
    proofs = read_proofs(kept_in(tmp_path / "results"))
    assert set(proofs) == {NAME, f"{NAME}_2"}
    assert (
        proofs[NAME] == read_proofs(kept_in(made / "results"))[NAME]
        and proofs[f"{NAME}_2"].content == proofs[NAME].content
    )
    assert (kept_in(tmp_path / "results") / f"{NAME}_2" / "card.md").exists()


def test_a_lost_export_is_made_again_and_the_proof_stays(
    made: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = read_proofs(kept_in(made / "results"))
    shutil.rmtree(made / "data/lerobot_v3" / NAME)
    capsys.readouterr()
    make(source, made)
    assert "simulated again" not in capsys.readouterr().out
    assert read_proofs(kept_in(made / "results")) == before


def test_an_export_of_other_episodes_is_replaced(
    made: Path,
    source: Path,
    tmp_path: Path,
) -> None:
    exported = tmp_path / "data/lerobot_v3" / NAME
    shutil.copytree(made / "data", tmp_path / "data")
    origin = json.loads((exported / "meta/dlr.json").read_text())
    origin["metadata"]["digest"] = "another"
    (exported / "meta/dlr.json").write_text(json.dumps(origin))
    make(source, tmp_path)
    assert (
        read_proofs(kept_in(tmp_path / "results"))[NAME].lerobot
        == read_proofs(kept_in(made / "results"))[NAME].lerobot
    )


def test_a_dataset_with_a_fault_has_no_proof(made: Path, source: Path, tmp_path) -> None:
    (tmp_path / "data").symlink_to(made / "data")
    shard = next((made / "data/libero_rl" / NAME / "1.0.0").glob("*.tfrecord*"))
    whole = shard.read_bytes()
    try:
        shard.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
        with pytest.raises(DatasetError, match=NAME):
            make(source, tmp_path)
    finally:
        shard.write_bytes(whole)
    assert not read_proofs(kept_in(tmp_path / "results"))


def test_a_damaged_proof_is_refused(made: Path, tmp_path: Path) -> None:
    proof = next(kept_in(made / "results").glob(f"*/{PROOF}"))
    path = tmp_path / "dlr" / PROOF
    path.parent.mkdir()
    path.write_text(proof.read_text().replace('"episodes": 1', '"episodes": 9'))
    with pytest.raises(StudyError, match="delete it and run"):
        read_proofs(tmp_path)
