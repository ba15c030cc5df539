"""Drawers, doors and knobs: skills that move what hangs on a joint."""
