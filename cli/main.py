"""Entry point of `dlr`: runs a subcommand, turns known errors into one line and a status.

The statuses: 0 done; 1 done, but with something missing or unsound (`doctor`, `eval run`, `eval
check`); 2 an error that its line says how to mend; 74 a disk that is full, over its quota or
read-only; 75 another process is writing the same output; 130 interrupted. After 74, 75 and 130
the same command goes on where it stopped.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from common.errors import DlrError, StorageError, UsageError
from common.files import storage_fault
from common.machine import instruction_sets
from common.versions import package_version

COMMANDS: dict[str, str] = {
    "quickstart": "the whole line on one task, or on two with --full",
    "tasks": "find LIBERO's 130 tasks: goals, horizons, demonstrations",
    "doctor": "check versions, assets, physics and pictures before results depend on them",
    "assets": "list and verify asset packs; `dlr assets install` fetches LIBERO's own",
    "view": "draw an init state, a demonstration or a trajectory",
    "demonstrate": "make demonstrations: scripted, human or LIBERO's own",
    "demos": "demonstrations of many tasks: download, make, show, audit, measure, table",
    "train": "train a recipe's policies on demonstrations",
    "generate": "demonstrate, train and collect many tasks side by side",
    "collect": "roll a policy out and keep its successful episodes",
    "build": "render trajectories into an RLDS dataset",
    "verify": "prove that a dataset holds what it says",
    "export": "write an RLDS dataset as a LeRobotDataset v3",
    "publish": "send a dataset to cloud storage, complete or not at all",
    "load": "look at a dataset anywhere, or copy it here, each file proved",
    "vla": "pretrain or fine-tune pi0 or OpenVLA on an RLDS dataset",
    "serve": "serve a policy to clients of openpi's and vla-eval's protocols",
    "eval": "evaluate any policy on LIBERO, and compare results",
    "report": "compare recipes: metrics, success per pattern, pictures",
}
"""Subcommand -> one line of help. `cli.NAME.NAME` is the function that does it."""

EXIT_INTERRUPTED = 130
EXIT_UNREAD = 141
_PINNED = ("train", "collect", "demonstrate", "demos", "generate", "quickstart")
"""Subcommands whose results shall not depend on the type of x86-64 processor."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run `dlr` with the given arguments (default: the process's own) and exit.

    Errors of this project end with one line on standard error and their status; so does a disk
    that takes nothing more, whichever library met it. With `--debug`, or `DLR_DEBUG=1` in the
    environment, they keep their traceback like unexpected ones.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("DLR_DEBUG", "") not in ("", "0")
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        _run(arguments)
        sys.stdout.flush()
    except DlrError as error:
        if debug:
            raise
        print(f"dlr: {error}", file=sys.stderr)
        sys.exit(error.status)
    except BrokenPipeError:  # whoever reads the output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_UNREAD)
    except OSError as error:
        if debug or not storage_fault(error):
            raise
        print(f"dlr: {error}; make room, and the same command goes on", file=sys.stderr)
        sys.exit(StorageError.status)
    except KeyboardInterrupt:
        print("dlr: interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return
    if arguments[0] == "--version":
        print(f"dlr-vla {package_version('dlr-vla')}")
        return
    name = arguments[0]
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else "."
        raise UsageError(f"unknown command {name!r}{hint} `dlr --help` lists all.")
    if name in _PINNED and not {"numpy", "torch"} & sys.modules.keys():
        os.environ.update(instruction_sets())  # before the libraries load, which look once
    import tyro

    command = getattr(importlib.import_module(f"cli.{name}"), name)
    tyro.cli(command, prog=f"dlr {name}", args=arguments[1:])


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dlr COMMAND [--help] [--debug] ...",
            "       dlr --version",
            "",
            "From demonstrations of a manipulation task to diverse policies and an RLDS dataset.",
            "",
            *lines,
            "",
            "`dlr COMMAND --help` explains a command; --debug (or DLR_DEBUG=1) shows tracebacks.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
