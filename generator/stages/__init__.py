"""The stages of every recipe: each is keyed by what it reads, and keeps its result in a folder."""

from __future__ import annotations

from generator.stages.chunked import LearnChunks, ReinforceChunks
from generator.stages.dlr import Discover, Filter, Learn, Reinforce, sparse_success
from generator.stages.shaped import ReinforceInformed
from generator.stages.stage import RECORD, Stage, read_record, run_stage

__all__ = [
    "RECORD",
    "Discover",
    "Filter",
    "Learn",
    "LearnChunks",
    "Reinforce",
    "ReinforceChunks",
    "ReinforceInformed",
    "Stage",
    "read_record",
    "run_stage",
    "sparse_success",
]
