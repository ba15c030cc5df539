"""Pattern-conditioned policies pi(a|s,z)."""
