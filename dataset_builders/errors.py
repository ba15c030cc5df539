"""The error of this package: one clear line, which the command line prints without a traceback."""

from simulation.errors import DlrError


class DatasetError(DlrError, ValueError):
    """A dataset is missing, does not hold what it should, or cannot be built as asked."""
