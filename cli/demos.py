"""`dlr demos`: fetch LIBERO's official demonstrations, and show what became of people's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.errors import UsageError


@dataclass(frozen=True)
class Download:
    """Fetch LIBERO's official demonstrations, 50 of each task, some 0.8 GB a task.

    They come from the Hugging Face hub (`yifengzhu-hf/LIBERO-datasets`, at one commit), and each
    file is compared with the hub's sha256. The same command goes on where it was killed.
    """

    names: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SUITE|TASK ...")
    ] = ()
    """Suites, such as libero_90, and tasks, as `suite/name` or their names alone."""
    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Take the files from this folder, or this one file, instead of the hub: they are linked."""
    copy: bool = False
    """With `--from`: copy the files instead of linking them."""
    folder: Path | None = None
    """Folder for `SUITE/TASK_demo.hdf5`; by default in the user's cache folder, where other
    commands find them with `--human-demos official`."""

    def __call__(self) -> None:
        """Fetch."""
        from demonstrations.official import Supply, choose_tasks

        if not self.names:
            raise UsageError("name a suite, such as libero_90, or tasks; `dlr tasks` lists them")
        if self.copy and self.source is None:
            raise UsageError("--copy goes with --from PATH")
        tasks, supply = choose_tasks(self.names), Supply(self.folder)
        if self.source is not None:
            paths = supply.take(tasks, self.source, self.copy)
        else:
            paths = supply.download(tasks)
        for path in paths:
            print(path)


@dataclass(frozen=True)
class Audit:
    """Show which of people's demonstrations were kept, how, and what was dropped of them."""

    path: tyro.conf.Positional[Path]
    """A run's folder, or the `*.audit.json` beside a file of demonstrations."""

    def __call__(self) -> None:
        """Show."""
        from demonstrations.audit import find_audits, read_audit

        for path in find_audits(self.path):
            print("\n".join(read_audit(path).lines()))


def demos(
    command: tyro.conf.OmitArgPrefixes[tyro.conf.OmitSubcommandPrefixes[Download | Audit]],
) -> None:
    """Official demonstrations: download, audit."""
    command()
