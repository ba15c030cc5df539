"""`dlr verify`: proves that a built dataset holds what it says, episode by episode."""

from __future__ import annotations

import collections
import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import DatasetError, one_line
from common.manifest import check_manifest
from dataset_builders import import_tfds

_MAX_REPORTED = 10
_MAX_PICTURE_ERROR = 10.0
"""Mean absolute difference, of 255, allowed between a stored JPEG and a new rendering."""


@dataclass(frozen=True)
class VerifyReport:
    """What was found in a dataset without faults."""

    episodes: int
    """Episodes in all splits."""
    steps: int
    """Steps in all splits."""
    per_pattern: dict[str, int]
    """Episodes by `suite/task z=pattern`."""
    digest: str
    """sha256 of the sorted content digests of all episodes; equal for equal datasets."""
    pictures_checked: int
    """Pictures compared with a new rendering; 0 if no trajectories were given."""

    def __str__(self) -> str:
        """Return a few lines for a terminal."""
        pictures = f"{self.pictures_checked} pictures agree with a new rendering"
        lines = [
            f"{self.episodes} episodes, {self.steps} steps: flags, rewards and digests are right",
            pictures if self.pictures_checked else "pictures not compared: no trajectories given",
            *(f"  {name}: {count} episodes" for name, count in sorted(self.per_pattern.items())),
            f"content sha256 {self.digest}",
        ]
        return "\n".join(lines)


def verify(
    dataset: str | Path, trajectories: Path | None = None, assets: str | None = None
) -> VerifyReport:
    """Check a built dataset and return what it holds.

    Checked are each episode's flags, reward, discount, number ranges and content digest, the
    first and last pictures' encoding and size, the counts in the metadata, and that no two
    splits share a start state. With `trajectories`, the folder that was built, the first
    picture of each camera is also rendered anew for one episode of each file and compared in
    all four orientations.

    Args:
        dataset: folder with dataset_info.json, `<data_dir>/libero_rl/<config>/1.0.0`, or its
            address, such as `gs://...`; then its files are copied to the user's cache.
        trajectories: folder that the dataset was built from.
        assets: asset pack to render with; by default the one found for every command.

    Raises:
        DatasetError: the dataset is missing, unreadable or wrong; the message lists the faults.
    """
    from common.remote.folder import list_folder, local_folder
    from common.workers import run_in_fresh_process

    address = str(dataset)
    dataset = local_folder(address, ["dataset_info.json"], lambda _: sorted(list_folder(address)))
    if not (dataset / "dataset_info.json").is_file():
        raise DatasetError(
            f"{dataset} holds no dataset_info.json: give the folder of one version, "
            "<data_dir>/libero_rl/<config>/1.0.0"
        )
    return run_in_fresh_process(verify_in_this_process, dataset, trajectories, assets)


def verify_in_this_process(
    dataset: Path, trajectories: Path | None, assets: str | None
) -> VerifyReport:
    """Do what `verify` does in a process that may load TensorFlow, and then must not render."""
    from dataset_builders.episodes import dataset_digest

    builder = _open(dataset)
    audits: list[_Audit] = []
    firsts: dict[str, _First] = {}
    for split, episode in _episodes(builder, dataset):
        audits.append(_audit(split, episode, builder))
        if trajectories is not None and audits[-1].file not in firsts:
            firsts[audits[-1].file] = _First(audits[-1], _first_pictures(episode, builder))
    faults = [f"{audit.name}: {fault}" for audit in audits for fault in audit.faults]
    faults += _dataset_faults(builder, audits)
    if trajectories is not None:
        faults += _picture_faults(builder, list(firsts.values()), trajectories, assets)
    if faults:
        raise DatasetError(_summary(dataset, faults))
    return VerifyReport(
        episodes=len(audits),
        steps=sum(audit.steps for audit in audits),
        per_pattern=dict(collections.Counter(audit.kind for audit in audits)),
        digest=dataset_digest([audit.digest for audit in audits]),
        pictures_checked=len(firsts) * len(_pictures(builder)),
    )


@dataclass(frozen=True)
class _Audit:
    """What the checks of the whole dataset need of one episode."""

    split: str
    file: str
    index: int
    kind: str
    start: str
    digest: str
    steps: int
    faults: list[str]

    @property
    def name(self) -> str:
        return f"{self.split} {self.file}#{self.index}"


@dataclass(frozen=True)
class _First:
    """The first episode of a file, the only one whose pictures are kept."""

    audit: _Audit
    pictures: dict[str, bytes]


def _first_pictures(episode: dict[str, Any], builder: Any) -> dict[str, bytes]:
    """Return the JPEGs of an episode's first step."""
    observation = episode["steps"][0]["observation"]
    return {name: observation[name] for name in _pictures(builder)}


def _audit(split: str, episode: dict[str, Any], builder: Any) -> _Audit:
    from dataset_builders.episodes import start_name

    metadata, steps = episode["episode_metadata"], episode["steps"]
    task = f"{metadata['suite']}/{metadata['task']}"
    return _Audit(
        split=split,
        file=metadata["file_path"],
        index=int(metadata["trajectory_index"]),
        kind=f"{task} z={metadata['pattern']}",
        start=start_name(task, metadata["init_index"], metadata["seed"]),
        digest=metadata["content_digest"],
        steps=len(steps),
        faults=episode_faults(episode, builder.info.features),
    )


def _open(dataset: Path) -> Any:
    check_manifest(dataset, DatasetError, "build it again")
    try:
        builder = import_tfds().builder_from_directory(dataset)
    except Exception as error:  # (protobuf, etils and TFDS have each their own)
        raise DatasetError(
            f"{dataset} cannot be opened ({one_line(error)}): build it again"
        ) from error
    if not (builder.info.metadata or {}).get("sources"):
        raise DatasetError(f"{dataset} was not built by libero_rl: its metadata names no sources")
    return builder


def _episodes(builder: Any, dataset: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, episode) with steps as a list, pictures as JPEG bytes, text as str."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    decoders = {
        "steps": {"observation": dict.fromkeys(_pictures(builder), tfds.decode.SkipDecoding())}
    }
    for split in builder.info.splits:
        try:
            for episode in tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders)):
                metadata = {
                    name: _plain(value) for name, value in episode["episode_metadata"].items()
                }
                yield split, {"steps": list(episode["steps"]), "episode_metadata": metadata}
        except tf.errors.OpError as error:
            raise DatasetError(
                f"{dataset}: split {split} cannot be read ({error.message}); a shard is missing, "
                "truncated or damaged: build the dataset again"
            ) from error


def _pictures(builder: Any) -> list[str]:
    """Return the names of the observation's picture features."""
    import tensorflow_datasets as tfds

    observation = builder.info.features["steps"].feature["observation"]
    return [name for name, item in observation.items() if isinstance(item, tfds.features.Image)]


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def episode_faults(episode: dict[str, Any], features: Any) -> list[str]:
    """Return what is wrong with one episode, in words; empty if nothing is.

    Args:
        episode: `steps`, a list with pictures as JPEG bytes, and `episode_metadata`.
        features: the dataset's TFDS features.
    """
    from dataset_builders.episodes import content_digest

    steps, metadata = episode["steps"], episode["episode_metadata"]
    last, success = len(steps) - 1, bool(metadata["success"])
    expected: dict[str, list[Any]] = {
        "is_first": [t == 0 for t in range(len(steps))],
        "is_last": [t == last for t in range(len(steps))],
        "is_terminal": [t == last and success for t in range(len(steps))],
        "reward": [float(t == last and success) for t in range(len(steps))],
        "discount": [1.0] * len(steps),
    }
    faults = []
    for name, values in expected.items():
        wrong = [t for t, step in enumerate(steps) if step[name] != values[t]]
        if wrong:
            t = wrong[0]
            faults.append(
                f"{name} is {steps[t][name]} at step {t} of {len(steps)}, not {values[t]}"
            )
    numbers = [step["observation"][key] for step in steps for key in ("state", "joint_state")]
    actions = np.stack([step["action"] for step in steps])
    if not all(np.isfinite(array).all() for array in (*numbers, actions)):
        faults.append("holds NaN or infinity")
    elif np.abs(actions).max() > 1:
        faults.append("holds actions outside [-1, 1]")
    if content_digest(episode) != metadata["content_digest"]:
        faults.append("does not match its content digest")
    return faults + _encoding_faults(steps, features["steps"].feature["observation"])


def _encoding_faults(steps: list[dict[str, Any]], observation: Any) -> list[str]:
    """Return faults of the first and last step's pictures: format and size."""
    faults = []
    for t in sorted({0, len(steps) - 1}):
        for name, content in steps[t]["observation"].items():
            if not isinstance(content, bytes):
                continue
            shape = _decode(content).shape
            if shape != tuple(observation[name].shape):
                faults.append(
                    f"{name} at step {t} has shape {shape}, not {observation[name].shape}"
                )
    return faults


def _decode(content: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content), formats=["JPEG"]))


def _dataset_faults(builder: Any, audits: list[_Audit]) -> list[str]:
    """Return faults that no single episode shows."""
    faults = []
    found = collections.Counter(audit.kind for audit in audits)
    claimed = {
        f"{task} z={pattern}": count
        for task, patterns in builder.info.metadata["episodes"].items()
        for pattern, count in patterns.items()
    }
    if claimed != found:
        faults.append(f"metadata.json claims episodes {claimed}, found {dict(found)}")
    twice = [n for n, count in collections.Counter(a.digest for a in audits).items() if count > 1]
    if twice:
        faults.append(f"{len(twice)} episodes occur more than once, such as {twice[0][:12]}")
    starts: dict[str, set[str]] = collections.defaultdict(set)
    for audit in audits:
        starts[audit.split].add(audit.start)
    shared = set.intersection(*starts.values()) if len(starts) > 1 else set()
    if shared:
        faults.append(f"splits share {len(shared)} start states, such as {min(shared)}")
    return faults


def _summary(dataset: Path, faults: list[str]) -> str:
    more = len(faults) - _MAX_REPORTED
    lines = [f"{dataset}: {len(faults)} faults", *faults[:_MAX_REPORTED]]
    return "\n  ".join(lines + ([f"and {more} more"] if more > 0 else []))


def orientation_of(stored: np.ndarray, upright: np.ndarray) -> tuple[str, float]:
    """Return how a stored picture lies relative to the upright one, and how well it fits.

    Args:
        stored: uint8 (H, W, 3).
        upright: the same view, upright and unmirrored, uint8 (H, W, 3).

    Returns:
        `rotated` (the dataset's convention: the raw picture rotated by 180 degrees), `raw`
        (upside down, as the simulator gives it), `upright` or `upright rotated`; and the mean
        absolute difference of 255.
    """
    from dataset_builders.episodes import to_stored

    candidates = {
        "rotated": to_stored(upright),
        "raw": upright[::-1],
        "upright": upright,
        "upright rotated": upright[::-1, ::-1],
    }
    errors = {
        name: float(np.abs(stored.astype(np.int16) - picture).mean())
        for name, picture in candidates.items()
    }
    best = min(errors, key=lambda name: errors[name])
    return best, errors[best]


def _below(folder: Path, name: str) -> Path:
    """Return the file of a name that a dataset tells.

    Raises:
        DatasetError: the name leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DatasetError(
            f"the dataset names {name!r}, which is not below {folder}: do not use it"
        )
    return folder / name


def _picture_faults(
    builder: Any, firsts: list[_First], trajectories: Path, assets: str | None
) -> list[str]:
    """Render first steps anew, without TensorFlow, and return what is wrong with the stored."""
    from common.workers import map_in_processes
    from dataset_builders.episodes import PictureConfig, render_start

    metadata: dict[str, Any] = builder.info.metadata
    pictures = PictureConfig(metadata["resolution"], tuple(metadata["cameras"].items()), assets)
    render = functools.partial(render_start, pictures=pictures)
    refs = [(_below(trajectories, first.audit.file), first.audit.index) for first in firsts]
    faults = []
    for first, rendered in zip(
        firsts, map_in_processes(render, refs, description="comparing pictures"), strict=True
    ):
        for feature, upright in rendered.items():
            orientation, error = orientation_of(_decode(first.pictures[feature]), upright)
            if error > _MAX_PICTURE_ERROR:
                fault = f"does not show the trajectory's state (error {error:.0f}/255)"
                faults.append(f"{first.audit.name}: {feature} {fault}")
            elif orientation != "rotated":
                fault = f"is stored {orientation}, not rotated by 180 degrees"
                faults.append(f"{first.audit.name}: {feature} {fault}")
    return faults
