"""Amplified demonstrations: many of a task, at new starts, from one or a few recorded ones."""

from demonstrations.amplify.amplifier import Amplifier
from demonstrations.amplify.library import find_amplifier, list_recordings

__all__ = ["Amplifier", "find_amplifier", "list_recordings"]
