"""Curves for TensorBoard, without TensorFlow."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from common.files import append_bytes, ensure_writable


class ScalarWriter:
    """Writes curves; each number is in the file once it has been added, whole or not at all.

    TensorBoard's own writer has a thread, which a full disk ends with a traceback.

    Args:
        folder: TensorBoard's, made if need be.
        step: what a killed run left from this step on is no longer shown.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._path = ensure_writable(folder) / name
        self._add(Event(file_version="brain.Event:2"))
        self._add(Event(session_log=SessionLog(status=SessionLog.START), step=step + 1))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a curve's number at a step."""
        number = Summary.Value(tag=name, simple_value=value)
        self._add(Event(summary=Summary(value=[number]), step=step))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append_bytes(self._path, record.getvalue(), sync=False)
