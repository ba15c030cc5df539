"""Recipes of the two papers beside each other: what is trained, measured and told."""
