"""LIBERO's official demonstrations, 50 of each task: where they lie, and how they come here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from common.errors import DemonstrationError, DlrError, StorageError
from common.files import atomic_write, output_errors, user_cache_folder
from common.hub import DamagedError, HubFile, fetch_hub_file, list_hub_files, partial_file
from common.locks import lock_folder
from common.manifest import check_sums, file_sha256, note_sums, read_sums
from simulation.recordings.official import check_whole
from simulation.tasks import SUITES, Task, get_task, list_tasks

REPOSITORY = "yifengzhu-hf/LIBERO-datasets"
"""Dataset of the Hugging Face hub, with a file `SUITE/TASK_demo.hdf5` of each of the 130 tasks."""
REVISION = "f13aa24a3da8c43c7225569f28c562979fa0e35a"
"""The commit that is fetched, of May 2025: 130 files, 100.4 GB."""
LICENCE = "CC BY 4.0 (Liu et al., LIBERO: Benchmarking Knowledge Transfer, 2023)"
"""Of the demonstrations, as LIBERO states it."""
REMEDY = (
    "check the network, or $HF_ENDPOINT if you use a mirror; the same command goes on where it "
    "stopped, and `--from PATH` takes files that are here already"
)
"""What to do where the hub does not give what it should."""


def official_name(task: Task) -> str:
    """Return the name of a task's official file."""
    return f"{task.name}_demo.hdf5"


def official_folder(suite: str, folder: Path | None = None) -> Path:
    """Return where a suite's official files lie: below `folder`, by default the user's cache."""
    return (folder or user_cache_folder() / "demonstrations") / suite


def official_file(task: Task, folder: Path | None = None) -> Path | None:
    """Return a task's official file, None where it is not here; only whole ones have this name."""
    path = official_folder(task.suite, folder) / official_name(task)
    return path if path.is_file() else None


def choose_tasks(names: Sequence[str]) -> list[Task]:
    """Return the tasks of suites, and those named one by one, each once, in the order given.

    Raises:
        UnknownTaskError: a name is neither a suite nor a task.
    """
    groups = (list_tasks(name) if name in SUITES else [get_task(name)] for name in names)
    return list(dict.fromkeys(task for group in groups for task in group))


@dataclass(frozen=True)
class Supply:
    """Brings official files to a folder; whatever stops it, the next time goes on from there."""

    folder: Path | None = None
    """Where `SUITE/TASK_demo.hdf5` come to lie; by default in the user's cache folder."""
    say: Callable[[str], None] = print
    """Called with each line of progress."""
    endpoint: str | None = None
    """The hub's address; by default `$HF_ENDPOINT`, else the public one."""

    def download(self, tasks: Sequence[Task]) -> list[Path]:
        """Fetch the tasks' files from the hub, except those that are here and whole.

        The hub's sha256 of each is noted in the `SHA256SUMS` beside it, with which every later
        reading compares it.

        Raises:
            DatasetError: the hub cannot be reached or refuses, or a file did not arrive as it was
                sent (the others are fetched nevertheless).
            StorageError: there is no room for all of them.
            BusyError: another process is fetching a file of the same suite.
            OutputError: the folder cannot be written.
        """
        checked = tqdm(tasks, desc="checking", leave=False)
        lacking = [task for task in checked if not self._is_here(task)]
        self.say(f"{len(tasks) - len(lacking)} of {len(tasks)} files are here and whole")
        listed = self._list(lacking)
        self._announce(listed)
        faults: list[DamagedError] = []
        for number, (task, file) in enumerate(listed.items(), 1):
            self.say(f"{number} of {len(listed)}: {file.path}, {file.size / 1e6:.0f} MB")
            try:
                self._fetch(task, file)
            except DamagedError as error:
                self.say(str(error))
                faults.append(error)
        if faults:
            raise DamagedError(f"{len(faults)} of {len(listed)} files did not come: {faults[0]}")
        return [self._path(task) for task in tasks]

    def take(self, tasks: Sequence[Task], source: Path, copy: bool = False) -> list[Path]:
        """Link (or copy) the tasks' files from a folder, or one file, that is here already.

        A file is taken if it is whole and of its task; others are told of. The sha256 of what was
        taken is noted, so that later damage is seen.

        Args:
            tasks: whose files.
            source: a file, or a folder with `TASK_demo.hdf5` or `SUITE/TASK_demo.hdf5`.
            copy: copy instead of linking.

        Raises:
            DemonstrationError: `source` is not there, has none of the files, or some of those that
                it has are not whole (the others are taken nevertheless).
            OutputError: the folder cannot be written.
        """
        if not source.exists():
            raise DemonstrationError(f"there is no {source}: check the path")
        found = {task: path for task in tasks if (path := _find(source, task)) is not None}
        if not found:
            raise DemonstrationError(
                f"{source} has none of the {len(tasks)} files, such as {official_name(tasks[0])} "
                f"or {tasks[0].suite}/{official_name(tasks[0])}"
            )
        faults: list[str] = []
        for task, path in found.items():
            try:
                check_sums(path, DemonstrationError, "copy or download it again")
                check_whole(path, task)
                self._put(task, path, copy)
            except StorageError:
                raise
            except DlrError as error:
                self.say(str(error))
                faults.append(str(error))
        self.say(f"{len(found) - len(faults)} of {len(tasks)} files taken from {source}")
        if faults:
            raise DemonstrationError(
                f"{len(faults)} of {len(found)} files were not taken: {faults[0]}"
            )
        return [self._path(task) for task in found]

    def _path(self, task: Task) -> Path:
        return official_folder(task.suite, self.folder) / official_name(task)

    def _is_here(self, task: Task) -> bool:
        """Return whether a file is here and what was noted of it; read from start to end."""
        path = self._path(task)
        noted = read_sums(path.parent).get(path.name)
        return path.is_file() and noted is not None and noted == file_sha256(path)

    def _list(self, tasks: Sequence[Task]) -> dict[Task, HubFile]:
        if not tasks:
            return {}
        paths = [f"{task.suite}/{official_name(task)}" for task in tasks]
        listed = list_hub_files(REPOSITORY, REVISION, paths, REMEDY, self.endpoint)
        return dict(zip(tasks, listed, strict=True))

    def _announce(self, listed: dict[Task, HubFile]) -> None:
        """Say what will be fetched under which licence, and see that there is room for it."""
        if not listed:
            return
        suite = next(iter(listed)).suite
        folder = official_folder(suite, self.folder).parent
        total = sum(file.size for file in listed.values())
        self.say(
            f"LIBERO's official demonstrations: {total / 1e9:.1f} GB in {len(listed)} files, into "
            f"{folder}\nlicence: {LICENCE}"
        )
        parts = [partial_file(file, self._path(task)) for task, file in listed.items()]
        needed = total - sum(part.stat().st_size for part in parts if part.is_file())
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        if free < needed:
            raise StorageError(
                f"{folder} has {free / 1e9:.1f} GB, and fetching needs {needed / 1e9:.1f} GB: make "
                "room, fetch fewer tasks, or give `--folder` where there is more"
            )

    def _fetch(self, task: Task, file: HubFile) -> None:
        path = self._path(task)
        with lock_folder(path.parent):
            if not (path.is_file() and file_sha256(path) == file.sha256):
                fetch_hub_file(file, path, REMEDY, self.endpoint)
            note_sums(path.parent, {path.name: file.sha256})

    def _put(self, task: Task, source: Path, copy: bool) -> None:
        path = self._path(task)
        digest = file_sha256(source)
        with lock_folder(path.parent):
            if path.resolve() == source.resolve() and not (copy and path.is_symlink()):
                pass  # it is there already
            elif copy:
                with atomic_write(path) as temporary:
                    shutil.copyfile(source, temporary)
            else:
                _link(source, path)
            note_sums(path.parent, {path.name: digest})


def _find(source: Path, task: Task) -> Path | None:
    """Return the task's file in a folder, or the file itself if it is that one."""
    name = official_name(task)
    places = [source] if source.name == name else [source / task.suite / name, source / name]
    return next((place for place in places if place.is_file()), None)


def _link(source: Path, path: Path) -> None:
    """Let `path` be a link to `source`, in place of what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.link")
    with output_errors(path):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(source.resolve())
        os.replace(temporary, path)
