"""Every file that decides a result, damaged: refused in one line, made anew, or of no consequence.

`pytest -m slow -s tests/test_damaged_files.py` prints the table.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import simulation.tasks as registry
from common.errors import DlrError
from common.json_files import write_sealed
from common.manifest import write_manifest
from common.tensors import load_tensors, save_tensors
from demonstrations.audit import Audit, Row, read_audit, write_audit
from demonstrations.measured import read_measured, write_measured
from eval_harness.results import EpisodeResult, ResultsWriter, load_results
from eval_harness.sequential.stopped import load_counted
from generator.checkpoints import load_policy, policy_hash, save_policy
from generator.config import DiscoverConfig
from generator.discover import MixtureVae, PatternEncoder
from generator.policies.gaussian import GaussianPolicy
from generator.stages import read_record
from simulation.assets.resolve import embedded_pack
from simulation.environment import Environment
from simulation.recordings.recordings import open_recordings
from simulation.tasks import Task, get_task
from tests.demonstrations.test_measured import RECORD
from tests.eval_harness.test_results import config, episode
from tests.vla_adapters.conftest import tensorflow_side  # noqa: F401 (a fixture)
from tests.vla_adapters.training.test_checkpoints import trained

FLIPS, CUTS = 100, 20
DRAWER = get_task("libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    path: Path
    """The whole file."""
    use: Callable[[], Any]
    """Returns all that the product makes of it, as text."""
    fewer: Callable[[str, str], bool] = lambda whole, found: False
    """Whether a result says itself that something is missing, which is then run again."""


def damaged(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield copies with one bit flipped, and beginnings."""
    for bit in rng.integers(8 * len(content), size=FLIPS):
        copy = bytearray(content)
        copy[bit // 8] ^= 1 << bit % 8
        yield bytes(copy)
    for size in np.linspace(0, len(content) - 1, CUTS).astype(int):
        yield content[:size]


def examine(kind: Kind, name: str) -> Counter[str]:
    """Damage a file in many ways, and count what becomes of it."""
    whole, content = kind.use(), kind.path.read_bytes()
    assert kind.use() == whole
    found: Counter[str] = Counter()
    for copy in damaged(content, np.random.default_rng(7)):
        kind.path.unlink(missing_ok=True)  # a new file, as a bad copy is one
        kind.path.write_bytes(copy)
        try:
            result = kind.use()
        except DlrError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
            found["refused"] += 1
            continue
        if result == whole:
            anew = kind.path.read_bytes() == content
            found["made anew" if anew else "harmless"] += 1
        else:
            found["said to be incomplete" if kind.fewer(whole, result) else "SILENT"] += 1
    kind.path.write_bytes(content)
    print(f"{name:<34} {dict(found)}")
    return found


def text(value: Any) -> str:
    """Return arrays, tensors and what holds them as text that tells every bit."""
    if isinstance(value, torch.Tensor):
        value = value.detach().reshape(-1).view(torch.uint8).numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {text(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text, value)) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return text({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    return repr(value)


def sealed(path: Path, content: dict[str, Any], read: Callable[[], Any]) -> Kind:
    write_sealed(path, content)
    return Kind(path, lambda: text(read()))


def encoder(folder: Path) -> Kind:
    path, settings = folder / "encoder.safetensors", DiscoverConfig(hidden=16)
    torch.manual_seed(0)
    model = MixtureVae(settings.patterns, settings.latent_dim, settings.hidden)
    PatternEncoder(model.eval(), settings, {"elbo": 1.5}).save(path)

    def use() -> str:
        found = PatternEncoder.load(path)
        return text([found.model.state_dict(), found.config, found.report])

    return Kind(path, use)


def policy(folder: Path) -> Kind:
    path = folder / "policy.safetensors"
    torch.manual_seed(0)
    save_policy(path, GaussianPolicy(5, 3, (16, 16)), {"seed": 0})

    def use() -> str:
        found, metadata = load_policy(path)
        return policy_hash(found) + text(metadata)

    return Kind(path, use)


def stage_training(folder: Path) -> Kind:
    path = folder / "training.safetensors"
    tensors = {"policy.a": torch.rand(20, 20), "optimizer.0.step": torch.tensor(3.0)}
    save_tensors(path, "learn_training", tensors, {"step": 5})
    return Kind(path, lambda: text(load_tensors(path, "learn_training")))


def record(folder: Path) -> Kind:
    content = {"settings": {"seed": 0}, "versions": {"torch": "2"}, "report": {"success": 0.96}}
    path = folder / "learn" / "record.json"
    return sealed(path, content, lambda: read_record(folder / "learn"))


def results(folder: Path) -> None:
    writer = ResultsWriter(folder, config())
    for task in (0, 1):
        for number in (0, 1):
            writer.add(episode(task, number, bool(number)))
    writer.close()


def result_config(folder: Path) -> Kind:
    results(folder)
    return Kind(folder / "config.json", lambda: text(load_results(folder).config))


def result_lines(folder: Path) -> Kind:
    results(folder)

    def use() -> str:
        found = load_results(folder)
        return json.dumps([[dataclasses.asdict(e) for e in found.episodes], found.missing])

    def fewer(whole: str, found: str) -> bool:
        every, (episodes, missing) = json.loads(whole)[0], json.loads(found)
        ours = [EpisodeResult(**e) for e in episodes]
        return all(e in every for e in episodes) and len(ours) + len(missing) == len(every)

    return Kind(folder / "episodes.jsonl", use, fewer)


def stop(folder: Path) -> Kind:
    results(folder)
    rule = {"threshold": 0.8, "half_width": None, "confidence": 0.95}
    content = {"rounds": 1, "reason": "above", "successes": 2, "n": 2, "low": 0.9, "high": 1.0}
    content["rule"] = rule
    return sealed(folder / "stop.json", content, lambda: load_counted(folder)[1])


def init_states(folder: Path) -> Kind:
    task = Task("libero_90", 0, "made_up")
    path = folder / "init_files" / task.suite / f"{task.name}.pruned_init"
    path.parent.mkdir(parents=True)
    root = registry.libero_root()
    shutil.copy(root / "init_files" / DRAWER.suite / f"{DRAWER.name}.pruned_init", path)

    def use() -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "libero_root", lambda: folder)
            return text(task.init_states())

    return Kind(path, use)


def sums(path: Path) -> None:
    found = subprocess.run(
        ["sha256sum", path.name], cwd=path.parent, capture_output=True, check=True
    )
    (path.parent / "SHA256SUMS").write_bytes(found.stdout)


def audit(folder: Path) -> Kind:
    row = Row("a.hdf5", 0, 120, 9, 7, 101, "filtered")
    write_audit(folder / "a.audit.json", Audit("libero_90/x", "libero", True, (row,), ("b",)))
    path = folder / "a.audit.json"
    return Kind(path, lambda: text(dataclasses.asdict(read_audit(path))))


def measured(folder: Path) -> Kind:
    path = folder / "a.json"
    write_measured(path, RECORD)
    return Kind(path, lambda: text(dataclasses.asdict(read_measured(path))))


def people_json(folder: Path) -> Kind:
    env = Environment(DRAWER, embedded_pack())
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 7))
    path = folder / f"{DRAWER.name}.json"
    content = {"init_state": env.state().tolist(), "actions": actions.tolist()}
    path.write_text(json.dumps(content))
    sums(path)

    def use() -> str:
        with open_recordings(path) as file:
            return text(list(file))

    return Kind(path, use)


def people_hdf5(folder: Path) -> Kind:
    env, path = Environment(DRAWER, embedded_pack()), folder / f"{DRAWER.name}_demo.hdf5"
    bodies = [env.model.body(int(index)).name for index in env.scene.fixture_bodies]
    mjcf = "".join(f'<body name="{name}" pos="0 0 1"/>' for name in bodies)
    with h5py.File(path, "w") as file:
        for index in (0, 1):
            group = file.create_group(f"data/demo_{index}")
            group["states"] = np.stack([env.state()] * 20)
            group["actions"] = np.random.default_rng(index).uniform(-1, 1, (20, 7))
            group.attrs["model_file"] = f"<mujoco><worldbody>{mjcf}</worldbody></mujoco>"
    sums(path)

    def use() -> str:
        with open_recordings(path, assets=embedded_pack()) as file:
            return text(list(file))

    return Kind(path, use)


def vla_state(name: str) -> Callable[[Path], Kind]:
    def make(folder: Path) -> Kind:
        from vla_adapters.training.checkpoints import load_state, save_state

        save_state(folder, 1, {"seed": 0}, *trained(1))
        path = folder / "resume" / "step_000000001" / name
        return Kind(path, lambda: text(load_state(folder)))

    return make


def evaluations(folder: Path) -> Kind:
    from vla_adapters.training.validation import Evaluation, read_evaluations, write_evaluations

    write_evaluations(folder, [Evaluation(1, 3, 5, 0.2, 0.9), Evaluation(2, 4, 5, 0.3, 0.95)])
    return Kind(folder / "validation.json", lambda: text(read_evaluations(folder)))


SINGLE: dict[str, Callable[[Path], Kind]] = {
    "encoder.safetensors": encoder,
    "policy.safetensors": policy,
    "training.safetensors": stage_training,
    "record.json": record,
    "results: config.json": result_config,
    "results: episodes.jsonl": result_lines,
    "results: stop.json": stop,
    "init states": init_states,
    "demonstrations: audit": audit,
    "demonstrations: what was measured": measured,
    "people's JSON with SHA256SUMS": people_json,
    "LIBERO's HDF5 with SHA256SUMS": people_hdf5,
    "VLA state.safetensors": vla_state("state.safetensors"),
    "VLA state's training.json": vla_state("training.json"),
    "VLA validation.json": evaluations,
}


@pytest.mark.parametrize("name", SINGLE)
def test_single_files(name: str, tmp_path: Path) -> None:
    found = examine(SINGLE[name](tmp_path), name)
    assert found["SILENT"] == 0 and found.total() == FLIPS + CUTS


DATASET = {
    "dataset_info.json": False,
    "features.json": False,
    "digests.json": False,
    "libero_rl-train.tfrecord-00000-of-00002": False,
    "libero_rl-train.tfrecord-00001-of-00002": True,
    "dlr_index_train.json": True,
    "statistics": True,
}
"""File of a dataset -> whether the index is there when it is read."""


@pytest.mark.parametrize("name", DATASET)
def test_files_of_a_dataset(name: str, tensorflow_side: Any, tmp_path: Path) -> None:  # noqa: F811
    from vla_adapters.records import open_records
    from vla_adapters.statistics import as_json, statistics_of

    folder = Path(shutil.copytree(tensorflow_side.libero_rl, tmp_path / "1.0.0"))
    write_manifest(folder, ["dataset_info.json", "features.json"])

    def use() -> str:
        if not DATASET[name]:
            (folder / "dlr_index_train.json").unlink(missing_ok=True)
        found = open_records([folder])
        episodes = [found.episode(number) for number in range(len(found))]
        pictures = [
            found.encoded(number, step, camera)
            for number in range(len(found))
            for step in range(found.steps[number])
            for camera in found.cameras
        ]
        numbers = as_json(statistics_of(found, range(len(found))))
        arrays = [[e.actions, e.states, list(e.instructions)] for e in episodes]
        return text([arrays, pictures, dict(found.metadata), numbers, found.name])

    use()
    chosen = name if name != "statistics" else next(folder.glob("dlr_statistics_*")).name
    found = examine(Kind(folder / chosen, use), name)
    assert found["SILENT"] == 0 and found.total() == FLIPS + CUTS


def lerobot(folder: Path) -> Callable[[], str]:
    from tests.vla_adapters.lerobot.test_policy import save
    from vla_adapters.lerobot.loading import load_checkpoint

    sizes = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 64, "n_encoder_layers": 1}
    save(folder, "act", ("image",), chunk_size=4, n_action_steps=4, n_vae_encoder_layers=1, **sizes)

    def use() -> str:
        found = load_checkpoint(str(folder), "cpu")
        return text([found.policy.state_dict(), found.sha256])

    return use


def openvla(folder: Path) -> Callable[[], str]:
    from vla_adapters.openvla.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from vla_adapters.openvla.config import small_config
    from vla_adapters.openvla.model import OpenVla
    from vla_adapters.openvla.processing import Preprocessing
    from vla_adapters.openvla.tokenizer import LlamaTokenizer

    tokenizer = LlamaTokenizer.train(["pick up the bowl", "open the top drawer"])
    sizes = {"vision_width": 32, "vision_depth": 2, "text_width": 64, "text_depth": 1}
    settings = small_config(tokenizer.vocabulary_size, 32, **sizes)
    whole = Checkpoint(OpenVla.random(settings), Preprocessing.of_config(settings), tokenizer)
    save_checkpoint(whole, folder, shard_bytes=100_000)

    def use() -> str:
        found = load_checkpoint(folder, dtype=torch.float32)
        return text([found.model.state_dict(), found.config, found.preprocessing])

    return use


@pytest.mark.parametrize("make", [lerobot, openvla])
def test_files_of_a_checkpoint(make: Callable[[Path], Callable[[], str]], tmp_path: Path) -> None:
    use = make(tmp_path)
    write_manifest(tmp_path)
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        found = examine(Kind(path, use), f"{make.__name__} {path.name}"[:34])
        assert found["SILENT"] == 0 and found.total() == FLIPS + CUTS


def test_the_table_has_teeth(tmp_path: Path) -> None:
    """A file without a digest would be found by this."""
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(8, 8)))
    kind = Kind(tmp_path / "a.npy", lambda: _as_ours(tmp_path / "a.npy"))
    assert examine(kind, "a file without a digest")["SILENT"] > 0


def _as_ours(path: Path) -> str:
    try:
        return text(np.load(path))
    except Exception as error:
        raise DlrError(" ".join(str(error).split())[:200]) from error
