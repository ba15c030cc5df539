"""Suites that others published on LIBERO's scenes: LIBERO-PRO and LIBERO-Plus, read as data."""
