"""Evaluations that end as soon as enough is known, by rules that stay valid at every look."""
