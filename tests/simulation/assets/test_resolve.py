"""Finding, checking and caching of asset packs."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from common.errors import AssetError
from simulation.assets import resolve as assets
from simulation.assets.embedded import PACK_NAME, write_embedded_pack
from simulation.assets.resolve import (
    AssetPack,
    embedded_digest,
    embedded_pack,
    find_embedded_pack,
    resolve_assets,
    verify_pack,
)


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without caches, published assets or settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(assets.ASSETS_VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(assets, "UPSTREAM_DOWNLOAD", tmp_path / "upstream")


def hub_snapshot(tmp_path: Path) -> Path:
    """A hub cache whose main revision is an (empty) snapshot folder, which is returned."""
    repository = tmp_path / "hub" / "datasets--lerobot--libero-assets"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    return snapshot


def different_pack(folder: Path) -> Path:
    """A whole pack that is not the embedded one."""
    write_embedded_pack(folder)
    (folder / "README.md").write_text("other assets")
    return folder


def test_embedded_pack_is_written_when_nothing_else_is_there(tmp_path: Path) -> None:
    pack = resolve_assets()
    assert pack.name == PACK_NAME
    assert pack.digest == embedded_digest()
    assert pack.path == tmp_path / "cache/dlr-vla/assets" / f"embedded-{pack.digest[:16]}"
    verify_pack(pack)
    assert resolve_assets() == pack


def test_order_argument_variable_hub_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = hub_snapshot(tmp_path)
    different_pack(snapshot)
    assert (resolve_assets().name, resolve_assets().path) == ("hub", snapshot)
    upstream = different_pack(tmp_path / "upstream")
    assert (resolve_assets().name, resolve_assets().path) == ("hf-libero", upstream)
    variable = different_pack(tmp_path / "variable")
    monkeypatch.setenv(assets.ASSETS_VARIABLE, str(variable))
    assert (resolve_assets().name, resolve_assets().path) == ("local", variable)
    argument = different_pack(tmp_path / "argument")
    assert resolve_assets(argument).path == argument
    assert resolve_assets(str(argument)).digest == resolve_assets(variable).digest


def test_an_embedded_pack_is_known_wherever_it_lies(tmp_path: Path) -> None:
    write_embedded_pack(tmp_path / "elsewhere")
    assert resolve_assets(tmp_path / "elsewhere").name == PACK_NAME


def test_incomplete_hub_cache_is_passed_over_aloud(tmp_path: Path) -> None:
    hub_snapshot(tmp_path)
    with pytest.warns(UserWarning, match="lack"):
        assert resolve_assets().name == PACK_NAME


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "is not there"),
        (lambda folder: (folder / "articulated_objects/microwave.xml").unlink(), "microwave.xml"),
        (lambda folder: (folder / "textures/wood_dark.png").unlink(), "wood_dark.png"),
        (
            lambda folder: (folder / "articulated_objects/microwave.xml").write_text("<mujoco>"),
            "not an MJCF file",
        ),
    ],
)
def test_bad_folder_is_one_clear_error(damage, message: str, tmp_path: Path) -> None:
    write_embedded_pack(tmp_path / "pack")
    damage(tmp_path / "pack")
    with pytest.raises(AssetError, match=message):
        resolve_assets(tmp_path / "pack")


def test_damaged_embedded_pack_is_rewritten(tmp_path: Path) -> None:
    pack = embedded_pack()
    (pack.path / "articulated_objects/microwave.xml").write_text("cut")
    with pytest.raises(AssetError, match="not an MJCF file"):
        verify_pack(pack)
    (pack.path / "textures/wicker.png").unlink()
    assert embedded_pack() == pack
    verify_pack(pack)


def test_an_earlier_embedded_pack_is_found_by_its_digest(tmp_path: Path) -> None:
    earlier = resolve_assets(different_pack(tmp_path / "earlier"))
    assert find_embedded_pack(earlier.digest) is None
    cached = embedded_pack().path.with_name(f"embedded-{earlier.digest[:16]}")
    shutil.copytree(earlier.path, cached)
    assert find_embedded_pack(earlier.digest) == AssetPack(PACK_NAME, cached, earlier.digest)
    assert find_embedded_pack(embedded_digest()) == embedded_pack()
    (cached / "README.md").write_text("damaged")
    assert find_embedded_pack(earlier.digest) is None


def test_verify_names_the_changed_file() -> None:
    pack = embedded_pack()
    (pack.path / "textures/wicker.png").write_bytes(b"other")
    with pytest.raises(AssetError, match=r"wicker\.png"):
        verify_pack(pack)


def test_verify_finds_a_foreign_pack_changed(tmp_path: Path) -> None:
    pack = resolve_assets(different_pack(tmp_path / "pack"))
    verify_pack(pack)
    (pack.path / "README.md").write_text("changed since")
    with pytest.raises(AssetError, match="has changed"):
        verify_pack(pack)
    assert resolve_assets(pack.path).digest != pack.digest


def test_digest_is_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = resolve_assets(different_pack(tmp_path / "pack"))

    def unexpected(folder: Path) -> dict[str, str]:
        raise AssertionError(f"{folder} was read again")

    monkeypatch.setattr(assets, "_hash_files", unexpected)
    assert resolve_assets(pack.path) == pack


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="XDG_CACHE_HOME"):
        embedded_pack()


def _embedded_in_process(_: int) -> AssetPack:
    return embedded_pack()


def test_processes_may_write_at_once() -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        packs = pool.map(_embedded_in_process, range(8))
    assert len(set(packs)) == 1
    verify_pack(packs[0])
    assert sorted(path.name for path in packs[0].path.parent.iterdir()) == [
        "digests",
        packs[0].path.name,
        "embedded.lock",
    ]


def test_real_assets_are_whole(real_assets: Path) -> None:
    pack = resolve_assets(real_assets)
    assert (pack.name, pack.path) == ("local", real_assets.resolve())
    assert len(pack.digest) == 64
