"""From demonstrations to patterns, to policies, to many successful trajectories."""
