"""Datasets from trained policies: which there are, and episodes that are rolled out anew."""
