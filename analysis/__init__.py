"""Metrics over trajectories of any source."""
