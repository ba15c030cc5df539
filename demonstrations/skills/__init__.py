"""Scripted skills: each makes one predicate true for a family of objects, in several ways."""
