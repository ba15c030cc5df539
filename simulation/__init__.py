"""LIBERO's 130 tasks as fast, exact, seedable environments, and their trajectories on disk."""
