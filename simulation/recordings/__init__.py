"""Trajectories on disk, the recorder that makes them, and the readers of other layouts."""
