"""Runs an experiment as a command: options from its signature, known errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from common.errors import DlrError


def run_command(
    experiment: Callable[..., Any] | Mapping[str, Callable[..., Any]], module: str
) -> None:
    """Run a function, or one of several by its name, with the options of the command line.

    An error of this project ends with one line on standard error and its status, as with `dlr`.

    Args:
        experiment: the function, or functions by the name of their subcommand.
        module: what `python -m` is told.
    """
    import tyro

    prog = f"python -m {module}"
    try:
        if isinstance(experiment, Mapping):
            tyro.extras.subcommand_cli_from_dict(dict(experiment), prog=prog)
        else:
            tyro.cli(experiment, prog=prog)
    except DlrError as error:
        print(f"experiments: {error}", file=sys.stderr)
        sys.exit(error.status)
