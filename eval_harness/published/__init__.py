"""What others have measured of known checkpoints, and whether an evaluation agrees."""
