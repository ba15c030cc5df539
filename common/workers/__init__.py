"""Fresh processes, and work items that run in them or on Apache Beam."""

from common.workers.items import (
    After,
    Backend,
    Beam,
    Outcome,
    Processes,
    attempt_items,
    beam_options,
    run_items,
)
from common.workers.processes import map_in_processes, run_in_fresh_process

__all__ = [
    "After",
    "Backend",
    "Beam",
    "Outcome",
    "Processes",
    "attempt_items",
    "beam_options",
    "map_in_processes",
    "run_in_fresh_process",
    "run_items",
]
