"""`python -m experiments.libero_90.dataset`: a campaign's episodes as proved datasets.

Their cards, digests and statistics are kept among the results; the datasets are too large for that.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from common.files import ensure_writable
from common.json_files import read_json, write_sealed
from common.manifest import MANIFEST, file_sha256
from experiments.command import run_command
from experiments.libero_90.proofs import PROOF, Proof, kept_in, read_proof
from experiments.study import RECIPES, head
from experiments.study_results import StudyError

if TYPE_CHECKING:
    from dataset_builders.build import BuildConfig
    from dataset_builders.verify import VerifyReport

_KEPT = ("card.md", "card.jpg", "dataset_info.json", "digests.json", "SHA256SUMS", "statistics_*")
_AGAIN = "build the dataset again"


def dataset(
    trajectories: Path = Path("runs/libero_90"),
    data_dir: Path = Path("runs/libero_90/datasets"),
    recipes: tuple[str, ...] = RECIPES,
    episodes: int = 12,
    resolution: int = 128,
    assets: Path = Path("libero"),
    workers: int | None = None,
    out: Path = Path("results"),
) -> None:
    """Build a dataset of each recipe, simulate all of it again, export it, and keep its card.

    What is there already is not built, proved or exported again.

    Args:
        trajectories: folder of a campaign's run.
        data_dir: TFDS data folder; the LeRobotDatasets are written to its `lerobot_v3`.
        recipes: their names.
        episodes: of each task, spread evenly over patterns and ways.
        resolution: height and width of the pictures, pixels.
        assets: `libero`, `embedded` or a folder.
        workers: processes; by default one for each core.
        out: folder of the results; cards, digests, statistics and proofs go to `datasets` in it.
    """
    from dataset_builders.build import BuildConfig, build

    for recipe in recipes:
        settings = BuildConfig(
            trajectories, data_dir, f"{recipe}_{episodes}", resolution,
            assets=str(assets), workers=workers,
        )  # fmt: skip
        folder = build(settings)
        keep(settings, folder, data_dir / "lerobot_v3" / folder.parent.name, kept_in(out))


def keep(settings: BuildConfig, folder: Path, lerobot: Path, out: Path) -> Path:
    """Prove a dataset and export it, unless that is done, and keep what describes it.

    Args:
        settings: how it was built.
        folder: of one version of it.
        lerobot: folder of its LeRobotDataset.
        out: folder of what is kept; what comes of it is in a folder with the dataset's name.

    Raises:
        DatasetError: an episode is not what it says.
    """
    from dataset_builders.lerobot_v3.export import ExportConfig, export
    from dataset_builders.verify import verify

    kept = ensure_writable(out / folder.parent.name)
    metadata = read_json(folder / "metadata.json", "a dataset's metadata", StudyError, _AGAIN)
    path = kept / PROOF
    if path.exists() and read_proof(path).content == metadata["digest"] and lerobot.exists():
        return path
    report = verify(folder, settings.trajectories, settings.assets, "all", settings.workers)
    print(report)
    if not lerobot.exists():
        export(ExportConfig(str(folder), lerobot))
    for pattern in _KEPT:
        for found in folder.glob(pattern):
            shutil.copyfile(found, kept / found.name)
    write_sealed(path, asdict(_proof(settings, folder, lerobot, report)))
    print(path)
    return path


def _proof(settings: BuildConfig, folder: Path, lerobot: Path, report: VerifyReport) -> Proof:
    from common.machine import describe_machine

    machine = describe_machine()
    return Proof(
        tasks=len({name.rsplit(" ", 1)[0] for name in report.per_pattern}),
        episodes=report.episodes,
        steps=report.steps,
        replayed=report.replayed,
        succeeded=report.succeeded,
        pictures_checked=report.pictures_checked,
        content=report.digest,
        bytes=_size(folder),
        lerobot=file_sha256(lerobot / MANIFEST),
        lerobot_bytes=_size(lerobot),
        settings={
            "config": settings.config,
            "resolution": settings.resolution,
            "cameras": list(settings.cameras),
            "assets": settings.assets,
        },
        provenance={
            "commit": head(), "machine": f"{machine['cpu']}, {machine['cores']} cores",
        },
    )  # fmt: skip


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    run_command(dataset, "experiments.libero_90.dataset")
