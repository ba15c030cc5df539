"""Rendering without a display, and pictures and videos of states."""
