"""`python -m experiments.libero_90.dataset`: a campaign's episodes as proved datasets.

Their cards, digests and statistics are kept among the results; the datasets are too large for that.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.files import ensure_writable, write_bytes
from common.json_files import read_json, write_sealed
from common.manifest import MANIFEST, file_sha256
from common.versions import head
from experiments.command import run_command
from experiments.libero_90.proofs import PROOF, Proof, kept_in, read_proof
from experiments.study import RECIPES
from experiments.study_results import StudyError

if TYPE_CHECKING:
    from dataset_builders.build import BuildConfig

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
    overwrite: bool = False,
    part: str = "",
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
        overwrite: replace datasets of other episodes that are there already.
        part: ends the names of what is kept, for the tasks that datasets made before have not;
            give their data folder and results names of their own.
        out: folder of the results; cards, digests, statistics and proofs go to `datasets` in it.
    """
    from dataset_builders.build import BuildConfig, build

    for recipe in recipes:
        settings = BuildConfig(
            trajectories, data_dir, f"{recipe}_{episodes}", resolution,
            assets=str(assets), workers=workers, overwrite=overwrite,
        )  # fmt: skip
        folder = build(settings)
        name = folder.parent.name
        keep(settings, folder, data_dir / "lerobot_v3" / name, kept_in(out) / f"{name}{part}")


def keep(settings: BuildConfig, folder: Path, lerobot: Path, out: Path) -> Path:
    """Export a dataset and prove it, unless that is done, and keep what describes it.

    Args:
        settings: how it was built.
        folder: of one version of it.
        lerobot: folder of its LeRobotDataset; one of another dataset is replaced.
        out: folder of what is kept.

    Raises:
        DatasetError: an episode is not what it says.
        StudyError: the dataset's metadata or an earlier proof is damaged.
        OutputError: a folder cannot be written.
    """
    kept = ensure_writable(out)
    metadata = read_json(folder / "metadata.json", "a dataset's metadata", StudyError, _AGAIN)
    _export(folder, lerobot, metadata["digest"])
    path = kept / PROOF
    proof = read_proof(path) if path.exists() else None
    if proof is None or proof.content != metadata["digest"]:
        proof = _prove(settings, folder)
        _copy(folder, kept)
    manifest = file_sha256(lerobot / MANIFEST)
    if proof.lerobot != manifest:
        proof = replace(proof, lerobot=manifest, lerobot_bytes=_size(lerobot))
        write_sealed(path, asdict(proof))
        print(path)
    return path


def _export(folder: Path, lerobot: Path, digest: str) -> None:
    """Export a dataset, unless its episodes, by their digest, have been."""
    from dataset_builders.lerobot_v3.export import ExportConfig, export
    from dataset_builders.lerobot_v3.layout import ORIGIN

    if lerobot.exists():
        made = read_json(lerobot / ORIGIN, "a LeRobotDataset's origin", StudyError, _AGAIN)
        if made["metadata"]["digest"] == digest:
            return
        shutil.rmtree(lerobot)
    export(ExportConfig(str(folder), lerobot))


def _prove(settings: BuildConfig, folder: Path) -> Proof:
    """Simulate all episodes of a dataset again; say what was found, but for its export."""
    from dataset_builders.verify import verify
    from experiments.study_items import made_with
    from simulation.assets.resolve import resolve_assets

    report = verify(folder, settings.trajectories, settings.assets, "all", settings.workers)
    print(report)
    pack = resolve_assets(Path(settings.assets) if settings.assets else None)
    return Proof(
        tasks=len({name.rsplit(" ", 1)[0] for name in report.per_pattern}),
        episodes=report.episodes,
        steps=report.steps,
        replayed=report.replayed,
        succeeded=report.succeeded,
        pictures_checked=report.pictures_checked,
        content=report.digest,
        bytes=_size(folder),
        lerobot="",
        lerobot_bytes=0,
        settings={
            "config": settings.config,
            "resolution": settings.resolution,
            "cameras": list(settings.cameras),
        },
        provenance=made_with(pack, head()),
    )


def _copy(folder: Path, kept: Path) -> None:
    """Have a dataset's describing files, and no others, beside its proof."""
    files = {path.name: path for pattern in _KEPT for path in folder.glob(pattern)}
    for name, path in files.items():
        write_bytes(kept / name, path.read_bytes())
    for old in kept.iterdir():
        if old.name not in files and old.name != PROOF:
            old.unlink()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    run_command(dataset, "experiments.libero_90.dataset")
