"""Imports of robosuite without the notices that it prints and without the OpenGL that it binds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from simulation.pictures.graphics import no_graphics

_LOGGER = "robosuite_logs"


@contextmanager
def quiet_robosuite() -> Iterator[None]:
    """Import robosuite, or what imports it, inside this.

    Its advice to make a private macro file, and the warnings about its own old syntax, say
    nothing that a user could act on. Its logger is as before afterwards.
    """
    logger = logging.getLogger(_LOGGER)
    logger.addFilter(_is_no_macro_notice)
    try:
        with warnings.catch_warnings(), no_graphics():
            for category in (SyntaxWarning, DeprecationWarning):
                warnings.filterwarnings("ignore", category=category, module=".*robosuite")
            yield
    finally:
        logger.removeFilter(_is_no_macro_notice)


def _is_no_macro_notice(record: logging.LogRecord) -> bool:
    return "macro" not in record.getMessage()
