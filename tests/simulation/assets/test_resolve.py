"""Finding, checking and caching of asset packs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import AssetError
from simulation.assets import digests, published
from simulation.assets import resolve as assets
from simulation.assets.embedded import PACK_NAME, ROBOT_FILE, pack_files, write_embedded_pack
from simulation.assets.published import PublishedFile
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
    monkeypatch.setattr(assets, "PACKAGE", "no_such_package")


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
        (lambda folder: (folder / "textures/lost.png").symlink_to("nowhere"), "lost.png"),
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

    monkeypatch.setattr(digests, "_hash_files", unexpected)
    assert resolve_assets(pack.path) == pack


def test_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="XDG_CACHE_HOME"):
        embedded_pack()


EMBEDDED = """
from simulation.assets.resolve import embedded_pack
print("ready", flush=True)
input()
print(embedded_pack())
"""


def test_processes_may_write_at_once() -> None:
    """Small processes of their own, which begin once all are there."""
    command = [sys.executable, "-c", EMBEDDED]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin and process.stdin.write("\n")
    packs = {process.communicate()[0].strip() for process in processes}
    pack = embedded_pack()
    assert packs == {str(pack)}
    verify_pack(pack)
    assert sorted(path.name for path in pack.path.parent.iterdir()) == [
        "digests",
        pack.path.name,
        "embedded.lock",
    ]


@pytest.fixture
def small_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A whole pack, whose scenes and textures count as all that LIBERO has published."""
    write_embedded_pack(tmp_path / "own")
    (tmp_path / "own" / ROBOT_FILE).unlink()
    hashes = {
        name: digests.sha256(content)
        for name, content in pack_files().items()
        if name.startswith(("scenes/", "textures/"))
    }
    files = {name: PublishedFile(published.blob_id(tmp_path / "own" / name), 1) for name in hashes}
    listing = digests.listing_digest(hashes)
    for module in (published, digests):
        monkeypatch.setattr(module, "published_files", lambda: files)
    for module in (assets, digests):
        monkeypatch.setattr(module, "PUBLISHED_DIGEST", listing)
    return tmp_path / "own"


def test_files_beside_liberos_own_change_nothing(small_list: Path) -> None:
    pack = resolve_assets(small_list)
    assert (pack.name, pack.digest) == ("libero", digests.read_digest(small_list))
    (small_list / "articulated_objects/red_cabinet.xml").write_text("<mujoco/>")
    assert resolve_assets(small_list) == pack
    verify_pack(pack)


@pytest.mark.parametrize("stood_in", ["textures/wicker.png", ROBOT_FILE])
def test_what_stands_in_for_a_file_is_not_liberos(small_list: Path, stood_in: str) -> None:
    own = resolve_assets(small_list)
    (small_list / stood_in).parent.mkdir(exist_ok=True)
    (small_list / stood_in).write_bytes(b"stood in")
    assert published.unpublished(small_list) == [stood_in]
    pack = resolve_assets(small_list)
    assert pack.name == "local" and pack.digest != own.digest
    with pytest.raises(AssetError, match=rf"{stood_in} .*dlr assets install"):
        verify_pack(own)
    with pytest.raises(AssetError, match="dlr assets install"):
        resolve_assets("libero")


def test_libero_is_found_wherever_it_lies(
    small_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssetError, match="`dlr assets install` fetches them"):
        resolve_assets("libero")
    monkeypatch.setenv(assets.ASSETS_VARIABLE, str(small_list))
    assert resolve_assets("libero").path == small_list
    different_pack(tmp_path / "other")
    (tmp_path / "other/textures/wicker.png").write_bytes(b"stood in")
    monkeypatch.setenv(assets.ASSETS_VARIABLE, str(tmp_path / "other"))
    shutil.copytree(small_list, tmp_path / "upstream")
    assert resolve_assets().path == tmp_path / "other"
    assert resolve_assets("libero").path == tmp_path / "upstream"
    for name, folder in (("libero", tmp_path / "upstream"), ("embedded", embedded_pack().path)):
        monkeypatch.setenv(assets.ASSETS_VARIABLE, name)
        assert resolve_assets().path == resolve_assets(name).path == folder


def test_the_package_is_found_and_not_imported(
    small_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "own_assets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    small_list.rename(package / "assets")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(assets, "PACKAGE", "own_assets")
    assert resolve_assets().path == resolve_assets("libero").path == package / "assets"
    assert resolve_assets().name == "libero"


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_damaged_installed_assets_are_an_error_not_another_pack(small_list: Path, damage) -> None:
    small_list.rename(assets.installed_folder())
    assert resolve_assets().path == assets.installed_folder()
    damage(assets.installed_folder() / "textures/wicker.png")
    for asked in (None, "libero"):
        with pytest.raises(AssetError, match=r"wicker\.png is .*`dlr assets install` mends"):
            resolve_assets(asked)
    assert resolve_assets("embedded").name == PACK_NAME


def test_liberos_own_assets_are_known(real_assets: Path) -> None:
    pack = resolve_assets(real_assets)
    assert (pack.name, pack.path) == ("libero", real_assets)
    assert pack.digest == published.PUBLISHED_DIGEST
    assert len(published.published_files()) == 344
