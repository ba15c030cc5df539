"""Errors of the product: one clear line each, which the command line prints without a traceback."""

from __future__ import annotations

from typing import ClassVar

_LONGEST = 300
"""Characters of another library's message that are passed on."""


def one_line(error: BaseException) -> str:
    """Return what an error of another library says, in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class DlrError(Exception):
    """Base of every error that a user can mend; its message says what is wrong and what to do."""

    status: ClassVar[int] = 2
    """Exit status of a command that ends with this error."""


class UnknownTaskError(DlrError, KeyError):
    """No LIBERO task has the given name."""

    def __str__(self) -> str:
        """Return the message itself (KeyError would quote it)."""
        return str(self.args[0])


class GoalError(DlrError, ValueError):
    """A task's definition has no goal, or one that is not a plain conjunction of predicates."""


class InvalidActionError(DlrError, ValueError):
    """An action has the wrong shape, or contains what is no finite real number."""


class InvalidStateError(DlrError, ValueError):
    """A simulator state has the wrong size, or contains what the simulator takes for no number."""


class TrajectoryError(DlrError, OSError):
    """A trajectory file is missing, truncated or not in LIBERO's layout."""


class AssetError(DlrError, OSError):
    """LIBERO's meshes, textures and MJCF files are missing or incomplete."""


class RenderError(DlrError, RuntimeError):
    """No OpenGL implementation that can render without a display was found."""


class OutputError(DlrError, OSError):
    """A result cannot be written where it was asked for."""


class StorageError(OutputError):
    """A disk takes nothing more: it is full, over its quota or read-only."""

    status = 74  # EX_IOERR of sysexits.h


class BusyError(DlrError, RuntimeError):
    """Another process is writing what is asked for."""

    status = 75  # EX_TEMPFAIL of sysexits.h


class SettingError(DlrError, ValueError):
    """A setting or option does not exist, or cannot have the given value."""


class DatasetError(DlrError, ValueError):
    """A dataset is missing, does not hold what it should, or cannot be built as asked."""


class UsageError(DlrError, ValueError):
    """The command line asks for something that does not exist or does not fit together."""


class WorkerError(DlrError, RuntimeError):
    """A process that did part of the work died."""


class DeadProcessError(WorkerError):
    """A process ended without a word, such as one that the system has killed for its memory."""


class UnfinishedPipelineError(WorkerError):
    """A pipeline's workers had begun when it failed, so that to start it again may help."""


class CheckpointError(DlrError, OSError):
    """A checkpoint is missing, truncated or of another kind."""


class DemonstrationError(DlrError, ValueError):
    """Demonstrations are missing, unreadable, empty or not finite, or none of them succeeds."""
