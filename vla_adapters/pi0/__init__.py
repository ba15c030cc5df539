"""pi0: LeRobot's own network, processors and checkpoints, and a small variant of the same code."""
